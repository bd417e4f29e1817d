// y = x W^T for a few rows of W, on the widest vector unit of the processor.
#pragma once

#include <cstddef>

namespace deltavino::reference {

// x [tokens, columns], w [rows, columns], both without gaps; y[t * y_stride + r]. Sums run in float32, in eight
// parts that are added at the end. Eigen alone would use the unit that the whole program was compiled for, which
// is a third as fast.
void product(const float* x, std::size_t tokens, const float* w, std::size_t rows, std::size_t columns, float* y,
             std::size_t y_stride);

}  // namespace deltavino::reference
