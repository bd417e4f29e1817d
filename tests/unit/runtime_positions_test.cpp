// Positions against those of transformers, recorded in tests/golden/vision.
#include "runtime/positions.hpp"

#include "support/golden.hpp"

#include <deltavino/error.hpp>

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <map>
#include <string>

namespace deltavino::runtime {
namespace {

using test::Golden;
using test::golden_directory;
using test::GoldenTensor;
using test::read_golden;

constexpr std::uint32_t kMerge = 2;

// Frames of a video are pictures to the positions: their grids one by one.
std::vector<PatchGrid> frames(const Golden& golden, const std::string& name) {
    std::vector<PatchGrid> grids;
    if (const auto found = golden.find(name); found != golden.end()) {
        const auto& rows = found->second.integers;
        for (std::size_t i = 0; i + 2 < rows.size(); i += 3) {
            grids.insert(grids.end(), static_cast<std::size_t>(rows[i]),
                         {static_cast<std::uint32_t>(rows[i + 1]), static_cast<std::uint32_t>(rows[i + 2])});
        }
    }
    return grids;
}

// The ids that stand for pictures and videos: whatever follows <|vision_start|>, which repeats.
struct Media {
    std::int64_t image = 0;
    std::int64_t video = 0;
};
const std::map<std::string, Media> kMedia{{"dense-vl", {120, 121}}, {"moe-vl", {120, 121}}, {"kjv-tiny", {4108, 4109}}};

// Prompts with both kinds: all become `image`, and the grids stand in the order of the prompt.
void check_prompt(const Golden& golden, const std::string& prefix, Media media) {
    SCOPED_TRACE(prefix);
    std::vector<std::int64_t> ids = golden.at(prefix + "input_ids").integers;
    const std::vector<PatchGrid> pictures = frames(golden, prefix + "image_grid_thw");
    const std::vector<PatchGrid> videos = frames(golden, prefix + "video_grid_thw");
    std::vector<PatchGrid> grids;
    std::size_t next_picture = 0;
    std::size_t next_video = 0;
    for (std::size_t i = 0; i < ids.size(); ++i) {
        const bool starts = i == 0 || ids[i - 1] != ids[i];
        if (ids[i] == media.image && starts) {
            grids.push_back(pictures.at(next_picture++));
        } else if (ids[i] == media.video && starts) {
            grids.push_back(videos.at(next_video++));
        }
    }
    std::replace(ids.begin(), ids.end(), media.video, media.image);
    const TokenPositions positions = token_positions(ids, media.image, grids, kMerge, 0);
    std::vector<std::int64_t> all;
    for (const auto& axis : positions.axes) {
        all.insert(all.end(), axis.begin(), axis.end());
    }
    EXPECT_EQ(all, golden.at(prefix + "position_ids").integers);
    EXPECT_EQ(positions.next - static_cast<std::int64_t>(ids.size()),
              golden.at(prefix + "rope_deltas").integers.front());
}

TEST(TokenPositions, AreThoseOfTransformers) {
    std::size_t checked = 0;
    for (const auto& [model, media] : kMedia) {
        const Golden golden = read_golden(golden_directory("vision") / (model + ".prompts.safetensors"));
        for (const char* name : {"text.", "picture.", "pictures.", "video.", "mixed."}) {
            if (golden.contains(std::string(name) + "input_ids")) {
                check_prompt(golden, name, media);
                checked += 1;
            }
        }
    }
    EXPECT_EQ(checked, 11u);
}

TEST(TokenPositions, GoOnAfterAnEarlierTurn) {
    for (const auto& [model, media] : kMedia) {
        const Golden golden = read_golden(golden_directory("vision") / (model + ".prompts.safetensors"));
        std::int64_t start = 0;
        for (const std::string turn : {"turn.first", "turn.second"}) {
            const TokenPositions positions = token_positions(golden.at(turn + "_ids").integers, media.image,
                                                             frames(golden, turn + ".image_grid_thw"), kMerge, start);
            std::vector<std::int64_t> all;
            for (const auto& axis : positions.axes) {
                all.insert(all.end(), axis.begin(), axis.end());
            }
            EXPECT_EQ(all, golden.at(turn + "_position_ids").integers) << model << " " << turn;
            start = positions.next;
        }
    }
}

TEST(TokenPositions, RefuseCountsThatDoNotMatch) {
    const auto kind = [](std::vector<std::int64_t> ids, std::vector<PatchGrid> grids) {
        try {
            token_positions(ids, 9, grids, kMerge, 0);
        } catch (const Error& error) {
            return error.kind();
        }
        return ErrorKind::Usage;
    };
    EXPECT_EQ(kind({1, 9, 9, 2}, {{2, 4}}), ErrorKind::Usage);    // right: nothing thrown
    EXPECT_EQ(kind({9, 9}, {{2, 2}, {2, 2}}), ErrorKind::Usage);  // two pictures side by side
    EXPECT_EQ(kind({1, 9, 2}, {{2, 4}}), ErrorKind::Internal);
    EXPECT_EQ(kind({1, 9, 9, 2}, {}), ErrorKind::Internal);
    EXPECT_EQ(kind({1, 2}, {{2, 2}}), ErrorKind::Internal);
}

// The tower's inputs for each of its recorded cases.
void check_tower(const std::string& model, const std::string& prefix, std::uint32_t side, const Golden& golden) {
    SCOPED_TRACE(model + " " + prefix);
    std::array<std::vector<std::int64_t>, 4> indices;
    std::array<std::vector<float>, 4> weights;
    std::vector<PatchGrid> grids;  // one frame of each
    std::vector<std::int64_t> places;
    std::vector<float> angles;
    const std::vector<std::int64_t>& thw = golden.at(prefix + "grid_thw").integers;
    const auto width = static_cast<std::uint32_t>(golden.at(prefix + "rotary").dim(1));
    for (std::size_t i = 0; i < thw.size(); i += 3) {
        const PatchGrid grid{static_cast<std::uint32_t>(thw[i + 1]), static_cast<std::uint32_t>(thw[i + 2])};
        const TableCorners corners = table_corners(grid, side);
        for (std::size_t c = 0; c < 4; ++c) {
            indices[c].insert(indices[c].end(), corners.indices[c].begin(), corners.indices[c].end());
            weights[c].insert(weights[c].end(), corners.weights[c].begin(), corners.weights[c].end());
        }
        for (std::int64_t frame = 0; frame < thw[i]; ++frame) {
            const std::vector<PatchPlace> order = patch_order(grid, kMerge);
            for (const PatchPlace place : order) {
                places.insert(places.end(), {place.row, place.column});
            }
            const std::vector<float> more = rotary_angles(order, width);
            angles.insert(angles.end(), more.begin(), more.end());
        }
    }
    std::vector<std::int64_t> all_indices;
    std::vector<float> all_weights;
    for (std::size_t c = 0; c < 4; ++c) {
        all_indices.insert(all_indices.end(), indices[c].begin(), indices[c].end());
        all_weights.insert(all_weights.end(), weights[c].begin(), weights[c].end());
    }
    EXPECT_EQ(all_indices, golden.at(prefix + "pos_indices").integers);
    EXPECT_EQ(places, golden.at(prefix + "rotary_positions").integers);
    const std::vector<float>& expected_weights = golden.at(prefix + "pos_weights").floats;
    ASSERT_EQ(all_weights.size(), expected_weights.size());
    for (std::size_t i = 0; i < all_weights.size(); ++i) {
        ASSERT_NEAR(all_weights[i], expected_weights[i], 1e-6) << i;
    }
    const std::vector<float>& expected_angles = golden.at(prefix + "rotary").floats;
    ASSERT_EQ(angles.size(), expected_angles.size());
    for (std::size_t i = 0; i < angles.size(); ++i) {
        ASSERT_NEAR(angles[i], expected_angles[i], 1e-6 * std::max(1.0f, std::abs(expected_angles[i]))) << i;
    }
}

TEST(TowerPositions, AreThoseOfTransformers) {
    const std::map<std::string, std::uint32_t> sides{{"dense-vl", 6}, {"moe-vl", 6}, {"kjv-tiny", 8}};
    std::size_t checked = 0;
    for (const auto& [model, side] : sides) {
        const Golden golden = read_golden(golden_directory("vision") / (model + ".tower.safetensors"));
        for (const char* name : {"one.", "wide.", "two.", "video."}) {
            if (golden.contains(std::string(name) + "grid_thw")) {
                check_tower(model, name, side, golden);
                checked += 1;
            }
        }
    }
    EXPECT_EQ(checked, 8u);
}

TEST(TableCorners, SpreadAGridOverTheWholeTable) {
    // One row of five patches over a table of 3 x 3: columns 0, 0.5, 1, 1.5, 2; the row is the first.
    const TableCorners corners = table_corners({1, 5}, 3);
    EXPECT_EQ(corners.indices[0], (std::vector<std::int64_t>{0, 0, 1, 1, 2}));
    EXPECT_EQ(corners.indices[1], (std::vector<std::int64_t>{1, 1, 2, 2, 2}));
    EXPECT_EQ(corners.indices[2], (std::vector<std::int64_t>{3, 3, 4, 4, 5}));
    EXPECT_EQ(corners.weights[0], (std::vector<float>{1.0f, 0.5f, 1.0f, 0.5f, 1.0f}));
    EXPECT_EQ(corners.weights[1], (std::vector<float>{0.0f, 0.5f, 0.0f, 0.5f, 0.0f}));
    EXPECT_EQ(corners.weights[2], (std::vector<float>(5, 0.0f)));
}

TEST(TableCorners, EndExactlyOnTheLastRow) {
    // 11 steps of 47 / 11 make 47.000004 in float32; torch counts the second half from the end.
    const TableCorners corners = table_corners({12, 1}, 48);
    EXPECT_EQ(corners.indices[0].back(), 47 * 48);
    EXPECT_EQ(corners.weights[0].back(), 1.0f);
    EXPECT_EQ(corners.weights[2].back(), 0.0f);
}

}  // namespace
}  // namespace deltavino::runtime
