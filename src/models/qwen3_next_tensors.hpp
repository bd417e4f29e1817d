// The delta-rule projections as Qwen3-Next checkpoints store them.
#pragma once

#include "checkpoint/config.hpp"
#include "graph/tensor_table.hpp"

#include <string>

namespace deltavino::models {

// Adds the rows of the four input projections of one layer. With H_k key heads of size K, H_v value heads
// of size V and r = H_v / H_k, the checkpoint holds, of each key head in turn,
//
//   in_proj_qkvz.weight: K rows of q, K of k, r V of v, r V of z
//   in_proj_ba.weight:   r rows of b, r of a
//
// and the block reads in_proj_qkv (all q, all k, all v), in_proj_z, in_proj_b and in_proj_a, as Qwen3.5
// checkpoints have them. `module` is 'model.layers.<i>.linear_attn.'. Source: transformers 5.2
// `Qwen3NextGatedDeltaNet.fix_query_key_value_ordering`.
void add_interleaved_projections(graph::TensorTable& table, const checkpoint::TextConfig& config,
                                 const std::string& module);

}  // namespace deltavino::models
