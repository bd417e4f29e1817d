// Sources of truth: the packing of AutoGPTQ and GPTQModel (`pack`, `convert_gptq_v1_to_v2_format`), AutoAWQ's
// `WQLinear_GEMM`, compressed-tensors' `pack_to_int32`.
#include "quant/packed.hpp"

#include "base/checked.hpp"
#include "base/error.hpp"
#include "base/half.hpp"

#include <algorithm>
#include <array>
#include <cstring>

namespace deltavino::quant {
namespace {

constexpr std::array<unsigned, 8> kAwqRows{0, 2, 4, 6, 1, 3, 5, 7};
constexpr std::uint64_t kWordBytes = 4;

std::uint32_t word_at(std::span<const std::byte> words, std::uint64_t index) {
    std::uint32_t word = 0;
    std::memcpy(&word, words.data() + index * kWordBytes, kWordBytes);
    return word;
}

void require_bytes(std::string_view what, std::uint64_t expected, std::size_t found) {
    if (expected != found) {
        fail(ErrorKind::Internal, "packed {} take {} bytes, the buffer has {}", what, expected, found);
    }
}

// Tiles of words, so that both sides stay in the cache.
void transpose_words(std::span<const std::byte> words, CodeRows& out) {
    constexpr std::uint64_t kTile = 16;
    const std::uint64_t lines = words.size() / kWordBytes / out.rows;
    for (std::uint64_t line = 0; line < lines; line += kTile) {
        const std::uint64_t line_end = std::min(lines, line + kTile);
        for (std::uint64_t row = 0; row < out.rows; row += kTile) {
            for (std::uint64_t r = row; r < std::min(out.rows, row + kTile); ++r) {
                std::byte* to = out.codes.data() + r * out.row_bytes();
                for (std::uint64_t k = line; k < line_end; ++k) {
                    std::memcpy(to + k * kWordBytes, words.data() + (k * out.rows + r) * kWordBytes, kWordBytes);
                }
            }
        }
    }
}

// Field n of word i becomes field i of word n, a field being 4 bits.
void transpose_fields(std::array<std::uint32_t, 8>& words) {
    const auto exchange = [&](std::size_t a, std::size_t b, unsigned shift, std::uint32_t mask) {
        const std::uint32_t different = ((words[a] >> shift) ^ words[b]) & mask;
        words[b] ^= different;
        words[a] ^= different << shift;
    };
    for (std::size_t i = 0; i < 4; ++i) {
        exchange(i, i + 4, 16, 0x0000ffffu);
    }
    for (const std::size_t i : {0, 1, 4, 5}) {
        exchange(i, i + 2, 8, 0x00ff00ffu);
    }
    for (const std::size_t i : {0, 2, 4, 6}) {
        exchange(i, i + 1, 4, 0x0f0f0f0fu);
    }
}

// Eight columns of eight rows at a time; a tile of columns so wide that it fills a cache line of each row.
void unpack_awq(std::span<const std::byte> words, std::uint64_t skip, CodeRows& out) {
    constexpr std::uint64_t kTile = 128;
    const std::uint64_t per_line = divide_up(skip + out.rows, 8);
    const std::uint64_t stride = out.row_bytes();
    for (std::uint64_t tile = 0; tile < out.columns; tile += kTile) {
        const std::uint64_t tile_end = std::min(out.columns, tile + kTile);
        for (std::uint64_t w = 0; w < per_line; ++w) {
            for (std::uint64_t column = tile; column < tile_end; column += 8) {
                const std::uint64_t columns = std::min<std::uint64_t>(8, tile_end - column);
                std::array<std::uint32_t, 8> fields{};
                for (std::uint64_t i = 0; i < columns; ++i) {
                    fields[i] = word_at(words, (column + i) * per_line + w);
                }
                transpose_fields(fields);
                for (std::size_t field = 0; field < fields.size(); ++field) {
                    const std::uint64_t row = w * 8 + kAwqRows[field];
                    if (row >= skip && row < skip + out.rows) {
                        std::memcpy(out.codes.data() + (row - skip) * stride + column / 2, &fields[field],
                                    divide_up(columns, 2));
                    }
                }
            }
        }
    }
}

}  // namespace

void CodeRows::resize() {
    codes.assign(static_cast<std::size_t>(rows * row_bytes()), std::byte{0});
    zero_points.assign(static_cast<std::size_t>(rows * groups()), static_cast<std::uint8_t>(middle()));
    scales.assign(static_cast<std::size_t>(rows * groups()), 0.0f);
}

void unpack_codes(Packing packing, std::span<const std::byte> words, std::uint64_t skip, CodeRows& out) {
    const std::uint64_t per_word = 32 / out.bits;
    switch (packing) {
        case Packing::Gptq:
            require_bytes("codes", out.columns / per_word * out.rows * kWordBytes, words.size());
            return transpose_words(words, out);
        case Packing::Awq:
            require_bytes("codes", out.columns * divide_up(skip + out.rows, 8) * kWordBytes, words.size());
            return unpack_awq(words, skip, out);
        case Packing::Rows: {
            const std::uint64_t line = divide_up(out.columns, per_word) * kWordBytes;
            require_bytes("codes", out.rows * line, words.size());
            for (std::uint64_t row = 0; row < out.rows; ++row) {
                std::memcpy(out.codes.data() + row * out.row_bytes(), words.data() + row * line, out.row_bytes());
            }
            return;
        }
        case Packing::Bytes:
            require_bytes("codes", out.rows * out.columns, words.size());
            std::transform(words.begin(), words.end(), out.codes.begin(),
                           [](std::byte code) { return code ^ std::byte{0x80}; });
            return;
    }
}

void unpack_zero_points(Packing packing, std::span<const std::byte> words, std::uint64_t skip, bool stored_less_one,
                        CodeRows& out) {
    const std::uint64_t per_word = 32 / out.bits;
    const std::uint64_t groups = out.groups();
    const std::uint32_t mask = (1u << out.bits) - 1u;
    const std::uint32_t one = stored_less_one ? (out.bits == 4 ? 0x11111111u : 0x01010101u) : 0u;
    if (packing == Packing::Bytes) {
        require_bytes("zero points", out.rows * groups, words.size());
        std::transform(words.begin(), words.end(), out.zero_points.begin(), [&](std::byte zero) {
            return static_cast<std::uint8_t>((std::to_integer<unsigned>(zero) + out.middle()) & mask);
        });
        return;
    }
    const std::uint64_t lines = divide_up(skip + out.rows, per_word);
    require_bytes("zero points", lines * groups * kWordBytes, words.size());
    static constexpr std::array<unsigned, 8> kAwqNibble{0, 4, 1, 5, 2, 6, 3, 7};  // of a row
    for (std::uint64_t row = 0; row < out.rows; ++row) {
        const std::uint64_t line = (skip + row) / per_word;
        const auto place = static_cast<unsigned>((skip + row) % per_word);
        const unsigned shift = (packing == Packing::Awq ? kAwqNibble[place] : place) * out.bits;
        for (std::uint64_t group = 0; group < groups; ++group) {
            const std::uint64_t index = packing == Packing::Rows ? line * groups + group : group * lines + line;
            out.zero_points[row * groups + group] =
                static_cast<std::uint8_t>((word_at(words, index) + one) >> shift & mask);
        }
    }
}

void dequantize_codes(const CodeRows& in, std::uint64_t first, std::span<float> out) {
    const std::uint64_t rows = out.size() / in.columns;
    if (first + rows > in.rows || rows * in.columns != out.size()) {
        fail(ErrorKind::Internal, "cannot read back {} values from row {} of [{}, {}]", out.size(), first, in.rows,
             in.columns);
    }
    const std::uint64_t groups = in.groups();
    for (std::uint64_t row = 0; row < rows; ++row) {
        const std::byte* codes = in.codes.data() + (first + row) * in.row_bytes();
        float* to = out.data() + row * in.columns;
        for (std::uint64_t group = 0; group < groups; ++group) {
            const int zero = in.zero_points[(first + row) * groups + group];
            const float scale = in.scales[(first + row) * groups + group];
            const std::uint64_t end = std::min(in.columns, (group + 1) * in.group);
            for (std::uint64_t column = group * in.group; column < end; ++column) {
                const unsigned byte = std::to_integer<unsigned>(codes[in.bits == 4 ? column / 2 : column]);
                const int code = static_cast<int>(in.bits == 4 ? byte >> (column % 2 * 4) & 15u : byte);
                to[column] = static_cast<float>(code - zero) * scale;
            }
        }
    }
}

std::uint64_t store_codes(const CodeRows& in, const Scheme& scheme, const QuantizedRows& out) {
    const FormatTraits& format = traits(scheme.format);
    const StorageBytes bytes = storage_bytes(scheme, in.rows, in.columns);
    const std::uint64_t group = scheme.group_size == 0 ? in.columns : scheme.group_size;
    if (!format.integer || format.bits != in.bits || group != in.group || !why_unfit(scheme, in.columns).empty()) {
        fail(ErrorKind::Internal, "codes of {} bit in groups of {} cannot be stored as {}", in.bits, in.group,
             scheme_text(scheme));
    }
    require_bytes("codes", bytes.packed, out.packed.size());
    require_bytes("zero points", bytes.zero_points, out.zero_points.size());
    require_bytes("scales", bytes.scales, out.scales.size());
    // A signed code is the unsigned one with its highest bit turned.
    const auto flip = static_cast<std::byte>(format.zero_point ? 0u : in.bits == 4 ? 0x88u : 0x80u);
    std::transform(in.codes.begin(), in.codes.end(), out.packed.begin(), [&](std::byte code) { return code ^ flip; });
    std::fill(out.zero_points.begin(), out.zero_points.end(), std::byte{0});
    std::uint64_t inexact = 0;
    for (std::uint64_t i = 0; i < in.scales.size(); ++i) {
        if (format.zero_point) {
            out.zero_points[in.bits == 4 ? i / 2 : i] |=
                static_cast<std::byte>(in.zero_points[i] << (in.bits == 4 ? i % 2 * 4 : 0));
        } else if (in.zero_points[i] != in.middle()) {
            fail(ErrorKind::Internal, "a zero point of {} cannot be stored as {}", in.zero_points[i],
                 scheme_text(scheme));
        }
        const std::uint16_t scale = half::to_f16(in.scales[i]);
        inexact += half::from_f16(scale) != in.scales[i] ? 1 : 0;
        std::memcpy(out.scales.data() + i * 2, &scale, 2);
    }
    return inexact;
}

}  // namespace deltavino::quant
