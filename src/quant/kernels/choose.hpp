// nncf's choice of scale and zero point for sixteen groups.
// Source of truth: nncf 3.4.0, openvino/optimized_functions (models compiled with f32 inference
// precision, divisions kept as divisions). Include rules as in batch.hpp.
#pragma once

#include "quant/codebook.hpp"
#include "quant/kernels/batch.hpp"

namespace deltavino::quant {

// Per group. Codes are round(w / divisor + zero); they come back as (code - zero) * scale. nncf
// divides by the scale before it is rounded to the stored type.
template <typename Lanes>
struct Choice {
    Lanes divisor;
    Lanes scale;
    Lanes zero;  // 0 in the symmetric formats
};

// The codes of an integer format are low ... low + steps.
struct CodeRange {
    float low;
    float steps;
};
static inline CodeRange code_range(Format format) {
    switch (format) {
        case Format::U8: return {0, 255};
        case Format::I8: return {-128, 255};
        case Format::U4: return {0, 15};
        case Format::I4: return {-8, 15};
        default: return {0, 0};
    }
}

template <typename Lanes>
struct Extent {
    Lanes least;
    Lanes most;
};

template <typename Lanes>
Extent<Lanes> extent_of(const Batch& batch) {
    Extent<Lanes> extent = {Lanes::load(batch.turned), Lanes::load(batch.turned)};
    for_each_value<Lanes>(batch.group, [&](std::size_t i) {
        const Lanes w = Lanes::load(batch.turned + i * kLaneCount);
        extent.least = min(w, extent.least);
        extent.most = max(w, extent.most);
    });
    return extent;
}

template <typename Lanes>
inline Lanes not_below_epsilon(Lanes scale) {  // a group of zeros has to have some scale
    const Lanes epsilon = Lanes::set(0x1p-23f);
    return select_less(abs(scale), epsilon, epsilon, scale);
}

template <typename Lanes>
Choice<Lanes> nncf_asymmetric(const Extent<Lanes>& extent, float steps) {
    const Lanes nothing = Lanes::set(0.0f);
    const Lanes least = min(nothing, extent.least);
    const Lanes most = max(nothing, extent.most);
    const Lanes scale = not_below_epsilon((most - least) / Lanes::set(steps));
    const Lanes steps_below = round_whole(clamp(least / scale, Lanes::set(-2.0f * steps), nothing));
    const Lanes zero = clamp(nothing - steps_below, nothing, Lanes::set(steps));
    return {scale, round_to_f16(scale), zero};
}

template <typename Lanes>
Choice<Lanes> nncf_symmetric(const Extent<Lanes>& extent, float half_steps) {
    // The end with the larger magnitude takes the lowest code, which has no positive counterpart;
    // the scale turns negative for it where that end is the positive one.
    const Lanes nothing = Lanes::set(0.0f);
    const Lanes below = abs(extent.least);
    const Lanes end = select_less(below, extent.most, nothing - extent.most, below);
    const Lanes scale = not_below_epsilon(end / Lanes::set(half_steps));
    return {scale, round_to_f16(scale), nothing};
}

template <typename Lanes>
Choice<Lanes> nncf_codebook(const Extent<Lanes>& extent, Format format, bool small_weight) {
    const Lanes largest = max(abs(extent.least), abs(extent.most));
    if (format == Format::NF4) {
        const Lanes scale = not_below_epsilon(largest);
        return {scale, round_to_f16(scale), Lanes::set(0.0f)};
    }
    float scales[kLaneCount];
    largest.store(scales);
    for (float& scale : scales) {
        scale = nncf_mxfp4_scale(scale, small_weight);
    }
    const Lanes scale = Lanes::load(scales);
    return {scale, scale, Lanes::set(0.0f)};
}

template <typename Lanes>
Choice<Lanes> choose_nncf(Format format, const Extent<Lanes>& extent, bool small_weight) {
    switch (format) {
        case Format::U8:
        case Format::U4: return nncf_asymmetric(extent, code_range(format).steps);
        case Format::I8:
        case Format::I4: return nncf_symmetric(extent, -code_range(format).low);
        default: return nncf_codebook(extent, format, small_weight);
    }
}

}  // namespace deltavino::quant
