// Where tokens and patches stand: M-RoPE positions of the language model, and the two position codes
// of the vision tower.
#pragma once

#include <array>
#include <cstdint>
#include <span>
#include <vector>

namespace deltavino::runtime {

// Size of a picture in patches; both are multiples of the merge size.
struct PatchGrid {
    std::uint32_t rows = 0;
    std::uint32_t columns = 0;

    std::size_t patches() const { return static_cast<std::size_t>(rows) * columns; }
};

// Positions of a run of tokens, one vector for each M-RoPE axis: time, row, column.
struct TokenPositions {
    std::array<std::vector<std::int64_t>, 3> axes;
    std::int64_t next = 0;  // the position of the token that follows
};

// `start`: the position of the first token. The `placeholder` ids stand for the merged patches of the
// pictures of `grids`, in order; throws ErrorKind::Internal when their numbers do not match.
TokenPositions token_positions(std::span<const std::int64_t> ids, std::int64_t placeholder,
                               std::span<const PatchGrid> grids, std::uint32_t merge_size, std::int64_t start);

// The vision tower's table of position embeddings is a square of side x side; a picture's grid is laid
// over it and interpolated bilinearly. Row by row of the picture, for the corners (floor, floor),
// (floor, ceil), (ceil, floor), (ceil, ceil) of (row, column).
struct TableCorners {
    std::array<std::vector<std::int64_t>, 4> indices;
    std::array<std::vector<float>, 4> weights;
};
TableCorners table_corners(PatchGrid grid, std::uint32_t side);

struct PatchPlace {
    std::uint32_t row = 0;
    std::uint32_t column = 0;
};
// The order in which the vision tower takes the patches: those that are merged into one follow each other.
std::vector<PatchPlace> patch_order(PatchGrid grid, std::uint32_t merge_size);

// Rotary angles [patches, width]: rows in the first half of the width, columns in the second.
std::vector<float> rotary_angles(std::span<const PatchPlace> order, std::uint32_t width);

}  // namespace deltavino::runtime
