// y = x W^T for a few rows of W, on the widest vector unit of the processor.
#pragma once

#include <cstddef>

namespace deltavino::quant {

// Rows of `columns` values, the first of each `stride` values behind the first of the one before.
struct ProductRows {
    const float* values = nullptr;
    std::size_t rows = 0;
    std::size_t stride = 0;
};

// x [tokens, columns], w [rows, columns]; y[t * y_stride + r] is overwritten. Sums run in float32, in eight
// parts that are added at the end. Eigen alone would use the unit that the whole program was compiled for, which
// is a third as fast.
void product(const ProductRows& x, const ProductRows& w, std::size_t columns, float* y, std::size_t y_stride);

// The sum of x[i] * w[i], in the same order.
float dot(const float* x, const float* w, std::size_t columns);

// y[i] += factor * x[i]
void add_scaled(const float* x, float factor, std::size_t columns, float* y);

}  // namespace deltavino::quant
