#include "runtime/pieces.hpp"

#include "runtime/cpu_settings.hpp"
#include "runtime/linear/kernel.hpp"

#include <openvino/op/constant.hpp>
#include <openvino/op/matmul.hpp>
#include <openvino/op/parameter.hpp>
#include <openvino/op/result.hpp>

#include <gtest/gtest.h>

namespace deltavino::runtime {
namespace {

std::shared_ptr<ov::Model> model_of_width(std::int64_t width) {
    const auto hidden = std::make_shared<ov::op::v0::Parameter>(ov::element::f32, ov::PartialShape{-1, -1, width});
    const auto head =
        std::make_shared<ov::op::v0::Constant>(ov::element::f32, ov::Shape{4, static_cast<std::size_t>(width)}, 0.0f);
    const auto logits = std::make_shared<ov::op::v0::MatMul>(hidden, head, false, true);
    logits->output(0).set_names({"logits"});
    return std::make_shared<ov::Model>(ov::ResultVector{std::make_shared<ov::op::v0::Result>(logits)},
                                       ov::ParameterVector{hidden});
}

TEST(Pieces, FirstMayBeLongAndIsShorterForWideModels) {
    const auto first = [](std::int64_t width, bool long_first) {
        return piece_sizes(*model_of_width(width), long_first).first;
    };
    EXPECT_EQ(first(1024, true), 4096u);
    EXPECT_EQ(first(128, true), 4096u);
    EXPECT_EQ(first(2048, true), 2048u);
    EXPECT_EQ(first(5120, true), 819u);
    EXPECT_EQ(first(16384, true), 512u);
    EXPECT_EQ(first(1024, false), 512u);
    const auto other = std::make_shared<ov::op::v0::Parameter>(ov::element::f32, ov::PartialShape{1});
    EXPECT_EQ(piece_sizes(ov::Model(ov::OutputVector{other}, ov::ParameterVector{other}), true).first, 512u);
}

TEST(Pieces, AreLongOnACpuOnly) {
    EXPECT_TRUE(reads_long_pieces({"CPU", "", 0, {}, true}));
    EXPECT_FALSE(reads_long_pieces({"CPU", "f32"}));
    EXPECT_FALSE(reads_long_pieces({"GPU", "", 0, {}, true}));
    EXPECT_EQ(reads_long_pieces({"CPU", ""}), linear_kernel() != nullptr);
}

TEST(Pieces, GetShorterAsTheContextGrows) {
    const PieceSizes sizes{4096, 512};
    EXPECT_EQ(tokens_of_piece(sizes, 0), 4096u);
    EXPECT_EQ(tokens_of_piece(sizes, 1), 512u);
    EXPECT_EQ(tokens_of_piece(sizes, 4096), 512u);
    EXPECT_EQ(tokens_of_piece(sizes, 16384 - 512), 256u);
    EXPECT_EQ(tokens_of_piece(sizes, 1u << 20), 64u);
    for (std::size_t past = 1; past < 65536; past += 997) {
        EXPECT_LE(tokens_of_piece(sizes, past) * (past + 512), std::size_t{512} * 8192 + 64 * 65536);
    }
    for (const std::size_t size : {1u, 3u, 16u}) {
        EXPECT_EQ(tokens_of_piece({size, size}, 0), size);
        EXPECT_EQ(tokens_of_piece({size, size}, 100), size);
    }
}

}  // namespace
}  // namespace deltavino::runtime
