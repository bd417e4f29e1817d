// The products with compressed matrices of a model in our operation's hands, where the CPU plugin would take its own.
#pragma once

#include <openvino/core/model.hpp>

#include <cstddef>

namespace deltavino::runtime {

// Replaces each MatMul with a compressed matrix that the kernels have a form of by CompressedLinear. `type`: f32 or
// bf16, what values are stored as between operations. Experts, tables that are looked up and small matrices stay as
// they are, and so does everything where linear_kernel() has none. Returns the number of products. Throws std::bad_alloc.
std::size_t use_own_products(const std::shared_ptr<ov::Model>& model, ov::element::Type type);

}  // namespace deltavino::runtime
