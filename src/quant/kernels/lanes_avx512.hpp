// Sixteen floats side by side for AVX-512 (F, BW, DQ, VL).
// lanes_portable.hpp says what each operation must give. Include only from avx512.cpp,
// inside its target region.
#pragma once

#include <immintrin.h>
#include <cstddef>
#include <cstdint>

namespace deltavino::quant::avx512 {

struct Lanes {
    static constexpr bool kUnrolled = true;

    __m512 all;

    static Lanes set(float x) { return {_mm512_set1_ps(x)}; }
    static Lanes load(const float* from) { return {_mm512_loadu_ps(from)}; }
    static Lanes gather(const float* base, std::size_t stride) {
        const __m512i lane = _mm512_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15);
        const __m512i index = _mm512_mullo_epi32(lane, _mm512_set1_epi32(static_cast<int>(stride)));
        return {_mm512_i32gather_ps(index, base, 4)};
    }
    static Lanes load_bf16(const std::byte* from) {
        const __m256i bits = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(from));
        return {_mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32(bits), 16))};
    }
    static Lanes load_f16(const std::byte* from) {
        return {_mm512_cvtph_ps(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(from)))};
    }
    void store(float* to) const { _mm512_storeu_ps(to, all); }
};

inline Lanes operator+(Lanes a, Lanes b) {
    return {_mm512_add_ps(a.all, b.all)};
}
inline Lanes operator-(Lanes a, Lanes b) {
    return {_mm512_sub_ps(a.all, b.all)};
}
inline Lanes operator*(Lanes a, Lanes b) {
    return {_mm512_mul_ps(a.all, b.all)};
}
inline Lanes operator/(Lanes a, Lanes b) {
    return {_mm512_div_ps(a.all, b.all)};
}
inline Lanes fma(Lanes a, Lanes b, Lanes c) {
    return {_mm512_fmadd_ps(a.all, b.all, c.all)};
}
inline Lanes min(Lanes a, Lanes b) {
    return {_mm512_min_ps(a.all, b.all)};
}
inline Lanes max(Lanes a, Lanes b) {
    return {_mm512_max_ps(a.all, b.all)};
}
inline Lanes abs(Lanes a) {
    return {_mm512_abs_ps(a.all)};
}
inline Lanes select_less(Lanes a, Lanes b, Lanes x, Lanes y) {
    return {_mm512_mask_blend_ps(_mm512_cmp_ps_mask(a.all, b.all, _CMP_LT_OQ), y.all, x.all)};
}
inline Lanes select_negative(Lanes a, Lanes x, Lanes y) {
    return {_mm512_mask_blend_ps(_mm512_movepi32_mask(_mm512_castps_si512(a.all)), y.all, x.all)};
}

inline Lanes finite_or_zero(Lanes a, std::uint64_t& nonfinite) {
    const __m512i exponent = _mm512_set1_epi32(0x7f800000);
    const __m512i bits = _mm512_castps_si512(a.all);
    const __mmask16 finite = _mm512_cmpneq_epi32_mask(_mm512_and_si512(bits, exponent), exponent);
    nonfinite += 16u - static_cast<unsigned>(__builtin_popcount(finite));
    return {_mm512_maskz_mov_ps(finite, a.all)};
}

inline __m256i half_bits(Lanes a) {
    return _mm512_cvtps_ph(a.all, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
}
inline Lanes round_to_f16(Lanes a) {
    return {_mm512_cvtph_ps(half_bits(a))};
}

inline Lanes power_of_two(Lanes a) {
    return {_mm512_scalef_ps(_mm512_set1_ps(1.0f), a.all)};
}

inline Lanes lookup(const float* table, Lanes index) {
    const __m512 low = _mm512_loadu_ps(table);
    const __m512 high = _mm512_loadu_ps(table + 16);
    return {_mm512_permutex2var_ps(low, _mm512_cvttps_epi32(index.all), high)};
}

inline __m128 fold(Lanes a) {
    const __m256 half = _mm256_add_ps(_mm512_castps512_ps256(a.all), _mm512_extractf32x8_ps(a.all, 1));
    return _mm_add_ps(_mm256_castps256_ps128(half), _mm256_extractf128_ps(half, 1));
}
inline float sum(Lanes a) {
    const __m128 quad = fold(a);
    const __m128 pair = _mm_add_ps(quad, _mm_movehl_ps(quad, quad));
    return _mm_cvtss_f32(_mm_add_ss(pair, _mm_movehdup_ps(pair)));
}
inline float largest(Lanes a) {
    const __m256 half = _mm256_max_ps(_mm512_castps512_ps256(a.all), _mm512_extractf32x8_ps(a.all, 1));
    const __m128 quad = _mm_max_ps(_mm256_castps256_ps128(half), _mm256_extractf128_ps(half, 1));
    const __m128 pair = _mm_max_ps(quad, _mm_movehl_ps(quad, quad));
    return _mm_cvtss_f32(_mm_max_ss(pair, _mm_movehdup_ps(pair)));
}

inline __m128i low_bytes(Lanes a) {
    return _mm512_cvtepi32_epi8(_mm512_cvttps_epi32(a.all));
}
inline void store_bytes(std::uint8_t* to, Lanes a) {
    _mm_storeu_si128(reinterpret_cast<__m128i*>(to), low_bytes(a));
}
inline void store_nibbles(std::uint8_t* to, Lanes a) {
    const __m128i nibbles = _mm_and_si128(low_bytes(a), _mm_set1_epi8(15));
    const __m128i pairs = _mm_maddubs_epi16(nibbles, _mm_set1_epi16(0x1001));
    _mm_storel_epi64(reinterpret_cast<__m128i*>(to), _mm_packus_epi16(pairs, pairs));
}
inline void store_f16(std::byte* to, Lanes a) {
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(to), half_bits(a));
}
inline void store_bf16(std::byte* to, Lanes a) {
    const __m512i bits = _mm512_castps_si512(a.all);
    const __m512i odd = _mm512_and_si512(_mm512_srli_epi32(bits, 16), _mm512_set1_epi32(1));
    const __m512i rounded = _mm512_add_epi32(_mm512_add_epi32(bits, _mm512_set1_epi32(0x7fff)), odd);
    const __m512i quiet = _mm512_or_si512(bits, _mm512_set1_epi32(0x400000));
    const __mmask16 nan = _mm512_cmp_ps_mask(a.all, a.all, _CMP_UNORD_Q);
    const __m512i chosen = _mm512_mask_blend_epi32(nan, rounded, quiet);
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(to), _mm512_cvtepi32_epi16(_mm512_srli_epi32(chosen, 16)));
}

}  // namespace deltavino::quant::avx512
