// Ground truth: transformers modeling_qwen3_5.py, get_rope_index, fast_pos_embed_interpolate and
// rot_pos_emb, for pictures. Videos are not done here.
#include "runtime/positions.hpp"

#include "base/error.hpp"

#include <algorithm>
#include <cmath>

namespace deltavino::runtime {
namespace {

// torch.linspace(0, last, count) in float32: it counts from both ends.
std::vector<float> spread(std::uint32_t count, std::uint32_t last) {
    std::vector<float> values(count, 0.0f);
    if (count < 2) {
        return values;
    }
    const float end = static_cast<float>(last);
    const float step = end / static_cast<float>(count - 1);
    for (std::uint32_t i = 0; i < count; ++i) {
        values[i] = i < count / 2 ? step * static_cast<float>(i) : end - step * static_cast<float>(count - 1 - i);
    }
    return values;
}

void append_picture(TokenPositions& positions, PatchGrid grid, std::uint32_t merge_size) {
    const std::uint32_t rows = grid.rows / merge_size;
    const std::uint32_t columns = grid.columns / merge_size;
    for (std::uint32_t row = 0; row < rows; ++row) {
        for (std::uint32_t column = 0; column < columns; ++column) {
            positions.axes[0].push_back(positions.next);
            positions.axes[1].push_back(positions.next + row);
            positions.axes[2].push_back(positions.next + column);
        }
    }
    positions.next += std::max(rows, columns);
}

}  // namespace

TokenPositions token_positions(std::span<const std::int64_t> ids, std::int64_t placeholder,
                               std::span<const PatchGrid> grids, std::uint32_t merge_size, std::int64_t start) {
    TokenPositions positions;
    positions.next = start;
    std::size_t picture = 0;
    for (std::size_t i = 0; i < ids.size();) {
        if (ids[i] != placeholder) {
            for (auto& axis : positions.axes) {
                axis.push_back(positions.next);
            }
            positions.next += 1;
            i += 1;
            continue;
        }
        if (picture == grids.size()) {
            fail(ErrorKind::Internal, "there are placeholders for more pictures than {}", grids.size());
        }
        const std::size_t count = grids[picture].patches() / (static_cast<std::size_t>(merge_size) * merge_size);
        const std::size_t here =
            static_cast<std::size_t>(std::find_if(ids.begin() + static_cast<std::ptrdiff_t>(i), ids.end(),
                                                  [=](std::int64_t id) { return id != placeholder; }) -
                                     ids.begin()) -
            i;
        if (here < count) {
            fail(ErrorKind::Internal, "picture {} has {} placeholders, expected {}", picture, here, count);
        }
        append_picture(positions, grids[picture], merge_size);
        picture += 1;
        i += count;
    }
    if (picture != grids.size()) {
        fail(ErrorKind::Internal, "there are {} pictures but placeholders for {}", grids.size(), picture);
    }
    return positions;
}

TableCorners table_corners(PatchGrid grid, std::uint32_t side) {
    const std::vector<float> rows = spread(grid.rows, side - 1);
    const std::vector<float> columns = spread(grid.columns, side - 1);
    TableCorners corners;
    for (std::size_t corner = 0; corner < 4; ++corner) {
        corners.indices[corner].reserve(grid.patches());
        corners.weights[corner].reserve(grid.patches());
    }
    for (const float row : rows) {
        const auto top = static_cast<std::uint32_t>(row);
        const std::uint32_t bottom = std::min(top + 1, side - 1);
        const float down = row - static_cast<float>(top);
        for (const float column : columns) {
            const auto left = static_cast<std::uint32_t>(column);
            const std::uint32_t right = std::min(left + 1, side - 1);
            const float across = column - static_cast<float>(left);
            const std::array<std::int64_t, 4> indices{std::int64_t{top} * side + left, std::int64_t{top} * side + right,
                                                      std::int64_t{bottom} * side + left,
                                                      std::int64_t{bottom} * side + right};
            const std::array<float, 4> weights{(1 - down) * (1 - across), (1 - down) * across, down * (1 - across),
                                               down * across};
            for (std::size_t corner = 0; corner < 4; ++corner) {
                corners.indices[corner].push_back(indices[corner]);
                corners.weights[corner].push_back(weights[corner]);
            }
        }
    }
    return corners;
}

std::vector<PatchPlace> patch_order(PatchGrid grid, std::uint32_t merge_size) {
    std::vector<PatchPlace> order;
    order.reserve(grid.patches());
    for (std::uint32_t row = 0; row < grid.rows; row += merge_size) {
        for (std::uint32_t column = 0; column < grid.columns; column += merge_size) {
            for (std::uint32_t i = 0; i < merge_size; ++i) {
                for (std::uint32_t j = 0; j < merge_size; ++j) {
                    order.push_back({row + i, column + j});
                }
            }
        }
    }
    return order;
}

std::vector<float> rotary_angles(std::span<const PatchPlace> order, std::uint32_t width) {
    constexpr float kBase = 10000.0f;
    const std::uint32_t half = width / 2;
    std::vector<float> frequencies(half);
    for (std::uint32_t i = 0; i < half; ++i) {
        frequencies[i] = 1.0f / std::pow(kBase, static_cast<float>(2 * i) / static_cast<float>(width));
    }
    std::vector<float> angles;
    angles.reserve(order.size() * width);
    for (const PatchPlace place : order) {
        for (const std::uint32_t position : {place.row, place.column}) {
            for (const float frequency : frequencies) {
                angles.push_back(static_cast<float>(position) * frequency);
            }
        }
    }
    return angles;
}

}  // namespace deltavino::runtime
