// Sixteen values as they are stored, and as they are computed with. Include rules as in batch.hpp.
#pragma once

#include "quant/kernels/kernels.hpp"

#include <cstring>

namespace deltavino::quant {

// Added to a float below 2^22, it leaves no room for a fraction: the sum is rounded to even.
inline constexpr float kRoundingMagic = 12582912.0f;

template <typename Lanes>
inline Lanes round_whole(Lanes a) {  // |a| below 2^22
    const Lanes magic = Lanes::set(kRoundingMagic);
    return (a + magic) - magic;
}
template <typename Lanes>
inline Lanes clamp(Lanes a, Lanes low, Lanes high) {  // low for NaN
    return min(max(a, low), high);
}

template <typename Lanes>
inline Lanes load_source(SourceType type, const std::byte* from) {
    switch (type) {
        case SourceType::BF16: return Lanes::load_bf16(from);
        case SourceType::F16: return Lanes::load_f16(from);
        case SourceType::F32: break;
    }
    float values[kLaneCount];
    std::memcpy(values, from, sizeof values);
    return Lanes::load(values);
}

static inline std::size_t bytes_per_value(SourceType type) {
    return type == SourceType::F32 ? 4 : 2;
}

template <typename Lanes>
void store_source(SourceType type, Lanes values, std::byte* to) {
    float stored[kLaneCount];
    switch (type) {
        case SourceType::BF16: store_bf16(to, values); return;
        case SourceType::F16: store_f16(to, values); return;
        case SourceType::F32: break;
    }
    values.store(stored);
    std::memcpy(to, stored, sizeof stored);
}

}  // namespace deltavino::quant
