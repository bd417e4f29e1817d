// Half floats by integer arithmetic, one value at a time.
// Source of truth: IEEE 754 binary16, and the x86 conversions, NaN payloads included. Everything
// here is forced inline because the kernel files, built for other instruction sets, include it too.
#pragma once

#include <cstdint>

namespace deltavino::half {

[[gnu::always_inline]] inline std::uint32_t bits_of(float value) {
    return __builtin_bit_cast(std::uint32_t, value);
}
[[gnu::always_inline]] inline float float_of(std::uint32_t bits) {
    return __builtin_bit_cast(float, bits);
}

[[gnu::always_inline]] inline float from_f16(std::uint16_t bits) {
    const std::uint32_t sign = static_cast<std::uint32_t>(bits & 0x8000u) << 16;
    const std::uint32_t exponent = (bits >> 10) & 0x1fu;
    const std::uint32_t fraction = bits & 0x3ffu;
    if (exponent == 0) {  // zero or subnormal: fraction * 2^-24, exact
        const float magnitude = static_cast<float>(fraction) * 0x1p-24f;
        return float_of(bits_of(magnitude) | sign);
    }
    if (exponent == 0x1f) {
        const std::uint32_t quiet = fraction != 0 ? 0x400000u : 0u;
        return float_of(sign | 0x7f800000u | quiet | (fraction << 13));
    }
    return float_of(sign | ((exponent + 112u) << 23) | (fraction << 13));
}

[[gnu::always_inline]] inline std::uint16_t to_f16(float value) {
    const std::uint32_t bits = bits_of(value);
    const std::uint32_t sign = (bits >> 16) & 0x8000u;
    const std::uint32_t magnitude = bits & 0x7fffffffu;
    std::uint32_t out = 0;
    if (magnitude > 0x7f800000u) {
        out = 0x7e00u | ((magnitude >> 13) & 0x3ffu);
    } else if (magnitude >= 0x477ff000u) {  // 65520: the first value that rounds to infinity
        out = 0x7c00u;
    } else if (magnitude < 0x38800000u) {  // below 2^-14: let the adder round to a multiple of 2^-24
        out = bits_of(float_of(magnitude) + 0.5f) - 0x3f000000u;
    } else {
        const std::uint32_t odd = (magnitude >> 13) & 1u;
        out = (magnitude - 0x38000000u + 0xfffu + odd) >> 13;
    }
    return static_cast<std::uint16_t>(sign | out);
}

[[gnu::always_inline]] inline float from_bf16(std::uint16_t bits) {
    return float_of(static_cast<std::uint32_t>(bits) << 16);
}

[[gnu::always_inline]] inline std::uint16_t to_bf16(float value) {
    const std::uint32_t bits = bits_of(value);
    if ((bits & 0x7fffffffu) > 0x7f800000u) {
        return static_cast<std::uint16_t>((bits >> 16) | 0x40u);
    }
    return static_cast<std::uint16_t>((bits + 0x7fffu + ((bits >> 16) & 1u)) >> 16);
}

}  // namespace deltavino::half
