// The kernel for AVX2 with F16C and FMA.
#include "runtime/delta_rule/kernel.hpp"

#if defined(__x86_64__)

#include "quant/kernels/target_avx2.hpp"

#include "runtime/delta_rule/rule.hpp"

namespace deltavino::runtime {

const DeltaRuleHead kDeltaRuleAvx2 = delta_rule::key_head<quant::avx2::Lanes, 1>;

}  // namespace deltavino::runtime

#include "quant/kernels/target_end.hpp"

#endif
