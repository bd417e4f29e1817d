// Root-mean-square norms.
#pragma once

#include "checkpoint/config.hpp"
#include "graph/weights.hpp"

#include <string>

namespace deltavino::blocks {

// y = x / sqrt(mean(x^2) + eps) * (1 + w): the zero-centred norm of Qwen3.5 (input, post-attention,
// final, q and k norms). x [..., C] of the given rank, w [C]. Source: transformers `Qwen3_5RMSNorm`.
// 1 + w is folded in double and stored as float32, times `scale.factor` in the first `scale.channels`.
struct LeadingScale {
    std::int64_t channels = 0;
    double factor = 1.0;
};
graph::Value zero_centred_norm(const graph::Value& x, const graph::Scope& scope, const std::string& module, double eps,
                               std::size_t rank, LeadingScale scale = {});

// y = x / sqrt(mean(x^2) + eps) * w * act(z): the norm after the gated delta rule, plain w; act is silu or
// sigmoid. x, z [N, V], w [V]. Source: transformers `Qwen3_5RMSNormGated`, which knows silu only; that
// output_gate_type chooses the activation is as in vLLM and SGLang.
graph::Value gated_norm(const graph::Value& x, const graph::Value& z, const graph::Scope& scope,
                        const std::string& module, double eps, checkpoint::GateActivation activation);

}  // namespace deltavino::blocks
