// What makes a language model faster on the CPU than the file alone lets it be.
#pragma once

#include "runtime/language_model.hpp"

namespace deltavino::runtime {

// Where `settings` name the CPU, and do not want its plugin alone: linear layers of `model` become this program's own
// operation (delta_rule/replace.hpp), and products with compressed weights (linear/replace.hpp) unless the file or f32
// forbid quantized activations; `core` is told of both. Activations of other products are quantized in groups as large as
// those of the weights allow, up to 128, unless the file or f32 say otherwise. Returns properties for compile_model
// beside those of compile_properties().
ov::AnyMap prepare_for_cpu(ov::Core& core, const std::shared_ptr<ov::Model>& model, const DeviceSettings& settings);

// Whether a prompt is read at once where memory allows it: with products of our own, and, as other programs do, by the
// plugin alone.
bool reads_long_pieces(const DeviceSettings& settings);

// The largest of 128 and 64 that divides the groups of all 4-bit weights of `model`; 0: neither does, or there are
// none.
std::uint64_t activation_group(const ov::Model& model);

}  // namespace deltavino::runtime
