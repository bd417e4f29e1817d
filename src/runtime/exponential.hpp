// exp and what is made of it, over a Lanes type. Include rules as in quant/kernels/batch.hpp.
#pragma once

#include "quant/kernels/values.hpp"

#include <cstddef>

namespace deltavino::runtime {

// Within two units of the last place; beyond +-87 the value at +-87.
template <typename Lanes>
inline Lanes exponential(Lanes x) {
    const auto set = [](float value) {
        return Lanes::set(value);
    };
    const Lanes bounded = quant::clamp(x, set(-87.0f), set(87.0f));
    const Lanes n = quant::round_whole(bounded * set(1.44269504f));
    const Lanes r = fma(n, set(2.12194440e-4f), fma(n, set(-0.693359375f), bounded));  // ln 2 in two parts
    constexpr float kFactors[] = {1.0f / 720.0f, 1.0f / 120.0f, 1.0f / 24.0f, 1.0f / 6.0f, 0.5f, 1.0f, 1.0f};
    Lanes sum = set(1.0f / 5040.0f);
#pragma GCC unroll 7
    for (std::size_t i = 0; i < sizeof kFactors / sizeof *kFactors; ++i) {
        sum = fma(sum, r, set(kFactors[i]));
    }
    return sum * power_of_two(n);
}

template <typename Lanes>
inline Lanes sigmoid(Lanes x) {
    return Lanes::set(1.0f) / (Lanes::set(1.0f) + exponential(Lanes::set(0.0f) - x));
}

template <typename Lanes>
inline Lanes silu(Lanes x) {
    return x / (Lanes::set(1.0f) + exponential(Lanes::set(0.0f) - x));
}

}  // namespace deltavino::runtime
