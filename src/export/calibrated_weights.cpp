#include "export/calibrated_weights.hpp"

#include "base/error.hpp"
#include "graph/tensor_table.hpp"
#include "reference/checkpoint_weights.hpp"

#include <map>

namespace deltavino::exporter {
namespace {

using graph::Role;

bool is_linear(Role role) {
    return role == Role::AttentionProjection || role == Role::DeltaProjection || role == Role::FeedForward ||
           role == Role::Expert || role == Role::SharedExpert;
}

// Whether the text decides how the weight is stored.
bool is_calibrated(const graph::WeightJob& job, const checkpoint::TextConfig& config) {
    if (!job.storage.scheme || job.storage.imported || !is_linear(job.role) ||
        !job.canonical_name.starts_with("model.layers.")) {
        return false;
    }
    const quant::FormatTraits& format = quant::traits(job.storage.scheme->format);
    // The zero points of each expert must begin at a byte.
    const std::uint64_t experts = job.role == Role::Expert && config.moe ? config.moe->num_experts : 1;
    const std::uint64_t zero_points = job.rows / experts * quant::groups_per_row(*job.storage.scheme, job.columns);
    return format.integer && format.bits == 4 && (experts == 1 || !format.zero_point || zero_points % 2 == 0);
}

}  // namespace

std::vector<std::string> write_calibrated(const CalibrationRun& run, std::vector<StreamedWeight>& weights,
                                          ProgressSink& progress) {
    std::map<std::string, StreamedWeight*> by_name;
    calibration::Candidates candidates;
    for (StreamedWeight& weight : weights) {
        const graph::WeightJob& job = *weight.job;
        if (is_calibrated(job, run.config)) {
            by_name.emplace(job.canonical_name, &weight);
            candidates.emplace(job.canonical_name, calibration::Candidate{*job.storage.scheme, job.rows, job.columns});
            weight.written = quant::BlockStatistics();
        }
    }
    if (candidates.empty()) {
        return {"no weight gets 4 bit anew: --calibrate changes nothing"};
    }
    const reference::CheckpointWeights source(run.checkpoint, run.config);
    quant::QuantizedBuffers buffers;
    const auto store = [&](const std::string& name, std::uint64_t first_row, const quant::CodeRows& codes,
                           const quant::BlockStatistics& error) {
        StreamedWeight& weight = *by_name.at(name);
        const quant::Scheme& scheme = *weight.job->storage.scheme;
        const quant::QuantizedRows rows = buffers.resized(scheme, codes.rows, codes.columns);
        quant::store_codes(codes, scheme, rows);
        write_rows(weight, rows, first_row);
        weight.written->merge(error);
    };
    const calibration::Uncalibrated left =
        calibration::calibrate(run.windows, {source, run.config, candidates, run.threads, progress, store});
    std::vector<std::string> notes{fmt::format("calibrated {} weights on {} windows of {} tokens", candidates.size(),
                                               run.windows.size(), run.windows.front().size())};
    if (left.weights > 0) {
        notes.push_back(
            fmt::format("{} weights get only zeros on the text: their codes come from themselves alone", left.weights));
    }
    if (left.experts > 0) {
        notes.push_back(fmt::format(
            "{} of {} projections of experts are reached by fewer than {} tokens: their codes come from themselves "
            "alone (more --calibration-tokens reach more)",
            left.experts, left.experts + left.experts_seen, calibration::kFewestExpertTokens));
    }
    return notes;
}

}  // namespace deltavino::exporter
