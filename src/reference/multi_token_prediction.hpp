// The multi-token-prediction layer: from what the text model said at a token, and the token that was chosen after it,
// what comes next but one.
//
//   x_t = W_fc [norm_e(e_(t+1)), norm_h(h_t)]
//   y = norm(layer(x));  logits = head(y), that of the text model
//
// layer is one full-attention layer of the text model with weights of its own, feed-forward or experts as there.
// h [T, C]: after the final norm, what the head reads. e [T, C]: the text model's embeddings of tokens 1..T. W_fc
// [C, 2 C]. Its weights: 'mtp.fc', 'mtp.pre_fc_norm_embedding', 'mtp.pre_fc_norm_hidden', 'mtp.layers.0...', 'mtp.norm'.
// Source: optimum-intel 2.2.0 `Qwen3_5MTPModule`, made of transformers' layers; transformers leaves these tensors out.
#pragma once

#include "checkpoint/config.hpp"
#include "reference/layers.hpp"
#include "reference/rotary.hpp"

#include <array>
#include <functional>

namespace deltavino::reference {

// What `on_stage` hears of: x after W_fc, then after each half of the layer.
inline constexpr std::array kPredictionStages{"projection", "attention", "feed-forward part"};
using StageSink = std::function<void(const char* stage, ConstMatrixRef x)>;

// Returns y [T, C] for a prompt that starts with empty states. `embedded` and `hidden` have as many rows as there
// are positions. Throws ErrorKind::Unsupported for a checkpoint with more than one such layer.
Matrix multi_token_prediction(ConstMatrixRef embedded, ConstMatrixRef hidden, const Positions& positions,
                              const checkpoint::TextConfig& config, const Context& context,
                              const StageSink& on_stage = {});

}  // namespace deltavino::reference
