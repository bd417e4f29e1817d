// The linear attention layers of a model in our operation's hands, where the CPU plugin would take its own.
#pragma once

#include <openvino/core/model.hpp>

#include <cstddef>

namespace deltavino::runtime {

// Replaces convolution and delta rule of each linear layer that has the form of blocks/gated_delta_net.cpp by
// DeltaRule; layers of any other form stay as they are. `type`: f32 or bf16, what values and states are stored as
// between operations. The model is for one sequence then: its states are not reordered by beam_idx, and the states of
// the convolution are [B, width, C]. Returns the number of layers.
std::size_t use_own_delta_rule(const std::shared_ptr<ov::Model>& model, ov::element::Type type);

}  // namespace deltavino::runtime
