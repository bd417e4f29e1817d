// Conversion between the float types of checkpoints and float32.
#pragma once

#include "quant/isa.hpp"

#include <cstddef>
#include <cstdint>
#include <span>

namespace deltavino::quant {

enum class SourceType : std::uint8_t { F32, BF16, F16 };

std::size_t source_bytes(SourceType type);

// Widens exactly. `in` holds out.size() values; it needs no alignment. NaN stays NaN.
// Throws ErrorKind::Internal when the sizes disagree or the instruction set is not available.
void widen(SourceType type, std::span<const std::byte> in, std::span<float> out, Isa isa = best_isa());

// Rounds to nearest, ties to even. Returns how many finite values became infinite.
// A NaN keeps its sign and its upper bits and becomes quiet.
std::uint64_t narrow(SourceType type, std::span<const float> in, std::span<std::byte> out, Isa isa = best_isa());

// One value at a time, the reference for the above.
float f16_to_f32(std::uint16_t bits);
std::uint16_t f32_to_f16(float value);
float bf16_to_f32(std::uint16_t bits);
std::uint16_t f32_to_bf16(float value);

}  // namespace deltavino::quant
