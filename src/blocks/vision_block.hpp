// One layer of the vision tower, and the projections around its layers.
//
//   x = x + W_o attention(norm(x)) + b_o
//   x = x + W_2 gelu_tanh(W_1 norm(x) + b_1) + b_2
//   attention: [q, k, v] = W x + b per head, q = rope(q), k = rope(k), y = softmax(q k^T / sqrt(D) + mask) v
//   norm(x) = (x - mean(x)) / sqrt(var(x) + 1e-6) * w + b
//
// Source: transformers `Qwen3_5VisionBlock`. x [N, C]: the patches of all pictures and videos in one
// row, kept apart by the mask; H heads of D = C / H.
//
// Made of single operations (MVN, ScaledDotProductAttention, Gelu) whose kernels sum in float32 even
// when the plugin computes in float16; written out, their squares and sums would overflow there.
#pragma once

#include "graph/weights.hpp"

#include <string>

namespace deltavino::blocks {

struct VisionRotary {
    graph::Value cos;  // [N, 1, D]
    graph::Value sin;
};

// angles f32 [N, D / 2] (rows in the first half, columns in the second) -> cos and sin of [angles, angles].
// Source: transformers `Qwen3_5VisionModel.forward`.
VisionRotary vision_rotary(const graph::Value& angles);

// y = W x + b: x [N, C_in] -> [N, C_out]. A weight with more than two dimensions is seen as [C_out, C_in].
graph::Value biased_linear(const graph::Value& x, const graph::Scope& scope, const std::string& module);

// x [N, C] -> [N, C].
graph::Value layer_norm(const graph::Value& x, const graph::Scope& scope, const std::string& module);

// 0.5 x (1 + erf(x / sqrt(2))).
graph::Value gelu(const graph::Value& x);

// mask [1, N, N], additive.
graph::Value vision_block(const graph::Value& x, const graph::Scope& scope, std::int64_t heads,
                          const VisionRotary& rotary, const graph::Value& mask);

}  // namespace deltavino::blocks
