// The kernel over Lanes and a Dots type: sixteen 32-bit sums of products of bytes. Include only from the .cpp files here,
// inside the target region; quant/kernels/batch.hpp says why nothing of the standard library may be used here.
#pragma once

#include "quant/kernels/values.hpp"
#include "runtime/exponential.hpp"
#include "runtime/linear/kernel.hpp"

#include <cstddef>
#include <cstdint>
#include <cstring>

namespace deltavino::runtime::linear {

inline constexpr std::size_t kLine = PackedShape::kLineBytes;
inline constexpr std::size_t kAhead = 4096;  // bytes: what a single token needs next is asked for this early

// Sixteen values from `index`.
template <typename Lanes>
inline Lanes gated(const LinearInput& input, std::size_t index) {
    const std::size_t at = index * quant::bytes_per_value(input.type);
    const Lanes x = quant::load_source<Lanes>(input.type, input.x + at);
    switch (input.gate) {
        case Gate::Silu: return x * silu(quant::load_source<Lanes>(input.type, input.z + at));
        case Gate::Sigmoid: return x * sigmoid(quant::load_source<Lanes>(input.type, input.z + at));
        case Gate::None: break;
    }
    return x;
}

template <typename Lanes>
void quantize_row(const LinearInput& input, const PackedShape& shape, std::int8_t* codes, float* scales,
                  std::int32_t* sums) {
    constexpr std::size_t kMostColumns = 128;
    float values[kMostColumns];
    for (std::size_t g = 0; g < shape.groups(); ++g) {
        Lanes greatest = Lanes::set(0.0f);
        Lanes wrong = Lanes::set(0.0f);  // NaN where a value is not finite
        for (std::size_t i = 0; i < shape.group; i += quant::kLaneCount) {
            const Lanes x = gated<Lanes>(input, g * shape.group + i);
            x.store(values + i);
            greatest = max(abs(x), greatest);
            wrong = wrong + (x - x);
        }
        const float most = largest(greatest);
        // The reciprocal of anything smaller may be infinite.
        const Lanes factor = Lanes::set(most > 1e-30f ? 127.0f / most : 0.0f);
        const Lanes end = Lanes::set(127.0f);
        Lanes total = Lanes::set(0.0f);
        for (std::size_t i = 0; i < shape.group; i += quant::kLaneCount) {
            const Lanes bounded = quant::clamp(Lanes::load(values + i) * factor, Lanes::set(0.0f) - end, end);
            const Lanes code = quant::round_whole(bounded);
            store_bytes(reinterpret_cast<std::uint8_t*>(codes + g * shape.group + i), code);
            total = total + code;
        }
        scales[g] = most / 127.0f + sum(wrong);
        sums[g] = -static_cast<std::int32_t>(sum(total));
    }
}

static inline std::int32_t four_codes(const std::int8_t* from) {
    std::int32_t quad = 0;
    std::memcpy(&quad, from, sizeof quad);
    return quad;
}

// kBlocks blocks from `packed` times the kTokens tokens from `codes`. One token alone has two sums for each row, so that
// they need not wait for each other.
template <typename Lanes, typename Dots, std::size_t kTokens, std::size_t kBlocks>
struct Tile {
    static constexpr std::size_t kSums = kTokens == 1 ? 2 : 1;

    const PackedShape& shape;
    const std::byte* packed;
    const std::int8_t* codes;
    const float* scales;
    const std::int32_t* sums;
    Lanes total[kTokens][kBlocks];

    // Products of one group, its lines at `from` in each block.
    template <unsigned kBits>
    inline __attribute__((always_inline)) void group_dots(const std::byte* from, std::size_t group,
                                                          Dots (&dots)[kTokens][kBlocks][kSums]) const {
        constexpr std::size_t kColumns = kBits == 4 ? 8 : 4;  // of a line
        const std::size_t half = shape.group / 2;
        const std::int8_t* x = codes + group * shape.group;
        for (std::size_t i = 0; i < shape.group / kColumns; ++i) {
            typename Dots::Bytes low[kBlocks], high[kBlocks];
#pragma GCC unroll 2
            for (std::size_t b = 0; b < kBlocks; ++b) {
                const std::byte* line = from + b * shape.block_bytes() + i * kLine;
                if constexpr (kTokens == 1) {
                    __builtin_prefetch(line + kAhead);
                }
                low[b] = Dots::load(line);
                if constexpr (kBits == 4) {
                    high[b] = Dots::high(low[b]);
                    low[b] = Dots::low(low[b]);
                }
            }
#pragma GCC unroll 8
            for (std::size_t t = 0; t < kTokens; ++t) {
                const std::int8_t* quad = x + t * shape.columns + 4 * i;
#pragma GCC unroll 2
                for (std::size_t b = 0; b < kBlocks; ++b) {
                    if constexpr (kBits == 4) {
                        dots[t][b][0].add(low[b], four_codes(quad));
                        dots[t][b][kSums - 1].add(high[b], four_codes(quad + half));
                    } else {
                        dots[t][b][i % kSums].add(low[b], four_codes(quad));
                    }
                }
            }
        }
    }

    template <unsigned kBits>
    inline __attribute__((always_inline)) void add_group(const std::byte* from, const std::byte* parameters,
                                                         std::size_t group) {
        Dots dots[kTokens][kBlocks][kSums];
#pragma GCC unroll 8
        for (std::size_t t = 0; t < kTokens; ++t) {
#pragma GCC unroll 2
            for (std::size_t b = 0; b < kBlocks; ++b) {
                const std::byte* zeros = parameters + b * shape.block_bytes() + PackedShape::kZerosBegin;
                dots[t][b][0] = Dots::zero_points(zeros, sums[t * shape.groups() + group]);
                if constexpr (kSums == 2) {
                    dots[t][b][1] = Dots::none();
                }
            }
        }
        group_dots<kBits>(from, group, dots);
#pragma GCC unroll 8
        for (std::size_t t = 0; t < kTokens; ++t) {
            const Lanes scale_x = Lanes::set(scales[t * shape.groups() + group]);
#pragma GCC unroll 2
            for (std::size_t b = 0; b < kBlocks; ++b) {
                if constexpr (kSums == 2) {
                    dots[t][b][0].join(dots[t][b][1]);
                }
                const Lanes scale =
                    kBits == 4 ? Lanes::load_f16(parameters + b * shape.block_bytes()) * scale_x : scale_x;
                total[t][b] = fma(dots[t][b][0].template floats<Lanes>(), scale, total[t][b]);
            }
        }
    }

    void run(quant::SourceType type, std::byte* y) {
        for (auto& row : total) {
            for (Lanes& lanes : row) {
                lanes = Lanes::set(0.0f);
            }
        }
        const std::byte* from = packed;
        if (shape.bits == 4) {
            for (std::size_t g = 0; g < shape.groups(); ++g, from += shape.group_bytes() + PackedShape::kScaleBytes) {
                add_group<4>(from, from + shape.group_bytes(), g);
            }
        } else {
            const std::byte* parameters = packed + shape.groups() * shape.group_bytes();
            for (std::size_t g = 0; g < shape.groups(); ++g, from += shape.group_bytes()) {
                add_group<8>(from, parameters, g);
            }
        }
        for (std::size_t t = 0; t < kTokens; ++t) {
            for (std::size_t b = 0; b < kBlocks; ++b) {
                if (shape.bits == 8) {
                    const std::byte* parameters =
                        packed + b * shape.block_bytes() + shape.groups() * shape.group_bytes();
                    total[t][b] = total[t][b] * Lanes::load_f16(parameters);
                }
                quant::store_source(type, total[t][b],
                                    y + (t * shape.rows + b * quant::kLaneCount) * quant::bytes_per_value(type));
            }
        }
    }
};

template <typename Lanes, typename Dots, std::size_t kTokens, std::size_t kBlocks>
void all_tokens(const PackedShape& shape, const std::byte* packed, const QuantizedTokens& x, std::size_t token,
                std::size_t tokens, quant::SourceType type, std::byte* y) {
    for (; token + kTokens <= tokens; token += kTokens) {
        Tile<Lanes, Dots, kTokens, kBlocks> tile{shape,
                                                 packed,
                                                 x.codes + token * shape.columns,
                                                 x.scales + token * shape.groups(),
                                                 x.sums + token * shape.groups(),
                                                 {}};
        tile.run(type, y + token * shape.rows * quant::bytes_per_value(type));
    }
    if constexpr (kTokens > 1) {
        all_tokens<Lanes, Dots, kTokens / 2, kBlocks>(shape, packed, x, token, tokens, type, y);
    }
}

template <typename Lanes, typename Dots, std::size_t kTokens, std::size_t kBlocks>
void multiply_blocks(const PackedShape& shape, const std::byte* packed, const QuantizedTokens& x, std::size_t tokens,
                     std::size_t first, std::size_t last, quant::SourceType type, std::byte* y) {
    const std::size_t width = quant::kLaneCount * quant::bytes_per_value(type);
    // One token alone takes no time to compute: one stream of memory is read fastest.
    for (; tokens > 1 && first + kBlocks <= last; first += kBlocks) {
        all_tokens<Lanes, Dots, kTokens, kBlocks>(shape, packed + first * shape.block_bytes(), x, 0, tokens, type,
                                                  y + first * width);
    }
    for (; first < last; ++first) {
        all_tokens<Lanes, Dots, kTokens, 1>(shape, packed + first * shape.block_bytes(), x, 0, tokens, type,
                                            y + first * width);
    }
}

}  // namespace deltavino::runtime::linear
