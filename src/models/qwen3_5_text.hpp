// The Qwen3.5 text model: token ids (or embeddings) in, logits out, states kept between calls.
//
//   x = embed(ids)
//   for each layer:  x = x + mixer(norm(x));  x = x + feed_forward(norm(x))
//   logits = head(norm(x))
//
// mixer is the gated delta rule or gated full attention, as layer_types says; feed_forward is one layer or
// a mixture of experts. Source: transformers 5.2 `Qwen3_5ForCausalLM`, `Qwen3_5ForConditionalGeneration`,
// their `Moe` twins and `Qwen3NextForCausalLM`.
#pragma once

#include "checkpoint/config.hpp"
#include "graph/tensor_table.hpp"
#include "graph/weights.hpp"

#include <openvino/core/model.hpp>

#include <memory>
#include <string>
#include <vector>

namespace deltavino::models {

// The rows of the decoder. `tied`: the head reads the embedding. The names in `checkpoint` tell how the
// experts are stored.
void add_text_tensors(graph::TensorTable& table, const checkpoint::TextConfig& config, bool tied,
                      const checkpoint::Checkpoint& checkpoint);

struct TextModel {
    std::shared_ptr<ov::Model> model;
    // Friendly names of the nodes that end each layer, then of the final norm: GenAI's draft models
    // look them up.
    std::vector<std::string> layer_outputs;
};

// Inputs input_ids i64 [B, S], attention_mask i64 [B, past + S], beam_idx i32 [B]; output logits f32
// [B, S, vocab_size].
TextModel build_text_model(const checkpoint::TextConfig& config, graph::Weights& weights, bool tied);

// The decoder without states, for whole texts. Inputs input_ids i64 [B, S], attention_mask i64 [B, S], padded on either
// side; output last_hidden_state f32 [B, S, hidden_size], after the final norm.
std::shared_ptr<ov::Model> build_feature_model(const checkpoint::TextConfig& config, graph::Weights& weights);

// The same with 'score.weight' [labels, hidden_size] on the last token of each text that is no padding; output logits
// f32 [B, labels].
std::shared_ptr<ov::Model> build_score_model(const checkpoint::TextConfig& config, graph::Weights& weights);

// The same decoder behind a vision tower. Inputs attention_mask i64 [B, past + S], inputs_embeds f32
// [B, S, hidden_size], position_ids i64 [4, B, S] (text, temporal, height, width; the first row is not
// used), beam_idx i32 [B]; output logits f32 [B, S, vocab_size].
TextModel build_language_model(const checkpoint::TextConfig& config, graph::Weights& weights, bool tied);

// input i64 [B, S] -> inputs_embeds f32 [B, S, hidden_size].
std::shared_ptr<ov::Model> build_text_embeddings(graph::Weights& weights);

}  // namespace deltavino::models
