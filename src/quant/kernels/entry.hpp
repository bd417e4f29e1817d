// The entry points of one instruction set. Include rules as in batch.hpp.
#pragma once

#include "quant/kernels/search.hpp"
#include "quant/kernels/store.hpp"

namespace deltavino::quant {

template <typename Lanes>
Choice<Lanes> choose(const QuantizeJob& job, const Batch& batch, BlockStatistics& statistics) {
    const Extent<Lanes> extent = extent_of<Lanes>(batch);
    const Choice<Lanes> nncf = choose_nncf(job.format, extent, job.small_weight);
    if (job.search == Search::Nncf) {
        return nncf;
    }
    float scales[kLaneCount];
    nncf.scale.store(scales);
    for (std::size_t j = 0; j < batch.count; ++j) {
        statistics.scale_overflows += scales[j] - scales[j] == 0.0f ? 0u : 1u;
    }
    return job.importance == nullptr ? search_scales<false>(job.format, batch, extent, nncf)
                                     : search_scales<true>(job.format, batch, extent, nncf);
}

template <typename Lanes>
void quantize_job(const QuantizeJob& job, BlockStatistics& statistics) {
    Batch batch = make_batch(job);
    for (std::size_t first = 0; first < job.groups; first += kLaneCount) {
        load_batch<Lanes>(job, first, batch, statistics.nonfinite);
        store_batch(job, batch, choose<Lanes>(job, batch, statistics), statistics);
    }
    statistics.values += job.groups * job.group;
}

template <typename Lanes>
void widen_values(SourceType type, const std::byte* in, std::size_t count, float* out) {
    const std::size_t width = bytes_per_value(type);
    std::size_t i = 0;
    for (; i + kLaneCount <= count; i += kLaneCount) {
        load_source<Lanes>(type, in + i * width).store(out + i);
    }
    if (i < count) {
        std::byte rest[kLaneCount * sizeof(float)] = {};
        float values[kLaneCount];
        std::memcpy(rest, in + i * width, (count - i) * width);
        load_source<Lanes>(type, rest).store(values);
        std::memcpy(out + i, values, (count - i) * sizeof(float));
    }
}

template <typename Lanes>
std::uint64_t narrow_values(SourceType type, const float* in, std::size_t count, std::byte* out) {
    if (type == SourceType::F32) {
        std::memcpy(out, in, count * sizeof(float));
        return 0;
    }
    // The least magnitude that rounds to infinity; infinity itself and NaN do not count.
    const Lanes limit = Lanes::set(type == SourceType::F16 ? 65520.0f : 0x1.ffp127f);
    const Lanes infinity = Lanes::set(__builtin_inff());
    const Lanes zero = Lanes::set(0.0f);
    const Lanes one = Lanes::set(1.0f);
    std::uint64_t overflows = 0;
    for (std::size_t i = 0; i < count; i += kLaneCount) {
        const std::size_t some = count - i < kLaneCount ? count - i : kLaneCount;
        const Lanes values = load_some<Lanes>(in + i, some);
        const Lanes size = abs(values);
        const Lanes over = select_less(size, infinity, select_less(size, limit, zero, one), zero);
        overflows += static_cast<std::uint64_t>(sum(over));
        if (some == kLaneCount) {
            store_source(type, values, out + i * 2);
        } else {
            std::byte rest[kLaneCount * sizeof(float)];
            store_source(type, values, rest);
            std::memcpy(out + i * 2, rest, some * 2);
        }
    }
    return overflows;
}

template <typename Lanes>
constexpr Kernels make_kernels() {
    return {quantize_job<Lanes>, widen_values<Lanes>, narrow_values<Lanes>};
}

}  // namespace deltavino::quant
