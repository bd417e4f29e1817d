// Sixteen floats side by side, in plain C++ with the compilers' vector types.
// The other lanes_*.hpp give the same type for AVX2 and AVX-512; every operation gives the same
// bits in all three, which is why a multiplication and an addition are fused only where fma says so.
#pragma once

#include "base/half.hpp"

#include <cstddef>
#include <cstdint>
#include <cstring>

namespace deltavino::quant::portable {

using Quad = float __attribute__((vector_size(16)));
using QuadBits = std::int32_t __attribute__((vector_size(16)));

struct Lanes {
    static constexpr bool kUnrolled = false;

    Quad part[4];

    static Lanes set(float x) {
        const Quad q = {x, x, x, x};
        return {{q, q, q, q}};
    }
    static Lanes load(const float* from) {
        Lanes out;
        std::memcpy(&out, from, sizeof out);
        return out;
    }
    // Lane j takes base[j * stride].
    static Lanes gather(const float* base, std::size_t stride) {
        float values[16];
        for (std::size_t j = 0; j < 16; ++j) {
            values[j] = base[j * stride];
        }
        return load(values);
    }
    static Lanes load_bf16(const std::byte* from) {
        return load_half(from, [](std::uint16_t bits) { return half::from_bf16(bits); });
    }
    static Lanes load_f16(const std::byte* from) {
        return load_half(from, [](std::uint16_t bits) { return half::from_f16(bits); });
    }
    void store(float* to) const { std::memcpy(to, this, sizeof *this); }

private:
    template <typename WidenOne>
    static Lanes load_half(const std::byte* from, WidenOne widen_one) {
        std::uint16_t bits[16];
        std::memcpy(bits, from, sizeof bits);
        float values[16];
        for (int j = 0; j < 16; ++j) {
            values[j] = widen_one(bits[j]);
        }
        return load(values);
    }
};

template <typename Operation>
inline Lanes by_part(const Lanes& a, const Lanes& b, Operation operation) {
    return {{operation(a.part[0], b.part[0]), operation(a.part[1], b.part[1]), operation(a.part[2], b.part[2]),
             operation(a.part[3], b.part[3])}};
}
inline Lanes operator+(const Lanes& a, const Lanes& b) {
    return by_part(a, b, [](Quad x, Quad y) { return x + y; });
}
inline Lanes operator-(const Lanes& a, const Lanes& b) {
    return by_part(a, b, [](Quad x, Quad y) { return x - y; });
}
inline Lanes operator*(const Lanes& a, const Lanes& b) {
    return by_part(a, b, [](Quad x, Quad y) { return x * y; });
}
inline Lanes operator/(const Lanes& a, const Lanes& b) {
    return by_part(a, b, [](Quad x, Quad y) { return x / y; });
}
// a * b + c, rounded once.
inline Lanes fma(const Lanes& a, const Lanes& b, const Lanes& c) {
    Lanes out;
    for (int i = 0; i < 4; ++i) {
        for (int j = 0; j < 4; ++j) {
            out.part[i][j] = __builtin_fmaf(a.part[i][j], b.part[i][j], c.part[i][j]);
        }
    }
    return out;
}
// The second operand when either is NaN, or when both are zero: as the x86 instructions do.
inline Lanes min(const Lanes& a, const Lanes& b) {
    return by_part(a, b, [](Quad x, Quad y) { return x < y ? x : y; });
}
inline Lanes max(const Lanes& a, const Lanes& b) {
    return by_part(a, b, [](Quad x, Quad y) { return x > y ? x : y; });
}
inline Lanes abs(const Lanes& a) {
    const QuadBits mask = {0x7fffffff, 0x7fffffff, 0x7fffffff, 0x7fffffff};
    return by_part(a, a, [mask](Quad x, Quad) { return Quad(QuadBits(x) & mask); });
}
// a < b ? x : y
inline Lanes select_less(const Lanes& a, const Lanes& b, const Lanes& x, const Lanes& y) {
    Lanes out;
    for (int i = 0; i < 4; ++i) {
        out.part[i] = a.part[i] < b.part[i] ? x.part[i] : y.part[i];
    }
    return out;
}
// The sign bit of a, that of -0.0 included, is set ? x : y
inline Lanes select_negative(const Lanes& a, const Lanes& x, const Lanes& y) {
    const QuadBits zero = {0, 0, 0, 0};
    Lanes out;
    for (int i = 0; i < 4; ++i) {
        out.part[i] = QuadBits(a.part[i]) < zero ? x.part[i] : y.part[i];
    }
    return out;
}

// Zero in place of NaN and infinity, which are added to `nonfinite`.
inline Lanes finite_or_zero(const Lanes& a, std::uint64_t& nonfinite) {
    float values[16];
    a.store(values);
    for (float& value : values) {
        if ((half::bits_of(value) & 0x7f800000u) == 0x7f800000u) {
            value = 0.0f;
            ++nonfinite;
        }
    }
    return Lanes::load(values);
}

inline Lanes round_to_f16(const Lanes& a) {
    float values[16];
    a.store(values);
    for (float& value : values) {
        value = half::from_f16(half::to_f16(value));
    }
    return Lanes::load(values);
}

// 2^a for whole a of -126 to 127.
inline Lanes power_of_two(const Lanes& a) {
    return by_part(a, a, [](Quad x, Quad) { return Quad((__builtin_convertvector(x, QuadBits) + 127) << 23); });
}

// table[index], the fraction of index dropped; index in [0, 32).
inline Lanes lookup(const float* table, const Lanes& index) {
    float values[16];
    index.store(values);
    for (float& value : values) {
        value = table[static_cast<std::int32_t>(value)];
    }
    return Lanes::load(values);
}

inline float sum(const Lanes& a) {
    const Quad q = (a.part[0] + a.part[2]) + (a.part[1] + a.part[3]);
    return (q[0] + q[2]) + (q[1] + q[3]);
}
inline float largest(const Lanes& a) {
    const auto greater = [](Quad x, Quad y) {
        return x > y ? x : y;
    };
    const Quad q = greater(greater(a.part[0], a.part[2]), greater(a.part[1], a.part[3]));
    const float x = q[0] > q[2] ? q[0] : q[2];
    const float y = q[1] > q[3] ? q[1] : q[3];
    return x > y ? x : y;
}

// Whole numbers; the low eight or four bits of each are kept, the first of two in the low nibble.
inline void store_bytes(std::uint8_t* to, const Lanes& a) {
    float values[16];
    a.store(values);
    for (int j = 0; j < 16; ++j) {
        to[j] = static_cast<std::uint8_t>(static_cast<std::int32_t>(values[j]));
    }
}
inline void store_nibbles(std::uint8_t* to, const Lanes& a) {
    std::uint8_t bytes[16];
    store_bytes(bytes, a);
    for (int j = 0; j < 8; ++j) {
        to[j] = static_cast<std::uint8_t>((bytes[2 * j] & 15) | ((bytes[2 * j + 1] & 15) << 4));
    }
}
inline void store_f16(std::byte* to, const Lanes& a) {
    float values[16];
    a.store(values);
    std::uint16_t bits[16];
    for (int j = 0; j < 16; ++j) {
        bits[j] = half::to_f16(values[j]);
    }
    std::memcpy(to, bits, sizeof bits);
}
inline void store_bf16(std::byte* to, const Lanes& a) {
    float values[16];
    a.store(values);
    std::uint16_t bits[16];
    for (int j = 0; j < 16; ++j) {
        bits[j] = half::to_bf16(values[j]);
    }
    std::memcpy(to, bits, sizeof bits);
}

}  // namespace deltavino::quant::portable
