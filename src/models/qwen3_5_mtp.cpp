#include "models/qwen3_5_mtp.hpp"

#include "base/error.hpp"
#include "blocks/attention.hpp"
#include "blocks/norm.hpp"
#include "blocks/rope.hpp"
#include "checkpoint/rows/row_source.hpp"
#include "graph/names.hpp"
#include "graph/state.hpp"
#include "models/decoder_layer.hpp"

#include <fmt/format.h>

#include <set>

namespace deltavino::models {

using namespace graph;
using checkpoint::Checkpoint;
using checkpoint::LayerKind;
using checkpoint::TextConfig;

namespace {

constexpr std::string_view kMtpPrefix = "mtp.";
constexpr std::string_view kMtpLayer = "mtp.layers.0.";

std::set<std::string> tensors_of(const Checkpoint& checkpoint) {
    std::set<std::string> names;
    for (auto at = checkpoint.tensors().lower_bound(std::string(kMtpPrefix));
         at != checkpoint.tensors().end() && at->first.starts_with(kMtpPrefix); ++at) {
        names.insert(at->first);
    }
    return names;
}

// What is wrong with what the checkpoint has for a row; empty when nothing is.
std::string problem_of(const TensorRow& row, const checkpoint::RowLookup& lookup) {
    if (!lookup.found()) {
        return fmt::format("tensor '{}' is missing", row.name);
    }
    for (const auto* sentences : {&lookup.problems, &lookup.unsupported}) {
        if (!sentences->empty()) {
            return sentences->front();
        }
    }
    if (row.role == Role::Vector && lookup.source) {
        return fmt::format("tensor '{}' is quantized", row.name);
    }
    if (lookup.plain != nullptr && lookup.plain->info.shape != row.shape) {
        return fmt::format("tensor '{}' has shape {}, expected {}", row.name, shape_text(lookup.plain->info.shape),
                           shape_text(row.shape));
    }
    if (lookup.plain != nullptr && !checkpoint::is_plain_float(lookup.plain->info.dtype)) {
        return fmt::format("tensor '{}' has type {}", row.name, checkpoint::dtype_name(lookup.plain->info.dtype));
    }
    return {};
}

// Why tensors do not make up the one layer that is built; empty when they do.
std::string why_unfit(const Checkpoint& checkpoint, const TextConfig& config, std::set<std::string> tensors,
                      const std::optional<checkpoint::Quantization>& quantization) {
    TensorTable table;
    add_mtp_tensors(table, config, checkpoint);
    for (const TensorRow& row : table.rows()) {
        const checkpoint::RowLookup lookup = checkpoint::find_rows(checkpoint, quantization, row.name, row.shape);
        if (std::string problem = problem_of(row, lookup); !problem.empty()) {
            return problem;
        }
        for (const auto* names : {&lookup.used, &lookup.ignored}) {
            for (const std::string& name : *names) {
                tensors.erase(name);
            }
        }
    }
    return tensors.empty() ? std::string() : fmt::format("nothing is known to read tensor '{}'", *tensors.begin());
}

}  // namespace

void add_mtp_tensors(TensorTable& table, const TextConfig& config, const Checkpoint& checkpoint) {
    const std::uint64_t hidden = config.hidden_size;
    table.add("mtp.pre_fc_norm_embedding.weight", {hidden}, Role::Vector);
    table.add("mtp.pre_fc_norm_hidden.weight", {hidden}, Role::Vector);
    table.add("mtp.fc.weight", {hidden, 2 * hidden}, Role::DraftProjection);
    add_layer_tensors(table, config, std::string(kMtpLayer), LayerKind::FullAttention, checkpoint);
    table.add("mtp.norm.weight", {hidden}, Role::Vector);
}

MtpDecision decide_mtp(const Checkpoint& checkpoint, const TextConfig& config,
                       const std::optional<checkpoint::Quantization>& quantization) {
    const std::set<std::string> tensors = tensors_of(checkpoint);
    const std::uint64_t announced = config.mtp_num_hidden_layers;
    std::string why;
    if (tensors.empty() && announced == 0) {
        return {};
    }
    if (tensors.empty()) {
        why = fmt::format("mtp_num_hidden_layers is {} in config.json, and there is no tensor '{}*'", announced,
                          kMtpPrefix);
    } else if (announced == 0) {
        why = "config.json does not announce it (mtp_num_hidden_layers)";
    } else if (announced > 1) {
        why = fmt::format("mtp_num_hidden_layers is {}, and consumers know one layer", announced);
    } else if (config.mtp_use_dedicated_embeddings) {
        why = "with embeddings of its own (mtp_use_dedicated_embeddings), which no consumer knows";
    } else {
        why = why_unfit(checkpoint, config, tensors, quantization);
    }
    const bool present = why.empty();
    return {present, !tensors.empty(), std::move(why)};
}

std::shared_ptr<ov::Model> build_mtp_model(const TextConfig& config, Weights& weights) {
    const auto width = static_cast<std::int64_t>(config.hidden_size);
    const auto hidden_states = parameter(ov::element::f32, {-1, -1, width}, names::kHiddenStates);
    const auto inputs_embeds = parameter(ov::element::f32, {-1, -1, width}, names::kInputsEmbeds);
    const auto attention_mask = parameter(ov::element::i64, {-1, -1}, names::kAttentionMask);
    const auto position_ids = parameter(ov::element::i64, {-1, -1}, names::kPositionIds);
    const auto beam_idx = parameter(ov::element::i32, {-1}, names::kBeamIdx);

    const Scope mtp(weights, std::string(kMtpPrefix));
    // As in the language model: the paged transformation forgets the last dimension of inputs_embeds.
    const Value embedded = reshape(inputs_embeds, {0, 0, width});
    const Value joined =
        concat({blocks::zero_centred_norm(embedded, mtp, "pre_fc_norm_embedding", config.rms_norm_eps, 3),
                blocks::zero_centred_norm(hidden_states, mtp, "pre_fc_norm_hidden", config.rms_norm_eps, 3)},
               -1);  // [B, S, 2 C]
    States states({beam_idx, dimension(inputs_embeds, 0)}, StateNames::PastKeyValues);
    const blocks::KeyValueState cache = blocks::read_key_value(states, 0, config);
    const blocks::Rotary rotary = blocks::given_rotary(position_ids, config.rope);
    const Value mask = blocks::causal_mask(attention_mask, inputs_embeds);
    const Scope layer(weights, std::string(kMtpLayer));
    const Value x = decoder_layer(mtp.linear(joined, "fc"), layer, config, [&](const Value& normed) {
        return blocks::gated_attention(normed, layer / "self_attn", config, rotary, mask, cache, states);
    });
    const Value y = blocks::zero_centred_norm(x, mtp, "norm", config.rms_norm_eps, 3);
    return single_output_model(y, names::kLastHiddenState,
                               {hidden_states, inputs_embeds, attention_mask, position_ids, beam_idx}, "qwen3_5_mtp",
                               states.sinks());
}

}  // namespace deltavino::models
