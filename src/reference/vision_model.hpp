// The vision tower over the patches of some pictures and videos.
//
//   x = W_e patches + b_e + positions;  blocks;  y = W_2 gelu(W_1 norm(x) (m^2 patches joined) + b_1) + b_2
//   block: x = x + W_o attention(norm(x)) + b_o;  x = x + W_2 gelu_tanh(W_1 norm(x) + b_1) + b_2
//
// Positions come from a square table, laid over the grid of a picture and interpolated bilinearly; q and k are
// also turned by the row (first half of the frequencies) and the column. Each temporal patch attends to itself
// only. Source: transformers `Qwen3_5VisionModel`.
#pragma once

#include "checkpoint/config.hpp"
#include "reference/layers.hpp"
#include "reference/rotary.hpp"

#include <cstdint>
#include <functional>
#include <span>
#include <vector>

namespace deltavino::reference {

// A picture (frames 1) or a video: temporal patches, rows and columns of patches. Rows and columns are
// multiples of spatial_merge_size.
struct Grid {
    std::uint64_t frames = 1;
    std::uint64_t rows = 0;
    std::uint64_t columns = 0;
};

// patches [N, in_channels * temporal_patch_size * patch_size^2], in the processor's order: those that are merged
// into one follow each other. Returns [N / spatial_merge_size^2, out_hidden_size]. `patches` must have as many
// rows as the grids have patches. `on_block`, when given, hears what goes into each block, and what leaves the last
// one as block `depth`.
using BlockSink = std::function<void(std::uint64_t block, ConstMatrixRef x)>;
Matrix vision_tower(ConstMatrixRef patches, const std::vector<Grid>& grids, const checkpoint::VisionConfig& config,
                    const Context& context, const BlockSink& on_block = {});

// Positions of a prompt in which pictures (frames 1) take the places of runs of `placeholder`, each merged patch one.
// A text token stands one further on all axes than what is before it. With p the position of a picture's first patch,
// its merged patch in row i and column j stands at (p, p + i, p + j), and what follows at p + the longer side.
// Source: transformers `Qwen3_5Model.get_rope_index`. Throws ErrorKind::Internal when the numbers do not match.
Positions picture_positions(std::span<const std::int64_t> ids, std::int64_t placeholder, const std::vector<Grid>& grids,
                            std::uint64_t merge);

}  // namespace deltavino::reference
