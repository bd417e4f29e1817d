// The multi-token-prediction layer of Qwen3.5: from what the text model said at a token, and the token that was
// chosen after it, the hidden state of the token after that. The text model's head makes logits of it.
//
//   x_t = W_fc [norm_e(e_(t+1)), norm_h(h_t)];  y = norm(layer(x))
//
// layer is one full-attention layer with weights of its own, feed-forward or experts as in the text model. h is what
// the text model's head reads; for a second draft it is y. Source: optimum-intel 2.2.0 `Qwen3_5MTPModule`, made of
// transformers' layers; transformers leaves these tensors out.
#pragma once

#include "checkpoint/checkpoint.hpp"
#include "checkpoint/config.hpp"
#include "checkpoint/quantization.hpp"
#include "graph/tensor_table.hpp"
#include "graph/weights.hpp"

#include <openvino/core/model.hpp>

#include <memory>
#include <optional>
#include <string>

namespace deltavino::models {

void add_mtp_tensors(graph::TensorTable& table, const checkpoint::TextConfig& config,
                     const checkpoint::Checkpoint& checkpoint);

// Whether the layer can be built, by config.json and by the tensors.
struct MtpDecision {
    bool present = false;
    bool has_tensors = false;  // perhaps not all
    std::string why_not;       // when config.json or a tensor speaks of it; else empty
};
MtpDecision decide_mtp(const checkpoint::Checkpoint& checkpoint, const checkpoint::TextConfig& config,
                       const std::optional<checkpoint::Quantization>& quantization);

// Inputs hidden_states f32 [B, S, C], inputs_embeds f32 [B, S, C], attention_mask i64 [B, past + S], position_ids i64
// [B, S], beam_idx i32 [B]; output last_hidden_state f32 [B, S, C]. One pair of key and value states.
std::shared_ptr<ov::Model> build_mtp_model(const checkpoint::TextConfig& config, graph::Weights& weights);

}  // namespace deltavino::models
