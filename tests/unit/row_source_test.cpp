// Weights whose rows come from several tensors: what feeds them, what is wrong with it, and their values from
// any row on.
#include "checkpoint/rows/row_source.hpp"

#include "base/error.hpp"
#include "checkpoint/rows/row_reader.hpp"
#include "support/checkpoint_writer.hpp"
#include "support/golden.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <memory>
#include <random>

namespace deltavino::checkpoint {
namespace {

using test::bytes_of;
using test::RawTensor;
using Shape = std::vector<std::uint64_t>;

constexpr const char* kName = "model.layers.0.mlp.up_proj.weight";
constexpr const char* kModule = "model.layers.0.mlp.up_proj";

std::vector<std::byte> random_bytes(std::uint64_t count, std::uint32_t seed) {
    std::mt19937 generator(seed);
    std::vector<std::byte> bytes(count);
    for (std::byte& byte : bytes) {
        byte = static_cast<std::byte>(generator() & 0x77u);  // no NaN of any type
    }
    return bytes;
}

RawTensor raw(const std::string& end, const std::string& dtype, const Shape& shape, std::uint32_t seed = 1) {
    std::uint64_t bytes = dtype == "I64"                        ? 8
                          : dtype == "F32" || dtype == "I32"    ? 4
                          : dtype.size() > 3 && dtype[1] == '8' ? 1
                                                                : 2;
    bytes = dtype == "I8" || dtype == "U8" ? 1 : bytes;
    for (const std::uint64_t size : shape) {
        bytes *= size;
    }
    return {kModule + end, dtype, shape, random_bytes(bytes, seed)};
}

class RowSourceTest : public testing::Test {
protected:
    const RowLookup& find(const std::vector<RawTensor>& tensors, const Shape& shape,
                          std::optional<Quantization> quantization = Quantization{}, const char* name = kName) {
        test::write_raw_checkpoint(directory_.path(), "{}", tensors);
        checkpoint_ = std::make_unique<Checkpoint>(directory_.path());
        lookup_ = find_rows(*checkpoint_, quantization, name, shape);
        return lookup_;
    }

    std::string problem() const { return fmt::format("{}", fmt::join(lookup_.problems, "; ")); }
    std::string unsupported() const { return fmt::format("{}", fmt::join(lookup_.unsupported, "; ")); }

    std::vector<float> rows(std::uint64_t first, std::uint64_t count) const {
        RowReader reader;
        reader.load(*lookup_.source, first, count);
        std::vector<float> values(count * lookup_.source->columns);
        reader.floats(0, values);
        return values;
    }

    // Any rows, read by themselves, are those of the whole.
    void expect_any_rows() const {
        ASSERT_TRUE(lookup_.source) << problem() << unsupported();
        const std::uint64_t count = lookup_.source->rows;
        const std::uint64_t columns = lookup_.source->columns;
        const std::vector<float> whole = rows(0, count);
        for (std::uint64_t first = 0; first < count; ++first) {
            for (const std::uint64_t some : {std::uint64_t{1}, std::uint64_t{3}, std::uint64_t{9}, count - first}) {
                if (first + some <= count) {
                    const auto begin = whole.begin() + static_cast<std::ptrdiff_t>(first * columns);
                    ASSERT_EQ(rows(first, some),
                              std::vector<float>(begin, begin + static_cast<std::ptrdiff_t>(some * columns)))
                        << first << " " << some;
                }
            }
        }
    }

    static Quantization fp8(std::vector<std::array<std::uint64_t, 2>> blocks) {
        Quantization quantization;
        quantization.method = "fp8";
        quantization.block_sizes = std::move(blocks);
        return quantization;
    }
    static Quantization integers(quant::Packing packing, std::uint64_t group) {
        Quantization quantization;
        quantization.method = "gptq";
        quantization.packing = packing;
        quantization.zero_points_less_one = true;
        quantization.group_sizes = {group};
        return quantization;
    }

    test::TemporaryDirectory directory_;
    std::unique_ptr<Checkpoint> checkpoint_;
    RowLookup lookup_;
};

TEST_F(RowSourceTest, Float8BlocksAreCutAtTheEdges) {
    std::vector<float> scales{1, 2, 3, 4, 5, 6};
    const std::vector<std::byte> ones(5 * 5, std::byte{0x38});
    find({{kName, "F8_E4M3", {5, 5}, ones}, {std::string(kName) + "_scale_inv", "F32", {3, 2}, bytes_of(scales)}},
         {5, 5}, fp8({{2, 3}}));
    ASSERT_TRUE(lookup_.source) << problem();
    EXPECT_EQ(rows(0, 5),
              (std::vector<float>{1, 1, 1, 2, 2, 1, 1, 1, 2, 2, 3, 3, 3, 4, 4, 3, 3, 3, 4, 4, 5, 5, 5, 6, 6}));
    EXPECT_EQ(lookup_.used.size(), 2u);
    expect_any_rows();
}

TEST_F(RowSourceTest, BlocksOfAStackBeginAnewWithEachMatrix) {
    const char* name = "model.layers.0.mlp.experts.gate_up_proj";
    std::vector<float> scales{1, 2, 3, 4};
    find({{name, "F8_E4M3", {2, 3, 2}, std::vector<std::byte>(12, std::byte{0x38})},
          {std::string(name) + "_scale_inv", "F32", {2, 2, 1}, bytes_of(scales)}},
         {2, 3, 2}, fp8({{2, 2}}), name);
    ASSERT_TRUE(lookup_.source) << problem();
    EXPECT_EQ(rows(0, 6), (std::vector<float>{1, 1, 1, 1, 2, 2, 3, 3, 3, 3, 4, 4}));
    expect_any_rows();
}

TEST_F(RowSourceTest, Float8ScalesByShape) {
    struct Case {
        Shape scales;
        std::uint64_t row_block;
        std::uint64_t column_block;
    };
    for (const Case& c : {Case{{}, 6, 4}, Case{{1}, 6, 4}, Case{{1, 1}, 6, 4}, Case{{6}, 1, 4}, Case{{6, 1}, 1, 4},
                          Case{{3, 2}, 2, 2}}) {
        find({raw(".weight", "F8_E5M2", {6, 4}), raw(".weight_scale", "BF16", c.scales)}, {6, 4}, fp8({{2, 2}}));
        ASSERT_TRUE(lookup_.source) << shape_text(c.scales) << problem();
        EXPECT_EQ(lookup_.source->row_block, c.row_block) << shape_text(c.scales);
        EXPECT_EQ(lookup_.source->column_block, c.column_block) << shape_text(c.scales);
        expect_any_rows();
    }
    for (const Shape& shape : {Shape{2, 3}, Shape{4}, Shape{6, 4}, Shape{6, 1, 1}, Shape{0}}) {
        find({raw(".weight", "F8_E5M2", {6, 4}), raw(".weight_scale", "F32", shape)}, {6, 4}, fp8({{2, 2}}));
        EXPECT_NE(problem().find("expected one number or [6, 1] or [3, 2] (blocks of 2 x 2)"), std::string::npos)
            << problem();
    }
    find({raw(".weight", "F8_E4M3", {6, 4}), raw(".weight_scale", "F32", {3, 2})}, {6, 4}, fp8({{2, 2}, {2, 3}}));
    EXPECT_NE(problem().find("more than one block size fits"), std::string::npos) << problem();
    find({raw(".weight", "F8_E4M3", {6, 4}), raw(".weight_scale", "I32", {3, 2})}, {6, 4}, fp8({{2, 2}}));
    EXPECT_NE(problem().find("has type I32, expected F32, BF16, F16, F8_E8M0"), std::string::npos) << problem();
}

TEST_F(RowSourceTest, AnyRowsOfEveryPacking) {
    for (const bool unordered : {false, true}) {
        std::vector<std::int32_t> index(32, 0);
        std::fill(index.begin() + 16, index.end(), unordered ? 0 : 1);
        find({raw(".qweight", "I32", {4, 24}, 2),
              raw(".qzeros", "I32", {2, 3}, 3),
              raw(".scales", "F16", {2, 24}, 4),
              {std::string(kModule) + ".g_idx", "I32", {32}, bytes_of(index)}},
             {24, 32}, integers(quant::Packing::Gptq, 16));
        if (unordered) {
            EXPECT_NE(unsupported().find("in the order of activations"), std::string::npos);
        } else {
            expect_any_rows();
        }
    }
    find({raw(".qweight", "I32", {8, 24}, 2), raw(".qzeros", "I32", {2, 6}, 3), raw(".scales", "F32", {2, 24}, 4)},
         {24, 32}, integers(quant::Packing::Gptq, 16));
    ASSERT_TRUE(lookup_.source) << problem();
    EXPECT_EQ(lookup_.source->bits, 8u);
    expect_any_rows();
    find({raw(".qweight", "I32", {32, 3}, 2), raw(".qzeros", "I32", {2, 3}, 3), raw(".scales", "BF16", {2, 24}, 4)},
         {24, 32}, integers(quant::Packing::Awq, 16));
    expect_any_rows();
    find({raw(".weight_packed", "I32", {13, 3}, 2),
          raw(".weight_scale", "F16", {13, 2}, 3),
          raw(".weight_zero_point", "I32", {2, 2}, 4),
          {std::string(kModule) + ".weight_shape", "I64", {2}, bytes_of(std::vector<std::int64_t>{13, 20})}},
         {13, 20}, integers(quant::Packing::Gptq, 16));
    expect_any_rows();
    find({raw(".weight", "I8", {13, 20}, 2), raw(".weight_scale", "BF16", {13, 1}, 3),
          raw(".weight_zero_point", "I8", {13, 1}, 4)},
         {13, 20});
    expect_any_rows();
}

// What is stored across is read in pieces: several lines at once where they are short, one by one where they are
// long, and the last lines of a tensor may be the last bytes of the file.
TEST_F(RowSourceTest, PiecesOfShortAndLongLines) {
    for (const std::uint64_t rows : {std::uint64_t{640}, std::uint64_t{12800}}) {
        constexpr std::uint64_t kColumns = 600;
        for (const quant::Packing packing : {quant::Packing::Awq, quant::Packing::Gptq}) {
            const bool awq = packing == quant::Packing::Awq;
            find({raw(".qzeros", "I32", {1, rows / 8}, 3), raw(".scales", "F16", {1, rows}, 4),
                  raw(".qweight", "I32", awq ? Shape{kColumns, rows / 8} : Shape{kColumns / 8, rows}, 2)},
                 {rows, kColumns}, integers(packing, kColumns));
            ASSERT_TRUE(lookup_.source) << problem() << unsupported();
            const std::vector<float> whole = this->rows(0, rows);
            for (const std::uint64_t first : {std::uint64_t{0}, std::uint64_t{8}, std::uint64_t{333}, rows - 17}) {
                const auto begin = whole.begin() + static_cast<std::ptrdiff_t>(first * kColumns);
                ASSERT_EQ(this->rows(first, 17), std::vector<float>(begin, begin + 17 * kColumns)) << rows << first;
            }
        }
    }
}

TEST_F(RowSourceTest, HostileShapesAreProblems) {
    const Quantization gptq = integers(quant::Packing::Gptq, 16);
    const auto expect = [&](const std::vector<RawTensor>& tensors, const Shape& shape, const char* text) {
        find(tensors, shape, gptq);
        EXPECT_FALSE(lookup_.source);
        EXPECT_NE(problem().find(text), std::string::npos) << problem();
    };
    const RawTensor codes = raw(".qweight", "I32", {4, 24});
    const RawTensor zeros = raw(".qzeros", "I32", {2, 3});
    const RawTensor scales = raw(".scales", "F16", {2, 24});
    expect({codes, zeros, raw(".scales", "F16", {0, 24})}, {24, 32}, "expected [groups, 24]");
    expect({codes, zeros, raw(".scales", "F16", {2})}, {24, 32}, "expected [groups, 24]");
    expect({codes, raw(".qzeros", "I32", {3, 2}), scales}, {24, 32}, "has shape [3, 2], expected [2, 3]");
    expect({codes, raw(".qzeros", "F32", {2, 3}), scales}, {24, 32}, "has type F32, expected I32");
    expect({raw(".qweight", "F32", {4, 24}), zeros, scales}, {24, 32}, "has type F32, expected I32");
    expect({raw(".qweight", "I32", {0, 24}), zeros, scales}, {24, 32}, "does not hold");
    expect({raw(".qweight", "I32", {96}), zeros, scales}, {24, 32}, "does not hold");
    expect({codes, zeros, scales}, {24, 33}, "does not hold");
    expect({codes, zeros, scales}, {2, 12, 32}, "is not a matrix");
    expect(
        {
            codes,
            zeros,
            raw(".scales", "F16", {3, 24}),
        },
        {24, 32}, "do not fit the group_size");
    for (const std::int32_t group : {-2, 2, 1 << 30}) {
        std::vector<std::int32_t> index(32, 0);
        index[7] = group;
        expect({codes, zeros, scales, {std::string(kModule) + ".g_idx", "I32", {32}, bytes_of(index)}}, {24, 32},
               "puts column 7 into group");
    }
    expect({codes, zeros, scales, raw(".g_idx", "I32", {31})}, {24, 32}, "has shape [31], expected [32]");
    const RawTensor packed = raw(".weight_packed", "I32", {13, 3});
    const RawTensor along = raw(".weight_scale", "F16", {13, 2});
    for (const std::int64_t rows : {std::int64_t{-1}, std::int64_t{1} << 62, std::int64_t{0}}) {
        expect({packed,
                along,
                {std::string(kModule) + ".weight_shape", "I64", {2}, bytes_of(std::vector<std::int64_t>{rows, 20})}},
               {13, 20}, "says that the shape is");
    }
    expect({packed, raw(".weight_scale", "F16", {13, 0})}, {13, 20}, "expected [13, groups] or one number");
    expect({packed, along, raw(".weight_zero_point", "I32", {13, 2})}, {13, 20}, "expected [2, 2]");
}

TEST_F(RowSourceTest, WhatNoConfigSaysIsNotGuessed) {
    find({raw(".qweight", "I32", {4, 24}), raw(".qzeros", "I32", {2, 3}), raw(".scales", "F16", {2, 24})}, {24, 32},
         std::nullopt);
    EXPECT_NE(problem().find("no quantization_config that says how"), std::string::npos) << problem();
    find({raw(".weight", "F8_E4M3", {6, 4}), raw(".weight_scale_inv", "F32", {3, 2})}, {6, 4}, std::nullopt);
    EXPECT_NE(problem().find("config.json names no block size"), std::string::npos) << problem();
    find({raw(".weight", "F8_E4M3", {6, 4}), raw(".weight_scale_inv", "F32", {6, 1})}, {6, 4}, std::nullopt);
    EXPECT_TRUE(lookup_.source);
}

TEST_F(RowSourceTest, FactsOfCodes) {
    const auto facts = [&](std::uint32_t zeros, std::uint16_t scale, const char* type) {
        find({raw(".qweight", "I32", {2, 8}),
              {std::string(kModule) + ".qzeros", "I32", {1, 1}, bytes_of(std::vector<std::uint32_t>{zeros})},
              {std::string(kModule) + ".scales", type, {1, 8}, bytes_of(std::vector<std::uint16_t>(8, scale))}},
             {8, 16}, integers(quant::Packing::Gptq, 16));
        return inspect_codes(*lookup_.source);
    };
    EXPECT_TRUE(facts(0x77777777u, 0x3c00u, "F16").symmetric);
    EXPECT_FALSE(facts(0x77777776u, 0x3c00u, "F16").symmetric);
    EXPECT_EQ(facts(0x77777777u, 0x3c00u, "F16").inexact_scales, 0u);
    EXPECT_EQ(facts(0x77777777u, 0x3c01u, "BF16").inexact_scales, 0u);
    EXPECT_EQ(facts(0x77777777u, 0x3381u, "BF16").inexact_scales, 8u) << "2^-24 and a little";
    EXPECT_TRUE(facts(0x77777777u, 0x7f00u, "BF16").scales_overflow);
    EXPECT_FALSE(facts(0x77777777u, 0x7c00u, "F16").scales_overflow) << "infinite already, refused elsewhere";
    // The last words of compressed-tensors are filled up with zeros.
    find({raw(".weight_packed", "I32", {9, 2}),
          raw(".weight_scale", "F16", {9, 1}),
          {std::string(kModule) + ".weight_zero_point",
           "I32",
           {2, 1},
           bytes_of(std::vector<std::uint32_t>{0x88888888u, 0x8u})}},
         {9, 16});
    ASSERT_TRUE(lookup_.source) << problem();
    EXPECT_TRUE(inspect_codes(*lookup_.source).symmetric);
}

TEST_F(RowSourceTest, ActivationScalesBelongToTheWeightAndAreIgnored) {
    find({raw(".weight", "F8_E4M3", {6, 4}), raw(".weight_scale", "F32", {}), raw(".input_scale", "F32", {}),
          raw(".activation_scale", "F32", {})},
         {6, 4});
    EXPECT_TRUE(lookup_.source);
    EXPECT_EQ(lookup_.used.size(), 2u);
    EXPECT_EQ(lookup_.ignored.size(), 2u);
}

}  // namespace
}  // namespace deltavino::checkpoint
