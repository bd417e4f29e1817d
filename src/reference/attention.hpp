// Gated full attention over a whole prompt.
//
//   [q, gate] = W_q x (per head), k = W_k x, v = W_v x
//   q = rope(norm(q)), k = rope(norm(k))
//   y = W_o (softmax(q k^T / sqrt(D), causal) v * sigmoid(gate))
//
// Source: transformers `Qwen3_5Attention`. x [T, C]; H heads, G key/value heads, D head_dim; query head h reads
// key/value head h / (H / G).
#pragma once

#include "checkpoint/config.hpp"
#include "reference/layers.hpp"
#include "reference/rotary.hpp"

namespace deltavino::reference {

Matrix gated_attention(ConstMatrixRef x, const Context& context, const std::string& module,
                       const checkpoint::TextConfig& config, const Rotary& rotary);

// softmax(q k^T * scale) v of one head; query i sees keys 0..i when `causal`. q, k, v, result [T, D].
Matrix attend(ConstMatrixRef q, ConstMatrixRef k, ConstMatrixRef v, double scale, bool causal);

}  // namespace deltavino::reference
