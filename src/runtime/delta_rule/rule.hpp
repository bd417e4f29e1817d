// The kernel over a Lanes type of sixteen floats. Include only from the .cpp files here, inside the target region;
// quant/kernels/batch.hpp says why nothing of the standard library may be used here.
//
// The state of a head stays [K, V] with the values side by side in the lanes, so that neither product needs a sum
// across lanes. A token passes over it once: the update of the token before and both products of this one,
//   S = exp(g') S + k' d'^T;   r = S^T k;   p = S^T q
//   d = beta (v - exp(g) r);   o = exp(g) p + (k . q) d
// for a block of columns that stays in the first cache.
#pragma once

#include "quant/kernels/values.hpp"
#include "runtime/delta_rule/kernel.hpp"
#include "runtime/exponential.hpp"

#include <cstddef>
#include <cstdint>
#include <cstring>

namespace deltavino::runtime::delta_rule {

inline constexpr std::size_t kLanes = quant::kLaneCount;
inline constexpr std::size_t kPiece = 64;  // tokens between two looks at what is stored

// Where the parts of the scratch begin, in floats.
struct Layout {
    std::size_t values;  // value heads of a key head
    std::size_t state, query, key, value, product, decay, beta, size;
};

static inline Layout layout_of(const DeltaRuleCall& call) {
    Layout at{};
    at.values = call.value_heads / call.key_heads;
    at.query = at.values * call.key_size * call.value_size;
    at.key = at.query + kPiece * call.key_size;
    at.value = at.key + kPiece * call.key_size;
    at.product = at.value + kPiece * call.value_size;
    at.decay = at.product + kPiece;
    at.beta = at.decay + kPiece;
    at.size = at.beta + kPiece;
    return at;
}

// The channels of a token, and the bytes of a value.
static inline std::size_t channels_of(const DeltaRuleCall& call) {
    return 2 * call.key_heads * call.key_size + call.value_heads * call.value_size;
}
static inline std::size_t width_of(const DeltaRuleCall& call) {
    return quant::bytes_per_value(call.type);
}

template <typename Lanes>
inline Lanes load_values(const DeltaRuleCall& call, const std::byte* from, std::size_t index) {
    return quant::load_source<Lanes>(call.type, from + index * width_of(call));
}

template <typename Lanes>
inline void store_values(const DeltaRuleCall& call, Lanes values, std::byte* to, std::size_t index) {
    quant::store_source(call.type, values, to + index * width_of(call));
}

// One value, as the first of sixteen that nobody reads.
template <typename Lanes>
inline float load_value(const DeltaRuleCall& call, const std::byte* from, std::size_t index) {
    std::byte bytes[kLanes * sizeof(float)] = {};
    std::memcpy(bytes, from + index * width_of(call), width_of(call));
    float values[kLanes];
    load_values<Lanes>(call, bytes, 0).store(values);
    return values[0];
}

// Row `token` of what the convolution reads: a new token, or a past one below zero.
static inline const std::byte* row_of(const DeltaRuleCall& call, std::ptrdiff_t token, std::size_t channels) {
    const std::size_t bytes = channels * width_of(call);
    return token >= 0 ? call.x + static_cast<std::size_t>(token) * bytes
                      : call.past_columns + (call.width - static_cast<std::size_t>(-token)) * bytes;
}

// silu(conv) of `count` channels from `channel` for tokens [first, first + tokens) -> [tokens, count].
template <typename Lanes>
void convolve(const DeltaRuleCall& call, std::size_t channel, std::size_t count, std::size_t first, std::size_t tokens,
              float* to) {
    const std::size_t channels = channels_of(call);
    for (std::size_t t = 0; t < tokens; ++t) {
        const auto oldest = static_cast<std::ptrdiff_t>(first + t + 1) - static_cast<std::ptrdiff_t>(call.width);
        for (std::size_t c = 0; c < count; c += kLanes) {
            Lanes sum = Lanes::set(0.0f);
            for (std::size_t j = 0; j < call.width; ++j) {
                const std::byte* row = row_of(call, oldest + static_cast<std::ptrdiff_t>(j), channels);
                sum = fma(Lanes::load(call.taps + j * channels + channel + c),
                          load_values<Lanes>(call, row, channel + c), sum);
            }
            silu(sum).store(to + t * count + c);
        }
    }
}

// The last `width` inputs of these channels, for the next call.
static inline void keep_columns(const DeltaRuleCall& call, std::size_t channel, std::size_t count) {
    const std::size_t channels = channels_of(call);
    const std::size_t bytes = width_of(call);
    for (std::size_t j = 0; j < call.width; ++j) {
        const auto token = static_cast<std::ptrdiff_t>(call.tokens + j) - static_cast<std::ptrdiff_t>(call.width);
        std::memcpy(call.columns + (j * channels + channel) * bytes, row_of(call, token, channels) + channel * bytes,
                    count * bytes);
    }
}

template <typename Lanes>
inline Lanes dot_lanes(const float* a, const float* b, std::size_t count) {
    Lanes all = Lanes::set(0.0f);
    for (std::size_t i = 0; i < count; i += kLanes) {
        all = fma(Lanes::load(a + i), Lanes::load(b + i), all);
    }
    return all;
}

// l2norm of each row in place, times `scale`. The 1e-6 is fixed in the source.
template <typename Lanes>
void normalize(float* rows, std::size_t count, std::size_t size, float scale) {
    for (std::size_t t = 0; t < count; ++t) {
        float* row = rows + t * size;
        const float length = __builtin_sqrtf(sum(dot_lanes<Lanes>(row, row, size)) + 1e-6f);
        const Lanes factor = Lanes::set(scale / length);
        for (std::size_t i = 0; i < size; i += kLanes) {
            (Lanes::load(row + i) * factor).store(row + i);
        }
    }
}

struct Piece {
    std::size_t tokens, key_size, value_size;
    const float *query, *key, *product, *decay, *beta;  // decay: exp(g)
    float* value;                                       // v, then o
    float* state;
};

// Columns [column, column + 16 kBlocks) of a piece.
template <typename Lanes, std::size_t kBlocks>
void pass_columns(const Piece& piece, std::size_t column) {
    Lanes change[kBlocks];
    for (std::size_t n = 0; n < kBlocks; ++n) {
        change[n] = Lanes::set(0.0f);
    }
    float* const state = piece.state + column;
    const float* before = piece.key;  // of the token before; nothing changes before the first
    Lanes decay = Lanes::set(1.0f);
    for (std::size_t t = 0; t < piece.tokens; ++t) {
        const float* key = piece.key + t * piece.key_size;
        const float* query = piece.query + t * piece.key_size;
        Lanes recalled[kBlocks], asked[kBlocks];
        for (std::size_t n = 0; n < kBlocks; ++n) {
            recalled[n] = Lanes::set(0.0f);
            asked[n] = Lanes::set(0.0f);
        }
        for (std::size_t i = 0; i < piece.key_size; ++i) {
            float* const row = state + i * piece.value_size;
            const Lanes k = Lanes::set(key[i]);
            const Lanes q = Lanes::set(query[i]);
            const Lanes written = Lanes::set(before[i]);
#pragma GCC unroll 4
            for (std::size_t n = 0; n < kBlocks; ++n) {
                const Lanes s = fma(written, change[n], decay * Lanes::load(row + n * kLanes));
                s.store(row + n * kLanes);
                recalled[n] = fma(s, k, recalled[n]);
                asked[n] = fma(s, q, asked[n]);
            }
        }
        float* const value = piece.value + t * piece.value_size + column;
        decay = Lanes::set(piece.decay[t]);
        for (std::size_t n = 0; n < kBlocks; ++n) {
            const Lanes v = Lanes::load(value + n * kLanes);
            change[n] = Lanes::set(piece.beta[t]) * (v - decay * recalled[n]);
            fma(Lanes::set(piece.product[t]), change[n], decay * asked[n]).store(value + n * kLanes);
        }
        before = key;
    }
    for (std::size_t i = 0; i < piece.key_size; ++i) {
        float* const row = state + i * piece.value_size;
        for (std::size_t n = 0; n < kBlocks; ++n) {
            fma(Lanes::set(before[i]), change[n], decay * Lanes::load(row + n * kLanes)).store(row + n * kLanes);
        }
    }
}

template <typename Lanes, std::size_t kBlocks>
void pass_piece(const Piece& piece) {
    std::size_t column = 0;
    for (; column + kBlocks * kLanes <= piece.value_size; column += kBlocks * kLanes) {
        pass_columns<Lanes, kBlocks>(piece, column);
    }
    for (; column < piece.value_size; column += kLanes) {
        pass_columns<Lanes, 1>(piece, column);
    }
}

// The same for one token, on the states as they are stored: columns [column, column + 16 kBlocks) of the value head
// whose state begins at value `begin`. `value` is v, then o.
template <typename Lanes, std::size_t kBlocks>
void pass_one_token(const DeltaRuleCall& call, const Piece& piece, std::size_t begin, std::size_t column) {
    Lanes recalled[kBlocks], asked[kBlocks], change[kBlocks];
    for (std::size_t n = 0; n < kBlocks; ++n) {
        recalled[n] = Lanes::set(0.0f);
        asked[n] = Lanes::set(0.0f);
    }
    for (std::size_t i = 0; i < piece.key_size; ++i) {
        const std::size_t row = begin + i * piece.value_size + column;
        const Lanes k = Lanes::set(piece.key[i]);
        const Lanes q = Lanes::set(piece.query[i]);
#pragma GCC unroll 8
        for (std::size_t n = 0; n < kBlocks; ++n) {
            const Lanes s = load_values<Lanes>(call, call.past_state, row + n * kLanes);
            recalled[n] = fma(s, k, recalled[n]);
            asked[n] = fma(s, q, asked[n]);
        }
    }
    const Lanes decay = Lanes::set(*piece.decay);
    for (std::size_t n = 0; n < kBlocks; ++n) {
        float* const value = piece.value + column + n * kLanes;
        change[n] = Lanes::set(*piece.beta) * (Lanes::load(value) - decay * recalled[n]);
        fma(Lanes::set(*piece.product), change[n], decay * asked[n]).store(value);
    }
    for (std::size_t i = 0; i < piece.key_size; ++i) {
        const std::size_t row = begin + i * piece.value_size + column;
        const Lanes k = Lanes::set(piece.key[i]);
#pragma GCC unroll 8
        for (std::size_t n = 0; n < kBlocks; ++n) {
            const Lanes s = load_values<Lanes>(call, call.past_state, row + n * kLanes);
            store_values(call, fma(k, change[n], decay * s), call.state, row + n * kLanes);
        }
    }
}

// Value head `h` for tokens [first, first + tokens), whose q and k are in the scratch.
template <typename Lanes, std::size_t kBlocks>
void value_head(const DeltaRuleCall& call, const Layout& at, std::size_t h, std::size_t first, std::size_t tokens,
                float* scratch) {
    const std::size_t channel = 2 * call.key_heads * call.key_size + h * call.value_size;
    convolve<Lanes>(call, channel, call.value_size, first, tokens, scratch + at.value);
    for (std::size_t t = 0; t < tokens; ++t) {
        const std::size_t index = (first + t) * call.value_heads + h;
        scratch[at.decay + t] = __builtin_expf(load_value<Lanes>(call, call.g, index));
        scratch[at.beta + t] = load_value<Lanes>(call, call.beta, index);
    }
    Piece piece{};
    piece.tokens = tokens;
    piece.key_size = call.key_size;
    piece.value_size = call.value_size;
    piece.query = scratch + at.query;
    piece.key = scratch + at.key;
    piece.product = scratch + at.product;
    piece.decay = scratch + at.decay;
    piece.beta = scratch + at.beta;
    piece.value = scratch + at.value;
    piece.state = scratch + at.state + h % at.values * call.key_size * call.value_size;
    if (call.tokens == 1) {
        std::size_t column = 0;
        for (; column + 2 * kBlocks * kLanes <= call.value_size; column += 2 * kBlocks * kLanes) {
            pass_one_token<Lanes, 2 * kBlocks>(call, piece, h * call.key_size * call.value_size, column);
        }
        for (; column < call.value_size; column += kLanes) {
            pass_one_token<Lanes, 1>(call, piece, h * call.key_size * call.value_size, column);
        }
    } else {
        pass_piece<Lanes, kBlocks>(piece);
    }
    for (std::size_t t = 0; t < tokens; ++t) {
        for (std::size_t i = 0; i < call.value_size; i += kLanes) {
            store_values(call, Lanes::load(piece.value + t * call.value_size + i), call.output,
                         ((first + t) * call.value_heads + h) * call.value_size + i);
        }
    }
}

template <typename Lanes, std::size_t kBlocks>
void key_head(const DeltaRuleCall& call, std::size_t head, float* scratch) {
    const Layout at = layout_of(call);
    const std::size_t K = call.key_size;
    const std::size_t stored = at.values * K * call.value_size;
    const std::size_t begin = head * stored;
    // One token alone is computed on the states as they are stored.
    const std::size_t widened = call.tokens == 1 ? 0 : stored;
    for (std::size_t i = 0; i < widened; i += kLanes) {
        load_values<Lanes>(call, call.past_state, begin + i).store(scratch + at.state + i);
    }
    const std::size_t query_channel = head * K;
    const std::size_t key_channel = (call.key_heads + head) * K;
    for (std::size_t first = 0; first < call.tokens; first += kPiece) {
        const std::size_t tokens = call.tokens - first < kPiece ? call.tokens - first : kPiece;
        convolve<Lanes>(call, query_channel, K, first, tokens, scratch + at.query);
        convolve<Lanes>(call, key_channel, K, first, tokens, scratch + at.key);
        normalize<Lanes>(scratch + at.query, tokens, K, 1.0f / __builtin_sqrtf(static_cast<float>(K)));
        normalize<Lanes>(scratch + at.key, tokens, K, 1.0f);
        for (std::size_t t = 0; t < tokens; ++t) {
            scratch[at.product + t] = sum(dot_lanes<Lanes>(scratch + at.query + t * K, scratch + at.key + t * K, K));
        }
        for (std::size_t h = head * at.values; h < (head + 1) * at.values; ++h) {
            value_head<Lanes, kBlocks>(call, at, h, first, tokens, scratch);
        }
    }
    for (std::size_t i = 0; i < widened; i += kLanes) {
        store_values(call, Lanes::load(scratch + at.state + i), call.state, begin + i);
    }
    keep_columns(call, query_channel, K);
    keep_columns(call, key_channel, K);
    const std::size_t values = at.values * call.value_size;
    keep_columns(call, 2 * call.key_heads * K + head * values, values);
}

}  // namespace deltavino::runtime::delta_rule
