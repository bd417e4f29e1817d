#include "export/sensitivity.hpp"

#include "checkpoint/rows/row_reader.hpp"
#include "models/qwen3_5_text.hpp"
#include "quant/quantize.hpp"

#include <algorithm>
#include <cstring>
#include <map>

namespace deltavino::exporter {
namespace {

// Relative error of a weight in 4 bit, from rows spread over all of it.
double sampled_error(const graph::WeightJob& job, const quant::Scheme& scheme, quant::Search search) {
    constexpr std::uint64_t kRows = 64;
    quant::BlockStatistics total;
    quant::QuantizedBuffers buffers;
    checkpoint::RowReader reader;
    std::vector<std::byte> source;
    std::vector<float> floats;
    for (const graph::RowSlice& slice : job.sources) {
        const std::uint64_t rows = std::min(slice.rows, std::max<std::uint64_t>(2, kRows / job.sources.size())) / 2 * 2;
        if (rows == 0) {
            continue;
        }
        const std::uint64_t row_bytes = slice.is_plain() ? slice.row_bytes(job.columns) : job.columns * sizeof(float);
        source.resize(static_cast<std::size_t>(rows * row_bytes));
        for (std::uint64_t i = 0; i < rows; ++i) {
            const std::uint64_t row = slice.first_row + i * slice.rows / rows;
            const std::span<std::byte> out =
                std::span(source).subspan(static_cast<std::size_t>(i * row_bytes), static_cast<std::size_t>(row_bytes));
            if (slice.is_plain()) {
                slice.tensor->file->read(slice.tensor->info.offset + row * row_bytes, out);
                continue;
            }
            floats.resize(static_cast<std::size_t>(job.columns));
            slice.load(reader, job.columns, row, 1);
            reader.floats(0, floats);
            std::memcpy(out.data(), floats.data(), out.size());
        }
        const quant::SourceType type =
            slice.is_plain() ? checkpoint::source_type(slice.tensor->info.dtype) : quant::SourceType::F32;
        total.merge(quant::quantize_rows(scheme, search, {source.data(), type, rows, job.columns}, {},
                                         buffers.resized(scheme, rows, job.columns)));
    }
    return total.relative_error();
}

}  // namespace

void measure_sensitivities(const checkpoint::Checkpoint& checkpoint, const models::Plan& plan, Recipe& recipe) {
    std::map<std::string, graph::WeightRequest> candidates;
    graph::Weights weights(checkpoint, plan.table, [&](const graph::WeightRequest& request) -> graph::Storage {
        if (recipe.ratio_candidate(request)) {
            candidates.emplace(request.name, request);
        }
        return {};
    });
    models::build_text_model(plan.config.text, weights, plan.tied_head);
    std::map<std::string, double> errors;
    std::map<std::string, std::uint64_t> sizes;
    for (const graph::WeightJob& job : weights.jobs()) {
        const auto candidate = candidates.find(job.canonical_name);
        if (candidate != candidates.end()) {
            const std::string group = Recipe::ratio_group(candidate->second);
            const std::uint64_t size = job.rows * job.columns;
            const double error = sampled_error(job, *recipe.ratio_candidate(candidate->second), recipe.search());
            const double before = static_cast<double>(sizes[group]);
            sizes[group] += size;
            errors[group] += (error - errors[group]) * static_cast<double>(size) / (before + static_cast<double>(size));
        }
    }
    recipe.set_sensitivities(errors, sizes);
}

}  // namespace deltavino::exporter
