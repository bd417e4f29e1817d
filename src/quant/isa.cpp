// Run-time choice of the instruction set.
// The compiler's cpu checks are the source of truth; they include the operating system's support.
#include "quant/isa.hpp"

#if defined(__x86_64__)
#include <cpuid.h>
#endif

namespace deltavino::quant {
namespace {

#if defined(__x86_64__)
bool has_f16c() {  // by hand: clang's __builtin_cpu_supports does not know the name
    unsigned eax = 0, ebx = 0, ecx = 0, edx = 0;
    return __get_cpuid(1, &eax, &ebx, &ecx, &edx) != 0 && (ecx & bit_F16C) != 0;
}
#endif

bool find_out(Isa isa) {
    if (isa == Isa::Portable) {
        return true;
    }
#if defined(__x86_64__)
    const bool avx2 = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") && has_f16c();
    if (isa == Isa::Avx2) {
        return avx2;
    }
    return avx2 && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
           __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl");
#else
    return false;
#endif
}

}  // namespace

bool is_available(Isa isa) {
    // Asked for every block of rows, and slow to answer in a virtual machine.
    static const std::array<bool, 3> available = {find_out(Isa::Portable), find_out(Isa::Avx2), find_out(Isa::Avx512)};
    return available[static_cast<std::size_t>(isa)];
}

Isa best_isa() {
    static const Isa best = is_available(Isa::Avx512) ? Isa::Avx512
                            : is_available(Isa::Avx2) ? Isa::Avx2
                                                      : Isa::Portable;
    return best;
}

std::string_view isa_name(Isa isa) {
    constexpr std::array<std::string_view, 3> names = {"portable", "avx2", "avx512"};
    return names[static_cast<std::size_t>(isa)];
}

}  // namespace deltavino::quant
