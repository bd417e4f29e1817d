#include "support/tower.hpp"

#include "graph/names.hpp"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>

namespace deltavino::test {
namespace {

namespace names = graph::names;

// numpy.linspace(0, last, count)[i], in float32 as torch computes it.
float linspace(std::int64_t last, std::int64_t count, std::int64_t i) {
    if (count == 1) {
        return 0.0f;
    }
    const float step = static_cast<float>(last) / static_cast<float>(count - 1);
    // torch fills the second half from the end
    return i < count / 2 ? step * static_cast<float>(i)
                         : static_cast<float>(last) - step * static_cast<float>(count - 1 - i);
}

void add_positions(const Grid& grid, const checkpoint::VisionConfig& config, TowerInputs& inputs) {
    const auto side =
        static_cast<std::int64_t>(std::lround(std::sqrt(static_cast<double>(config.num_position_embeddings))));
    for (std::int64_t y = 0; y < grid[1]; ++y) {
        for (std::int64_t x = 0; x < grid[2]; ++x) {
            const float row = linspace(side - 1, grid[1], y);
            const float column = linspace(side - 1, grid[2], x);
            const auto top = static_cast<std::int64_t>(row);
            const auto left = static_cast<std::int64_t>(column);
            const std::int64_t bottom = std::min(top + 1, side - 1);
            const std::int64_t right = std::min(left + 1, side - 1);
            const float down = row - static_cast<float>(top);
            const float across = column - static_cast<float>(left);
            const std::array<std::int64_t, 4> corners{top * side + left, top * side + right, bottom * side + left,
                                                      bottom * side + right};
            const std::array<float, 4> weights{(1 - down) * (1 - across), (1 - down) * across, down * (1 - across),
                                               down * across};
            for (std::size_t c = 0; c < 4; ++c) {
                inputs.corners[c].push_back(corners[c]);
                inputs.weights[c].push_back(weights[c]);
            }
        }
    }
}

// Calls visit(row, column) for the patches of one frame in the processor's order.
template <typename Visit>
void for_patches(const Grid& grid, std::int64_t merge, Visit&& visit) {
    for (std::int64_t block_row = 0; block_row < grid[1]; block_row += merge) {
        for (std::int64_t block_column = 0; block_column < grid[2]; block_column += merge) {
            for (std::int64_t i = 0; i < merge * merge; ++i) {
                visit(block_row + i / merge, block_column + i % merge);
            }
        }
    }
}

ov::Tensor infer(const ov::CompiledModel& model, const std::vector<std::pair<const char*, ov::Tensor>>& inputs) {
    ov::InferRequest request = const_cast<ov::CompiledModel&>(model).create_infer_request();
    for (const auto& [name, tensor] : inputs) {
        request.set_tensor(name, tensor);
    }
    request.infer();
    return request.get_tensor(names::kLastHiddenState);
}

template <typename T>
ov::Tensor tensor_of(ov::element::Type type, const ov::Shape& shape, const std::vector<T>& values) {
    ov::Tensor tensor(type, shape);
    std::memcpy(tensor.data(), values.data(), values.size() * sizeof(T));
    return tensor;
}

std::vector<float> floats_of(const ov::Tensor& tensor) {
    return {tensor.data<float>(), tensor.data<float>() + tensor.get_size()};
}

}  // namespace

std::vector<Grid> grids_of(const GoldenTensor& grid_thw) {
    std::vector<Grid> grids;
    for (std::size_t i = 0; i < grid_thw.dim(0); ++i) {
        grids.push_back({grid_thw.integers[3 * i], grid_thw.integers[3 * i + 1], grid_thw.integers[3 * i + 2]});
    }
    return grids;
}

TowerInputs tower_inputs(const std::vector<Grid>& grids, const checkpoint::VisionConfig& config) {
    TowerInputs inputs;
    const auto merge = static_cast<std::int64_t>(config.spatial_merge_size);
    const std::size_t half = config.hidden_size / config.num_heads / 2;  // angles of one patch
    std::vector<std::size_t> frame_of;                                   // patches of one frame see each other
    std::size_t frames = 0;
    for (const Grid& grid : grids) {
        const std::size_t first = inputs.corners[0].size();
        add_positions(grid, config, inputs);
        for (std::int64_t t = 0; t < grid[0]; ++t, ++frames) {
            for_patches(grid, merge, [&](std::int64_t row, std::int64_t column) {
                inputs.order.push_back(first + static_cast<std::size_t>(row * grid[2] + column));
                for (const std::int64_t position : {row, column}) {
                    for (std::size_t j = 0; j < half / 2; ++j) {
                        const double exponent = -2.0 * static_cast<double>(j) / static_cast<double>(half);
                        inputs.angles.push_back(static_cast<float>(position) *
                                                static_cast<float>(std::pow(10000.0, exponent)));
                    }
                }
                frame_of.push_back(frames);
            });
        }
    }
    for (const std::size_t a : frame_of) {
        for (const std::size_t b : frame_of) {
            inputs.mask.push_back(a == b ? 0.0f : -std::numeric_limits<float>::infinity());
        }
    }
    return inputs;
}

Tower::Tower(const std::filesystem::path& directory, checkpoint::VisionConfig config) : config_(std::move(config)) {
    const auto load = [&](const char* name) {
        return compile_f32(read_model(directory / (std::string(name) + ".xml")));
    };
    embeddings_ = load(names::kVisionEmbeddings);
    positions_ = load(names::kVisionPositions);
    merger_ = load(names::kVisionMerger);
}

std::vector<float> Tower::patch_embeddings(const std::vector<float>& pixels) {
    const std::size_t width =
        config_.in_channels * config_.temporal_patch_size * config_.patch_size * config_.patch_size;
    return floats_of(infer(
        embeddings_, {{names::kHiddenStates, tensor_of(ov::element::f32, {pixels.size() / width, width}, pixels)}}));
}

std::vector<float> Tower::position_embeddings(const TowerInputs& inputs) {
    const std::size_t count = inputs.corners[0].size();
    Ids corners;
    for (const Ids& row : inputs.corners) {
        corners.insert(corners.end(), row.begin(), row.end());
    }
    const std::vector<float> rows =
        floats_of(infer(positions_, {{names::kInput, tensor_of(ov::element::i64, {4, count}, corners)}}));
    std::vector<float> result;
    for (const std::size_t position : inputs.order) {
        for (std::size_t c = 0; c < config_.hidden_size; ++c) {
            float sum = 0.0f;
            for (std::size_t corner = 0; corner < 4; ++corner) {
                sum += inputs.weights[corner][position] * rows[(corner * count + position) * config_.hidden_size + c];
            }
            result.push_back(sum);
        }
    }
    return result;
}

std::vector<float> Tower::merge(const std::vector<float>& hidden_states, const TowerInputs& inputs) {
    const std::size_t patches = inputs.order.size();
    return floats_of(infer(
        merger_,
        {{names::kHiddenStates, tensor_of(ov::element::f32, {patches, config_.hidden_size}, hidden_states)},
         {names::kAttentionMask, tensor_of(ov::element::f32, {1, patches, patches}, inputs.mask)},
         {names::kRotary, tensor_of(ov::element::f32, {patches, inputs.angles.size() / patches}, inputs.angles)}}));
}

std::vector<float> Tower::run(const std::vector<float>& pixels, const std::vector<Grid>& grids) {
    const TowerInputs inputs = tower_inputs(grids, config_);
    std::vector<float> hidden = patch_embeddings(pixels);
    const std::vector<float> positions = position_embeddings(inputs);
    std::transform(hidden.begin(), hidden.end(), positions.begin(), hidden.begin(), std::plus<float>());
    return merge(hidden, inputs);
}

}  // namespace deltavino::test
