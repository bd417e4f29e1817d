#include "export/sensitivity.hpp"

#include "checkpoint/rows/row_reader.hpp"
#include "models/qwen3_5_text.hpp"
#include "quant/quantize.hpp"

#include <algorithm>
#include <cstring>
#include <map>

namespace deltavino::exporter {
namespace {

// Some rows of a weight's parts, spread over them, handed out part by part.
void sample_rows(const graph::WeightJob& job, const std::function<void(const quant::RowBlock& rows)>& take) {
    constexpr std::uint64_t kRows = 64;
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
        take({source.data(), type, rows, job.columns});
    }
}

}  // namespace

std::vector<double> sampled_errors(const graph::WeightJob& job, std::span<const quant::Scheme> schemes,
                                   quant::Search search) {
    std::vector<quant::BlockStatistics> totals(schemes.size());
    quant::QuantizedBuffers buffers;
    sample_rows(job, [&](const quant::RowBlock& rows) {
        for (std::size_t i = 0; i < schemes.size(); ++i) {
            totals[i].merge(quant::quantize_rows(schemes[i], search, rows, {},
                                                 buffers.resized(schemes[i], rows.rows, rows.columns)));
        }
    });
    std::vector<double> errors;
    std::transform(totals.begin(), totals.end(), std::back_inserter(errors),
                   [](const quant::BlockStatistics& total) { return total.relative_error(); });
    return errors;
}

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
            const quant::Scheme scheme = *recipe.ratio_candidate(candidate->second);
            const double error = sampled_errors(job, {&scheme, 1}, recipe.search()).front();
            const double before = static_cast<double>(sizes[group]);
            sizes[group] += size;
            errors[group] += (error - errors[group]) * static_cast<double>(size) / (before + static_cast<double>(size));
        }
    }
    recipe.set_sensitivities(errors, sizes);
}

}  // namespace deltavino::exporter
