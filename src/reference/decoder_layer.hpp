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

// What the halves of a layer add to x, of what the norms before them put out. `layer`: as below.
Matrix mixer(ConstMatrixRef normed, const Context& context, const std::string& layer, checkpoint::LayerKind kind,
             const checkpoint::TextConfig& config, const Rotary& rotary);
Matrix feed_forward(ConstMatrixRef normed, const Context& context, const std::string& layer,
                    const checkpoint::TextConfig& config);

inline constexpr const char* kMixerNorm = "input_layernorm.weight";
inline constexpr const char* kFeedForwardNorm = "post_attention_layernorm.weight";

// `layer`: what the names of its weights begin with, 'model.layers.0.'. `on_mixer`, when given, hears the first half.
Matrix decoder_layer(Matrix x, const Context& context, const std::string& layer, checkpoint::LayerKind kind,
                     const checkpoint::TextConfig& config, const Rotary& rotary,
                     const std::function<void(ConstMatrixRef)>& on_mixer = {});

}  // namespace deltavino::reference
