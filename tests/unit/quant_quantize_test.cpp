// Quantized rows as bytes: literal values, packing, bounds on the error, bad input, odd sizes, and
// the same bits from every instruction set.
#include "quant_test_support.hpp"

#include <deltavino/error.hpp>

#include <fmt/format.h>

#include <algorithm>
#include <bit>
#include <cstdlib>
#include <limits>
#include <tuple>

namespace deltavino::quant {
namespace {

constexpr Search kBoth[] = {Search::Nncf, Search::LeastError};

TEST(QuantLiteral, U4WithZeroPoint) {
    // -1 ... 2 in 15 steps of 0.2; zero is step 5.
    const Weight weight{1, 4, {-1.0f, 0.0f, 0.5f, 2.0f}};
    const Quantized found = quantize({Format::U4, 0}, Search::Nncf, weight.block());
    EXPECT_EQ(ints(found.packed), (std::vector{0x50, 0xf8}));  // 0 5 8 15; 7.5 goes to even
    EXPECT_EQ(ints(found.zero_points), (std::vector{5}));
    EXPECT_EQ(f16_scales(found), (std::vector{f16_to_f32(f32_to_f16(0.2f))}));
}

TEST(QuantLiteral, I4TakesTheSignOfTheLargerEnd) {
    const Weight weight{2, 4, {-8.0f, 7.0f, 1.0f, -1.0f, 8.0f, -7.0f, 1.0f, 0.0f}};
    const Quantized found = quantize({Format::I4, 0}, Search::Nncf, weight.block());
    EXPECT_EQ(ints(found.packed), (std::vector{0x78, 0xf1, 0x78, 0x0f}));
    EXPECT_TRUE(found.zero_points.empty());
    EXPECT_EQ(f16_scales(found), (std::vector{1.0f, -1.0f}));
    EXPECT_EQ(found.statistics.squared_error, 0.0);
    EXPECT_EQ(found.statistics.squared_weight, 64 + 49 + 1 + 1 + 64 + 49 + 1);
}

TEST(QuantLiteral, EightBits) {
    const Weight weight{1, 3, {-128.0f, 127.0f, 3.0f}};
    const Quantized u8 = quantize({Format::U8, 0}, Search::Nncf, weight.block());
    EXPECT_EQ(ints(u8.packed), (std::vector{0, 255, 131}));
    EXPECT_EQ(ints(u8.zero_points), (std::vector{128}));
    EXPECT_EQ(f16_scales(u8), (std::vector{1.0f}));
    const Quantized i8 = quantize({Format::I8, 0}, Search::Nncf, weight.block());
    EXPECT_EQ(ints(i8.packed), (std::vector{128, 127, 3}));
    EXPECT_EQ(f16_scales(i8), (std::vector{1.0f}));
}

TEST(QuantLiteral, Nf4AndMxfp4) {
    const Weight nf4{1, 6, {-2.0f, 2.0f, 0.0f, 0.16f, -1.0f, 0.9f}};
    const Quantized codes = quantize({Format::NF4, 0}, Search::Nncf, nf4.block());
    EXPECT_EQ(ints(codes.packed), (std::vector{0xf0, 0x87, 0xc2}));
    EXPECT_EQ(f16_scales(codes), (std::vector{2.0f}));

    Weight mxfp4{1, 32, std::vector<float>(32, 0.0f)};
    mxfp4.values[0] = 6.0f;
    mxfp4.values[1] = -0.5f;
    mxfp4.values[2] = -0.1f;  // comes back as minus zero
    mxfp4.values[3] = 2.5f;   // halfway: to the even code, 2
    const Quantized found = quantize({Format::MXFP4, 32}, Search::Nncf, mxfp4.block());
    EXPECT_EQ(ints(found.scales), (std::vector{127}));
    EXPECT_EQ(ints(found.packed), (std::vector{0x97, 0x48, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0}));
}

TEST(QuantLiteral, ZeroPointsOfFourBitsShareBytesAcrossRows) {
    Weight weight{3, 16, std::vector<float>(48, 0.0f)};
    for (std::size_t row = 0; row < 3; ++row) {  // zero points 3, 7, 15
        weight.values[row * 16] = row == 0 ? -3.0f : row == 1 ? -7.0f : -15.0f;
        weight.values[row * 16 + 1] = row == 0 ? 12.0f : row == 1 ? 8.0f : 0.0f;
    }
    const Quantized found = quantize({Format::U4, 16}, Search::Nncf, weight.block());
    EXPECT_EQ(ints(found.zero_points), (std::vector{0x73, 0x0f}));
    EXPECT_EQ(ints(quantize({Format::U4, 0}, Search::Nncf, weight.block()).zero_points), (std::vector{0x73, 0x0f}));
}

class QuantEveryScheme : public testing::TestWithParam<Scheme> {};

INSTANTIATE_TEST_SUITE_P(Schemes, QuantEveryScheme, testing::ValuesIn(all_schemes()), scheme_label);

// Weights that are stored exactly must come back exactly, whatever the search.
TEST_P(QuantEveryScheme, WhatIsOnTheGridComesBackUnchanged) {
    const Scheme scheme = GetParam();
    std::mt19937 generator(5);
    Weight weight{4, 256, std::vector<float>(4 * 256)};
    const bool eight = traits(scheme.format).bits == 8;
    for (std::size_t i = 0; i < weight.values.size(); ++i) {
        const int least = eight ? -128 : -8;
        const std::size_t place = i % 16;  // both ends are in every group
        const int level = place == 0   ? least
                          : place == 1 ? -least - 1
                                       : least + static_cast<int>(generator() % (eight ? 256 : 16));
        const float step = scheme.format == Format::NF4 ? std::ldexp(1.0f, -6) : std::ldexp(1.0f, -9);
        if (scheme.format == Format::NF4) {
            constexpr float levels[] = {-1.0f, 0.0f, 1.0f};
            weight.values[i] = levels[generator() % 3] * step;
        } else if (scheme.format == Format::MXFP4) {
            constexpr float levels[] = {0.5f, 1.0f, 1.5f, 2.0f, 3.0f, 4.0f, 6.0f};
            weight.values[i] = (place == 0 ? 6.0f : -levels[generator() % 7]) * step;
        } else {
            weight.values[i] = static_cast<float>(level) * step;
        }
    }
    for (Search search : kBoth) {
        const Quantized found = quantize(scheme, search, weight.block());
        EXPECT_EQ(read_back(scheme, weight, found), weight.values);
        EXPECT_EQ(found.statistics.squared_error, 0.0);
        EXPECT_EQ(found.statistics.max_abs_error, 0.0);
    }
}

// Those whose steps are even.
std::vector<Scheme> integer_schemes() {
    std::vector<Scheme> schemes = all_schemes();
    std::erase_if(schemes, [](const Scheme& scheme) { return !traits(scheme.format).integer; });
    return schemes;
}

class QuantIntegerScheme : public testing::TestWithParam<Scheme> {};

INSTANTIATE_TEST_SUITE_P(Schemes, QuantIntegerScheme, testing::ValuesIn(integer_schemes()), scheme_label);

TEST_P(QuantIntegerScheme, NncfErrorIsAtMostHalfAStep) {
    const Scheme scheme = GetParam();
    const Format format = scheme.format;
    const Weight weight = normal_weight(8, 512);
    const Quantized found = quantize(scheme, Search::Nncf, weight.block());
    const std::vector<float> back = read_back(scheme, weight, found);
    const std::vector<float> scales = f16_scales(found);
    const std::size_t group = scheme.group_size == 0 ? 512 : scheme.group_size;
    // The largest value of the end opposite to the largest magnitude may be cut off by up to a
    // step.
    const float steps = traits(format).zero_point ? 0.5f : 1.0f;
    for (std::size_t i = 0; i < back.size(); ++i) {
        const float rounded_scale = std::abs(weight.values[i]) * 0x1p-10f;
        EXPECT_LE(std::abs(weight.values[i] - back[i]), std::abs(scales[i / group]) * steps * 1.01f + rounded_scale);
    }
}

TEST_P(QuantEveryScheme, ZerosStayZero) {
    const Scheme scheme = GetParam();
    Weight weight = heavy_weight(6, 256);
    for (std::size_t i = 0; i < weight.values.size(); i += 3) {
        weight.values[i] = 0.0f;
    }
    for (std::size_t i = 256; i < 512; ++i) {
        weight.values[i] = 0.0f;  // a whole row
    }
    for (Search search : kBoth) {
        const std::vector<float> back = read_back(scheme, weight, quantize(scheme, search, weight.block()));
        for (std::size_t i = 0; i < back.size(); ++i) {
            if (weight.values[i] == 0.0f) {
                EXPECT_EQ(back[i], 0.0f) << i;
            }
        }
    }
}

TEST_P(QuantEveryScheme, StatisticsAgreeWithWhatComesBack) {
    const Scheme scheme = GetParam();
    const Weight weight = heavy_weight(5 + 1, 256);
    std::vector<float> importance(256);
    for (std::size_t i = 0; i < importance.size(); ++i) {
        importance[i] = static_cast<float>(i % 5);
    }
    for (Search search : kBoth) {
        const Quantized found = quantize(scheme, search, weight.block(), importance);
        const std::vector<float> back = read_back(scheme, weight, found);
        const double error = total(group_errors(scheme, weight, back));
        const double weighted = total(group_errors(scheme, weight, back, importance));
        double squared = 0;
        double worst = 0;
        for (std::size_t i = 0; i < back.size(); ++i) {
            const double w = static_cast<double>(weight.values[i]);
            squared += w * w;
            worst = std::max(worst, std::abs(w - static_cast<double>(back[i])));
        }
        EXPECT_NEAR(found.statistics.squared_error / error, 1.0, 1e-5);
        EXPECT_NEAR(found.statistics.weighted_error / weighted, 1.0, 1e-5);
        EXPECT_NEAR(found.statistics.squared_weight / squared, 1.0, 1e-5);
        EXPECT_NEAR(found.statistics.max_abs_error, worst, 1e-6 * worst);
        EXPECT_NEAR(found.statistics.relative_error(), std::sqrt(error / squared), 1e-5);
        EXPECT_EQ(found.statistics.values, weight.values.size());
        EXPECT_EQ(found.statistics.nonfinite, 0u);
        EXPECT_EQ(found.statistics.scale_overflows, 0u);
    }
}

TEST_P(QuantEveryScheme, NonfiniteValuesAreCountedAndTakenAsZero) {
    const Scheme scheme = GetParam();
    Weight weight = normal_weight(3, 256);
    Weight zeroed = weight;
    const float bad[] = {std::numeric_limits<float>::quiet_NaN(), std::numeric_limits<float>::infinity(),
                         -std::numeric_limits<float>::infinity(), std::bit_cast<float>(0xff800001u)};
    std::size_t count = 0;
    for (std::size_t i = 5; i < weight.values.size(); i += 97) {
        weight.values[i] = bad[count++ % 4];
        zeroed.values[i] = 0.0f;
    }
    for (Search search : kBoth) {
        const Quantized found = quantize(scheme, search, weight.block());
        EXPECT_EQ(found.statistics.nonfinite, count);
        EXPECT_TRUE(found.same_bytes(quantize(scheme, search, zeroed.block())));
    }
}

// Blocks of rows give the bytes of the whole, in every type of source.
TEST_P(QuantEveryScheme, RowsDoNotDependOnTheirBlock) {
    const Scheme scheme = GetParam();
    const Weight weight = normal_weight(38, 256);
    for (SourceType type : {SourceType::F32, SourceType::BF16, SourceType::F16}) {
        std::vector<std::byte> source(weight.values.size() * source_bytes(type));
        narrow(type, weight.values, source);
        const RowBlock whole{source.data(), type, 38, 256, false};
        for (Search search : kBoth) {
            const Quantized expected = quantize(scheme, search, whole);
            Quantized joined;
            for (std::uint64_t row = 0; row < 38;) {
                const std::uint64_t rows = std::min<std::uint64_t>(row < 10 ? 2 : 14, 38 - row);
                const RowBlock block{source.data() + row * 256 * source_bytes(type), type, rows, 256, false};
                const Quantized part = quantize(scheme, search, block);
                joined.packed.insert(joined.packed.end(), part.packed.begin(), part.packed.end());
                joined.zero_points.insert(joined.zero_points.end(), part.zero_points.begin(), part.zero_points.end());
                joined.scales.insert(joined.scales.end(), part.scales.begin(), part.scales.end());
                joined.statistics.merge(part.statistics);
                row += rows;
            }
            EXPECT_TRUE(joined.same_bytes(expected));
            EXPECT_NEAR(joined.statistics.squared_error / expected.statistics.squared_error, 1.0, 1e-6);
            EXPECT_EQ(joined.statistics.max_abs_error, expected.statistics.max_abs_error);
        }
    }
}

std::vector<Weight> difficult_weights() {
    std::vector<Weight> weights = {normal_weight(17, 256),      heavy_weight(5, 512),
                                   normal_weight(3, 256, 1e-7), normal_weight(3, 256, 1e-39),
                                   normal_weight(3, 256, 1e6),  normal_weight(2, 256, 1e37)};
    weights.push_back(random_weight(2, 256, std::uniform_real_distribution<double>(0.0, 1.0), 1.0));
    weights.push_back({2, 256, std::vector<float>(512, 0.37f)});
    weights.push_back({2, 256, std::vector<float>(512, -0.0f)});
    Weight patterns = {40, 256, std::vector<float>(40 * 256)};
    std::mt19937 generator(11);
    for (float& value : patterns.values) {
        value = std::bit_cast<float>(static_cast<std::uint32_t>(generator()));
    }
    weights.push_back(patterns);
    return weights;
}

class QuantIsa : public testing::TestWithParam<std::tuple<Scheme, Isa>> {};

std::string isa_label(const testing::TestParamInfo<std::tuple<Scheme, Isa>>& info) {
    const auto& [scheme, isa] = info.param;
    return fmt::format("{}_{}_{}", traits(scheme.format).name, scheme.group_size, isa_name(isa));
}

INSTANTIATE_TEST_SUITE_P(Schemes, QuantIsa,
                         testing::Combine(testing::ValuesIn(all_schemes()), testing::Values(Isa::Avx2, Isa::Avx512)),
                         isa_label);

TEST_P(QuantIsa, GivesTheBitsOfThePortableOne) {
    const auto& [scheme, isa] = GetParam();
    if (!is_available(isa)) {
        GTEST_SKIP() << "this machine has no " << isa_name(isa);
    }
    std::vector<float> importance(512);
    for (std::size_t i = 0; i < importance.size(); ++i) {
        importance[i] = static_cast<float>(i * 7919 % 13) * 0.3f;
    }
    for (const Weight& weight : difficult_weights()) {
        for (Search search : kBoth) {
            for (bool weighted : {false, true}) {
                const auto factors = std::span<const float>(importance).first(weighted ? weight.columns : 0);
                const Quantized expected = quantize(scheme, search, weight.block(), factors, Isa::Portable);
                const Quantized found = quantize(scheme, search, weight.block(), factors, isa);
                EXPECT_TRUE(found.same_bytes(expected)) << " first value " << weight.values[0];
                EXPECT_EQ(found.statistics.nonfinite, expected.statistics.nonfinite);
                EXPECT_EQ(found.statistics.scale_overflows, expected.statistics.scale_overflows);
                if (std::isfinite(expected.statistics.squared_error)) {
                    EXPECT_EQ(found.statistics.squared_error, expected.statistics.squared_error);
                    EXPECT_EQ(found.statistics.weighted_error, expected.statistics.weighted_error);
                    EXPECT_EQ(found.statistics.squared_weight, expected.statistics.squared_weight);
                    EXPECT_EQ(found.statistics.max_abs_error, expected.statistics.max_abs_error);
                }
            }
        }
    }
}

TEST(QuantSizes, OddRowsAndColumns) {
    for (Format format : {Format::U8, Format::I8, Format::U4, Format::I4, Format::NF4}) {
        const std::uint64_t step = traits(format).bits == 4 ? 2 : 1;
        for (std::uint64_t columns = 2; columns < 70; columns += step) {
            for (std::uint64_t rows : {0, 1, 7, 16, 33}) {
                const Scheme scheme{format, 0};
                const Weight weight = normal_weight(rows, columns);
                for (Search search : kBoth) {
                    const Quantized expected = quantize(scheme, search, weight.block(), {}, Isa::Portable);
                    EXPECT_TRUE(quantize(scheme, search, weight.block()).same_bytes(expected));
                    EXPECT_LT(expected.statistics.relative_error(), 0.25) << rows << 'x' << columns;
                }
            }
        }
    }
}

TEST(QuantSizes, LargeWeightsOverflowTheScaleAndAreCounted) {
    const Weight weight{2, 4, {0.0f, 1e7f, -1e7f, 5.0f, 1.0f, 2.0f, 3.0f, 4.0f}};
    const Quantized nncf = quantize({Format::I4, 0}, Search::Nncf, weight.block());
    EXPECT_EQ(nncf.statistics.scale_overflows, 1u);
    EXPECT_TRUE(std::isinf(f16_scales(nncf)[0]));
    const Quantized least = quantize({Format::I4, 0}, Search::LeastError, weight.block());
    EXPECT_EQ(least.statistics.scale_overflows, 1u);
    EXPECT_EQ(std::abs(f16_scales(least)[0]), 65504.0f);
}

TEST(QuantErrors, MisuseIsRefused) {
    const Weight weight = normal_weight(2, 64);
    std::vector<std::byte> packed(64), zero_points(2), scales(8), wrong(3);
    const QuantizedRows good{packed, zero_points, scales};
    const Scheme scheme{Format::U4, 32};
    EXPECT_NO_THROW(quantize_rows(scheme, Search::Nncf, weight.block(), {}, good));
    EXPECT_THROW(quantize_rows({Format::U4, 7}, Search::Nncf, weight.block(), {}, good), Error);
    EXPECT_THROW(quantize_rows(scheme, Search::Nncf, weight.block(), {}, {wrong, zero_points, scales}), Error);
    EXPECT_THROW(quantize_rows(scheme, Search::Nncf, weight.block(), {}, {packed, wrong, scales}), Error);
    EXPECT_THROW(quantize_rows(scheme, Search::Nncf, weight.block(), {}, {packed, zero_points, wrong}), Error);
    std::vector<float> importance(64, 1.0f);
    EXPECT_NO_THROW(quantize_rows(scheme, Search::Nncf, weight.block(), importance, good));
    EXPECT_THROW(quantize_rows(scheme, Search::Nncf, weight.block(), std::span(importance).first(63), good), Error);
    importance[3] = -1.0f;
    EXPECT_THROW(quantize_rows(scheme, Search::Nncf, weight.block(), importance, good), Error);
    importance[3] = std::numeric_limits<float>::quiet_NaN();
    EXPECT_THROW(quantize_rows(scheme, Search::Nncf, weight.block(), importance, good), Error);
    std::vector<float> back(127);
    EXPECT_THROW(dequantize_rows(scheme, 2, 64, {packed, zero_points, scales}, back), Error);
}

}  // namespace
}  // namespace deltavino::quant
