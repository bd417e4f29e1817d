// Conversion of spans between float types: checks, then the kernels of the chosen instruction set.
// IEEE 754 is the source of truth; half.hpp holds the arithmetic of one value.
#include "quant/convert.hpp"

#include "base/error.hpp"
#include "base/half.hpp"
#include "quant/kernels/kernels.hpp"

namespace deltavino::quant {
namespace {

void require_bytes(SourceType type, std::size_t values, std::size_t bytes) {
    if (bytes / source_bytes(type) != values || bytes % source_bytes(type) != 0) {
        fail(ErrorKind::Internal, "conversion of {} values got {} bytes of a {} byte type", values, bytes,
             source_bytes(type));
    }
}

}  // namespace

std::size_t source_bytes(SourceType type) {
    return type == SourceType::F32 ? 4 : 2;
}

const Kernels& kernels_for(Isa isa) {
    if (!is_available(isa)) {
        fail(ErrorKind::Internal, "this machine lacks the instruction set '{}'", isa_name(isa));
    }
#if defined(__x86_64__)
    if (isa == Isa::Avx512) {
        return kAvx512Kernels;
    }
    if (isa == Isa::Avx2) {
        return kAvx2Kernels;
    }
#endif
    return kPortableKernels;
}

void widen(SourceType type, std::span<const std::byte> in, std::span<float> out, Isa isa) {
    require_bytes(type, out.size(), in.size());
    kernels_for(isa).widen(type, in.data(), out.size(), out.data());
}

std::uint64_t narrow(SourceType type, std::span<const float> in, std::span<std::byte> out, Isa isa) {
    require_bytes(type, in.size(), out.size());
    return kernels_for(isa).narrow(type, in.data(), in.size(), out.data());
}

float f16_to_f32(std::uint16_t bits) {
    return half::from_f16(bits);
}
std::uint16_t f32_to_f16(float value) {
    return half::to_f16(value);
}
float bf16_to_f32(std::uint16_t bits) {
    return half::from_bf16(bits);
}
std::uint16_t f32_to_bf16(float value) {
    return half::to_bf16(value);
}

}  // namespace deltavino::quant
