// Rotary position embeddings of the language model.
//
//   angle_j(p) = p_axis(j) * theta^(-2j/R), j = 0..R/2-1
//   y = [a * cos + rotate_half(a) * sin, b],  a = x[..., :R], b = x[..., R:]
//
// YaRN divides the slow frequencies by `factor`, keeps the fast ones, goes gradually between them, and multiplies cos
// and sin by attention_factor. Source: transformers `_compute_yarn_parameters`.
//
// Interleaved M-RoPE: frequency j follows the row when j % 3 == 1 and j < 3 * section[1], the column when
// j % 3 == 2 and j < 3 * section[2], else time. Text has the same position on all axes.
// Source: transformers `Qwen3_5TextRotaryEmbedding`, `apply_rotary_pos_emb`.
#pragma once

#include "checkpoint/config.hpp"
#include "reference/matrix.hpp"

#include <array>
#include <cstdint>
#include <vector>

namespace deltavino::reference {

// Position of each token on each axis: time, row, column.
using Positions = std::array<std::vector<std::int64_t>, 3>;

// 0, 1, 2, ... on all axes.
Positions sequential_positions(std::uint64_t tokens);

class Rotary {
public:
    Rotary(const checkpoint::RopeConfig& config, const Positions& positions);

    // x [T, H * D]: turns the first R of the D channels of each of the H heads.
    void apply(MatrixRef x, std::uint64_t heads) const;

private:
    Eigen::MatrixXd cos_;  // [T, R/2]
    Eigen::MatrixXd sin_;
};

}  // namespace deltavino::reference
