// The kernel for AVX-512 (F, BW, DQ, VL). As in quant/kernels/avx512.cpp, nothing here may run before
// is_available(Isa::Avx512), and no inline function that other files share may be defined here.
#include "runtime/delta_rule/kernel.hpp"

#if defined(__x86_64__)

#include <immintrin.h>
#include <cstdint>
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

#include "runtime/delta_rule/rule.hpp"

namespace deltavino::runtime {

const DeltaRuleHead kDeltaRuleAvx512 = delta_rule::key_head<quant::avx512::Lanes, 4>;

}  // namespace deltavino::runtime

#if defined(__clang__)
#pragma clang attribute pop
#endif

#else

namespace deltavino::runtime {

const DeltaRuleHead kDeltaRuleAvx512 = nullptr;

}  // namespace deltavino::runtime

#endif
