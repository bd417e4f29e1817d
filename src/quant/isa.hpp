// Which instruction sets the kernels of this folder are built for, and which one this machine
// takes.
#pragma once

#include <array>
#include <cstdint>
#include <string_view>

namespace deltavino::quant {

// All three give the same bits; they differ in speed only.
enum class Isa : std::uint8_t { Portable, Avx2, Avx512 };

inline constexpr std::array<Isa, 3> kAllIsas = {Isa::Portable, Isa::Avx2, Isa::Avx512};

bool is_available(Isa isa);
Isa best_isa();
std::string_view isa_name(Isa isa);

}  // namespace deltavino::quant
