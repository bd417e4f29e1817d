// Checks around the quantization kernels, and the statistics of blocks.
// The kernels (kernel_*.hpp) hold the arithmetic; nothing here depends on the instruction set.
#include "quant/quantize.hpp"

#include "base/checked.hpp"
#include "quant/kernels/kernels.hpp"

#include <algorithm>
#include <cmath>
#include <vector>

namespace deltavino::quant {
namespace {

void require_size(std::string_view what, std::uint64_t expected, std::size_t found) {
    if (expected != found) {
        fail(ErrorKind::Internal, "{} take {} bytes, the buffer has {}", what, expected, found);
    }
}

void require_usable(std::span<const float> importance, std::uint64_t columns) {
    if (importance.empty()) {
        return;
    }
    if (importance.size() != columns) {
        fail(ErrorKind::Internal, "importance has {} values for {} columns", importance.size(), columns);
    }
    for (std::size_t i = 0; i < importance.size(); ++i) {
        if (!std::isfinite(importance[i]) || importance[i] < 0.0f) {
            fail(ErrorKind::Internal, "importance of column {} is {}, expected a finite value of at least 0", i,
                 importance[i]);
        }
    }
}

}  // namespace

QuantizedRows QuantizedBuffers::resized(const Scheme& scheme, std::uint64_t rows, std::uint64_t columns) {
    const StorageBytes bytes = storage_bytes(scheme, rows, columns);
    packed.resize(static_cast<std::size_t>(bytes.packed));
    zero_points.resize(static_cast<std::size_t>(bytes.zero_points));
    scales.resize(static_cast<std::size_t>(bytes.scales));
    return {packed, zero_points, scales};
}

void BlockStatistics::merge(const BlockStatistics& other) {
    squared_error += other.squared_error;
    squared_weight += other.squared_weight;
    weighted_error += other.weighted_error;
    max_abs_error = std::max(max_abs_error, other.max_abs_error);
    values += other.values;
    nonfinite += other.nonfinite;
    scale_overflows += other.scale_overflows;
}

double BlockStatistics::relative_error() const {
    return squared_weight > 0 ? std::sqrt(squared_error / squared_weight) : 0.0;
}

BlockStatistics quantize_rows(const Scheme& scheme, Search search, const RowBlock& block,
                              std::span<const float> importance, const QuantizedRows& out, Isa isa) {
    if (const std::string why = why_unfit(scheme, block.columns); !why.empty()) {
        fail(ErrorKind::Internal, "cannot quantize rows: {}", why);
    }
    const StorageBytes bytes = storage_bytes(scheme, block.rows, block.columns);
    require_size("codes", bytes.packed, out.packed.size());
    require_size("zero points", bytes.zero_points, out.zero_points.size());
    require_size("scales", bytes.scales, out.scales.size());
    require_usable(importance, block.columns);

    QuantizeJob job;
    job.format = scheme.format;
    job.search = search;
    job.type = block.type;
    job.small_weight = block.small_weight;
    job.values = block.values;
    job.columns = block.columns;
    job.group = scheme.group_size == 0 ? block.columns : scheme.group_size;
    job.groups = block.rows * groups_per_row(scheme, block.columns);
    job.importance = importance.empty() ? nullptr : importance.data();
    job.packed = out.packed.data();
    job.zero_points = traits(scheme.format).zero_point ? out.zero_points.data() : nullptr;
    job.scales = out.scales.data();
    std::vector<float> scratch(scratch_floats(job.group, !importance.empty()));
    job.scratch = scratch.data();

    BlockStatistics statistics;
    kernels_for(isa).quantize(job, statistics);
    return statistics;
}

}  // namespace deltavino::quant
