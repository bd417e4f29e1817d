// Rotary position embeddings over the first dims of each head.
//
//   y = [a * cos + rotate_half(a) * sin, b],  a = x[..., :R], b = x[..., R:]
//   angle_j(p) = p * theta^(-2j/R), j = 0..R/2-1
//
// With YaRN, angle_j(p) = p * theta^(-2j/R) * (r_j / factor + 1 - r_j), where r_j goes from 0 for the fast
// frequencies to 1 for the slow ones, and cos and sin are multiplied by attention_factor. Here the first R
// channels of queries and keys are multiplied instead, which is the same and costs nothing: it is folded into
// the weights of their norms. A Multiply after Cos and Sin hides the positions from the paged transformation,
// which then gives all tokens of a step the same one without a word.
//
// Source: transformers `Qwen3_5TextRotaryEmbedding`, `apply_rotary_pos_emb`, `_compute_yarn_parameters`.
#pragma once

#include "checkpoint/config.hpp"
#include "graph/ops.hpp"

#include <vector>

namespace deltavino::blocks {

struct Rotary {
    graph::Value cos;  // [B or 1, 1, S, R]
    graph::Value sin;
    std::int64_t dims = 0;          // R
    double attention_factor = 1.0;  // of the first R channels of queries and keys; not in cos and sin
};

// angle_j(1), computed in double.
std::vector<float> inverse_frequencies(const checkpoint::RopeConfig& config);

// Positions past_length .. past_length + sequence_length - 1 of every row.
//
// past_tokens: a cached key tensor [B, H, past, D]; input_ids [B, S]. This is the one spelling of
// positions that the paged transformation, optimum-intel and the NPU plugin replace by their own:
// Range -> Unsqueeze -> Unsqueeze -> Convert -> MatMul -> Transpose -> Concat -> Cos and Sin. Left
// padding shifts all positions of a row alike, which rotary attention does not see.
Rotary sequential_rotary(const graph::Value& past_tokens, const graph::Value& input_ids,
                         const checkpoint::RopeConfig& config);

// Multimodal positions (interleaved M-RoPE): position_ids i64 [4, B, S] with rows text, temporal,
// height, width; frequency j takes height when j % 3 == 1 and j < 3 * section[1], width when
// j % 3 == 2 and j < 3 * section[2], else temporal.
Rotary multimodal_rotary(const graph::Value& position_ids, const checkpoint::RopeConfig& config);

// Positions that the caller gives: position_ids i64 [B, S].
Rotary given_rotary(const graph::Value& position_ids, const checkpoint::RopeConfig& config);

// x [B, H, S, D] -> [B, H, S, D]. x has been multiplied by the attention factor already.
graph::Value apply_rotary(const graph::Value& x, const Rotary& rotary);

}  // namespace deltavino::blocks
