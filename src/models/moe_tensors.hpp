// The tensors of a mixture-of-experts layer, however a checkpoint stores its experts.
#pragma once

#include "checkpoint/checkpoint.hpp"
#include "checkpoint/config.hpp"
#include "graph/tensor_table.hpp"

#include <string>

namespace deltavino::models {

// Adds the rows of one layer. With E experts, I moe_intermediate_size and H hidden_size, the block reads
// the stacks
//
//   mlp.experts.gate_proj.weight [E, I, H]   mlp.experts.up_proj.weight [E, I, H]
//   mlp.experts.down_proj.weight [E, H, I]
//
// which checkpoints hold as mlp.experts.gate_up_proj [E, 2 I, H] (of each expert first the I gate rows,
// then the I up rows) and mlp.experts.down_proj [E, H, I], or as one tensor per expert and projection,
// mlp.experts.<e>.gate_proj.weight and so on. The names that are present decide, layer by layer: one
// model may hold both. `layer` is 'model.layers.<i>.'.
void add_moe_tensors(graph::TensorTable& table, const checkpoint::TextConfig& config, const std::string& layer,
                     const checkpoint::Checkpoint& checkpoint);

}  // namespace deltavino::models
