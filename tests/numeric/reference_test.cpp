// The reference against transformers, on every golden checkpoint: text, experts, Qwen3-Next, pictures, videos, and the
// multi-token-prediction layer.
#include "reference/checkpoint_weights.hpp"
#include "reference/multi_token_prediction.hpp"
#include "reference/text_model.hpp"
#include "reference/vision_model.hpp"
#include "support/engine.hpp"
#include "support/golden.hpp"

#include "checkpoint/checkpoint.hpp"
#include "json/document.hpp"

#include <deltavino/error.hpp>

#include <gtest/gtest.h>

#include <algorithm>
#include <filesystem>

namespace deltavino::reference {
namespace {

namespace fs = std::filesystem;
using test::Golden;
using test::GoldenTensor;
using test::Ids;

constexpr double kBound = 1e-4;  // of the largest value

fs::path checkpoint_of(const std::string& name) {
    return name == "kjv-tiny" ? fs::path(DELTAVINO_SOURCE_DIR) / "examples" / name : test::golden_directory(name);
}

struct Case {
    checkpoint::Checkpoint checkpoint;
    checkpoint::ModelConfig config;
    CheckpointWeights weights;
    TextModel model;

    explicit Case(const std::string& name)
        : checkpoint(checkpoint_of(name)),
          config(checkpoint::read_config(checkpoint.config_text(), name)),
          weights(checkpoint, config.text),
          model(config.text, checkpoint.find("lm_head.weight") == nullptr, weights) {}
};

Ids row_of(const GoldenTensor& tensor, std::size_t row) {
    const std::size_t length = tensor.shape.back();
    const auto begin = tensor.integers.begin() + static_cast<std::ptrdiff_t>(row * length);
    return {begin, begin + static_cast<std::ptrdiff_t>(length)};
}

std::vector<float> values(const Matrix& matrix) {
    return {matrix.data(), matrix.data() + matrix.size()};
}

Matrix matrix_of(const GoldenTensor& tensor) {
    return Eigen::Map<const Matrix>(tensor.floats.data(), static_cast<Index>(tensor.dim(0)),
                                    static_cast<Index>(tensor.dim(1)));
}

class ReferenceText : public testing::TestWithParam<std::string> {};

TEST_P(ReferenceText, LogitsOfTransformers) {
    const Case tested(GetParam());
    const Golden golden = test::read_golden(checkpoint_of(GetParam()) / "expected.safetensors");
    const GoldenTensor& ids = golden.at("input_ids");
    const GoldenTensor& logits = golden.at("logits");
    std::vector<float> all;
    for (std::size_t row = 0; row < ids.dim(0); ++row) {
        const Ids tokens = row_of(ids, row);
        std::uint64_t layers = 0;
        const Matrix hidden =
            tested.model.forward(tested.model.embed(tokens), sequential_positions(tokens.size()),
                                 [&](std::uint64_t layer, ConstMatrixRef) { EXPECT_EQ(layer, layers++); });
        EXPECT_EQ(layers, tested.config.text.num_hidden_layers);
        // A long case keeps the logits of its end only.
        const auto kept = static_cast<Index>(logits.dim(1));
        const std::vector<float> made = values(tested.model.logits(hidden.bottomRows(kept)));
        all.insert(all.end(), made.begin(), made.end());
    }
    EXPECT_LE(test::relative_error(all, logits.floats), kBound);
}

std::string case_name(const testing::TestParamInfo<std::string>& tested) {
    std::string name = tested.param;
    std::replace(name.begin(), name.end(), '-', '_');
    return name;
}

INSTANTIATE_TEST_SUITE_P(Golden, ReferenceText,
                         testing::Values("dense-v1", "dense-v2", "dense-v3", "dense-vl", "dense-long", "dense-yarn",
                                         "dense-sigmoid", "moe-e8k2", "moe-e16k4", "moe-split", "moe-tie", "moe-vl",
                                         "next-e8k2", "next-r2"),
                         case_name);

class ReferenceVision : public testing::TestWithParam<std::string> {};

std::vector<Grid> grids_of(const GoldenTensor& tensor) {
    std::vector<Grid> grids;
    for (std::size_t i = 0; i < tensor.integers.size(); i += 3) {
        const auto at = [&](std::size_t k) {
            return static_cast<std::uint64_t>(tensor.integers[i + k]);
        };
        grids.push_back({at(0), at(1), at(2)});
    }
    return grids;
}

TEST_P(ReferenceVision, TowerOfTransformers) {
    const Case tested(GetParam());
    const Golden golden = test::read_golden(test::golden_directory("vision") / (GetParam() + ".tower.safetensors"));
    std::size_t compared = 0;
    for (const auto& [name, tensor] : golden) {
        if (!name.ends_with(".pixel_values")) {
            continue;
        }
        const std::string prefix = name.substr(0, name.find('.') + 1);
        const Matrix merged = vision_tower(matrix_of(tensor), grids_of(golden.at(prefix + "grid_thw")),
                                           *tested.config.vision, {tested.weights});
        EXPECT_LE(test::relative_error(values(merged), golden.at(prefix + "merged").floats), kBound) << prefix;
        ++compared;
    }
    EXPECT_GE(compared, 2u);
}

// The rows of the tower take the places of the placeholders, pictures and videos each in order.
void replace(Matrix& x, const Ids& ids, std::int64_t placeholder, const Matrix& merged) {
    Index used = 0;
    for (std::size_t t = 0; t < ids.size(); ++t) {
        if (ids[t] == placeholder) {
            ASSERT_LT(used, merged.rows());
            x.row(static_cast<Index>(t)) = merged.row(used++);
        }
    }
    ASSERT_EQ(used, merged.rows());
}

TEST_P(ReferenceVision, LogitsWithPicturesAndVideos) {
    const Case tested(GetParam());
    const Golden golden = test::read_golden(test::golden_directory("vision") / (GetParam() + ".prompts.safetensors"));
    const Json json = parse_json(tested.checkpoint.config_text(), GetParam());
    std::size_t compared = 0;
    std::size_t with_pictures = 0;
    for (const auto& [name, tensor] : golden) {
        if (!name.ends_with(".logits") || name.starts_with("turn.") || name.starts_with("batch.")) {
            continue;
        }
        const std::string prefix = name.substr(0, name.find('.') + 1);
        const Ids ids = row_of(golden.at(prefix + "input_ids"), 0);
        Matrix x = tested.model.embed(ids);
        for (const auto& [pixels, grid, token] :
             {std::tuple("pixel_values", "image_grid_thw", "image_token_id"),
              std::tuple("pixel_values_videos", "video_grid_thw", "video_token_id")}) {
            if (golden.contains(prefix + pixels)) {
                replace(x, ids, json.at(token),
                        vision_tower(matrix_of(golden.at(prefix + pixels)), grids_of(golden.at(prefix + grid)),
                                     *tested.config.vision, {tested.weights}));
            }
        }
        const GoldenTensor& places = golden.at(prefix + "position_ids");
        if (golden.contains(prefix + "pixel_values") && !golden.contains(prefix + "pixel_values_videos")) {
            const Positions own =
                picture_positions(ids, json.at("image_token_id"), grids_of(golden.at(prefix + "image_grid_thw")),
                                  tested.config.vision->spatial_merge_size);
            EXPECT_EQ(own, (Positions{row_of(places, 0), row_of(places, 1), row_of(places, 2)})) << prefix;
            ++with_pictures;
        }
        const Matrix hidden = tested.model.forward(x, {row_of(places, 0), row_of(places, 1), row_of(places, 2)});
        const auto from = static_cast<Index>(golden.at(prefix + "logits_from").integers.front());
        EXPECT_LE(
            test::relative_error(values(tested.model.logits(hidden.bottomRows(hidden.rows() - from))), tensor.floats),
            kBound)
            << prefix;
        ++compared;
    }
    EXPECT_GE(compared, 3u);
    EXPECT_GE(with_pictures, 1u);
}

INSTANTIATE_TEST_SUITE_P(Golden, ReferenceVision, testing::Values("dense-vl", "vl-yarn", "moe-vl", "kjv-tiny"),
                         case_name);

class ReferenceMtp : public testing::TestWithParam<std::string> {};

TEST_P(ReferenceMtp, LayerOfTransformers) {
    const Case tested("mtp/" + GetParam());
    const Golden golden = test::read_golden(test::golden_directory("mtp/" + GetParam()) / "expected.safetensors");
    const Ids& next = golden.at("input_ids").integers;
    const Matrix made = multi_token_prediction(tested.model.embed(next), matrix_of(golden.at("hidden_states")),
                                               sequential_positions(next.size()), tested.config.text, {tested.weights});
    EXPECT_LE(test::relative_error(values(made), golden.at("output_hidden").floats), kBound);
    EXPECT_LE(test::relative_error(values(tested.model.logits(made)), golden.at("logits").floats), kBound);
}

INSTANTIATE_TEST_SUITE_P(Golden, ReferenceMtp, testing::Values("dense", "moe"), case_name);

TEST(Reference, RefusesMoreThanOneMtpLayer) {
    Case tested("mtp/dense");
    tested.config.text.mtp_num_hidden_layers = 2;
    const Matrix x = Matrix::Zero(2, 64);
    EXPECT_THROW(multi_token_prediction(x, x, sequential_positions(2), tested.config.text, {tested.weights}), Error);
}

TEST(Reference, RefusesIdsBeyondTheEmbedding) {
    const Case tested("dense-v1");
    EXPECT_THROW(tested.model.embed(std::vector<std::int64_t>{128}), Error);
    EXPECT_THROW(tested.model.embed(std::vector<std::int64_t>{-1}), Error);
}

}  // namespace
}  // namespace deltavino::reference
