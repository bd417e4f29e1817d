// The gated delta rule: linear attention with a matrix state per head.
//
//   [q, k, v] = silu(conv(W_qkv x)),  z = W_z x,  beta = sigmoid(W_b x)
//   g = -exp(A_log) * softplus(W_a x + dt_bias)                (log of the decay)
//   q, k = l2norm(q), l2norm(k);  q = q / sqrt(K)
//   S_t = exp(g_t) S_{t-1} + k_t (beta_t (v_t - k_t^T exp(g_t) S_{t-1}))^T
//   o_t = S_t^T q_t
//   y = W_out (norm(o) * act(z)),  act = silu or sigmoid, as output_gate_type says
//
// Source: transformers `Qwen3_5GatedDeltaNet`, `torch_recurrent_gated_delta_rule`. x [B, S, C];
// H_k key heads of size K, H_v value heads of size V, H_v a multiple of H_k: value head h reads key
// head h / (H_v / H_k). The convolution is depthwise and causal over the last linear_conv_kernel_dim
// tokens of the 2 H_k K + H_v V channels.
#pragma once

#include "checkpoint/config.hpp"
#include "graph/state.hpp"
#include "graph/weights.hpp"

namespace deltavino::blocks {

// Sets the hidden states of padding to zero, which leaves both states untouched by it:
// x [B, S, C] * attention_mask[:, -S:]. Taken from the right end, where every runtime puts new tokens.
// Returns the factor [B, S, 1].
graph::Value padding_gate(const graph::Value& attention_mask, const graph::Value& tokens);

// `index` counts the linear-attention layers. x must be gated already.
graph::Value gated_delta_net(const graph::Value& x, const graph::Scope& scope, const checkpoint::TextConfig& config,
                             std::uint64_t index, graph::States& states);

}  // namespace deltavino::blocks
