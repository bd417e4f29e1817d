// The value tables of NF4 and of F4E2M1, the element type of MXFP4, in the form the kernels search.
#pragma once

namespace deltavino::quant {

// A value x falls into bucket trunc(clamp(x * buckets_per_unit + offset, 0, 31)). A bucket holds at
// most one border between two levels: x below it is the low level, else the high one.
struct Codebook {
    float buckets_per_unit;
    float offset;
    float border[32];
    float low[32];
    float high[32];
    float low_code[32];
    float high_code[32];
    float negative_zero_code;  // of a negative value whose level is zero
};

extern const Codebook kNf4Book;
extern const Codebook kF4e2m1Book;

// The levels by code, for reading back.
extern const float kNf4Levels[16];
extern const float kF4e2m1Levels[16];

// The MXFP4 scale nncf gives a group whose largest magnitude this is: a power of two. See
// kNncfSmallWeight.
float nncf_mxfp4_scale(float largest_magnitude, bool small_weight);

}  // namespace deltavino::quant
