// From here to target_end.hpp everything is compiled for AVX2 with F16C and FMA, and Lanes are those of it. Only for the
// .cpp files of this instruction set, after all standard headers: nothing of them may run before
// is_available(Isa::Avx2), and no inline function that other files share may be defined in them.
#pragma once

#include <immintrin.h>
#include <cstddef>
#include <cstdint>
#include <cstring>

#if defined(__clang__)
#pragma clang attribute push(__attribute__((target("avx2,fma,f16c"))), apply_to = function)
#else
#pragma GCC target("avx2,fma,f16c")
#endif

#include "quant/kernels/lanes_avx2.hpp"
