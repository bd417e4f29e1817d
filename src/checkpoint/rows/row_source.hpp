// Where the rows of a logical weight come from: one plain tensor, or several that a quantizer wrote.
//
// - plain: `x.weight`
// - scaled 8-bit floats: `x.weight` in F8, `x.weight_scale_inv` or `x.weight_scale`
// - GPTQ, AWQ, AutoRound: `x.qweight`, `x.qzeros`, `x.scales`, perhaps `x.g_idx`
// - compressed-tensors: `x.weight_packed`, `x.weight_scale`, `x.weight_shape`, perhaps `x.weight_zero_point` and
//   `x.weight_g_idx`; in 8 bit also `x.weight` in I8, `x.weight_scale`, perhaps `x.weight_zero_point`
//
// For stacks of experts, `x.weight` is a name without '.weight', for example `mlp.experts.gate_up_proj`.
#pragma once

#include "checkpoint/checkpoint.hpp"
#include "checkpoint/quantization.hpp"
#include "quant/float8.hpp"
#include "quant/packed.hpp"

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

namespace deltavino::checkpoint {

// The recipe of a quantized weight, seen as [rows, columns]: the leading dimensions of a stack are one. Its
// shapes and types were checked, its bytes were not read.
struct RowSource {
    std::string method;  // for messages: "fp8", "gptq", ...
    std::uint64_t rows = 0;
    std::uint64_t columns = 0;

    const Tensor* codes = nullptr;
    const Tensor* scales = nullptr;
    const Tensor* zero_points = nullptr;  // null: symmetric
    const Tensor* group_index = nullptr;  // the group of each column
    const Tensor* shape = nullptr;        // `weight_shape`, a second word on the shape

    // 8-bit floats, when set: one scale for each block, cut off at the edges of each matrix of a stack.
    std::optional<quant::Float8> float8;
    std::uint64_t matrix_rows = 0;
    std::uint64_t row_block = 0;
    std::uint64_t column_block = 0;

    // Integers otherwise.
    quant::Packing packing = quant::Packing::Rows;
    unsigned bits = 0;
    std::uint64_t group = 0;  // columns
    bool zero_points_less_one = false;
    bool one_scale = false;          // for the whole weight
    bool plain_zero_points = false;  // bytes, not packed

    // The float type that it becomes when it is not stored compressed.
    DType float_type() const;
    // Bytes that are read for this many rows.
    std::uint64_t bytes(std::uint64_t count) const;
    // Integers [in, out], so that a row of the weight is a column of what is stored.
    bool stored_across() const;
    // Rows that begin a word of the packing: reading from others is right, too, and reads more.
    std::uint64_t row_alignment() const;
    // "fp8 e4m3 in blocks of 128 x 128", "gptq 4 bit in groups of 128".
    std::string text() const;
};

// What the tensors of a checkpoint say about one weight.
struct RowLookup {
    const Tensor* plain = nullptr;
    std::shared_ptr<const RowSource> source;  // when it is quantized
    std::vector<std::string> used;            // canonical names of all tensors that feed the weight
    std::vector<std::string> ignored;         // that belong to it and change nothing: scales of activations
    std::vector<std::string> problems;        // what is wrong with them
    std::vector<std::string> unsupported;     // what is right and not read

    bool found() const { return plain != nullptr || source || !problems.empty() || !unsupported.empty(); }
};

// `shape`: of the logical weight, for example [out, in], or [experts, out, in]. Shapes and types of all tensors
// are compared with it. A plain tensor is returned as it is. Reads no bytes but those of `weight_shape`
// and of the groups of columns, which must be in order.
RowLookup find_rows(const Checkpoint& checkpoint, const std::optional<Quantization>& quantization,
                    const std::string& name, const std::vector<std::uint64_t>& shape);

// Canonical names under which a weight's values or codes may stand: "x.weight", "x.qweight", "x.weight_packed".
std::vector<std::string> stored_forms(const std::string& name);
// The tensor that holds the weight's values or codes, whatever it is called; null without one.
const Tensor* find_codes(const Checkpoint& checkpoint, const std::string& name);
// The weight's name as the checkpoint spells it; a packed one as if it were plain: 'x.weight' for 'x.qweight'.
// Throws ErrorKind::Input when there is none.
std::string stored_weight_name(const Checkpoint& checkpoint, const std::string& name);

// What the scales and zero points of integers allow. Reads all of them, in small pieces.
struct CodeFacts {
    bool symmetric = true;  // every zero point is the middle
    std::uint64_t scales = 0;
    std::uint64_t inexact_scales = 0;  // not exact in float16
    double largest_change = 0.0;       // of a scale by rounding it so
    bool scales_overflow = false;      // one is finite and not in float16
};
CodeFacts inspect_codes(const RowSource& source);

}  // namespace deltavino::checkpoint
