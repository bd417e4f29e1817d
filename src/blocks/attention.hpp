// Gated full attention with a growing key/value cache.
//
//   [q, gate] = W_q x (per head), k = W_k x, v = W_v x
//   q = rope(norm(q)), k = rope(norm(k))
//   y = W_o (softmax(q k^T / sqrt(D) + mask) v * sigmoid(gate))
//
// Source: transformers `Qwen3_5Attention`. x [B, S, C]; H heads, G key/value heads, D head_dim.
#pragma once

#include "blocks/rope.hpp"
#include "checkpoint/config.hpp"
#include "graph/state.hpp"
#include "graph/weights.hpp"

namespace deltavino::blocks {

// The cached keys and values of one layer: [B, G, past, D], keys already rotated.
struct KeyValueState {
    graph::State key;
    graph::State value;
};

KeyValueState read_key_value(graph::States& states, std::uint64_t index, const checkpoint::TextConfig& config);

// Additive mask [B, 1, S, past + S]: 0 where query i may see key j (j <= past + i and
// attention_mask[j] != 0), else a large negative number. attention_mask i64 [B, past + S];
// tokens [B, S, ...].
graph::Value causal_mask(const graph::Value& attention_mask, const graph::Value& tokens);

graph::Value gated_attention(const graph::Value& x, const graph::Scope& scope, const checkpoint::TextConfig& config,
                             const Rotary& rotary, const graph::Value& mask, const KeyValueState& past,
                             graph::States& states);

}  // namespace deltavino::blocks
