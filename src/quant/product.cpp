#include "quant/product.hpp"

#include <cstring>

namespace deltavino::quant {
namespace {

using Lanes [[gnu::vector_size(32)]] = float;
constexpr std::size_t kLanes = sizeof(Lanes) / sizeof(float);

// By reference: returned by value, a vector wider than the default unit's would change the calling convention.
[[gnu::always_inline]] inline void load(const float* from, Lanes& to) {
    std::memcpy(&to, from, sizeof(to));
}

[[gnu::always_inline]] inline float sum(const Lanes& lanes) {
    return ((lanes[0] + lanes[4]) + (lanes[1] + lanes[5])) + ((lanes[2] + lanes[6]) + (lanes[3] + lanes[7]));
}

// kTokens x kRows sums at once: enough for every load to be used several times, few enough for the registers.
template <std::size_t kTokens, std::size_t kRows>
[[gnu::always_inline]] inline void tile(const float* x, std::size_t x_stride, const float* w, std::size_t w_stride,
                                        std::size_t columns, float* y, std::size_t y_stride) {
    Lanes sums[kTokens][kRows] = {};
    std::size_t i = 0;
    for (; i + kLanes <= columns; i += kLanes) {
        Lanes weights[kRows];
        for (std::size_t r = 0; r < kRows; ++r) {
            load(w + r * w_stride + i, weights[r]);
        }
        for (std::size_t t = 0; t < kTokens; ++t) {
            Lanes values;
            load(x + t * x_stride + i, values);
            for (std::size_t r = 0; r < kRows; ++r) {
                sums[t][r] += values * weights[r];
            }
        }
    }
    for (std::size_t t = 0; t < kTokens; ++t) {
        for (std::size_t r = 0; r < kRows; ++r) {
            float total = sum(sums[t][r]);
            for (std::size_t k = i; k < columns; ++k) {
                total += x[t * x_stride + k] * w[r * w_stride + k];
            }
            y[t * y_stride + r] = total;
        }
    }
}

}  // namespace

#if defined(__x86_64__)
#define DELTAVINO_WIDE [[gnu::target_clones("avx512f", "arch=haswell", "default")]]
#else
#define DELTAVINO_WIDE
#endif

DELTAVINO_WIDE
void product(const ProductRows& x, const ProductRows& w, std::size_t columns, float* y, std::size_t y_stride) {
    constexpr std::size_t kTokens = 3;
    constexpr std::size_t kRows = 4;
    // A strip of rows stays in the first cache while all tokens pass it.
    std::size_t r = 0;
    for (; r + kRows <= w.rows; r += kRows) {
        const float* rows = w.values + r * w.stride;
        std::size_t t = 0;
        for (; t + kTokens <= x.rows; t += kTokens) {
            tile<kTokens, kRows>(x.values + t * x.stride, x.stride, rows, w.stride, columns, y + t * y_stride + r,
                                 y_stride);
        }
        for (; t < x.rows; ++t) {
            tile<1, kRows>(x.values + t * x.stride, x.stride, rows, w.stride, columns, y + t * y_stride + r, y_stride);
        }
    }
    for (; r < w.rows; ++r) {
        for (std::size_t t = 0; t < x.rows; ++t) {
            tile<1, 1>(x.values + t * x.stride, x.stride, w.values + r * w.stride, w.stride, columns,
                       y + t * y_stride + r, y_stride);
        }
    }
}

DELTAVINO_WIDE
float dot(const float* x, const float* w, std::size_t columns) {
    float y = 0.0f;
    tile<1, 1>(x, columns, w, columns, columns, &y, 1);
    return y;
}

DELTAVINO_WIDE
void add_scaled(const float* x, float factor, std::size_t columns, float* y) {
    for (std::size_t i = 0; i < columns; ++i) {
        y[i] += factor * x[i];
    }
}

}  // namespace deltavino::quant
