// The kernel for AVX2 with F16C and FMA. As in quant/kernels/avx2.cpp, nothing here may run before
// is_available(Isa::Avx2), and no inline function that other files share may be defined here.
#include "runtime/delta_rule/kernel.hpp"

#if defined(__x86_64__)

#include <immintrin.h>
#include <cstdint>
#include <cstring>

#if defined(__clang__)
#pragma clang attribute push(__attribute__((target("avx2,fma,f16c"))), apply_to = function)
#else
#pragma GCC target("avx2,fma,f16c")
#endif

#include "quant/kernels/lanes_avx2.hpp"

#include "runtime/delta_rule/rule.hpp"

namespace deltavino::runtime {

const DeltaRuleHead kDeltaRuleAvx2 = delta_rule::key_head<quant::avx2::Lanes, 1>;

}  // namespace deltavino::runtime

#if defined(__clang__)
#pragma clang attribute pop
#endif

#else

namespace deltavino::runtime {

const DeltaRuleHead kDeltaRuleAvx2 = nullptr;

}  // namespace deltavino::runtime

#endif
