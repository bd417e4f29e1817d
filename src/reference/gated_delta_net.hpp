// The gated delta rule by its recurrence, token after token.
//
//   [q, k, v] = silu(conv(W_qkv x)),  z = W_z x,  beta = sigmoid(W_b x)
//   g = -exp(A_log) * softplus(W_a x + dt_bias)
//   q, k = l2norm(q), l2norm(k);  q = q / sqrt(K)
//   S_t = exp(g_t) S_{t-1} + k_t (beta_t (v_t - k_t^T exp(g_t) S_{t-1}))^T
//   o_t = S_t^T q_t
//   y = W_out (norm(o) * act(z))
//
// Source: transformers `Qwen3_5GatedDeltaNet`, `torch_recurrent_gated_delta_rule`. x [T, C]; H_k key heads of
// size K, H_v value heads of size V; value head h reads key head h / (H_v / H_k). norm is not zero-centred.
#pragma once

#include "checkpoint/config.hpp"
#include "reference/layers.hpp"

namespace deltavino::reference {

Matrix gated_delta_net(ConstMatrixRef x, const Context& context, const std::string& module,
                       const checkpoint::TextConfig& config);

}  // namespace deltavino::reference
