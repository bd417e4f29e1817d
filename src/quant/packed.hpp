// Integers of 4 or 8 bit as the vendors of quantized checkpoints pack them, brought into one order and from
// there into OpenVINO's, without a change of any value.
//
// All words are 32 bits, little endian. W below is 32 / bits, the integers of one word; the first of them
// is in the lowest bits unless said otherwise.
#pragma once

#include "quant/quantize.hpp"
#include "quant/scheme.hpp"

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

namespace deltavino::quant {

enum class Packing : std::uint8_t {
    // qweight [columns / W, rows]: a word holds neighbouring columns of one row. qzeros [groups, rows / W]:
    // neighbouring rows. GPTQ; AutoRound.
    Gptq,
    // qweight [columns, rows / 8], qzeros [groups, rows / 8]: a word holds eight neighbouring rows in the
    // order 0 2 4 6 1 3 5 7; 4 bit only. AWQ "gemm".
    Awq,
    // weight_packed [rows, ceil(columns / W)], padded at the end; weight_zero_point [ceil(rows / W), groups].
    // compressed-tensors "pack-quantized": signed values, moved up by 2^(bits - 1).
    Rows,
    // [rows, columns] of signed bytes, zero points [rows, groups]. compressed-tensors "int-quantized".
    Bytes,
};

// Some rows of a weight: w = (code - zero point) * scale, group by group. Codes and zero points are unsigned
// here, whatever the checkpoint has.
struct CodeRows {
    unsigned bits = 4;
    std::uint64_t rows = 0;
    std::uint64_t columns = 0;
    std::uint64_t group = 1;                // columns that share a scale; the last group of a row may be shorter
    std::vector<std::byte> codes;           // row_bytes() for each row, first code of a byte in the low bits
    std::vector<std::uint8_t> zero_points;  // [rows, groups()]
    std::vector<float> scales;              // [rows, groups()]

    std::uint64_t groups() const { return (columns + group - 1) / group; }
    std::uint64_t row_bytes() const { return (columns * bits + 7) / 8; }
    unsigned middle() const { return 1u << (bits - 1); }  // the zero point of symmetric quantization
    // Sets the sizes of the buffers; bits, rows, columns and group are set before.
    void resize();
};

// `words` holds whole lines of the stored codes, cut to the words that hold rows [skip, skip + rows) of their
// first word's row: Gptq [columns / W, rows] and skip 0; Awq [columns, ceil((skip + rows) / 8)]; Rows
// [rows, ceil(columns / W)]; Bytes [rows, columns] bytes. Throws ErrorKind::Internal for a wrong size.
void unpack_codes(Packing packing, std::span<const std::byte> words, std::uint64_t skip, CodeRows& out);

// The same for zero points: Gptq and Awq [groups, ceil((skip + rows) / W)]; Rows
// [ceil((skip + rows) / W), groups]; Bytes [rows, groups]. `stored_less_one`: the first GPTQ format keeps
// zero points less one; one is added to every field of the word, carries included, as GPTQModel does.
void unpack_zero_points(Packing packing, std::span<const std::byte> words, std::uint64_t skip, bool stored_less_one,
                        CodeRows& out);

// (code - zero point) * scale in float32, for rows [first, first + out.size() / columns) of the block.
void dequantize_codes(const CodeRows& in, std::uint64_t first, std::span<float> out);

// The bytes of OpenVINO's constants. `scheme` has the bits and the group of `in`; its format is U4 or U8, or I4
// or I8 when every zero point is the middle. Returns how many scales are not exact in float16; they are
// rounded. Throws ErrorKind::Internal when the scheme does not fit.
std::uint64_t store_codes(const CodeRows& in, const Scheme& scheme, const QuantizedRows& out);

}  // namespace deltavino::quant
