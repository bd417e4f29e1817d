// The 8-bit floats of quantized checkpoints, widened exactly.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>

namespace deltavino::quant {

enum class Float8 : std::uint8_t {
    E4M3,  // "fn": no infinity, 0x7f and 0xff are NaN, largest 448
    E5M2,  // as IEEE: infinity and NaN
    E8M0,  // powers of two from 2^-127 to 2^127, 0xff is NaN; scales only
};

// The values of all 256 codes.
const std::array<float, 256>& float8_values(Float8 type);

// out = value of the code * scale, rounded once to float32. As many codes as out has values.
void scale_float8(Float8 type, std::span<const std::byte> codes, float scale, std::span<float> out);

}  // namespace deltavino::quant
