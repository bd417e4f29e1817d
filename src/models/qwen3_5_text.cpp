#include "models/qwen3_5_text.hpp"

#include "blocks/attention.hpp"
#include "blocks/gated_delta_net.hpp"
#include "blocks/norm.hpp"
#include "blocks/rope.hpp"
#include "graph/names.hpp"
#include "graph/state.hpp"
#include "models/decoder_layer.hpp"

#include <openvino/op/gather.hpp>
#include <openvino/op/reduce_max.hpp>

namespace deltavino::models {

using namespace graph;
using checkpoint::LayerKind;
using checkpoint::TextConfig;

namespace {

std::string layer_prefix(std::uint64_t index) {
    return "model.layers." + std::to_string(index) + ".";
}

// What all layers share.
struct Shared {
    blocks::Rotary rotary;
    Value mask;
    Value gate;  // of padding, for the linear layers
};

Value build_layers(Value x, const TextConfig& config, Weights& weights, const Shared& shared,
                   const std::vector<blocks::KeyValueState>& cache, States& states,
                   std::vector<std::string>& layer_outputs) {
    std::uint64_t linear_index = 0;
    std::uint64_t full_index = 0;
    for (std::uint64_t i = 0; i < config.num_hidden_layers; ++i) {
        const Scope layer(weights, layer_prefix(i));
        x = decoder_layer(x, layer, config, [&](const Value& normed) {
            return config.layer_types[i] == LayerKind::LinearAttention
                       ? blocks::gated_delta_net(multiply(normed, shared.gate), layer / "linear_attn", config,
                                                 linear_index++, states)
                       : blocks::gated_attention(normed, layer / "self_attn", config, shared.rotary, shared.mask,
                                                 cache[full_index++], states);
        });
        layer_outputs.push_back(x.get_node()->get_friendly_name());
    }
    return x;
}

// ids i64 [B, S] -> [B, S, C]
Value embed(const Value& ids, const Scope& decoder) {
    const Value table = decoder.matrix("embed_tokens.weight");
    return named(gather(table, convert(ids, ov::element::i32), integer32(0)),
                 decoder.path("embed_tokens.weight") + "/lookup");
}

std::vector<blocks::KeyValueState> read_cache(States& states, const TextConfig& config) {
    std::vector<blocks::KeyValueState> cache;
    for (std::uint64_t i = 0; i < config.count(LayerKind::FullAttention); ++i) {
        cache.push_back(blocks::read_key_value(states, i, config));
    }
    return cache;
}

// Layers, final norm and head over the embeddings x [B, S, C].
TextModel finish(Value x, const TextConfig& config, Weights& weights, bool tied, const Shared& shared,
                 const std::vector<blocks::KeyValueState>& cache, States& states, const ov::ParameterVector& inputs,
                 const char* model_name) {
    const Scope decoder(weights, "model.");
    TextModel result;
    x = build_layers(x, config, weights, shared, cache, states, result.layer_outputs);
    x = blocks::zero_centred_norm(x, decoder, "norm", config.rms_norm_eps, 3);
    result.layer_outputs.push_back(x.get_node()->get_friendly_name());

    const Value head = tied ? decoder.matrix("embed_tokens.weight") : weights.matrix("lm_head.weight");
    // MatMul straight to the Result: GenAI looks for it there.
    const Value logits = named(matmul(x, head, false, true), tied ? "lm_head" : weights.module_path("lm_head.weight"));
    result.model = single_output_model(logits, names::kLogits, inputs, model_name, states.sinks());
    return result;
}

// Whole texts in, hidden states [B, S, C] after the final norm out.
struct Encoder {
    ov::ParameterVector inputs;
    Value attention_mask;
    Value hidden;
};

Encoder encode(const TextConfig& config, Weights& weights) {
    const auto input_ids = parameter(ov::element::i64, {-1, -1}, names::kInputIds);
    const auto attention_mask = parameter(ov::element::i64, {-1, -1}, names::kAttentionMask);
    const Scope decoder(weights, "model.");
    const Value x = embed(input_ids, decoder);
    States states({{}, dimension(input_ids, 0)}, StateNames::None);
    const std::vector<blocks::KeyValueState> cache = read_cache(states, config);
    const Shared shared{blocks::sequential_rotary(cache.front().key.past, input_ids, config.rope),
                        blocks::causal_mask(attention_mask, input_ids),
                        blocks::padding_gate(attention_mask, input_ids)};
    std::vector<std::string> layer_outputs;
    const Value hidden = build_layers(x, config, weights, shared, cache, states, layer_outputs);
    return {{input_ids, attention_mask},
            attention_mask,
            blocks::zero_centred_norm(hidden, decoder, "norm", config.rms_norm_eps, 3)};
}

// x [B, S, C] at the last token of each row whose mask is 1 -> [B, C].
Value last_tokens(const Value& x, const Value& attention_mask) {
    const Value tokens = gather(shape_of(attention_mask), integer(1), integer(0));
    const Value places = multiply(attention_mask, range(integer(0), tokens));
    const Value last = std::make_shared<ov::op::v1::ReduceMax>(places, ints({1}), true)->output(0);  // [B, 1]
    return squeeze(std::make_shared<ov::op::v8::Gather>(x, last, integer(1), 1)->output(0), ints({1}));
}

}  // namespace

void add_text_tensors(TensorTable& table, const TextConfig& config, bool tied,
                      const checkpoint::Checkpoint& checkpoint) {
    table.add("model.embed_tokens.weight", {config.vocab_size, config.hidden_size}, Role::Embedding);
    for (std::uint64_t i = 0; i < config.num_hidden_layers; ++i) {
        add_layer_tensors(table, config, layer_prefix(i), config.layer_types[i], checkpoint);
    }
    table.add("model.norm.weight", {config.hidden_size}, Role::Vector);
    if (!tied) {
        table.add("lm_head.weight", {config.vocab_size, config.hidden_size}, Role::Head);
    }
}

TextModel build_text_model(const TextConfig& config, Weights& weights, bool tied) {
    const auto input_ids = parameter(ov::element::i64, {-1, -1}, names::kInputIds);
    const auto attention_mask = parameter(ov::element::i64, {-1, -1}, names::kAttentionMask);
    const auto beam_idx = parameter(ov::element::i32, {-1}, names::kBeamIdx);

    const Value x = embed(input_ids, Scope(weights, "model."));
    States states({beam_idx, dimension(input_ids, 0)});
    const std::vector<blocks::KeyValueState> cache = read_cache(states, config);
    const Shared shared{blocks::sequential_rotary(cache.front().key.past, input_ids, config.rope),
                        blocks::causal_mask(attention_mask, input_ids),
                        blocks::padding_gate(attention_mask, input_ids)};
    return finish(x, config, weights, tied, shared, cache, states, {input_ids, attention_mask, beam_idx},
                  "qwen3_5_text");
}

TextModel build_language_model(const TextConfig& config, Weights& weights, bool tied) {
    const auto attention_mask = parameter(ov::element::i64, {-1, -1}, names::kAttentionMask);
    const auto inputs_embeds =
        parameter(ov::element::f32, {-1, -1, static_cast<std::int64_t>(config.hidden_size)}, names::kInputsEmbeds);
    const auto position_ids = parameter(ov::element::i64, {4, -1, -1}, names::kPositionIds);
    const auto beam_idx = parameter(ov::element::i32, {-1}, names::kBeamIdx);

    // The paged transformation forgets the last dimension of the input; without it the first norm would not fuse.
    const Value x = reshape(inputs_embeds, {0, 0, static_cast<std::int64_t>(config.hidden_size)});
    States states({beam_idx, dimension(inputs_embeds, 0)});
    const std::vector<blocks::KeyValueState> cache = read_cache(states, config);
    const Shared shared{blocks::multimodal_rotary(position_ids, config.rope),
                        blocks::causal_mask(attention_mask, inputs_embeds),
                        blocks::padding_gate(attention_mask, inputs_embeds)};
    return finish(x, config, weights, tied, shared, cache, states,
                  {attention_mask, inputs_embeds, position_ids, beam_idx}, "qwen3_5_language");
}

std::shared_ptr<ov::Model> build_feature_model(const TextConfig& config, Weights& weights) {
    const Encoder encoder = encode(config, weights);
    return single_output_model(encoder.hidden, names::kLastHiddenState, encoder.inputs, "qwen3_5_features");
}

std::shared_ptr<ov::Model> build_score_model(const TextConfig& config, Weights& weights) {
    const Encoder encoder = encode(config, weights);
    const Value pooled = last_tokens(encoder.hidden, encoder.attention_mask);
    const Value logits =
        named(matmul(pooled, weights.matrix("score.weight"), false, true), weights.module_path("score.weight"));
    return single_output_model(logits, names::kLogits, encoder.inputs, "qwen3_5_scores");
}

std::shared_ptr<ov::Model> build_text_embeddings(Weights& weights) {
    const auto ids = parameter(ov::element::i64, {-1, -1}, names::kInput);
    return single_output_model(embed(ids, Scope(weights, "model.")), names::kInputsEmbeds, {ids},
                               "qwen3_5_text_embeddings");
}

}  // namespace deltavino::models
