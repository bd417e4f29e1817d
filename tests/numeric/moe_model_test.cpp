// Exported mixtures of experts: the file does not depend on how the checkpoint stores its experts, and
// compressed experts stay compressed.
#include "support/checkpoint_writer.hpp"
#include "support/engine.hpp"
#include "support/exports.hpp"
#include "support/golden.hpp"

#include "base/file.hpp"

#include <deltavino/export.hpp>

#include <gtest/gtest.h>

#include <algorithm>

namespace deltavino::test {
namespace {

std::filesystem::path export_text(const std::filesystem::path& checkpoint, const std::filesystem::path& output,
                                  const CompressionOptions& compression = {}) {
    // Under one name, which the exported directory keeps.
    const std::filesystem::path source = output.parent_path() / ("source of " + output.filename().string());
    std::filesystem::create_directory(source);
    std::filesystem::create_directory_symlink(checkpoint, source / "checkpoint");
    export_language(source / "checkpoint", output, compression);
    return output;
}

void expect_same_files(const std::filesystem::path& a, const std::filesystem::path& b) {
    for (const char* name : {"openvino_model.xml", "openvino_model.bin"}) {
        EXPECT_TRUE(read_text_file(a / name) == read_text_file(b / name)) << name;
    }
}

TEST(MoeModel, FusedAndSplitExpertsGiveTheSameBytes) {
    const TemporaryDirectory directory;
    const auto fused = export_text(golden_directory("moe-e8k2"), directory.path() / "fused");
    const auto split = export_text(golden_directory("moe-split"), directory.path() / "split");
    expect_same_files(fused, split);

    // Even layers fused, odd ones split.
    std::vector<NamedTensor> tensors;
    const auto take = [&](const char* name, bool odd) {
        for (NamedTensor& tensor : read_tensors(golden_directory(name))) {
            const std::string layer = "model.layers.";
            const bool from_odd_layer = tensor.name.starts_with(layer) && (tensor.name[layer.size()] - '0') % 2 == 1;
            if (from_odd_layer == odd) {
                tensors.push_back(std::move(tensor));
            }
        }
    };
    take("moe-e8k2", false);
    take("moe-split", true);
    write_checkpoint(directory.path() / "checkpoint", read_text_file(golden_directory("moe-e8k2") / "config.json"),
                     tensors);
    expect_same_files(fused, export_text(directory.path() / "checkpoint", directory.path() / "mixed"));
}

constexpr std::size_t kLayers = 4;
constexpr std::size_t kDeltaLayers = 3;

struct Case {
    std::string name;
    std::string checkpoint;
    CompressionOptions options;
    std::string experts;  // precision in the compiled graph
};

class CompressedMoe : public testing::TestWithParam<Case> {};

TEST_P(CompressedMoe, ExpertsAreCompressedRoutersAreNot) {
    const TemporaryDirectory directory;
    const auto checkpoint = golden_directory(GetParam().checkpoint);
    const auto model =
        read_model(export_text(checkpoint, directory.path() / "model", GetParam().options) / "openvino_model.xml");
    const ov::CompiledModel compiled = compile_f32(model);
    const std::map<std::string, std::size_t> experts{{GetParam().experts, 3 * kLayers}};
    EXPECT_EQ(weight_precisions(compiled, "GatherMatmul"), experts);
    EXPECT_EQ(weight_precisions(PagedEngine(model->clone(), 1).compiled(), "GatherMatmul"), experts);
    std::size_t plain = 0;
    for (const auto& node : compiled.get_runtime_model()->get_ordered_ops()) {
        if (node->get_rt_info().at("layerType").as<std::string>() != "FullyConnected") {
            continue;
        }
        const std::string names = node->get_rt_info().at("originalLayersNames").as<std::string>();
        const std::string precision =
            node->get_input_node_ptr(1)->get_rt_info().at("outputPrecisions").as<std::string>();
        const auto any_of = [&](std::initializer_list<const char*> ends) {
            return std::any_of(ends.begin(), ends.end(), [&](const char* end) {
                return ("," + names + ",").find(std::string(end) + ",") != std::string::npos;
            });
        };
        // in_proj_a goes by the names of what is fused into it.
        const bool delicate =
            any_of({".mlp.gate", ".shared_expert_gate", ".in_proj_b"}) || names.find("SoftPlus") != std::string::npos;
        EXPECT_EQ(delicate, precision == "f32" || precision == "bf16") << names << " " << precision;
        plain += delicate ? 1 : 0;
    }
    EXPECT_EQ(plain, 2 * kLayers + 2 * kDeltaLayers);

    // The compressed values are random numbers like the original ones, and experts are chosen anew: what
    // can be compared is the same values, decompressed.
    const Golden golden = read_golden(checkpoint / "expected.safetensors");
    const GoldenTensor& ids = golden.at("input_ids");
    const Ids row(ids.integers.begin(), ids.integers.begin() + static_cast<std::ptrdiff_t>(ids.dim(1)));
    const Logits logits = StatefulEngine(compiled).step({row});
    EXPECT_LE(relative_error(logits[0], StatefulEngine(compile_f32(decompress(*model))).step({row})[0]), 1e-4);
}

INSTANTIATE_TEST_SUITE_P(Formats, CompressedMoe,
                         testing::Values(Case{"int4", "moe-e16k4", compression("int4", false, 16), "u4"},
                                         Case{"int4_sym", "moe-e16k4", compression("int4", true, 16), "i4"},
                                         Case{"int4_channel", "moe-e16k4", compression("int4", false, -1), "u4"},
                                         Case{"int8", "moe-e16k4", compression("int8", false, {}), "u8"},
                                         Case{"int8_sym", "moe-e16k4", compression("int8", true, {}), "i8"},
                                         Case{"next_int4", "next-r2", compression("int4", false, 16), "u4"},
                                         Case{"next_int8", "next-r2", compression("int8", false, {}), "u8"}),
                         [](const auto& tested) { return tested.param.name; });

}  // namespace
}  // namespace deltavino::test
