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

const char* head_of(const CalibrationRun& run) {
    return run.tied_head ? "model.embed_tokens.weight" : "lm_head.weight";
}

// Whether the text decides how the weight is stored.
bool is_calibrated(const graph::WeightJob& job, const CalibrationRun& run) {
    const bool of_layer = is_linear(job.role) && job.canonical_name.starts_with("model.layers.");
    if (!job.storage.scheme || job.storage.imported || (!of_layer && job.canonical_name != head_of(run))) {
        return false;
    }
    const quant::FormatTraits& format = quant::traits(job.storage.scheme->format);
    // The zero points of each expert must begin at a byte.
    const auto& moe = run.config.moe;
    const std::uint64_t experts = job.role == Role::Expert && moe ? moe->num_experts : 1;
    const std::uint64_t zero_points = job.rows / experts * quant::groups_per_row(*job.storage.scheme, job.columns);
    return format.integer && format.bits == 4 && (experts == 1 || !format.zero_point || zero_points % 2 == 0);
}

}  // namespace

std::vector<std::string> write_calibrated(const CalibrationRun& run, std::vector<StreamedWeight>& weights,
                                          ProgressSink& progress) {
    std::map<std::string, std::vector<StreamedWeight*>> by_name;  // a tied table can stand in two files
    calibration::Candidates candidates;
    for (StreamedWeight& weight : weights) {
        const graph::WeightJob& job = *weight.job;
        if (!is_calibrated(job, run)) {
            continue;
        }
        const calibration::Candidate candidate{*job.storage.scheme, job.rows, job.columns};
        const auto [place, is_new] = candidates.emplace(job.canonical_name, candidate);
        if (is_new || place->second.scheme == candidate.scheme) {
            by_name[job.canonical_name].push_back(&weight);
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
        const quant::Scheme& scheme = candidates.at(name).scheme;
        const quant::QuantizedRows rows = buffers.resized(scheme, codes.rows, codes.columns);
        quant::store_codes(codes, scheme, rows);
        for (StreamedWeight* weight : by_name.at(name)) {
            write_rows(*weight, rows, first_row);
            weight->written->merge(error);
        }
    };
    const calibration::Uncalibrated left = calibration::calibrate(
        run.windows, {source, run.config, candidates, run.threads, progress, store, head_of(run)});
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
