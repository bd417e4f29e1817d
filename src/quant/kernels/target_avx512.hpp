// From here to target_end.hpp everything is compiled for AVX-512 (F, BW, DQ, VL), and Lanes are those of it; with
// DELTAVINO_TARGET_VNNI also for the sums of bytes that some of these processors have. Only for the
// .cpp files of this instruction set, after all standard headers: nothing of them may run before
// is_available(Isa::Avx512), and no inline function that other files share may be defined in them.
#pragma once

#include <immintrin.h>
#include <cstddef>
#include <cstdint>
#include <cstring>

#if !defined(__clang__)  // GCC 12 takes its own undefined operands in the intrinsics for a mistake
#pragma GCC diagnostic ignored "-Wmaybe-uninitialized"
#pragma GCC diagnostic ignored "-Wuninitialized"
#endif

#if defined(__clang__) && defined(DELTAVINO_TARGET_VNNI)
#pragma clang attribute push(__attribute__((target("avx2,fma,f16c,avx512f,avx512bw,avx512dq,avx512vl,avx512vnni"))), \
                             apply_to = function)
#elif defined(__clang__)
#pragma clang attribute push(__attribute__((target("avx2,fma,f16c,avx512f,avx512bw,avx512dq,avx512vl"))), \
                             apply_to = function)
#elif defined(DELTAVINO_TARGET_VNNI)
#pragma GCC target("avx2,fma,f16c,avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")
#else
#pragma GCC target("avx2,fma,f16c,avx512f,avx512bw,avx512dq,avx512vl")
#endif

#include "quant/kernels/lanes_avx512.hpp"
