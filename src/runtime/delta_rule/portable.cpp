// The kernel in plain C++, for machines without AVX2 and as the reference for the others.
#include "runtime/delta_rule/kernel.hpp"

#include "quant/kernels/lanes_portable.hpp"

#include "runtime/delta_rule/rule.hpp"

namespace deltavino::runtime {

const DeltaRuleHead kDeltaRulePortable = delta_rule::key_head<quant::portable::Lanes, 1>;

std::size_t delta_rule_scratch_floats(const DeltaRuleCall& call) {
    return delta_rule::layout_of(call).size;
}

DeltaRuleHead delta_rule_head(quant::Isa isa) {
#if defined(__x86_64__)
    if (isa == quant::Isa::Avx512) {
        return kDeltaRuleAvx512;
    }
    if (isa == quant::Isa::Avx2) {
        return kDeltaRuleAvx2;
    }
#else
    static_cast<void>(isa);
#endif
    return kDeltaRulePortable;
}

}  // namespace deltavino::runtime
