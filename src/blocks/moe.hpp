// The mixture-of-experts layer: k of E small feed-forward layers per token, and one that all tokens pass.
//
//   p = softmax(W_r h)                                        over the E experts
//   T = the k experts of largest p;  w_e = p_e for e in T, divided by their sum when norm_topk_prob says so
//   y = sum over e in T of w_e W_down,e (silu(W_gate,e h) * W_up,e h)
//     + sigmoid(w_s h) * W_down,s (silu(W_gate,s h) * W_up,s h)
//
// H hidden_size, I moe_intermediate_size, J shared_expert_intermediate_size. Weights: gate (the router W_r)
// [E, H]; experts.gate_proj, experts.up_proj [E, I, H]; experts.down_proj [E, H, I];
// shared_expert.gate_proj, .up_proj [J, H]; shared_expert.down_proj [H, J]; shared_expert_gate (w_s) [1, H].
// Source: transformers 5.2 `Qwen3_5MoeSparseMoeBlock`, `Qwen3NextSparseMoeBlock`.
#pragma once

#include "checkpoint/config.hpp"
#include "graph/weights.hpp"

namespace deltavino::blocks {

// x [B, S, H] -> [B, S, H]. `config` must have experts.
graph::Value mixture_of_experts(const graph::Value& x, const graph::Scope& scope, const checkpoint::TextConfig& config);

}  // namespace deltavino::blocks
