// The kernel for AVX-512 with VNNI.
#include "runtime/linear/kernel.hpp"

#if defined(__x86_64__)

#define DELTAVINO_TARGET_VNNI
#include "quant/kernels/target_avx512.hpp"

#include "runtime/linear/product.hpp"

namespace deltavino::runtime {
namespace {

struct Dots {
    using Bytes = __m512i;

    __m512i all;

    static Bytes load(const std::byte* from) { return _mm512_loadu_si512(from); }
    static Bytes low(Bytes codes) { return _mm512_and_si512(codes, _mm512_set1_epi8(15)); }
    static Bytes high(Bytes codes) { return low(_mm512_srli_epi16(codes, 4)); }
    static Dots none() { return {_mm512_setzero_si512()}; }
    static Dots zero_points(const std::byte* zeros, std::int32_t factor) {
        const __m512i wide = _mm512_cvtepu8_epi32(_mm_loadu_si128(reinterpret_cast<const __m128i*>(zeros)));
        return {_mm512_mullo_epi32(wide, _mm512_set1_epi32(factor))};
    }
    void add(Bytes codes, std::int32_t quad) { all = _mm512_dpbusd_epi32(all, codes, _mm512_set1_epi32(quad)); }
    void join(const Dots& other) { all = _mm512_add_epi32(all, other.all); }
    template <typename Lanes>
    Lanes floats() const {
        return {_mm512_cvtepi32_ps(all)};
    }
};

}  // namespace

extern const LinearKernel kLinearAvx512;
const LinearKernel kLinearAvx512 = {linear::quantize_row<quant::avx512::Lanes>,
                                    linear::multiply_blocks<quant::avx512::Lanes, Dots, 8, 2>};

}  // namespace deltavino::runtime

#include "quant/kernels/target_end.hpp"

#endif
