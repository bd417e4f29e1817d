// The kernels for AVX2 with F16C and FMA.
// The whole file after the standard headers is compiled for that target, so nothing here may run
// before is_available(Isa::Avx2), and no inline function that other files share may be defined
// here.
#include "quant/kernels/kernels.hpp"

#if defined(__x86_64__)

#include <immintrin.h>
#include <cstring>

#if defined(__clang__)
#pragma clang attribute push(__attribute__((target("avx2,fma,f16c"))), apply_to = function)
#else
#pragma GCC target("avx2,fma,f16c")
#endif

#include "quant/kernels/lanes_avx2.hpp"

#include "quant/kernels/entry.hpp"

namespace deltavino::quant {

const Kernels kAvx2Kernels = make_kernels<avx2::Lanes>();

}  // namespace deltavino::quant

#if defined(__clang__)
#pragma clang attribute pop
#endif

#endif
