// Conversions between f32, bf16 and f16: literal values, every 16-bit pattern, ties, and the same
// bits from every instruction set.
#include "quant/convert.hpp"

#include "quant_test_support.hpp"

#include <deltavino/error.hpp>

#include <gtest/gtest.h>

#include <bit>
#include <cmath>
#include <cstring>
#include <limits>
#include <random>
#include <vector>

namespace deltavino::quant {
namespace {

constexpr float kInfinity = std::numeric_limits<float>::infinity();

class QuantConvertBy : public testing::TestWithParam<Isa> {};

INSTANTIATE_TEST_SUITE_P(InstructionSets, QuantConvertBy, testing::ValuesIn(kAllIsas),
                         [](const auto& test) { return std::string(isa_name(test.param)); });

// From the definition of the format, in double.
float f16_by_definition(unsigned bits) {
    const int exponent = static_cast<int>(bits >> 10 & 31u);
    const int fraction = static_cast<int>(bits & 1023u);
    const double sign = (bits & 0x8000u) != 0 ? -1.0 : 1.0;
    if (exponent == 31) {
        return fraction != 0 ? std::numeric_limits<float>::quiet_NaN() : static_cast<float>(sign) * kInfinity;
    }
    const double value = exponent == 0 ? std::ldexp(fraction, -24) : std::ldexp(fraction + 1024, exponent - 25);
    return static_cast<float>(sign * value);
}

TEST(QuantConvert, LiteralF16) {
    EXPECT_EQ(f16_to_f32(0x3c00), 1.0f);
    EXPECT_EQ(f16_to_f32(0xc000), -2.0f);
    EXPECT_EQ(f16_to_f32(0x7bff), 65504.0f);
    EXPECT_EQ(f16_to_f32(0x0001), 0x1p-24f);
    EXPECT_EQ(f16_to_f32(0x03ff), 1023 * 0x1p-24f);
    EXPECT_EQ(f16_to_f32(0x7c00), kInfinity);
    EXPECT_TRUE(std::signbit(f16_to_f32(0x8000)));
    EXPECT_EQ(f32_to_f16(1.0f), 0x3c00);
    EXPECT_EQ(f32_to_f16(0.1f), 0x2e66);
    EXPECT_EQ(f32_to_f16(-0.0f), 0x8000);
    EXPECT_EQ(f32_to_f16(1.0f + 0x1p-11f), 0x3c00);             // tie, down to even
    EXPECT_EQ(f32_to_f16(1.0f + 3 * 0x1p-11f), 0x3c02);         // tie, up to even
    EXPECT_EQ(f32_to_f16(1.0f + 0x1p-11f + 0x1p-23f), 0x3c01);  // just above the tie
    EXPECT_EQ(f32_to_f16(65519.996f), 0x7bff);
    EXPECT_EQ(f32_to_f16(65520.0f), 0x7c00);
    EXPECT_EQ(f32_to_f16(0x1p-25f), 0x0000);  // tie with zero
    EXPECT_EQ(f32_to_f16(std::nextafter(0x1p-25f, 1.0f)), 0x0001);
    EXPECT_EQ(f32_to_f16(std::nextafter(0x1p-14f, 0.0f)), 0x0400);
    EXPECT_EQ(f32_to_f16(std::bit_cast<float>(0xffc00000u)), 0xfe00);
}

TEST(QuantConvert, LiteralBf16) {
    EXPECT_EQ(bf16_to_f32(0x3f80), 1.0f);
    EXPECT_EQ(bf16_to_f32(0xc049), -3.140625f);
    EXPECT_EQ(f32_to_bf16(3.14159265f), 0x4049);
    EXPECT_EQ(f32_to_bf16(1.0f + 0x1p-8f), 0x3f80);
    EXPECT_EQ(f32_to_bf16(1.0f + 3 * 0x1p-8f), 0x3f82);
    EXPECT_EQ(f32_to_bf16(std::numeric_limits<float>::max()), 0x7f80);
    EXPECT_EQ(f32_to_bf16(0x1.fep127f), 0x7f7f);
    EXPECT_EQ(f32_to_bf16(0x1p-149f), 0x0000);
    EXPECT_EQ(f32_to_bf16(std::bit_cast<float>(0x7f800001u)), 0x7fc0);
}

TEST(QuantConvert, EveryF16PatternWidensAndComesBack) {
    for (unsigned bits = 0; bits <= 0xffff; ++bits) {
        const float value = f16_to_f32(static_cast<std::uint16_t>(bits));
        const float expected = f16_by_definition(bits);
        if (std::isnan(expected)) {
            EXPECT_TRUE(std::isnan(value)) << bits;
            EXPECT_EQ(f32_to_f16(value), bits | 0x200u);
        } else {
            EXPECT_EQ(std::bit_cast<std::uint32_t>(value), std::bit_cast<std::uint32_t>(expected)) << bits;
            EXPECT_EQ(f32_to_f16(value), bits);
        }
    }
}

TEST(QuantConvert, HalfwayBetweenF16NeighboursGoesToEven) {
    for (unsigned bits = 0; bits < 0x7bff; ++bits) {
        const float low = f16_to_f32(static_cast<std::uint16_t>(bits));
        const float high = f16_to_f32(static_cast<std::uint16_t>(bits + 1));
        const float middle = (low + high) / 2;
        EXPECT_EQ(f32_to_f16(middle), bits + (bits & 1u));
        EXPECT_EQ(f32_to_f16(std::nextafter(middle, 0.0f)), bits);
        EXPECT_EQ(f32_to_f16(std::nextafter(middle, kInfinity)), bits + 1);
    }
}

TEST(QuantConvert, EveryBf16PatternComesBack) {
    for (unsigned bits = 0; bits <= 0xffff; ++bits) {
        const auto pattern = static_cast<std::uint16_t>(bits);
        const bool nan = (bits & 0x7fffu) > 0x7f80u;
        EXPECT_EQ(f32_to_bf16(bf16_to_f32(pattern)), nan ? (pattern | 0x40u) : pattern);
    }
}

std::vector<float> difficult_values() {
    std::mt19937 generator(3);
    std::vector<float> values;
    for (unsigned bits = 0; bits <= 0xffff; ++bits) {
        values.push_back(f16_to_f32(static_cast<std::uint16_t>(bits)));
        values.push_back(bf16_to_f32(static_cast<std::uint16_t>(bits)));
    }
    for (int i = 0; i < 100003; ++i) {
        values.push_back(std::bit_cast<float>(static_cast<std::uint32_t>(generator())));
    }
    return values;
}

TEST_P(QuantConvertBy, NarrowsAsOneByOne) {
    const Isa isa = GetParam();
    DELTAVINO_SKIP_WITHOUT(isa);
    const std::vector<float> values = difficult_values();
    std::uint64_t f16_overflows = 0;
    std::uint64_t bf16_overflows = 0;
    for (float value : values) {
        f16_overflows += std::isfinite(value) && std::isinf(f16_to_f32(f32_to_f16(value)));
        bf16_overflows += std::isfinite(value) && std::isinf(bf16_to_f32(f32_to_bf16(value)));
    }
    std::vector<std::byte> f16(values.size() * 2), bf16(values.size() * 2);
    EXPECT_EQ(narrow(SourceType::F16, values, f16, isa), f16_overflows);
    EXPECT_EQ(narrow(SourceType::BF16, values, bf16, isa), bf16_overflows);
    std::size_t wrong = 0;
    for (std::size_t i = 0; i < values.size(); ++i) {
        std::uint16_t a = 0, b = 0;
        std::memcpy(&a, &f16[i * 2], 2);
        std::memcpy(&b, &bf16[i * 2], 2);
        wrong += a != f32_to_f16(values[i]) || b != f32_to_bf16(values[i]) ? 1u : 0u;
    }
    EXPECT_EQ(wrong, 0u);
}

TEST_P(QuantConvertBy, WidensEveryPattern) {
    const Isa isa = GetParam();
    DELTAVINO_SKIP_WITHOUT(isa);
    std::vector<std::uint16_t> patterns(0x10000 + 5);
    for (std::size_t i = 0; i < patterns.size(); ++i) {
        patterns[i] = static_cast<std::uint16_t>(i);
    }
    const auto bytes = std::as_bytes(std::span(patterns));
    std::vector<float> f16(patterns.size()), bf16(patterns.size());
    widen(SourceType::F16, bytes, f16, isa);
    widen(SourceType::BF16, bytes, bf16, isa);
    std::size_t wrong = 0;
    for (std::size_t i = 0; i < patterns.size(); ++i) {
        const float expected_f16 = f16_to_f32(patterns[i]);
        const float expected_bf16 = bf16_to_f32(patterns[i]);
        wrong += std::memcmp(&f16[i], &expected_f16, 4) != 0 || std::memcmp(&bf16[i], &expected_bf16, 4) != 0;
    }
    EXPECT_EQ(wrong, 0u);
}

TEST(QuantConvert, CountsFiniteValuesThatBecomeInfinite) {
    const std::vector<float> values = {
        1.0f, 65520.0f, -70000.0f, kInfinity, -kInfinity, std::numeric_limits<float>::quiet_NaN(), 65519.0f};
    std::vector<std::byte> out(values.size() * 2);
    EXPECT_EQ(narrow(SourceType::F16, values, out), 2u);
    EXPECT_EQ(narrow(SourceType::BF16, values, out), 0u);
}

TEST(QuantConvert, F32IsCopiedAndEmptyIsFine) {
    const std::vector<float> values = {1.5f, -0.0f, 3e38f};
    std::vector<std::byte> bytes(12);
    EXPECT_EQ(narrow(SourceType::F32, values, bytes), 0u);
    std::vector<float> back(3);
    widen(SourceType::F32, bytes, back);
    EXPECT_EQ(std::memcmp(values.data(), back.data(), 12), 0);
    widen(SourceType::BF16, {}, {});
    EXPECT_EQ(narrow(SourceType::F16, {}, {}), 0u);
}

TEST(QuantConvert, WrongSizesAreRefused) {
    std::vector<float> values(3);
    std::vector<std::byte> bytes(5);
    EXPECT_THROW(widen(SourceType::F16, bytes, values), Error);
    EXPECT_THROW(narrow(SourceType::BF16, values, bytes), Error);
}

}  // namespace
}  // namespace deltavino::quant
