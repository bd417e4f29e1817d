// The kernels for AVX-512 (F, BW, DQ, VL).
#include "quant/kernels/kernels.hpp"

#if defined(__x86_64__)

#include "quant/kernels/target_avx512.hpp"

#include "quant/kernels/entry.hpp"

namespace deltavino::quant {

const Kernels kAvx512Kernels = make_kernels<avx512::Lanes>();

}  // namespace deltavino::quant

#include "quant/kernels/target_end.hpp"

#endif
