// The values of states, copied.
#pragma once

#include <openvino/runtime/tensor.hpp>

#include <cstddef>
#include <string>

namespace deltavino::runtime {

ov::Tensor copy_of(const ov::Tensor& tensor);

// The first `tokens` of a key or value state [B, heads, tokens, width]; `name` is for messages.
ov::Tensor first_tokens(const ov::Tensor& state, std::size_t tokens, const std::string& name);

}  // namespace deltavino::runtime
