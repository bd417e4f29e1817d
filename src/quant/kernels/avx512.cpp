// The kernels for AVX-512 (F, BW, DQ, VL).
// The whole file after the standard headers is compiled for that target, so nothing here may run
// before is_available(Isa::Avx512), and no inline function that other files share may be defined
// here.
#include "quant/kernels/kernels.hpp"

#if defined(__x86_64__)

#include <immintrin.h>
#include <cstring>

#if !defined(__clang__)  // GCC 12 takes its own undefined operands in the intrinsics for a mistake
#pragma GCC diagnostic ignored "-Wmaybe-uninitialized"
#pragma GCC diagnostic ignored "-Wuninitialized"
#endif

#if defined(__clang__)
#pragma clang attribute push(__attribute__((target("avx2,fma,f16c,avx512f,avx512bw,avx512dq,avx512vl"))), \
                             apply_to = function)
#else
#pragma GCC target("avx2,fma,f16c,avx512f,avx512bw,avx512dq,avx512vl")
#endif

#include "quant/kernels/lanes_avx512.hpp"

#include "quant/kernels/entry.hpp"

namespace deltavino::quant {

const Kernels kAvx512Kernels = make_kernels<avx512::Lanes>();

}  // namespace deltavino::quant

#if defined(__clang__)
#pragma clang attribute pop
#endif

#endif
