// The feed-forward layer: y = W_down (silu(W_gate x) * W_up x). Source: transformers `Qwen3_5MLP`.
#pragma once

#include "graph/weights.hpp"

namespace deltavino::blocks {

// x [..., C] -> [..., C]
graph::Value swiglu(const graph::Value& x, const graph::Scope& scope);

}  // namespace deltavino::blocks
