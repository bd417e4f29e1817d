// Runs an exported vision tower as its callers do: positions are interpolated, angles and the mask are
// made here, from the sizes of the pictures alone. Written from transformers' `Qwen3_5VisionModel`.
#pragma once

#include "support/engine.hpp"
#include "support/golden.hpp"

#include "checkpoint/config.hpp"

#include <array>
#include <filesystem>
#include <vector>

namespace deltavino::test {

// Temporal patches, rows and columns of patches.
using Grid = std::array<std::int64_t, 3>;

std::vector<Grid> grids_of(const GoldenTensor& grid_thw);

// What is computed outside of the models. N patches in the processor's order; M = rows * columns of each
// picture, once for all frames.
struct TowerInputs {
    std::array<Ids, 4> corners;                 // [4][M]: rows of the position table
    std::array<std::vector<float>, 4> weights;  // [4][M]
    std::vector<std::size_t> order;             // [N]: which of the M positions a patch has
    std::vector<float> angles;                  // [N, head width / 2]
    std::vector<float> mask;                    // [N, N]
};

TowerInputs tower_inputs(const std::vector<Grid>& grids, const checkpoint::VisionConfig& config);

class Tower {
public:
    // `directory`: an exported model.
    Tower(const std::filesystem::path& directory, checkpoint::VisionConfig config);

    std::vector<float> patch_embeddings(const std::vector<float>& pixels);
    std::vector<float> position_embeddings(const TowerInputs& inputs);
    std::vector<float> merge(const std::vector<float>& hidden_states, const TowerInputs& inputs);
    // All of it: [N / m^2, out_hidden_size].
    std::vector<float> run(const std::vector<float>& pixels, const std::vector<Grid>& grids);

    const ov::CompiledModel& merger() const { return merger_; }

private:
    checkpoint::VisionConfig config_;
    ov::CompiledModel embeddings_, positions_, merger_;
};

}  // namespace deltavino::test
