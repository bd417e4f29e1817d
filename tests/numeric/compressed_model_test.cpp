// Compressed exports of the bundled model: the CPU plugin keeps every compressed weight compressed, the
// tied embedding included, and computes what the same graph computes from the decompressed values.
#include "support/engine.hpp"
#include "support/exports.hpp"
#include "support/golden.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>

namespace deltavino::test {
namespace {

const std::filesystem::path kExample = std::filesystem::path(DELTAVINO_SOURCE_DIR) / "examples" / "kjv-tiny";

struct Case {
    std::string name;
    CompressionOptions options;
    std::string projections;  // precision of the weights of the 50 large projections in the compiled graph
    std::string embedding;
    std::string out_proj = {};  // of 6 of the 50, when it is another
};

std::vector<float> logits_of(const ov::CompiledModel& compiled) {
    Ids ids;
    for (std::int64_t i = 0; i < 100; ++i) {
        ids.push_back(100 + (i * 37) % 3000);
    }
    return StatefulEngine(compiled).step({ids})[0];
}

class CompressedModel : public testing::TestWithParam<Case> {};

TEST_P(CompressedModel, StaysCompressedAndIsComputedFromTheStoredValues) {
    const TemporaryDirectory directory;
    const auto model = read_model(export_language(kExample, directory.path() / "model", GetParam().options));
    const ov::CompiledModel compiled = compile_f32(model);
    const ov::CompiledModel paged = PagedEngine(model->clone(), 1).compiled();
    for (const char* type : {"FullyConnected", "Gather"}) {
        EXPECT_EQ(weight_precisions(paged, type), weight_precisions(compiled, type)) << type;
    }
    auto projections = weight_precisions(compiled, "FullyConnected");
    EXPECT_EQ(projections["bf16"], 12u) << "in_proj_a and in_proj_b stay as stored";
    projections.erase("bf16");
    std::map<std::string, std::size_t> expected;
    expected[GetParam().projections] += GetParam().out_proj.empty() ? 50 : 44;
    if (!GetParam().out_proj.empty()) {
        expected[GetParam().out_proj] += 6;
    }
    expected[GetParam().embedding] += 1;  // the head
    EXPECT_EQ(projections, expected);
    EXPECT_EQ(weight_precisions(compiled, "Gather")[GetParam().embedding], 1u);
    const auto counts = runtime_counts(compiled);
    EXPECT_EQ(counts.at("GatedDeltaNet"), 6u);
    EXPECT_FALSE(counts.contains("TensorIterator"));
    const ov::CompiledModel decompressed = compile_f32(decompress(*model));
    EXPECT_EQ(weight_precisions(decompressed, "FullyConnected"),
              (std::map<std::string, std::size_t>{{"bf16", 12}, {"f32", 51}}));
    EXPECT_LE(relative_error(logits_of(compiled), logits_of(decompressed)), 1e-4);
}

INSTANTIATE_TEST_SUITE_P(Formats, CompressedModel,
                         testing::Values(Case{"int8", compression("int8"), "u8", "i8"},
                                         Case{"int8_sym", compression("int8", true), "i8", "i8"},
                                         Case{"int4", compression("int4"), "u4", "i8"},
                                         Case{"int4_group32", compression("int4", false, 32), "u4", "i8"},
                                         Case{"int4_channel", compression("int4", false, -1), "u4", "i8"},
                                         Case{"int4_sym_group64", compression("int4", true, 64), "i4", "i8"},
                                         Case{"int4_sym_all_layers", compression("int4", true, 64, true), "i4", "i4"},
                                         Case{"balanced", recipe("balanced"), "u4", "i8"},
                                         Case{"smallest", recipe("smallest"), "u4", "i4"},
                                         Case{"fastest", recipe("fastest"), "i4", "i4"},
                                         Case{"best", recipe("best"), "i4", "i8", "i8"},
                                         Case{"nf4", compression("nf4", false, 64), "nf4", "i8"},
                                         Case{"mxfp4", compression("mxfp4"), "f4e2m1", "i8"}),
                         [](const auto& tested) { return tested.param.name; });

}  // namespace
}  // namespace deltavino::test
