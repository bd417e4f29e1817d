// The kernel for AVX-512 (F, BW, DQ, VL).
#include "runtime/delta_rule/kernel.hpp"

#if defined(__x86_64__)

#include "quant/kernels/target_avx512.hpp"

#include "runtime/delta_rule/rule.hpp"

namespace deltavino::runtime {

const DeltaRuleHead kDeltaRuleAvx512 = delta_rule::key_head<quant::avx512::Lanes, 4>;

}  // namespace deltavino::runtime

#include "quant/kernels/target_end.hpp"

#endif
