#include "base/half.hpp"
#include "checkpoint/rows/row_reader.hpp"
#include "checkpoint/rows/row_source.hpp"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <functional>

namespace deltavino::checkpoint {
namespace {

// Calls `use(first byte, bytes)` for pieces of a tensor; a piece is a multiple of 8 bytes long but for the last.
void for_pieces(const Tensor& tensor, const std::function<void(std::uint64_t, std::span<const std::byte>)>& use) {
    constexpr std::uint64_t kPiece = 1u << 16;
    std::vector<std::byte> bytes;
    for (std::uint64_t at = 0; at < tensor.info.bytes; at += kPiece) {
        bytes.resize(static_cast<std::size_t>(std::min(kPiece, tensor.info.bytes - at)));
        tensor.file->read(tensor.info.offset + at, bytes);
        use(at, bytes);
    }
}

bool all_in_the_middle(const RowSource& source) {
    bool middle = true;
    if (source.plain_zero_points || source.packing == quant::Packing::Bytes) {
        for_pieces(*source.zero_points, [&](std::uint64_t, std::span<const std::byte> bytes) {
            middle &= std::all_of(bytes.begin(), bytes.end(), [](std::byte zero) { return zero == std::byte{0}; });
        });
        return middle;
    }
    const bool four = source.bits == 4;
    const std::uint32_t one = source.zero_points_less_one ? (four ? 0x11111111u : 0x01010101u) : 0u;
    const std::uint32_t expected = four ? 0x88888888u : 0x80808080u;
    // compressed-tensors fills up the words of the last rows.
    const std::uint64_t rest = source.packing == quant::Packing::Rows ? source.rows % (32 / source.bits) : 0;
    const std::uint64_t groups = (source.columns + source.group - 1) / source.group;
    const std::uint64_t filled_from =
        rest == 0 ? source.zero_points->info.bytes : source.zero_points->info.bytes - groups * sizeof(std::uint32_t);
    const std::uint32_t mask = rest == 0 ? ~0u : (1u << (rest * source.bits)) - 1u;
    for_pieces(*source.zero_points, [&](std::uint64_t at, std::span<const std::byte> bytes) {
        for (std::size_t i = 0; i + sizeof(std::uint32_t) <= bytes.size(); i += sizeof(std::uint32_t)) {
            std::uint32_t word = 0;
            std::memcpy(&word, bytes.data() + i, sizeof(word));
            const std::uint32_t used = at + i >= filled_from ? mask : ~0u;
            middle &= ((word + one) & used) == (expected & used);
        }
    });
    return middle;
}

}  // namespace

CodeFacts inspect_codes(const RowSource& source) {
    CodeFacts facts;
    facts.symmetric = source.zero_points == nullptr || all_in_the_middle(source);
    const DType type = source.scales->info.dtype;
    std::vector<float> scales;
    for_pieces(*source.scales, [&](std::uint64_t, std::span<const std::byte> bytes) {
        scales.resize(bytes.size() * 8 / dtype_bits(type));
        decode_scales(type, bytes, scales);
        for (const float scale : scales) {
            const float stored = half::from_f16(half::to_f16(scale));
            facts.scales += 1;
            if (std::isfinite(scale) && stored != scale) {
                facts.inexact_scales += 1;
                facts.scales_overflow |= !std::isfinite(stored);
                facts.largest_change = std::max(facts.largest_change, std::abs(static_cast<double>(stored) - scale));
            }
        }
    });
    return facts;
}

}  // namespace deltavino::checkpoint
