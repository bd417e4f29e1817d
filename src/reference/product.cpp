#include "reference/product.hpp"

#include <cstring>

namespace deltavino::reference {
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
[[gnu::always_inline]] inline void tile(const float* x, const float* w, std::size_t columns, float* y,
                                        std::size_t y_stride) {
    Lanes sums[kTokens][kRows] = {};
    std::size_t i = 0;
    for (; i + kLanes <= columns; i += kLanes) {
        Lanes weights[kRows];
        for (std::size_t r = 0; r < kRows; ++r) {
            load(w + r * columns + i, weights[r]);
        }
        for (std::size_t t = 0; t < kTokens; ++t) {
            Lanes values;
            load(x + t * columns + i, values);
            for (std::size_t r = 0; r < kRows; ++r) {
                sums[t][r] += values * weights[r];
            }
        }
    }
    for (std::size_t t = 0; t < kTokens; ++t) {
        for (std::size_t r = 0; r < kRows; ++r) {
            float total = sum(sums[t][r]);
            for (std::size_t k = i; k < columns; ++k) {
                total += x[t * columns + k] * w[r * columns + k];
            }
            y[t * y_stride + r] = total;
        }
    }
}

}  // namespace

#if defined(__x86_64__)
[[gnu::target_clones("avx512f", "arch=haswell", "default")]]
#endif
void product(const float* x, std::size_t tokens, const float* w, std::size_t rows, std::size_t columns, float* y,
             std::size_t y_stride) {
    constexpr std::size_t kTokens = 3;
    constexpr std::size_t kRows = 4;
    // A strip of rows stays in the first cache while all tokens pass it.
    std::size_t r = 0;
    for (; r + kRows <= rows; r += kRows) {
        std::size_t t = 0;
        for (; t + kTokens <= tokens; t += kTokens) {
            tile<kTokens, kRows>(x + t * columns, w + r * columns, columns, y + t * y_stride + r, y_stride);
        }
        for (; t < tokens; ++t) {
            tile<1, kRows>(x + t * columns, w + r * columns, columns, y + t * y_stride + r, y_stride);
        }
    }
    for (; r < rows; ++r) {
        for (std::size_t t = 0; t < tokens; ++t) {
            tile<1, 1>(x + t * columns, w + r * columns, columns, y + t * y_stride + r, y_stride);
        }
    }
}

}  // namespace deltavino::reference
