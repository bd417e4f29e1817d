// Source of truth: "OCP 8-bit Floating Point Specification" 1.0 and "OCP Microscaling Formats" 1.0.
#include "quant/float8.hpp"

#include "base/error.hpp"
#include "base/half.hpp"

#include <cmath>
#include <limits>

namespace deltavino::quant {
namespace {

constexpr float kNaN = std::numeric_limits<float>::quiet_NaN();

float e4m3(unsigned code) {
    const int exponent = static_cast<int>(code >> 3 & 15u);
    const auto fraction = static_cast<float>(code & 7u);
    if ((code & 0x7fu) == 0x7fu) {
        return kNaN;
    }
    const float magnitude = exponent == 0 ? std::ldexp(fraction, -9) : std::ldexp(1.0f + fraction / 8.0f, exponent - 7);
    return code >= 0x80u ? -magnitude : magnitude;
}

// The upper half of a float16.
float e5m2(unsigned code) {
    return half::from_f16(static_cast<std::uint16_t>(code << 8));
}

float e8m0(unsigned code) {
    return code == 0xffu ? kNaN : std::ldexp(1.0f, static_cast<int>(code) - 127);
}

std::array<float, 256> table(float (*value)(unsigned)) {
    std::array<float, 256> values{};
    for (unsigned code = 0; code < values.size(); ++code) {
        values[code] = value(code);
    }
    return values;
}

}  // namespace

const std::array<float, 256>& float8_values(Float8 type) {
    static const std::array<std::array<float, 256>, 3> kTables{table(e4m3), table(e5m2), table(e8m0)};
    return kTables[static_cast<std::size_t>(type)];
}

void scale_float8(Float8 type, std::span<const std::byte> codes, float scale, std::span<float> out) {
    if (codes.size() != out.size()) {
        fail(ErrorKind::Internal, "{} codes of 8 bit for {} values", codes.size(), out.size());
    }
    const std::array<float, 256>& values = float8_values(type);
    for (std::size_t i = 0; i < out.size(); ++i) {
        out[i] = values[std::to_integer<std::size_t>(codes[i])] * scale;
    }
}

}  // namespace deltavino::quant
