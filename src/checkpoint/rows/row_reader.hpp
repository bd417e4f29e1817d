// Reads rows of weights as floats, whatever they are stored as and with what an adapter adds; or leaves them codes.
#pragma once

#include "checkpoint/lora/low_rank.hpp"
#include "checkpoint/rows/row_source.hpp"

#include <cstdint>
#include <span>
#include <vector>

namespace deltavino::checkpoint {

// Buffers of one thread, used again for the next rows.
class RowReader {
public:
    // Reads everything that rows [first, first + rows) need. The source must outlive the reader's use of it.
    void load(const RowSource& source, std::uint64_t first, std::uint64_t rows);
    // The same of a tensor of plain floats, seen as rows of `columns` values.
    void load(const Tensor& plain, std::uint64_t columns, std::uint64_t first, std::uint64_t rows);

    // The values of rows [first, first + out.size() / columns), counted from the first one loaded.
    void floats(std::uint64_t first, std::span<float> out);

    // All loaded rows, of integers only.
    const quant::CodeRows& codes() const { return codes_; }

private:
    void load_float8(std::uint64_t first, std::uint64_t rows);
    void load_integers(std::uint64_t first, std::uint64_t rows);
    void load_codes(std::uint64_t first);
    void load_zero_points(std::uint64_t first);
    void load_scales(std::uint64_t first);

    void float8(std::uint64_t first, std::span<float> out) const;

    const RowSource* source_ = nullptr;  // null: plain floats
    const Tensor* tensor_ = nullptr;     // the plain one, or that of the codes
    std::uint64_t columns_ = 0;
    std::uint64_t first_ = 0;
    std::vector<std::byte> raw_;
    std::vector<std::byte> raw_scales_;
    std::vector<float> scales_;  // of 8-bit floats: the blocks that the rows touch
    std::uint64_t first_scale_row_ = 0;
    quant::CodeRows codes_;
    LowRankReader adapter_;
};

// Widens F32, F16, BF16 or F8_E8M0 values; `out` gets as many as `bytes` holds.
void decode_scales(DType type, std::span<const std::byte> bytes, std::span<float> out);
bool is_scale_type(DType type);

}  // namespace deltavino::checkpoint
