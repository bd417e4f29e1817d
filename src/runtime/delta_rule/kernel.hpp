// The convolution and the delta rule of one linear attention layer, for some tokens of one sequence.
//
//   [q, k, v]_t = silu(sum_j taps_j * x_(t - taps + 1 + j))     a depthwise causal convolution
//   q, k = l2norm(q), l2norm(k);  q = q / sqrt(K)
//   S_t = exp(g_t) S_(t-1) + k_t (beta_t (v_t - k_t^T exp(g_t) S_(t-1)))^T
//   o_t = S_t^T q_t
//
// Source: transformers `Qwen3_5GatedDeltaNet`, `torch_recurrent_gated_delta_rule`; the same equations as
// blocks/gated_delta_net.cpp. Sums run in f32 in the order of the key's values, whatever is stored.
#pragma once

#include "quant/convert.hpp"
#include "quant/isa.hpp"

#include <cstddef>

namespace deltavino::runtime {

// Values of every stored tensor but `taps` are of `type`. H_k key heads of K values, H_v value
// heads of V values; value head h reads key head h / (H_v / H_k). C = 2 H_k K + H_v V channels: q, k, v.
struct DeltaRuleCall {
    std::size_t tokens = 0;
    std::size_t key_heads = 0;
    std::size_t value_heads = 0;
    std::size_t key_size = 0;    // K, a multiple of 16
    std::size_t value_size = 0;  // V, a multiple of 16
    std::size_t width = 0;       // of the convolution
    quant::SourceType type = quant::SourceType::F32;
    const float* taps = nullptr;              // [width, C]
    const std::byte* x = nullptr;             // [tokens, C]
    const std::byte* g = nullptr;             // [tokens, H_v]
    const std::byte* beta = nullptr;          // [tokens, H_v]
    const std::byte* past_state = nullptr;    // [H_v, K, V]
    const std::byte* past_columns = nullptr;  // [width, C], the last inputs of the convolution, oldest first
    std::byte* output = nullptr;              // [tokens, H_v, V]
    std::byte* state = nullptr;               // [H_v, K, V]
    std::byte* columns = nullptr;             // [width, C]
};

// What a key head needs while it runs.
std::size_t delta_rule_scratch_floats(const DeltaRuleCall& call);

// Computes what belongs to one key head: its value heads and their part of the states. Heads may run side by side.
// `scratch` is for this head alone. The results are the same bits for every instruction set.
using DeltaRuleHead = void (*)(const DeltaRuleCall& call, std::size_t key_head, float* scratch);
DeltaRuleHead delta_rule_head(quant::Isa isa);

// One for each instruction set.
extern const DeltaRuleHead kDeltaRulePortable;
extern const DeltaRuleHead kDeltaRuleAvx2;    // x86-64 only
extern const DeltaRuleHead kDeltaRuleAvx512;  // x86-64 only

}  // namespace deltavino::runtime
