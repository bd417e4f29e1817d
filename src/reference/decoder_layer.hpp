// One layer of the text model.
//
//   x = x + mixer(norm(x));  x = x + feed_forward(norm(x))
//
// Source: transformers `Qwen3_5DecoderLayer`, its `Moe` twin, `Qwen3NextDecoderLayer`. x [T, C].
#pragma once

#include "checkpoint/config.hpp"
#include "reference/layers.hpp"
#include "reference/rotary.hpp"

#include <functional>
#include <string>

namespace deltavino::reference {

// The norm of the text model before its layers' halves, of the weight with this name.
Matrix hidden_norm(ConstMatrixRef x, const Context& context, const std::string& name,
                   const checkpoint::TextConfig& config);

// `layer`: what the names of its weights begin with, 'model.layers.0.'. `on_mixer`, when given, hears the first half.
Matrix decoder_layer(Matrix x, const Context& context, const std::string& layer, checkpoint::LayerKind kind,
                     const checkpoint::TextConfig& config, const Rotary& rotary,
                     const std::function<void(ConstMatrixRef)>& on_mixer = {});

}  // namespace deltavino::reference
