// Packed integers: which field of which word is which code, and how they are stored.
#include "quant/packed.hpp"

#include "base/error.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <cstring>
#include <iterator>

namespace deltavino::quant {
namespace {

std::vector<std::byte> words(const std::vector<std::uint32_t>& values) {
    std::vector<std::byte> bytes(values.size() * 4);
    std::memcpy(bytes.data(), values.data(), bytes.size());
    return bytes;
}

CodeRows block(unsigned bits, std::uint64_t rows, std::uint64_t columns, std::uint64_t group) {
    CodeRows codes;
    codes.bits = bits;
    codes.rows = rows;
    codes.columns = columns;
    codes.group = group;
    codes.resize();
    return codes;
}

std::vector<unsigned> row(const CodeRows& codes, std::uint64_t index) {
    std::vector<unsigned> values;
    for (std::uint64_t column = 0; column < codes.columns; ++column) {
        const std::byte* begin = codes.codes.data() + index * codes.row_bytes();
        const auto byte = std::to_integer<unsigned>(begin[codes.bits == 4 ? column / 2 : column]);
        values.push_back(codes.bits == 4 ? byte >> (column % 2 * 4) & 15u : byte);
    }
    return values;
}

using Codes = std::vector<unsigned>;

TEST(Packed, GptqWordsHoldColumnsOfOneRow) {
    CodeRows codes = block(4, 3, 16, 16);
    unpack_codes(Packing::Gptq, words({0x76543210u, 0x11111111u, 0xfedcba98u, 0x00000001u, 0x22222222u, 0x80000000u}),
                 0, codes);
    EXPECT_EQ(row(codes, 0), (Codes{0, 1, 2, 3, 4, 5, 6, 7, 1, 0, 0, 0, 0, 0, 0, 0}));
    EXPECT_EQ(row(codes, 1), (Codes{1, 1, 1, 1, 1, 1, 1, 1, 2, 2, 2, 2, 2, 2, 2, 2}));
    EXPECT_EQ(row(codes, 2), (Codes{8, 9, 10, 11, 12, 13, 14, 15, 0, 0, 0, 0, 0, 0, 0, 8}));
}

TEST(Packed, GptqInEightBits) {
    CodeRows codes = block(8, 2, 4, 4);
    unpack_codes(Packing::Gptq, words({0x04030201u, 0xfffefdfcu}), 0, codes);
    EXPECT_EQ(row(codes, 0), (Codes{1, 2, 3, 4}));
    EXPECT_EQ(row(codes, 1), (Codes{252, 253, 254, 255}));
}

TEST(Packed, AwqWordsHoldRowsInItsOrder) {
    // Fields from the lowest: rows 0 2 4 6 1 3 5 7.
    CodeRows codes = block(4, 8, 3, 3);
    unpack_codes(Packing::Awq, words({0x76543210u, 0x00000009u, 0x90000000u}), 0, codes);
    EXPECT_EQ(row(codes, 0), (Codes{0, 9, 0}));
    EXPECT_EQ(row(codes, 2), (Codes{1, 0, 0}));
    EXPECT_EQ(row(codes, 1), (Codes{4, 0, 0}));
    EXPECT_EQ(row(codes, 7), (Codes{7, 0, 9}));
    CodeRows middle = block(4, 4, 3, 3);
    unpack_codes(Packing::Awq, words({0x76543210u, 0x00000009u, 0x90000000u}), 2, middle);
    for (std::uint64_t i = 0; i < 4; ++i) {
        EXPECT_EQ(row(middle, i), row(codes, i + 2)) << i;
    }
}

// Sizes around those that are unpacked at once: eight columns, tiles of 128, words of eight rows.
TEST(Packed, AwqOfAnySize) {
    constexpr unsigned kOrder[] = {0, 2, 4, 6, 1, 3, 5, 7};
    std::uint32_t state = 1;
    for (const std::uint64_t columns : {1, 2, 7, 8, 9, 127, 128, 129, 136, 300}) {
        for (const std::uint64_t per_line : {1, 2, 5}) {
            std::vector<std::uint32_t> values(columns * per_line);
            for (std::uint32_t& value : values) {
                value = state = state * 1664525u + 1013904223u;
            }
            for (const std::uint64_t skip : {0, 3, 7}) {
                CodeRows codes = block(4, per_line * 8 - skip - (per_line > 1 ? 2 : 0), columns, columns);
                unpack_codes(Packing::Awq, words(values), skip, codes);
                for (std::uint64_t r = 0; r < codes.rows; ++r) {
                    const auto field = static_cast<unsigned>(
                        std::find(std::begin(kOrder), std::end(kOrder), (r + skip) % 8) - std::begin(kOrder));
                    Codes expected;
                    for (std::uint64_t column = 0; column < columns; ++column) {
                        expected.push_back(values[column * per_line + (r + skip) / 8] >> (4 * field) & 15u);
                    }
                    ASSERT_EQ(row(codes, r), expected) << columns << " " << per_line << " " << skip << " " << r;
                }
            }
        }
    }
}

TEST(Packed, RowsArePaddedAtTheEnd) {
    CodeRows codes = block(4, 2, 10, 10);
    unpack_codes(Packing::Rows, words({0x76543210u, 0xffffff98u, 0x11111111u, 0x22222222u}), 0, codes);
    EXPECT_EQ(row(codes, 0), (Codes{0, 1, 2, 3, 4, 5, 6, 7, 8, 9}));
    EXPECT_EQ(row(codes, 1), (Codes{1, 1, 1, 1, 1, 1, 1, 1, 2, 2}));
}

TEST(Packed, SignedBytesMoveUp) {
    CodeRows codes = block(8, 1, 3, 3);
    const std::vector<std::byte> bytes{std::byte{0x80}, std::byte{0x00}, std::byte{0x7f}};
    unpack_codes(Packing::Bytes, bytes, 0, codes);
    EXPECT_EQ(row(codes, 0), (Codes{0, 128, 255}));
}

TEST(Packed, ZeroPointsOfTheFirstGptqFormatAreOneMore) {
    CodeRows codes = block(4, 8, 2, 1);  // two groups
    unpack_zero_points(Packing::Gptq, words({0x77777777u, 0x76543210u}), 0, true, codes);
    EXPECT_EQ(codes.zero_points, (std::vector<std::uint8_t>{8, 1, 8, 2, 8, 3, 8, 4, 8, 5, 8, 6, 8, 7, 8, 8}));
    unpack_zero_points(Packing::Gptq, words({0x77777777u, 0x76543210u}), 0, false, codes);
    EXPECT_EQ(codes.zero_points[0], 7);
    EXPECT_EQ(codes.zero_points[15], 7);
    // Zero points of nought were written by borrowing from the next field: adding gives them back.
    CodeRows nought = block(4, 8, 1, 1);
    unpack_zero_points(Packing::Gptq, words({0x00000050u - 0x11111111u}), 0, true, nought);
    EXPECT_EQ(nought.zero_points, (std::vector<std::uint8_t>{0, 5, 0, 0, 0, 0, 0, 0}));
    CodeRows bytes = block(8, 4, 1, 1);
    unpack_zero_points(Packing::Gptq, words({0x7f00fe01u}), 0, true, bytes);
    EXPECT_EQ(bytes.zero_points, (std::vector<std::uint8_t>{2, 255, 1, 128}));
}

TEST(Packed, ZeroPointsOfOtherPackings) {
    CodeRows awq = block(4, 8, 1, 1);
    unpack_zero_points(Packing::Awq, words({0x76543210u}), 0, false, awq);
    EXPECT_EQ(awq.zero_points, (std::vector<std::uint8_t>{0, 4, 1, 5, 2, 6, 3, 7}));
    CodeRows rows = block(4, 3, 2, 1);
    unpack_zero_points(Packing::Rows, words({0x76543210u, 0xfedcba98u}), 5, false, rows);
    EXPECT_EQ(rows.zero_points, (std::vector<std::uint8_t>{5, 13, 6, 14, 7, 15}));
    CodeRows bytes = block(4, 2, 1, 1);
    unpack_zero_points(Packing::Bytes, std::vector<std::byte>{std::byte{0xf8}, std::byte{0x07}}, 0, false, bytes);
    EXPECT_EQ(bytes.zero_points, (std::vector<std::uint8_t>{0, 15}));
}

TEST(Packed, LastGroupOfARowMayBeShorter) {
    CodeRows codes = block(4, 1, 5, 3);
    unpack_codes(Packing::Rows, words({0x00054321u}), 0, codes);
    codes.zero_points = {1, 2};
    codes.scales = {0.5f, 10.0f};
    std::vector<float> out(5);
    dequantize_codes(codes, 0, out);
    EXPECT_EQ(out, (std::vector<float>{0.0f, 0.5f, 1.0f, 20.0f, 30.0f}));
    EXPECT_THROW(dequantize_codes(codes, 1, out), Error);
}

TEST(Packed, StoresAsOpenVinoReads) {
    CodeRows codes = block(4, 3, 16, 16);
    unpack_codes(Packing::Rows, words({0x76543210u, 0xfedcba98u, 0, 0, 0x88888888u, 0x11111111u}), 0, codes);
    codes.zero_points = {8, 3, 15};
    codes.scales = {0.5f, 1.0f / 3.0f, -2.0f};
    const Scheme scheme{Format::U4, 16};
    QuantizedBuffers buffers;
    EXPECT_EQ(store_codes(codes, scheme, buffers.resized(scheme, 3, 16)), 1u) << "a third is not exact in float16";
    EXPECT_EQ(buffers.packed, codes.codes);
    EXPECT_EQ(buffers.zero_points, (std::vector<std::byte>{std::byte{0x38}, std::byte{0x0f}}));
    std::vector<float> direct(48);
    std::vector<float> read(48);
    codes.scales[1] = f16_to_f32(f32_to_f16(codes.scales[1]));
    dequantize_codes(codes, 0, direct);
    dequantize_rows(scheme, 3, 16, {buffers.packed, buffers.zero_points, buffers.scales}, read);
    EXPECT_EQ(read, direct);
}

TEST(Packed, SymmetricCodesBecomeSigned) {
    for (const unsigned bits : {4u, 8u}) {
        CodeRows codes = block(bits, 2, 16, 16);
        for (std::size_t i = 0; i < codes.codes.size(); ++i) {
            codes.codes[i] = static_cast<std::byte>(i * 37);
        }
        codes.scales = {0.5f, 0.25f};
        const Scheme scheme{bits == 4 ? Format::I4 : Format::I8, 0};
        QuantizedBuffers buffers;
        EXPECT_EQ(store_codes(codes, scheme, buffers.resized(scheme, 2, 16)), 0u);
        std::vector<float> direct(32);
        std::vector<float> read(32);
        dequantize_codes(codes, 0, direct);
        dequantize_rows(scheme, 2, 16, {buffers.packed, {}, buffers.scales}, read);
        EXPECT_EQ(read, direct);
        codes.zero_points[1] = 3;
        EXPECT_THROW(store_codes(codes, scheme, buffers.resized(scheme, 2, 16)), Error);
    }
}

TEST(Packed, WrongSizesAreBugs) {
    CodeRows codes = block(4, 2, 16, 16);
    EXPECT_THROW(unpack_codes(Packing::Gptq, words({1, 2, 3}), 0, codes), Error);
    EXPECT_THROW(unpack_codes(Packing::Awq, words({1, 2, 3}), 0, codes), Error);
    EXPECT_THROW(unpack_codes(Packing::Rows, words({1, 2, 3}), 0, codes), Error);
    EXPECT_THROW(unpack_zero_points(Packing::Gptq, words({1, 2, 3}), 0, true, codes), Error);
    QuantizedBuffers buffers;
    const Scheme other{Format::U4, 32};
    EXPECT_THROW(store_codes(codes, other, buffers.resized({Format::U4, 16}, 2, 16)), Error);
    EXPECT_THROW(store_codes(codes, {Format::NF4, 16}, buffers.resized({Format::NF4, 16}, 2, 16)), Error);
}

}  // namespace
}  // namespace deltavino::quant
