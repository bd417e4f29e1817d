// Models whose products with compressed matrices are this program's own: which are taken, that no other fusion is lost,
// and that they compute what the decompressed weights do, but for activations in 8 bit.
#include "runtime/linear/kernel.hpp"
#include "runtime/linear/replace.hpp"
#include "support/engine.hpp"
#include "support/exports.hpp"
#include "support/golden.hpp"

#include <gtest/gtest.h>

#include <algorithm>

namespace deltavino::test {
namespace {

// Activations in 8 bit cost this much at most: 0.5 / 127 of the largest of a group, in each of eight layers.
constexpr double kBound = 0.03;

std::shared_ptr<ov::Model> exported(const std::filesystem::path& checkpoint, const CompressionOptions& options) {
    const TemporaryDirectory directory;
    return read_model(export_language(checkpoint, directory.path() / "model", options));
}

std::shared_ptr<ov::Model> kjv(const CompressionOptions& options) {
    return exported(std::filesystem::path(DELTAVINO_SOURCE_DIR) / "examples" / "kjv-tiny", options);
}

Ids prompt(std::size_t count) {
    Ids ids;
    for (std::size_t i = 0; i < count; ++i) {
        ids.push_back(static_cast<std::int64_t>(100 + i * 37 % 3000));
    }
    return ids;
}

// The logits of all tokens, read in pieces of these sizes.
std::vector<float> logits(const ov::CompiledModel& compiled, const Ids& ids, const std::vector<std::size_t>& pieces) {
    StatefulEngine engine(compiled);
    std::vector<float> all;
    std::size_t begin = 0;
    for (const std::size_t size : pieces) {
        const auto from = ids.begin() + static_cast<std::ptrdiff_t>(begin);
        const auto part = engine.step({Ids(from, from + static_cast<std::ptrdiff_t>(size))})[0];
        all.insert(all.end(), part.begin(), part.end());
        begin += size;
    }
    return all;
}

#define REQUIRE_KERNEL()                                                                 \
    if (runtime::linear_kernel() == nullptr) {                                           \
        GTEST_SKIP() << "NOT RUN: this processor has no kernel for products of its own"; \
    }

struct Case {
    std::string name;
    CompressionOptions options;
    std::size_t products;
};

class LinearModel : public testing::TestWithParam<Case> {};

TEST_P(LinearModel, GivesWhatTheDecompressedWeightsDo) {
    REQUIRE_KERNEL();
    const auto model = kjv(GetParam().options);
    const ov::CompiledModel exact = compile_f32(decompress(*model));
    ASSERT_EQ(runtime::use_own_products(model, ov::element::f32), GetParam().products);
    EXPECT_EQ(runtime::use_own_products(model, ov::element::f32), 0u);  // there are none left
    const ov::CompiledModel own = compile_f32(model);
    auto counts = runtime_counts(own);
    EXPECT_EQ(counts["Reference"], GetParam().products);
    EXPECT_EQ(counts["FullyConnected"], 12 + 51 - GetParam().products);  // in_proj_a and in_proj_b are small
    EXPECT_EQ(counts["GatedDeltaNet"], 6u);
    EXPECT_EQ(counts["ScaledDotProductAttention"], 2u);
    const Ids ids = prompt(40);
    const std::vector<float> expected = logits(exact, ids, {40});
    EXPECT_LE(relative_error(logits(own, ids, {40}), expected), kBound);
    EXPECT_LE(relative_error(logits(own, ids, {7, 1, 1, 30, 1}), expected), kBound);
}

INSTANTIATE_TEST_SUITE_P(Formats, LinearModel,
                         testing::Values(Case{"int8", compression("int8"), 51},
                                         Case{"int8_sym", compression("int8", true), 51},
                                         Case{"int4", compression("int4"), 51},
                                         Case{"int4_group32", compression("int4", false, 32), 51},
                                         Case{"int4_sym_group64", compression("int4", true, 64), 51},
                                         Case{"smallest", recipe("smallest"), 51},
                                         Case{"fastest", recipe("fastest"), 51}, Case{"best", recipe("best"), 51},
                                         Case{"nf4", compression("nf4", false, 64), 1}),  // the head is 8 bit
                         [](const auto& tested) { return tested.param.name; });

// Products that apply a gate to what they read.
std::size_t gated_products(const ov::Model& model) {
    const auto nodes = model.get_ops();
    return static_cast<std::size_t>(std::count_if(nodes.begin(), nodes.end(), [](const auto& node) {
        return std::string_view(node->get_type_name()) == "CompressedLinear" && node->get_input_size() == 2;
    }));
}

TEST(LinearModels, GatesAreReadWithTheProduct) {
    REQUIRE_KERNEL();
    const auto model = kjv(compression("int4"));
    const auto before = operation_counts(*model);
    runtime::use_own_products(model, ov::element::f32);
    const auto after = operation_counts(*model);
    EXPECT_EQ(before.at("Swish") - after.at("Swish"), 8u + 6u);  // of gate_proj and of the gated norms
    EXPECT_EQ(before.at("Sigmoid") - after.at("Sigmoid"), 2u);   // of attention
    EXPECT_EQ(after.at("CompressedLinear"), 51u);
    EXPECT_EQ(gated_products(*model), 8u + 6u + 2u);
}

TEST(LinearModels, GatesThatOthersReadStay) {
    REQUIRE_KERNEL();
    const auto model = kjv(compression("int4"));
    std::size_t seen = 0;
    for (const auto& node : model->get_ordered_ops()) {
        if (std::string_view(node->get_type_name()) == "Swish") {
            model->add_results({std::make_shared<ov::op::v0::Result>(node)});
            ++seen;
        }
    }
    EXPECT_EQ(runtime::use_own_products(model, ov::element::f32), 51u);
    EXPECT_EQ(operation_counts(*model).at("Swish"), seen);
    EXPECT_EQ(gated_products(*model), 2u);  // of attention
}

TEST(LinearModels, ValuesMayBeBf16) {
    REQUIRE_KERNEL();
    const auto model = kjv(compression("int4"));
    const std::vector<float> expected = logits(compile_f32(decompress(*model)), prompt(20), {20});
    ASSERT_EQ(runtime::use_own_products(model, ov::element::bf16), 51u);
    EXPECT_LE(relative_error(logits(compile_f32(model), prompt(20), {20}), expected), kBound);
}

TEST(LinearModels, ExpertsStayWithThePlugin) {
    REQUIRE_KERNEL();
    const auto model = exported(golden_directory("moe-e8k2"), compression("int8"));
    const std::size_t experts = runtime_counts(compile_f32(model->clone())).at("GatherMatmul");
    EXPECT_GT(runtime::use_own_products(model, ov::element::f32), 0u);
    EXPECT_EQ(runtime_counts(compile_f32(model)).at("GatherMatmul"), experts);
}

}  // namespace
}  // namespace deltavino::test
