// The kernels for AVX2 with F16C and FMA.
#include "quant/kernels/kernels.hpp"

#if defined(__x86_64__)

#include "quant/kernels/target_avx2.hpp"

#include "quant/kernels/entry.hpp"

namespace deltavino::quant {

const Kernels kAvx2Kernels = make_kernels<avx2::Lanes>();

}  // namespace deltavino::quant

#include "quant/kernels/target_end.hpp"

#endif
