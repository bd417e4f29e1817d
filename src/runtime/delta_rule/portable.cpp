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
    switch (isa) {
        case quant::Isa::Avx512: return kDeltaRuleAvx512;
        case quant::Isa::Avx2: return kDeltaRuleAvx2;
        case quant::Isa::Portable: break;
    }
    return kDeltaRulePortable;
}

}  // namespace deltavino::runtime
