// One layer of a decoder: its rows of the tensor table, and its graph.
//
//   x = x + mixer(norm(x));  x = x + feed_forward(norm(x))
//
// mixer is the gated delta rule or gated full attention; feed_forward is one layer or a mixture of experts.
// Source: transformers 5.2 `Qwen3_5DecoderLayer`, its `Moe` twin, `Qwen3NextDecoderLayer`.
#pragma once

#include "checkpoint/checkpoint.hpp"
#include "checkpoint/config.hpp"
#include "graph/tensor_table.hpp"
#include "graph/weights.hpp"

#include <functional>
#include <string>

namespace deltavino::models {

// `layer`: what the names of its weights begin with, 'model.layers.0.'. The names in `checkpoint` tell how the experts
// are stored.
void add_layer_tensors(graph::TensorTable& table, const checkpoint::TextConfig& config, const std::string& layer,
                       checkpoint::LayerKind kind, const checkpoint::Checkpoint& checkpoint);

// x [B, S, C] -> [B, S, C]; the result is called after the checkpoint's name of the layer,
// 'model.language_model.layers.0/residual'. `mixer` gets the normed x.
graph::Value decoder_layer(const graph::Value& x, const graph::Scope& layer, const checkpoint::TextConfig& config,
                           const std::function<graph::Value(const graph::Value& normed)>& mixer);

}  // namespace deltavino::models
