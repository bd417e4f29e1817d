#include "runtime/linear/kernel.hpp"

#include "base/host.hpp"
#include "quant/isa.hpp"

#include <algorithm>
#include <string>

namespace deltavino::runtime {

#if defined(__x86_64__)

extern const LinearKernel kLinearAvx512;

const LinearKernel* linear_kernel() {
    static const bool fast = []() {
        const Host host = this_host();
        const auto has = [&](const char* wanted) {
            return std::find(host.instruction_sets.begin(), host.instruction_sets.end(), wanted) !=
                   host.instruction_sets.end();
        };
        return quant::is_available(quant::Isa::Avx512) && has("avx512_vnni") && !has("amx_tile");
    }();
    return fast ? &kLinearAvx512 : nullptr;
}

#else

const LinearKernel* linear_kernel() {
    return nullptr;
}

#endif

}  // namespace deltavino::runtime
