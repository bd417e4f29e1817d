// Quantization of rows of a weight into the bytes of the Constants that OpenVINO keeps compressed,
// and the plain way back.
#pragma once

#include "quant/convert.hpp"
#include "quant/isa.hpp"
#include "quant/scheme.hpp"

#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>
#include <vector>

namespace deltavino::quant {

// How the scale and the zero point of a group are chosen. The stored format is the same.
enum class Search : std::uint8_t {
    Nncf,        // from the smallest and largest value, the very bits nncf 3.4.0 writes
    LeastError,  // tried out, for the least squared error of the values as they come back
};

// Rows one after the other, without gaps; no alignment is needed.
struct RowBlock {
    const std::byte* values = nullptr;
    SourceType type = SourceType::F32;
    std::uint64_t rows = 0;
    std::uint64_t columns = 0;
    // The whole weight, of which this may be a part, has fewer values than kNncfSmallWeight.
    bool small_weight = false;
};

// Below this nncf 3.4.0 takes another path, whose MXFP4 scales differ in some groups: those whose
// largest value is under 7.2e-7 or within some units in the last place of 6 * 2^k.
inline constexpr std::uint64_t kNncfSmallWeight = 10000;

// Exactly storage_bytes(scheme, rows, columns) each. 4-bit codes and zero points have the first of
// two in the low nibble; a last half byte of zero points has 0 in the high nibble. A block of U4
// must begin where rows * groups so far is even, so that its zero points begin at a byte.
struct QuantizedRows {
    std::span<std::byte> packed;
    std::span<std::byte> zero_points;
    std::span<std::byte> scales;
};

// Memory for a block, used again for the next one.
struct QuantizedBuffers {
    std::vector<std::byte> packed;
    std::vector<std::byte> zero_points;
    std::vector<std::byte> scales;

    // The right size for a block.
    QuantizedRows resized(const Scheme& scheme, std::uint64_t rows, std::uint64_t columns);
};

// Plain sums, so that blocks can be merged. Errors are against the values as they come back:
// (code - zero point) * scale with the stored scale, in float32.
struct BlockStatistics {
    double squared_error = 0;
    double squared_weight = 0;
    double weighted_error = 0;  // each square times the importance of its column; 0 without one
    double max_abs_error = 0;
    std::uint64_t values = 0;
    std::uint64_t nonfinite = 0;  // NaN and infinity; they are quantized as zero
    // Groups too large for an f16 scale: it is infinite under Nncf, 65504 under LeastError.
    std::uint64_t scale_overflows = 0;

    void merge(const BlockStatistics& other);
    // Root of squared_error over squared_weight; 0 for a block of zeros.
    double relative_error() const;
};

// Quantizes a block. Rows do not depend on each other: callers cut a weight into blocks of rows and
// give them to threads; nothing is shared. Sixteen groups (or rows, per channel) are taken at a
// time, so blocks should have many; the scratch memory is 32 of them in float32, 48 with an
// importance. `importance` is empty or one finite factor, zero or more, per column: it weighs the
// squared errors of LeastError and does not change what Nncf chooses.
//
// LeastError is never worse than Nncf in any group, up to the rounding of the sums (1e-6 of the
// error). Same input, same bytes, in every instruction set and for every cut into blocks.
//
// Throws ErrorKind::Internal when the scheme does not fit, a span has the wrong size, the
// importance is not usable or the instruction set is not available.
BlockStatistics quantize_rows(const Scheme& scheme, Search search, const RowBlock& block,
                              std::span<const float> importance, const QuantizedRows& out, Isa isa = best_isa());

// The same spans, only read.
struct QuantizedView {
    std::span<const std::byte> packed;
    std::span<const std::byte> zero_points;
    std::span<const std::byte> scales;
};

// The values as they come back, in float32; a plain loop, for tests and reports.
void dequantize_rows(const Scheme& scheme, std::uint64_t rows, std::uint64_t columns, const QuantizedView& in,
                     std::span<float> out);

}  // namespace deltavino::quant
