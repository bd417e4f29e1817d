// Products of activations with a matrix of 4- or 8-bit codes, which the integer instructions of a processor do.
//
//   y[t, n] = sum_g scale_w[n, g] scale_x[t, g] sum_(k in g) (w[n, k] - zero[n, g]) x[t, k]
//
// x are the 8-bit codes of activations in groups of g columns. The inner sum is a whole number and exact; the outer one
// runs in f32 in the order of the groups.
#pragma once

#include "quant/convert.hpp"

#include <cstddef>
#include <cstdint>

namespace deltavino::runtime {

// How a packed matrix lies in memory. Sixteen rows stand together as a block, so that each has a lane:
//   4 bit: for each group its lines, then 16 scales (f16), 16 zero points (u8) and 16 bytes that mean nothing
//   8 bit: all lines, then the same once, because a row has one scale
// A line is 64 bytes: four for each row. In 8 bit they are columns 4i to 4i + 3; in 4 bit the low halves are those of
// the first half of the group and the high halves those of the second.
struct PackedShape {
    std::size_t rows = 0;     // a multiple of 16
    std::size_t columns = 0;  // a multiple of `group`
    std::size_t group = 0;    // 32, 64 or 128: of the activations, and in 4 bit of the weights
    unsigned bits = 4;

    static constexpr std::size_t kBlockRows = 16;
    static constexpr std::size_t kLineBytes = 64;
    static constexpr std::size_t kScaleBytes = 64;  // scales, zero points and what means nothing
    static constexpr std::size_t kZerosBegin = 32;  // among them

    std::size_t groups() const { return columns / group; }
    std::size_t blocks() const { return rows / kBlockRows; }
    std::size_t group_bytes() const { return group * 2 * bits; }  // of a block, without scales
    std::size_t block_bytes() const {
        return groups() * group_bytes() + kScaleBytes * (bits == 4 ? groups() : std::size_t{1});
    }
    std::size_t bytes() const { return blocks() * block_bytes(); }
};

// Activations of some tokens.
struct QuantizedTokens {
    std::int8_t* codes = nullptr;  // [tokens, columns]
    float* scales = nullptr;       // [tokens, groups]
    std::int32_t* sums = nullptr;  // [tokens, groups], of the codes, with their signs turned
};

// What a product reads: x itself, or x silu(z), or x sigmoid(z).
enum class Gate : std::int8_t { None, Silu, Sigmoid };

// The values of one token, [columns] each; z is null without a gate.
struct LinearInput {
    quant::SourceType type = quant::SourceType::F32;
    Gate gate = Gate::None;
    const std::byte* x = nullptr;
    const std::byte* z = nullptr;
};

struct LinearKernel {
    // A group with a value that is not finite gets the scale NaN.
    void (*quantize)(const LinearInput& input, const PackedShape& shape, std::int8_t* codes, float* scales,
                     std::int32_t* sums);
    // Rows of the blocks [first, last) for all tokens; y [tokens, rows] of `type`.
    void (*multiply)(const PackedShape& shape, const std::byte* packed, const QuantizedTokens& x, std::size_t tokens,
                     std::size_t first, std::size_t last, quant::SourceType type, std::byte* y);
};

// The kernel of this processor; null: it has none that was seen to be faster than the CPU plugin's. That is so without
// AVX-512 and its sums of bytes (VNNI), and with AMX, where the plugin reads prompts faster.
const LinearKernel* linear_kernel();

}  // namespace deltavino::runtime
