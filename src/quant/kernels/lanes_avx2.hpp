// Sixteen floats side by side for AVX2 with F16C and FMA, as two registers.
// lanes_portable.hpp says what each operation must give. Include only from avx2.cpp, inside
// its target region.
#pragma once

#include <immintrin.h>
#include <cstddef>
#include <cstdint>

namespace deltavino::quant::avx2 {

struct Lanes {
    static constexpr bool kUnrolled = true;

    __m256 low;
    __m256 high;

    static Lanes set(float x) { return {_mm256_set1_ps(x), _mm256_set1_ps(x)}; }
    static Lanes load(const float* from) { return {_mm256_loadu_ps(from), _mm256_loadu_ps(from + 8)}; }
    static Lanes gather(const float* base, std::size_t stride) {
        const __m256i lane = _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7);
        const __m256i index = _mm256_mullo_epi32(lane, _mm256_set1_epi32(static_cast<int>(stride)));
        return {_mm256_i32gather_ps(base, index, 4), _mm256_i32gather_ps(base + 8 * stride, index, 4)};
    }
    static Lanes load_bf16(const std::byte* from) {
        const auto* parts = reinterpret_cast<const __m128i*>(from);
        const __m256i a = _mm256_cvtepu16_epi32(_mm_loadu_si128(parts));
        const __m256i b = _mm256_cvtepu16_epi32(_mm_loadu_si128(parts + 1));
        return {_mm256_castsi256_ps(_mm256_slli_epi32(a, 16)), _mm256_castsi256_ps(_mm256_slli_epi32(b, 16))};
    }
    static Lanes load_f16(const std::byte* from) {
        const auto* parts = reinterpret_cast<const __m128i*>(from);
        return {_mm256_cvtph_ps(_mm_loadu_si128(parts)), _mm256_cvtph_ps(_mm_loadu_si128(parts + 1))};
    }
    void store(float* to) const {
        _mm256_storeu_ps(to, low);
        _mm256_storeu_ps(to + 8, high);
    }
};

inline Lanes operator+(Lanes a, Lanes b) {
    return {_mm256_add_ps(a.low, b.low), _mm256_add_ps(a.high, b.high)};
}
inline Lanes operator-(Lanes a, Lanes b) {
    return {_mm256_sub_ps(a.low, b.low), _mm256_sub_ps(a.high, b.high)};
}
inline Lanes operator*(Lanes a, Lanes b) {
    return {_mm256_mul_ps(a.low, b.low), _mm256_mul_ps(a.high, b.high)};
}
inline Lanes operator/(Lanes a, Lanes b) {
    return {_mm256_div_ps(a.low, b.low), _mm256_div_ps(a.high, b.high)};
}
inline Lanes fma(Lanes a, Lanes b, Lanes c) {
    return {_mm256_fmadd_ps(a.low, b.low, c.low), _mm256_fmadd_ps(a.high, b.high, c.high)};
}
inline Lanes min(Lanes a, Lanes b) {
    return {_mm256_min_ps(a.low, b.low), _mm256_min_ps(a.high, b.high)};
}
inline Lanes max(Lanes a, Lanes b) {
    return {_mm256_max_ps(a.low, b.low), _mm256_max_ps(a.high, b.high)};
}
inline Lanes abs(Lanes a) {
    const __m256 sign = _mm256_set1_ps(-0.0f);
    return {_mm256_andnot_ps(sign, a.low), _mm256_andnot_ps(sign, a.high)};
}
inline Lanes select_less(Lanes a, Lanes b, Lanes x, Lanes y) {
    return {_mm256_blendv_ps(y.low, x.low, _mm256_cmp_ps(a.low, b.low, _CMP_LT_OQ)),
            _mm256_blendv_ps(y.high, x.high, _mm256_cmp_ps(a.high, b.high, _CMP_LT_OQ))};
}
inline Lanes select_negative(Lanes a, Lanes x, Lanes y) {
    return {_mm256_blendv_ps(y.low, x.low, a.low), _mm256_blendv_ps(y.high, x.high, a.high)};
}

inline __m256 finite_part(__m256 a, std::uint64_t& nonfinite) {
    const __m256i exponent = _mm256_set1_epi32(0x7f800000);
    const __m256i masked = _mm256_and_si256(_mm256_castps_si256(a), exponent);
    const __m256 bad = _mm256_castsi256_ps(_mm256_cmpeq_epi32(masked, exponent));
    nonfinite += static_cast<unsigned>(__builtin_popcount(static_cast<unsigned>(_mm256_movemask_ps(bad))));
    return _mm256_andnot_ps(bad, a);
}
inline Lanes finite_or_zero(Lanes a, std::uint64_t& nonfinite) {
    return {finite_part(a.low, nonfinite), finite_part(a.high, nonfinite)};
}

inline __m128i half_bits(__m256 a) {
    return _mm256_cvtps_ph(a, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
}
inline Lanes round_to_f16(Lanes a) {
    return {_mm256_cvtph_ps(half_bits(a.low)), _mm256_cvtph_ps(half_bits(a.high))};
}

inline __m256 power_of_two(__m256 a) {
    const __m256i exponent = _mm256_add_epi32(_mm256_cvtps_epi32(a), _mm256_set1_epi32(127));
    return _mm256_castsi256_ps(_mm256_slli_epi32(exponent, 23));
}
inline Lanes power_of_two(Lanes a) {
    return {power_of_two(a.low), power_of_two(a.high)};
}

inline Lanes lookup(const float* table, Lanes index) {
    return {_mm256_i32gather_ps(table, _mm256_cvttps_epi32(index.low), 4),
            _mm256_i32gather_ps(table, _mm256_cvttps_epi32(index.high), 4)};
}

inline float sum(Lanes a) {
    const __m256 half = _mm256_add_ps(a.low, a.high);
    const __m128 quad = _mm_add_ps(_mm256_castps256_ps128(half), _mm256_extractf128_ps(half, 1));
    const __m128 pair = _mm_add_ps(quad, _mm_movehl_ps(quad, quad));
    return _mm_cvtss_f32(_mm_add_ss(pair, _mm_movehdup_ps(pair)));
}
inline float largest(Lanes a) {
    const __m256 half = _mm256_max_ps(a.low, a.high);
    const __m128 quad = _mm_max_ps(_mm256_castps256_ps128(half), _mm256_extractf128_ps(half, 1));
    const __m128 pair = _mm_max_ps(quad, _mm_movehl_ps(quad, quad));
    return _mm_cvtss_f32(_mm_max_ss(pair, _mm_movehdup_ps(pair)));
}

inline __m128i low_bytes(Lanes a) {
    const __m256i byte = _mm256_set1_epi32(255);
    const __m256i low = _mm256_and_si256(_mm256_cvttps_epi32(a.low), byte);
    const __m256i high = _mm256_and_si256(_mm256_cvttps_epi32(a.high), byte);
    const __m256i words = _mm256_permute4x64_epi64(_mm256_packus_epi32(low, high), 0xd8);
    return _mm_packus_epi16(_mm256_castsi256_si128(words), _mm256_extracti128_si256(words, 1));
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
    auto* parts = reinterpret_cast<__m128i*>(to);
    _mm_storeu_si128(parts, half_bits(a.low));
    _mm_storeu_si128(parts + 1, half_bits(a.high));
}

inline __m256i bf16_words(__m256 a) {
    const __m256i bits = _mm256_castps_si256(a);
    const __m256i odd = _mm256_and_si256(_mm256_srli_epi32(bits, 16), _mm256_set1_epi32(1));
    const __m256i rounded = _mm256_add_epi32(_mm256_add_epi32(bits, _mm256_set1_epi32(0x7fff)), odd);
    const __m256i quiet = _mm256_or_si256(bits, _mm256_set1_epi32(0x400000));
    const __m256i nan = _mm256_castps_si256(_mm256_cmp_ps(a, a, _CMP_UNORD_Q));
    return _mm256_srli_epi32(_mm256_blendv_epi8(rounded, quiet, nan), 16);
}
inline void store_bf16(std::byte* to, Lanes a) {
    const __m256i words = _mm256_packus_epi32(bf16_words(a.low), bf16_words(a.high));
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(to), _mm256_permute4x64_epi64(words, 0xd8));
}

}  // namespace deltavino::quant::avx2
