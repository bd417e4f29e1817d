// All codes of the 8-bit floats, against their definitions.
#include "quant/float8.hpp"

#include "base/error.hpp"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <vector>

namespace deltavino::quant {
namespace {

// Sign, `exponent` bits and `fraction` bits with a bias, subnormals included; no infinity, no NaN.
double by_definition(unsigned code, int exponent_bits, int fraction_bits, int bias) {
    const unsigned fraction = code & ((1u << fraction_bits) - 1u);
    const unsigned exponent = code >> fraction_bits & ((1u << exponent_bits) - 1u);
    const double step = std::pow(2.0, -fraction_bits);
    const double magnitude = exponent == 0 ? fraction * step * std::pow(2.0, 1 - bias)
                                           : (1.0 + fraction * step) * std::pow(2.0, static_cast<int>(exponent) - bias);
    return code & 0x80u ? -magnitude : magnitude;
}

TEST(Float8, E4m3HasAllItsCodes) {
    const std::array<float, 256>& values = float8_values(Float8::E4M3);
    for (unsigned code = 0; code < 256; ++code) {
        if ((code & 0x7fu) == 0x7fu) {
            EXPECT_TRUE(std::isnan(values[code])) << code;
        } else {
            EXPECT_EQ(values[code], by_definition(code, 4, 3, 7)) << code;
        }
    }
    EXPECT_EQ(values[0x7e], 448.0f);
    EXPECT_EQ(values[0x01], 0x1p-9f);
    EXPECT_TRUE(std::signbit(values[0x80]));
}

TEST(Float8, E5m2HasAllItsCodes) {
    const std::array<float, 256>& values = float8_values(Float8::E5M2);
    for (unsigned code = 0; code < 256; ++code) {
        const unsigned magnitude = code & 0x7fu;
        if (magnitude > 0x7cu) {
            EXPECT_TRUE(std::isnan(values[code])) << code;
        } else if (magnitude == 0x7cu) {
            EXPECT_TRUE(std::isinf(values[code])) << code;
        } else {
            EXPECT_EQ(values[code], by_definition(code, 5, 2, 15)) << code;
        }
    }
    EXPECT_EQ(values[0x7b], 57344.0f);
}

TEST(Float8, E8m0IsPowersOfTwo) {
    const std::array<float, 256>& values = float8_values(Float8::E8M0);
    for (unsigned code = 0; code < 255; ++code) {
        EXPECT_EQ(values[code], std::pow(2.0, static_cast<int>(code) - 127)) << code;
    }
    EXPECT_TRUE(std::isnan(values[255]));
}

TEST(Float8, ScalesInFloat32) {
    const std::vector<std::byte> codes{std::byte{0x01}, std::byte{0x38}, std::byte{0xfe}};
    std::vector<float> out(3);
    scale_float8(Float8::E4M3, codes, 0.1f, out);
    EXPECT_EQ(out, (std::vector<float>{0x1p-9f * 0.1f, 0.1f, -448.0f * 0.1f}));
    EXPECT_THROW(scale_float8(Float8::E4M3, codes, 1.0f, std::span(out).first(2)), Error);
}

}  // namespace
}  // namespace deltavino::quant
