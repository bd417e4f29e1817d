// The shapes of the reference: a row is a token, a column a channel.
#pragma once

#include <Eigen/Core>

namespace deltavino::reference {

using Eigen::Index;
using Matrix = Eigen::Matrix<float, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor>;
using MatrixRef = Eigen::Ref<Matrix>;
using ConstMatrixRef = const Eigen::Ref<const Matrix>&;
using Vector = Eigen::VectorXf;

}  // namespace deltavino::reference
