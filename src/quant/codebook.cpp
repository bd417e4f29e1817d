// The tables of NF4 and F4E2M1, and nncf's rule for the MXFP4 scale.
// Source of truth: OpenVINO 2026.4.1's conversions from f32, whose borders were found by bisection
// over the floats, and nncf 3.4.0's compiled quantization model. The borders are the smallest
// floats that go to the upper level.
#include "quant/codebook.hpp"

#include <cmath>
#include <cstddef>

namespace deltavino::quant {

constexpr float kNf4Levels[16] = {
    -1.0f,        -0.696192801f, -0.525073051f, -0.394917488f, -0.284441382f, -0.184773430f, -0.091050036f, 0.0f,
    0.079580300f, 0.160930201f,  0.246112302f,  0.337915242f,  0.440709829f,  0.562617004f,  0.722956836f,  1.0f};

constexpr float kF4e2m1Levels[16] = {0.0f,  0.5f,  1.0f,  1.5f,  2.0f,  3.0f,  4.0f,  6.0f,
                                     -0.0f, -0.5f, -1.0f, -1.5f, -2.0f, -3.0f, -4.0f, -6.0f};

namespace {

constexpr float kNf4Borders[15] = {-0x1.b239b0p-1f, -0x1.38a4dep-1f, -0x1.d708fep-2f, -0x1.5bd4eap-2f, -0x1.e079d6p-3f,
                                   -0x1.1a7176p-3f, -0x1.74f0e0p-5f, 0x1.45f600p-5f,  0x1.ec90c8p-4f,  0x1.a0cfc2p-3f,
                                   0x1.2b05aap-2f,  0x1.8ea7f4p-2f,  0x1.00da08p-1f,  0x1.491b60p-1f,  0x1.b913b4p-1f};

// Ties go to the even code, hence a border at the tie or just above it.
constexpr float kF4e2m1Borders[14] = {-5.0f,           -0x1.bffffep+1f, -2.5f,          -0x1.bffffep+0f, -1.25f,
                                      -0x1.7ffffep-1f, -0.25f,          0x1.000002p-2f, 0.75f,           0x1.400002p+0f,
                                      1.75f,           0x1.400002p+1f,  3.5f,           0x1.400002p+2f};
constexpr float kF4e2m1Ascending[15] = {-6.0f, -4.0f, -3.0f, -2.0f, -1.5f, -1.0f, -0.5f, 0.0f,
                                        0.5f,  1.0f,  1.5f,  2.0f,  3.0f,  4.0f,  6.0f};

struct Shape {
    float buckets_per_unit;  // a power of two, so that the product is exact
    float offset;            // keeps the borders away from the ends of their buckets
    std::size_t levels;
};

constexpr Codebook make_book(Shape shape, const float* levels, const float* codes, const float* borders) {
    Codebook book{};
    book.buckets_per_unit = shape.buckets_per_unit;
    book.offset = shape.offset;
    for (int bucket = 0; bucket < 32; ++bucket) {
        const float end = (static_cast<float>(bucket + 1) - shape.offset) / shape.buckets_per_unit;
        const float begin = (static_cast<float>(bucket) - shape.offset) / shape.buckets_per_unit;
        std::size_t below = 0;  // borders below this bucket: the index of its low level
        while (below < shape.levels - 1 && borders[below] < begin) {
            ++below;
        }
        const bool has_border = below < shape.levels - 1 && borders[below] < end;
        const std::size_t above = has_border ? below + 1 : below;
        book.border[bucket] = has_border ? borders[below] : begin;
        book.low[bucket] = levels[below];
        book.high[bucket] = levels[above];
        book.low_code[bucket] = codes[below];
        book.high_code[bucket] = codes[above];
    }
    return book;
}

constexpr bool borders_are_clear(Shape shape, const float* borders) {
    int previous = -1;
    for (std::size_t i = 0; i + 1 < shape.levels; ++i) {
        const float place = borders[i] * shape.buckets_per_unit + shape.offset;
        const int bucket = static_cast<int>(place);
        const float inside = place - static_cast<float>(bucket);
        if (bucket == previous || bucket < 0 || bucket > 31 || inside < 0.001f || inside > 0.999f) {
            return false;
        }
        previous = bucket;
    }
    return true;
}

constexpr float kNf4Codes[16] = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15};
constexpr float kF4e2m1Codes[15] = {15, 14, 13, 12, 11, 10, 9, 0, 1, 2, 3, 4, 5, 6, 7};
constexpr Shape kNf4Shape = {16.0f, 16.0f, 16};
constexpr Shape kF4e2m1Shape = {2.0f, 16.25f, 15};
static_assert(borders_are_clear(kNf4Shape, kNf4Borders));
static_assert(borders_are_clear(kF4e2m1Shape, kF4e2m1Borders));

constexpr Codebook with_negative_zero(Codebook book, float code) {
    book.negative_zero_code = code;
    return book;
}

}  // namespace

constexpr Codebook kNf4Book = with_negative_zero(make_book(kNf4Shape, kNf4Levels, kNf4Codes, kNf4Borders), 7);
constexpr Codebook kF4e2m1Book =
    with_negative_zero(make_book(kF4e2m1Shape, kF4e2m1Ascending, kF4e2m1Codes, kF4e2m1Borders), 8);

float nncf_mxfp4_scale(float largest_magnitude, bool small_weight) {
    // The smallest power of two that takes the group to at most 6, with two flaws that are kept.
    // Rounded to f32, a logarithm just above a whole number becomes whole. And for larger weights
    // OpenVINO runs log(x) / log(2) as a product with a rounded reciprocal, which moves that point
    // a little again.
    constexpr float epsilon = 0x1p-23f;
    constexpr float per_log_two = 0x1.715476p+0f;
    float exponent = 0;
    if (small_weight) {
        const float scale = largest_magnitude / 6.0f;
        exponent = static_cast<float>(std::log2(static_cast<double>(scale < epsilon ? epsilon : scale)));
    } else {
        const float scale = (largest_magnitude < epsilon ? epsilon : largest_magnitude) / 6.0f;
        exponent = static_cast<float>(std::log(static_cast<double>(scale))) * per_log_two;
    }
    const float whole = std::ceil(exponent);
    const float inside = whole < -127.0f ? -127.0f : whole > 127.0f ? 127.0f : whole;
    return std::ldexp(1.0f, static_cast<int>(inside));
}

}  // namespace deltavino::quant
