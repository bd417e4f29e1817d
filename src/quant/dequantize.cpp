// Reads quantized rows back with plain loops.
// The decompression chain of the exported graph is the source of truth: (code - zero point) *
// scale, or level * scale, in float32.
#include "base/error.hpp"
#include "quant/codebook.hpp"
#include "quant/quantize.hpp"

#include <cmath>
#include <cstring>

namespace deltavino::quant {
namespace {

unsigned nibble(std::span<const std::byte> bytes, std::uint64_t i) {
    return (std::to_integer<unsigned>(bytes[i / 2]) >> (i % 2 * 4)) & 15u;
}

unsigned code_at(unsigned bits, std::span<const std::byte> bytes, std::uint64_t i) {
    return bits == 4 ? nibble(bytes, i) : std::to_integer<unsigned>(bytes[i]);
}

float level_of(Format format, unsigned code) {
    switch (format) {
        case Format::I8: return static_cast<float>(static_cast<int>(code ^ 128u) - 128);
        case Format::I4: return static_cast<float>(static_cast<int>(code ^ 8u) - 8);
        case Format::NF4: return kNf4Levels[code];
        case Format::MXFP4: return kF4e2m1Levels[code];
        default: return static_cast<float>(code);
    }
}

float scale_at(ScaleType type, std::span<const std::byte> bytes, std::uint64_t group) {
    if (type == ScaleType::F8E8M0) {
        return std::ldexp(1.0f, std::to_integer<int>(bytes[group]) - 127);
    }
    std::uint16_t bits = 0;
    std::memcpy(&bits, bytes.data() + group * 2, 2);
    return f16_to_f32(bits);
}

}  // namespace

void dequantize_rows(const Scheme& scheme, std::uint64_t rows, std::uint64_t columns, const QuantizedView& in,
                     std::span<float> out) {
    const FormatTraits& format = traits(scheme.format);
    const StorageBytes bytes = storage_bytes(scheme, rows, columns);
    if (bytes.packed != in.packed.size() || bytes.zero_points != in.zero_points.size() ||
        bytes.scales != in.scales.size() || out.size() != rows * columns) {
        fail(ErrorKind::Internal, "cannot read back [{}, {}] of {}: a buffer has the wrong size", rows, columns,
             scheme_text(scheme));
    }
    const std::uint64_t group = scheme.group_size == 0 ? columns : scheme.group_size;
    for (std::uint64_t i = 0; i < out.size(); ++i) {
        const float zero =
            format.zero_point ? static_cast<float>(code_at(format.bits, in.zero_points, i / group)) : 0.0f;
        const float level = level_of(scheme.format, code_at(format.bits, in.packed, i));
        out[i] = (level - zero) * scale_at(format.scale_type, in.scales, i / group);
    }
}

}  // namespace deltavino::quant
