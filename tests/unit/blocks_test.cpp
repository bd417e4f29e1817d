// Parts of the blocks whose numbers no golden shows: the literal mask, and sections of positions that are uneven.
#include "support/engine.hpp"

#include "blocks/attention.hpp"
#include "blocks/gated_delta_net.hpp"
#include "blocks/rope.hpp"

#include <openvino/op/result.hpp>

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>

namespace deltavino::blocks {
namespace {

using graph::parameter;
using graph::Value;

// The value of one output for these inputs.
std::vector<float> evaluate(const Value& output, const ov::ParameterVector& inputs,
                            const std::vector<ov::Tensor>& tensors) {
    const auto result = std::make_shared<ov::op::v0::Result>(output);
    auto compiled = test::compile_f32(std::make_shared<ov::Model>(ov::ResultVector{result}, inputs));
    ov::InferRequest request = compiled.create_infer_request();
    for (std::size_t i = 0; i < tensors.size(); ++i) {
        request.set_input_tensor(i, tensors[i]);
    }
    request.infer();
    const ov::Tensor found = request.get_output_tensor();
    return {found.data<float>(), found.data<float>() + found.get_size()};
}

ov::Tensor ids(const ov::Shape& shape, const std::vector<std::int64_t>& values) {
    ov::Tensor tensor(ov::element::i64, shape);
    std::copy(values.begin(), values.end(), tensor.data<std::int64_t>());
    return tensor;
}

// Two rows, the second padded on the left; two new tokens after two old ones.
const std::vector<std::int64_t> kMask = {1, 1, 1, 1, 0, 0, 0, 1};

TEST(Mask, HidesTheFutureAndPaddingWithTheLeastFloat16) {
    const auto mask = parameter(ov::element::i64, {-1, -1}, "mask");
    const auto tokens = parameter(ov::element::i64, {-1, -1}, "tokens");
    constexpr float h = -65504.0f;
    EXPECT_EQ(evaluate(causal_mask(mask, tokens), {mask, tokens}, {ids({2, 4}, kMask), ids({2, 2}, {5, 6, 7, 8})}),
              (std::vector<float>{0, 0, 0, h, 0, 0, 0, 0, h, h, h, h, h, h, h, 0}));
}

TEST(Mask, GateOfPaddingIsThatOfTheNewTokens) {
    const auto mask = parameter(ov::element::i64, {-1, -1}, "mask");
    const auto tokens = parameter(ov::element::i64, {-1, -1}, "tokens");
    EXPECT_EQ(evaluate(padding_gate(mask, tokens), {mask, tokens}, {ids({2, 4}, kMask), ids({2, 2}, {5, 6, 7, 8})}),
              (std::vector<float>{1, 1, 0, 1}));
}

// transformers, Qwen3_5TextRotaryEmbedding: every third frequency is replaced, as long as its section reaches.
TEST(MultimodalRotary, UnevenSectionsEndWhereTheyReach) {
    checkpoint::RopeConfig config;
    config.rotary_dims = 24;
    config.rope_theta = 100.0;
    config.mrope_section = {7, 3, 2};
    const auto position_ids = parameter(ov::element::i64, {4, -1, -1}, "position_ids");
    const std::vector<std::int64_t> positions = {9, 1, 2, 3};  // text, temporal, height, width
    const std::vector<float> found =
        evaluate(multimodal_rotary(position_ids, config).sin, {position_ids}, {ids({4, 1, 1}, positions)});
    const std::vector<int> axis = {1, 2, 3, 1, 2, 3, 1, 2, 1, 1, 1, 1};  // of each of the 12 frequencies
    ASSERT_EQ(found.size(), 24u);
    for (std::size_t j = 0; j < 24; ++j) {
        const double angle = static_cast<double>(positions[static_cast<std::size_t>(axis[j % 12])]) *
                             std::pow(100.0, -2.0 * static_cast<double>(j % 12) / 24.0);
        EXPECT_NEAR(found[j], std::sin(angle), 1e-5) << j;
    }
}

}  // namespace
}  // namespace deltavino::blocks
