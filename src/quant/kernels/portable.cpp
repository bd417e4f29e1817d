// The kernels in plain C++, for machines without AVX2 and as the reference for the others.
// lanes_portable.hpp defines the arithmetic. Needs -ffp-contract=off, as the other two files do.
#include "quant/kernels/kernels.hpp"
#include "quant/kernels/lanes_portable.hpp"

#include "quant/kernels/entry.hpp"

namespace deltavino::quant {

const Kernels kPortableKernels = make_kernels<portable::Lanes>();

}  // namespace deltavino::quant
