// The weights of the products that this program computes itself, in the order in which they are read.
#pragma once

#include "runtime/linear/kernel.hpp"

#include <openvino/op/constant.hpp>

#include <cstddef>
#include <memory>
#include <optional>
#include <string>
#include <vector>

namespace deltavino::runtime {

// A compressed matrix of a model [rows, columns]. Codes u4, i4, u8 or i8: [rows, groups, group] or [rows, columns];
// scales f16, of the same shape with 1 at its end; zero points like them in the type of the codes, or none. Nothing is
// copied.
struct StoredMatrix {
    std::shared_ptr<ov::op::v0::Constant> codes, zero_points, scales;
    std::size_t rows = 0;
    std::size_t columns = 0;
};

// How it is packed; nothing where the kernels have no form of it.
std::optional<PackedShape> packed_shape(const StoredMatrix& matrix);

struct PackedMatrix {
    PackedShape shape;
    std::shared_ptr<const std::byte[]> bytes;
    std::string key;  // of name and content
};

// All in one piece of memory, by all threads. Throws std::bad_alloc.
std::vector<std::shared_ptr<const PackedMatrix>> pack_matrices(const std::vector<StoredMatrix>& matrices);

// The matrix of this key that some model still holds; null: none does. A compiled model that is read from a cache has
// the keys of its matrices only.
std::shared_ptr<const PackedMatrix> find_packed(const std::string& key);

}  // namespace deltavino::runtime
