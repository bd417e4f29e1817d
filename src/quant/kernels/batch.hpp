// Sixteen groups brought side by side: the layout every kernel works on.
// Templates over a Lanes type; include only from the .cpp files here, inside the target region. No
// template or inline function of the standard library may be used here or below: the linker could
// take this file's copy of it, built for AVX-512, for the whole program.
#pragma once

#include "quant/kernels/kernels.hpp"
#include "quant/kernels/values.hpp"

#include <cstring>

namespace deltavino::quant {

// Rows of the scratch hold one group each, followed by zeros up to a multiple of 16. `turned` is
// the same values the other way round: [group][16], lane j for group j, so that the choice of
// scales runs for sixteen groups at once and sums in the order of the values in every instruction
// set.
struct Batch {
    std::size_t first = 0;  // group in the block
    std::size_t count = 0;  // groups in use; the others are zeros
    std::size_t group = 0;
    std::size_t stride = 0;
    float* rows = nullptr;
    float* turned = nullptr;
    float* turned_importance = nullptr;              // null without an importance
    std::size_t importance_begin = ~std::size_t{0};  // column of lane 0 in turned_importance
};

// body(i) for i in [0, count), in order. The inner loop has a fixed length, for the compiler to
// unroll and the branch predictor to know. Where a lane is several instructions, unrolling gains
// little and costs minutes of compilation.
template <typename Lanes, typename Body>
[[gnu::always_inline]] inline void for_each_value(std::size_t count, Body body) {
    std::size_t i = 0;
    if constexpr (!Lanes::kUnrolled) {
        for (; i < count; ++i) {
            body(i);
        }
        return;
    }
    for (; i + kLaneCount <= count; i += kLaneCount) {
#pragma GCC unroll 16
        for (std::size_t k = 0; k < kLaneCount; ++k) {
            body(i + k);
        }
    }
    for (; i < count; ++i) {
        body(i);
    }
}

template <typename Lanes>
void load_group(SourceType type, const std::byte* from, std::size_t count, float* to, std::uint64_t& nonfinite) {
    const std::size_t width = bytes_per_value(type);
    std::size_t i = 0;
    for (; i + kLaneCount <= count; i += kLaneCount) {
        finite_or_zero(load_source<Lanes>(type, from + i * width), nonfinite).store(to + i);
    }
    if (i < count) {
        std::byte rest[kLaneCount * sizeof(float)] = {};
        std::memcpy(rest, from + i * width, (count - i) * width);
        finite_or_zero(load_source<Lanes>(type, rest), nonfinite).store(to + i);
    }
}

static inline std::size_t first_column(const QuantizeJob& job, std::size_t group) {
    return job.group == job.columns ? 0 : group * job.group % job.columns;
}

static inline void turn_importance(const QuantizeJob& job, Batch& batch) {
    const std::size_t begin = first_column(job, batch.first);
    if (batch.turned_importance == nullptr || batch.importance_begin == begin) {
        return;
    }
    for (std::size_t j = 0; j < kLaneCount; ++j) {
        const float* from = job.importance + first_column(job, batch.first + j);
        for (std::size_t i = 0; i < batch.group; ++i) {
            batch.turned_importance[i * kLaneCount + j] = from[i];
        }
    }
    batch.importance_begin = begin;
}

static inline Batch make_batch(const QuantizeJob& job) {
    Batch batch;
    batch.group = job.group;
    batch.stride = scratch_stride(job.group);
    batch.rows = job.scratch;
    batch.turned = batch.rows + kLaneCount * batch.stride;
    batch.turned_importance = job.importance == nullptr ? nullptr : batch.turned + kLaneCount * job.group;
    return batch;
}

template <typename Lanes>
void load_batch(const QuantizeJob& job, std::size_t first, Batch& batch, std::uint64_t& nonfinite) {
    batch.first = first;
    batch.count = job.groups - first < kLaneCount ? job.groups - first : kLaneCount;
    const std::size_t group_bytes = job.group * bytes_per_value(job.type);
    for (std::size_t j = 0; j < batch.count; ++j) {
        load_group<Lanes>(job.type, job.values + (first + j) * group_bytes, job.group, batch.rows + j * batch.stride,
                          nonfinite);
    }
    for (std::size_t j = batch.count; j < kLaneCount; ++j) {
        std::memset(batch.rows + j * batch.stride, 0, batch.stride * sizeof(float));
    }
    for_each_value<Lanes>(job.group, [&](std::size_t i) {
        Lanes::gather(batch.rows + i, batch.stride).store(batch.turned + i * kLaneCount);
    });
    turn_importance(job, batch);
}

}  // namespace deltavino::quant
