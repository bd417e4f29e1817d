// What quantize.cpp and convert.cpp call, once per instruction set. Private to src/quant.
#pragma once

#include "quant/convert.hpp"
#include "quant/quantize.hpp"
#include "quant/scheme.hpp"

#include <cstddef>
#include <cstdint>

namespace deltavino::quant {

inline constexpr std::size_t kLaneCount = 16;  // groups side by side in every instruction set

struct QuantizeJob {
    Format format = Format::U8;
    Search search = Search::Nncf;
    SourceType type = SourceType::F32;
    bool small_weight = false;
    const std::byte* values = nullptr;
    std::size_t columns = 0;
    std::size_t group = 0;   // values per group; a multiple of 16 unless it is the whole row
    std::size_t groups = 0;  // in the block
    const float* importance = nullptr;
    std::byte* packed = nullptr;
    std::byte* zero_points = nullptr;
    std::byte* scales = nullptr;
    float* scratch = nullptr;
};

// Distance of two groups in the scratch. The extra 16 keep groups of a power of two out of each
// other's cache lines.
inline constexpr std::size_t scratch_stride(std::size_t group) {
    return (group + kLaneCount - 1) / kLaneCount * kLaneCount + kLaneCount;
}
inline constexpr std::size_t scratch_floats(std::size_t group, bool weighted) {
    return kLaneCount * (scratch_stride(group) + group * (weighted ? 2 : 1));
}

struct Kernels {
    void (*quantize)(const QuantizeJob& job, BlockStatistics& statistics);
    void (*widen)(SourceType type, const std::byte* in, std::size_t count, float* out);
    // Returns how many finite values became infinite.
    std::uint64_t (*narrow)(SourceType type, const float* in, std::size_t count, std::byte* out);
};

extern const Kernels kPortableKernels;
extern const Kernels kAvx2Kernels;    // x86-64 only
extern const Kernels kAvx512Kernels;  // x86-64 only

// Throws ErrorKind::Internal when this machine lacks it.
const Kernels& kernels_for(Isa isa);

}  // namespace deltavino::quant
