#include "reference/vision_model.hpp"

#include "base/error.hpp"
#include "reference/attention.hpp"
#include "reference/parallel.hpp"

#include <algorithm>
#include <cmath>
#include <numbers>
#include <string>
#include <utility>

namespace deltavino::reference {
namespace {

using checkpoint::VisionConfig;

struct Place {
    std::uint64_t row = 0;
    std::uint64_t column = 0;
};

// The places of the patches of one frame, in the processor's order.
std::vector<Place> places(const Grid& grid, std::uint64_t merge) {
    std::vector<Place> order;
    for (std::uint64_t row = 0; row < grid.rows; row += merge) {
        for (std::uint64_t column = 0; column < grid.columns; column += merge) {
            for (std::uint64_t i = 0; i < merge * merge; ++i) {
                order.push_back({row + i / merge, column + i % merge});
            }
        }
    }
    return order;
}

// Where a row or column of the grid lies in the table: `size` of them are spread over `side` evenly, ends on ends.
double table_place(std::uint64_t index, std::uint64_t size, std::uint64_t side) {
    if (size == 1) {
        return 0.0;
    }
    return static_cast<double>(index) * static_cast<double>(side - 1) / static_cast<double>(size - 1);
}

// The embedding of a place, from the four entries of the table around it.
Eigen::RowVectorXd interpolated(const Matrix& table, const Place& place, const Grid& grid, std::uint64_t side) {
    const double y = table_place(place.row, grid.rows, side);
    const double x = table_place(place.column, grid.columns, side);
    const auto top = static_cast<std::uint64_t>(y);
    const auto left = static_cast<std::uint64_t>(x);
    const std::uint64_t bottom = std::min(top + 1, side - 1);
    const std::uint64_t right = std::min(left + 1, side - 1);
    const double down = y - static_cast<double>(top);
    const double aside = x - static_cast<double>(left);
    const auto entry = [&](std::uint64_t row, std::uint64_t column) -> Eigen::RowVectorXd {
        return table.row(static_cast<Index>(row * side + column)).cast<double>();
    };
    return entry(top, left) * ((1 - down) * (1 - aside)) + entry(top, right) * ((1 - down) * aside) +
           entry(bottom, left) * (down * (1 - aside)) + entry(bottom, right) * (down * aside);
}

// Turns the channels of each head of x [n, H * D] by the place of its patch.
void turn(MatrixRef x, const std::vector<Place>& order, Index heads) {
    constexpr double kTheta = 10000.0;
    const Index D = x.cols() / heads;
    const Index quarter = D / 4;
    for (Index t = 0; t < x.rows(); ++t) {
        const Place& place = order[static_cast<std::size_t>(t)];
        for (Index j = 0; j < D / 2; ++j) {
            const double frequency = std::pow(kTheta, -static_cast<double>(j % quarter) / static_cast<double>(quarter));
            const double angle = static_cast<double>(j < quarter ? place.row : place.column) * frequency;
            for (Index h = 0; h < heads; ++h) {
                float& first = x(t, h * D + j);
                float& second = x(t, h * D + D / 2 + j);
                const double a = first;
                const double b = second;
                first = static_cast<float>(a * std::cos(angle) - b * std::sin(angle));
                second = static_cast<float>(b * std::cos(angle) + a * std::sin(angle));
            }
        }
    }
}

// A frame: rows [begin, begin + order.size()) of the patches.
struct Frame {
    Index begin = 0;
    std::vector<Place> order;
};

Matrix attention(ConstMatrixRef x, const Context& context, const std::string& module, Index heads,
                 const std::vector<Frame>& frames) {
    const Index C = x.cols();
    const Index D = C / heads;
    const Matrix qkv = biased_linear(x, context, module + "qkv", static_cast<std::uint64_t>(3 * C));
    Matrix y(x.rows(), C);
    parallel_for(frames.size(), context.threads, [&](std::uint64_t f) {
        const Frame& frame = frames[f];
        const auto count = static_cast<Index>(frame.order.size());
        Matrix q = qkv.block(frame.begin, 0, count, C);
        Matrix k = qkv.block(frame.begin, C, count, C);
        turn(q, frame.order, heads);
        turn(k, frame.order, heads);
        for (Index h = 0; h < heads; ++h) {
            const Matrix own = q.middleCols(h * D, D);
            const Matrix keys = k.middleCols(h * D, D);
            const Matrix values = qkv.block(frame.begin, 2 * C + h * D, count, D);
            y.block(frame.begin, h * D, count, D) =
                attend(own, keys, values, 1.0 / std::sqrt(static_cast<double>(D)), false);
        }
    });
    return biased_linear(y, context, module + "proj", static_cast<std::uint64_t>(C));
}

Matrix gelu_tanh(const Matrix& x) {
    return x.unaryExpr([](float v) {
        const double value = v;
        const double inner = std::sqrt(2.0 / std::numbers::pi) * (value + 0.044715 * value * value * value);
        return static_cast<float>(0.5 * value * (1.0 + std::tanh(inner)));
    });
}

Matrix gelu(const Matrix& x) {
    return x.unaryExpr([](float v) { return static_cast<float>(0.5 * v * (1.0 + std::erf(v / std::numbers::sqrt2))); });
}

// Patches with their positions [N, C], and the frames that they make.
std::pair<Matrix, std::vector<Frame>> embed_patches(ConstMatrixRef patches, const std::vector<Grid>& grids,
                                                    const VisionConfig& config, const Context& context) {
    const auto side =
        static_cast<std::uint64_t>(std::llround(std::sqrt(static_cast<double>(config.num_position_embeddings))));
    Matrix table(static_cast<Index>(config.num_position_embeddings), static_cast<Index>(config.hidden_size));
    context.weights.read_rows("visual.pos_embed.weight", 0, table);
    Matrix x = biased_linear(patches, context, "visual.patch_embed.proj", config.hidden_size);
    std::vector<Frame> frames;
    Index at = 0;
    for (const Grid& grid : grids) {
        const std::vector<Place> order = places(grid, config.spatial_merge_size);
        for (std::uint64_t frame = 0; frame < grid.frames; ++frame) {
            if (at + static_cast<Index>(order.size()) > x.rows()) {
                fail(ErrorKind::Internal, "the vision tower got {} patches, fewer than its grids have", x.rows());
            }
            frames.push_back({at, order});
            for (const Place& place : order) {
                x.row(at++) += interpolated(table, place, grid, side).cast<float>();
            }
        }
    }
    return {std::move(x), std::move(frames)};
}

}  // namespace

Matrix vision_tower(ConstMatrixRef patches, const std::vector<Grid>& grids, const VisionConfig& config,
                    const Context& context, const BlockSink& on_block) {
    const auto heads = static_cast<Index>(config.num_heads);
    const std::uint64_t merge = config.spatial_merge_size;
    auto [x, frames] = embed_patches(patches, grids, config, context);
    const auto heard = [&, &hidden = x](std::uint64_t block) {
        if (on_block) {
            on_block(block, hidden);
        }
    };
    for (std::uint64_t i = 0; i < config.depth; ++i) {
        heard(i);
        const std::string block = "visual.blocks." + std::to_string(i) + ".";
        x += attention(layer_norm(x, context, block + "norm1"), context, block + "attn.", heads, frames);
        const Matrix inner = gelu_tanh(biased_linear(layer_norm(x, context, block + "norm2"), context,
                                                     block + "mlp.linear_fc1", config.intermediate_size));
        x += biased_linear(inner, context, block + "mlp.linear_fc2", config.hidden_size);
    }
    heard(config.depth);
    const std::uint64_t merged = config.hidden_size * merge * merge;
    const Matrix normed = layer_norm(x, context, "visual.merger.norm");
    const Eigen::Map<const Matrix> joined(normed.data(), normed.rows() / static_cast<Index>(merge * merge),
                                          static_cast<Index>(merged));
    return biased_linear(gelu(biased_linear(joined, context, "visual.merger.linear_fc1", merged)), context,
                         "visual.merger.linear_fc2", config.out_hidden_size);
}

Positions picture_positions(std::span<const std::int64_t> ids, std::int64_t placeholder, const std::vector<Grid>& grids,
                            std::uint64_t merge) {
    Positions positions;
    const auto add = [&](std::int64_t time, std::int64_t row, std::int64_t column) {
        positions[0].push_back(time);
        positions[1].push_back(row);
        positions[2].push_back(column);
    };
    std::int64_t next = 0;
    auto grid = grids.begin();
    for (std::size_t t = 0; t < ids.size();) {
        if (ids[t] != placeholder) {
            add(next, next, next);
            ++next;
            ++t;
            continue;
        }
        const auto rows = static_cast<std::int64_t>(grid == grids.end() ? 0 : grid->rows / merge);
        const auto columns = static_cast<std::int64_t>(grid == grids.end() ? 0 : grid->columns / merge);
        const auto patches = static_cast<std::size_t>(rows * columns);
        const auto run = ids.subspan(t, std::min(patches, ids.size() - t));
        if (run.empty() || std::any_of(run.begin(), run.end(), [&](std::int64_t id) { return id != placeholder; }) ||
            run.size() < patches) {
            fail(ErrorKind::Internal, "the placeholders of a prompt do not fit its {} pictures", grids.size());
        }
        for (std::int64_t i = 0; i < rows * columns; ++i) {
            add(next, next + i / columns, next + i % columns);
        }
        next += std::max(rows, columns);
        t += patches;
        ++grid;
    }
    return positions;
}

}  // namespace deltavino::reference
