#include "reference/layers.hpp"

#include "quant/product.hpp"
#include "reference/parallel.hpp"

#include <algorithm>
#include <cmath>

namespace deltavino::reference {

double sigmoid(double x) {
    return 1.0 / (1.0 + std::exp(-x));
}

double silu(double x) {
    return x * sigmoid(x);
}

Matrix linear(ConstMatrixRef x, const Context& context, const std::string& name, std::uint64_t first,
              std::uint64_t rows) {
    // Small enough for the caches, large enough that the product and not the reading takes the time.
    constexpr std::uint64_t kRows = 128;
    if (context.tap != nullptr) {
        context.tap->input(name, first, rows, x);
    }
    Matrix y(x.rows(), static_cast<Index>(rows));
    parallel_for((rows + kRows - 1) / kRows, context.threads, [&](std::uint64_t block) {
        const std::uint64_t begin = block * kRows;
        const auto count = static_cast<Index>(std::min(kRows, rows - begin));
        Matrix weight(count, x.cols());
        context.weights.read_rows(name, first + begin, weight);
        const auto columns = static_cast<std::size_t>(x.cols());
        quant::product({x.data(), static_cast<std::size_t>(x.rows()), static_cast<std::size_t>(x.outerStride())},
                       {weight.data(), static_cast<std::size_t>(count), columns}, columns, y.data() + begin,
                       static_cast<std::size_t>(rows));
    });
    return y;
}

Matrix biased_linear(ConstMatrixRef x, const Context& context, const std::string& module, std::uint64_t rows) {
    Matrix y = linear(x, context, module + ".weight", 0, rows);
    y.rowwise() += context.weights.vector(module + ".bias", rows).transpose();
    return y;
}

Matrix zero_centred_norm(ConstMatrixRef x, const Vector& weight, double eps) {
    Matrix y(x.rows(), x.cols());
    const Index size = weight.size();
    for (Index t = 0; t < x.rows(); ++t) {
        for (Index begin = 0; begin < x.cols(); begin += size) {
            const auto part = x.row(t).segment(begin, size);
            const double scale = 1.0 / std::sqrt(part.cast<double>().squaredNorm() / static_cast<double>(size) + eps);
            for (Index i = 0; i < size; ++i) {
                y(t, begin + i) = static_cast<float>(part(i) * scale * (1.0 + weight(i)));
            }
        }
    }
    return y;
}

Matrix layer_norm(ConstMatrixRef x, const Context& context, const std::string& module) {
    constexpr double kEps = 1e-6;
    const Vector weight = context.weights.vector(module + ".weight", static_cast<std::uint64_t>(x.cols()));
    const Vector bias = context.weights.vector(module + ".bias", static_cast<std::uint64_t>(x.cols()));
    Matrix y(x.rows(), x.cols());
    for (Index t = 0; t < x.rows(); ++t) {
        const Eigen::RowVectorXd row = x.row(t).cast<double>();
        const double mean = row.mean();
        const double scale = 1.0 / std::sqrt((row.array() - mean).square().mean() + kEps);
        y.row(t) = ((row.array() - mean) * scale * weight.transpose().cast<double>().array() +
                    bias.transpose().cast<double>().array())
                       .cast<float>();
    }
    return y;
}

Matrix swiglu(ConstMatrixRef x, const Context& context, const std::string& module, std::uint64_t inner,
              std::uint64_t index) {
    const auto outer = static_cast<std::uint64_t>(x.cols());
    const Matrix gate = linear(x, context, module + "gate_proj.weight", index * inner, inner);
    const Matrix up = linear(x, context, module + "up_proj.weight", index * inner, inner);
    const Matrix hidden = gate.unaryExpr([](float v) { return static_cast<float>(silu(v)); }).cwiseProduct(up);
    return linear(hidden, context, module + "down_proj.weight", index * outer, outer);
}

}  // namespace deltavino::reference
