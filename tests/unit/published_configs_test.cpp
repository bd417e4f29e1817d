// Every published config.json that is known is read to its geometry or refused with the reason; what each
// file is worth stands in tests/data/configs/SOURCES.md.
#include "checkpoint/config.hpp"

#include "base/error.hpp"
#include "base/file.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <filesystem>
#include <set>
#include <string>

namespace deltavino::checkpoint {
namespace {

namespace fs = std::filesystem;

struct Row {
    std::string file;
    std::string text_type;
    std::uint64_t hidden, layers, full_attention, ffn;  // ffn 0: a mixture of experts
    std::uint64_t heads, kv_heads, value_heads;
    std::uint64_t experts, active, moe_width, shared_width;
    double theta;
    std::uint64_t vision_depth, vision_hidden, vision_width, vision_heads;  // depth 0: no tower
    bool tied;
    std::string quantization;
};

constexpr double kTheta = 1e7;
const char* const kDense = "qwen3_5_text";
const char* const kMoe = "qwen3_5_moe_text";
const char* const kNext = "qwen3_next";

const Row kRows[] = {
    // In the order of the struct: file, type, sizes, heads, experts, theta, tower, tied, quantization.
    {"Qwen3.5-0.8B", kDense, 1024, 24, 6, 3584, 8, 2, 16, 0, 0, 0, 0, kTheta, 12, 768, 3072, 12, true, ""},
    {"Qwen3.5-2B", kDense, 2048, 24, 6, 6144, 8, 2, 16, 0, 0, 0, 0, kTheta, 24, 1024, 4096, 16, true, ""},
    {"Qwen3.5-4B", kDense, 2560, 32, 8, 9216, 16, 4, 32, 0, 0, 0, 0, kTheta, 24, 1024, 4096, 16, true, ""},
    {"Qwen3.5-9B", kDense, 4096, 32, 8, 12288, 16, 4, 32, 0, 0, 0, 0, kTheta, 27, 1152, 4304, 16, false, ""},
    {"Qwen3.5-27B", kDense, 5120, 64, 16, 17408, 24, 4, 48, 0, 0, 0, 0, kTheta, 27, 1152, 4304, 16, false, ""},
    {"Qwen3.6-27B", kDense, 5120, 64, 16, 17408, 24, 4, 48, 0, 0, 0, 0, kTheta, 27, 1152, 4304, 16, false, ""},
    {"Qwen3.8-27B", kDense, 5120, 64, 16, 17408, 24, 4, 48, 0, 0, 0, 0, kTheta, 27, 1152, 4304, 16, false, ""},
    {"Qwen3.8-27B-yarn-1M", kDense, 5120, 64, 16, 17408, 24, 4, 48, 0, 0, 0, 0, kTheta, 27, 1152, 4304, 16, false, ""},
    {"Qwen3.6-27B-FP8", kDense, 5120, 64, 16, 17408, 24, 4, 48, 0, 0, 0, 0, kTheta, 27, 1152, 4304, 16, false,
     "fp8 (e4m3)"},
    {"Qwen3.6-27B-FP8.no-fmt",
     kDense,
     5120,
     64,
     16,
     17408,
     24,
     4,
     48,
     0,
     0,
     0,
     0,
     kTheta,
     27,
     1152,
     4304,
     16,
     false,
     "fp8"},
    {"Intel-Qwen3.6-27B-int4-mlx-AutoRound.flat-rope",
     kDense,
     5120,
     64,
     16,
     17408,
     24,
     4,
     48,
     0,
     0,
     0,
     0,
     kTheta,
     27,
     1152,
     4304,
     16,
     false,
     "mlx (4 bits)"},
    {"RedHatAI-Qwen3.5-9B-quantized.w4a16",
     kDense,
     4096,
     32,
     8,
     12288,
     16,
     4,
     32,
     0,
     0,
     0,
     0,
     kTheta,
     27,
     1152,
     4304,
     16,
     false,
     "compressed-tensors (pack-quantized)"},
    {"variant-output_gate_type-sigmoid",
     kDense,
     5120,
     64,
     16,
     17408,
     24,
     4,
     48,
     0,
     0,
     0,
     0,
     kTheta,
     27,
     1152,
     4304,
     16,
     false,
     ""},
    {"variant-text-only-flat.model_type-qwen3_5.no-layer_types",
     kDense,
     1024,
     24,
     6,
     3584,
     8,
     2,
     16,
     0,
     0,
     0,
     0,
     kTheta,
     0,
     0,
     0,
     0,
     true,
     ""},
    {"variant-text-only-flat.qwen3_5_text",
     kDense,
     1024,
     24,
     6,
     3584,
     8,
     2,
     16,
     0,
     0,
     0,
     0,
     kTheta,
     0,
     0,
     0,
     0,
     true,
     ""},
    {"Qwen3.5-35B-A3B", kMoe, 2048, 40, 10, 0, 16, 2, 32, 256, 8, 512, 512, kTheta, 27, 1152, 4304, 16, false, ""},
    {"Qwen3.6-35B-A3B", kMoe, 2048, 40, 10, 0, 16, 2, 32, 256, 8, 512, 512, kTheta, 27, 1152, 4304, 16, false, ""},
    {"Qwen3.6-35B-A3B-FP8", kMoe, 2048, 40, 10, 0, 16, 2, 32, 256, 8, 512, 512, kTheta, 27, 1152, 4304, 16, false,
     "fp8 (e4m3)"},
    {"Qwen3.5-122B-A10B", kMoe, 3072, 48, 12, 0, 32, 2, 64, 256, 8, 1024, 1024, kTheta, 27, 1152, 4304, 16, false, ""},
    {"Qwen3.5-397B-A17B", kMoe, 4096, 60, 15, 0, 32, 2, 64, 512, 10, 1024, 1024, kTheta, 27, 1152, 4304, 16, false, ""},
    {"Qwen3.5-397B-A17B.aiconfigurator-trimmed",
     kMoe,
     4096,
     60,
     15,
     0,
     32,
     2,
     64,
     512,
     10,
     1024,
     1024,
     10000.0,
     27,
     1152,
     4304,
     16,
     false,
     ""},
    {"Qwen3.8-2.4T-A95B",
     kMoe,
     8192,
     92,
     23,
     0,
     64,
     4,
     128,
     512,
     10,
     2048,
     2048,
     kTheta,
     27,
     1152,
     4304,
     16,
     false,
     ""},
    {"Qwen3-Next-80B-A3B-Instruct",
     kNext,
     2048,
     48,
     12,
     0,
     16,
     2,
     32,
     512,
     10,
     512,
     512,
     kTheta,
     0,
     0,
     0,
     0,
     false,
     ""},
    {"Qwen3-Next-80B-A3B-Thinking",
     kNext,
     2048,
     48,
     12,
     0,
     16,
     2,
     32,
     512,
     10,
     512,
     512,
     kTheta,
     0,
     0,
     0,
     0,
     false,
     ""},
    {"Qwen3-Coder-Next", kNext, 2048, 48, 12, 0, 16, 2, 32, 512, 10, 512, 512, 5e6, 0, 0, 0, 0, false, ""},
    {"Qwen3-Coder-Next.original", kNext, 2048, 48, 12, 0, 16, 2, 32, 512, 10, 512, 512, 5e6, 0, 0, 0, 0, false, ""},
    {"Intel-Qwen3-Coder-Next-int4-AutoRound",
     kNext,
     2048,
     48,
     12,
     0,
     16,
     2,
     32,
     512,
     10,
     512,
     512,
     5e6,
     0,
     0,
     0,
     0,
     false,
     "auto-round (auto_round:auto_gptq, 4 bits)"},
    {"RedHatAI-Qwen3-Coder-Next-NVFP4",
     kNext,
     2048,
     48,
     12,
     0,
     16,
     2,
     32,
     512,
     10,
     512,
     512,
     5e6,
     0,
     0,
     0,
     0,
     false,
     "compressed-tensors (nvfp4-pack-quantized)"},
};

struct Refused {
    std::string file, word;
};
const Refused kRefused[] = {
    {"Qwen3.8-Flash-Next.qwen3_8_flash_next", "'qwen3_8_flash_next' is not built: it has a sparse attention indexer"},
    {"Qwen3.8-Flash-Next.qwen4_exp", "'qwen4_exp' is not built: it has a sparse attention indexer"},
};

fs::path folder() {
    return fs::path(DELTAVINO_SOURCE_DIR) / "tests" / "data" / "configs";
}

ModelConfig read(const std::string& file) {
    return read_config(read_text_file(folder() / (file + ".json")), file);
}

class PublishedConfig : public testing::TestWithParam<Row> {};

TEST_P(PublishedConfig, IsReadToItsGeometry) {
    const Row& row = GetParam();
    const ModelConfig config = read(row.file);
    const TextConfig& text = config.text;
    EXPECT_EQ(text.model_type, row.text_type);
    EXPECT_EQ(text.hidden_size, row.hidden);
    EXPECT_EQ(text.num_hidden_layers, row.layers);
    ASSERT_EQ(text.layer_types.size(), row.layers);
    EXPECT_EQ(text.count(LayerKind::FullAttention), row.full_attention);
    for (std::size_t i = 0; i < text.layer_types.size(); ++i) {  // in all of these every fourth
        EXPECT_EQ(text.layer_types[i] == LayerKind::FullAttention, i % 4 == 3) << i;
    }
    EXPECT_EQ(text.intermediate_size, row.ffn);
    EXPECT_EQ(text.num_attention_heads, row.heads);
    EXPECT_EQ(text.num_key_value_heads, row.kv_heads);
    EXPECT_EQ(text.head_dim, 256u);
    EXPECT_EQ(text.linear_num_key_heads, 16u);
    EXPECT_EQ(text.linear_num_value_heads, row.value_heads);
    EXPECT_EQ(text.linear_key_head_dim, 128u);
    EXPECT_EQ(text.linear_value_head_dim, 128u);
    EXPECT_EQ(text.linear_conv_kernel_dim, 4u);
    EXPECT_EQ(text.vocab_size, row.text_type == kNext ? 151936u : 248320u);
    EXPECT_EQ(text.max_position_embeddings, row.file == "Qwen3.8-27B-yarn-1M" ? 1000000u : 262144u);
    EXPECT_EQ(text.rms_norm_eps, 1e-6);
    EXPECT_EQ(text.tie_word_embeddings, row.tied);
    EXPECT_FALSE(config.tie_flags_differ);
    EXPECT_EQ(text.output_gate == GateActivation::Sigmoid, row.file == "variant-output_gate_type-sigmoid");
    EXPECT_EQ(config.quantization, row.quantization);
    ASSERT_EQ(text.moe.has_value(), row.experts > 0);
    if (text.moe) {
        EXPECT_EQ(text.moe->num_experts, row.experts);
        EXPECT_EQ(text.moe->num_experts_per_tok, row.active);
        EXPECT_EQ(text.moe->moe_intermediate_size, row.moe_width);
        EXPECT_EQ(text.moe->shared_expert_intermediate_size, row.shared_width);
        EXPECT_TRUE(text.moe->norm_topk_prob);
    }
}

TEST_P(PublishedConfig, RotaryPositions) {
    const Row& row = GetParam();
    const RopeConfig rope = read(row.file).text.rope;
    EXPECT_EQ(rope.rope_theta, row.theta);
    EXPECT_EQ(rope.rotary_dims, 64u);
    EXPECT_TRUE(rope.mrope_interleaved);
    const bool no_section = row.text_type == kNext || row.file.ends_with("trimmed") || row.file.ends_with("flat-rope");
    EXPECT_EQ(rope.mrope_section, no_section ? std::vector<std::uint64_t>{} : std::vector<std::uint64_t>({11, 11, 10}));
    ASSERT_EQ(rope.yarn.has_value(), row.file == "Qwen3.8-27B-yarn-1M");
    if (rope.yarn) {
        EXPECT_EQ(rope.yarn->factor, 4.0);
        EXPECT_EQ(rope.yarn->original_max_position_embeddings, 262144.0);
        EXPECT_NEAR(rope.yarn->attention_factor, 1.1386294361119891, 1e-15);  // 0.1 ln 4 + 1
        EXPECT_EQ(rope.yarn->beta_fast, 32.0);
        EXPECT_EQ(rope.yarn->beta_slow, 1.0);
        EXPECT_TRUE(rope.yarn->truncate);
    }
}

TEST_P(PublishedConfig, VisionTower) {
    const Row& row = GetParam();
    const ModelConfig config = read(row.file);
    ASSERT_EQ(config.vision.has_value(), row.vision_depth > 0);
    if (config.vision) {
        EXPECT_FALSE(config.vision_refusal.has_value()) << config.vision_refusal->what();
        EXPECT_EQ(config.vision->depth, row.vision_depth);
        EXPECT_EQ(config.vision->hidden_size, row.vision_hidden);
        EXPECT_EQ(config.vision->intermediate_size, row.vision_width);
        EXPECT_EQ(config.vision->num_heads, row.vision_heads);
        EXPECT_EQ(config.vision->out_hidden_size, row.hidden);
        EXPECT_EQ(config.vision->patch_size, 16u);
        EXPECT_EQ(config.vision->spatial_merge_size, 2u);
        EXPECT_EQ(config.vision->temporal_patch_size, 2u);
        EXPECT_EQ(config.vision->num_position_embeddings, 2304u);
    }
}

INSTANTIATE_TEST_SUITE_P(All, PublishedConfig, testing::ValuesIn(kRows), [](const auto& tested) {
    std::string name = tested.param.file;
    std::replace_if(
        name.begin(), name.end(), [](char c) { return std::isalnum(static_cast<unsigned char>(c)) == 0; }, '_');
    return name;
});

TEST(PublishedConfigs, OthersAreRefusedWithTheReason) {
    for (const Refused& refused : kRefused) {
        try {
            read(refused.file);
            ADD_FAILURE() << "accepted " << refused.file;
        } catch (const Error& error) {
            EXPECT_EQ(error.kind(), ErrorKind::Unsupported);
            EXPECT_NE(std::string(error.what()).find(refused.word), std::string::npos) << error.what();
            EXPECT_EQ(std::string(error.what()).find("did you mean"), std::string::npos) << error.what();
        }
    }
}

TEST(PublishedConfigs, EveryFileIsInTheTable) {
    std::set<std::string> expected;
    for (const Row& row : kRows) {
        expected.insert(row.file + ".json");
    }
    for (const Refused& refused : kRefused) {
        expected.insert(refused.file + ".json");
    }
    std::set<std::string> found;
    for (const fs::directory_entry& entry : fs::directory_iterator(folder())) {
        if (entry.path().extension() == ".json") {
            found.insert(entry.path().filename().string());
        }
    }
    EXPECT_EQ(found, expected);
    EXPECT_EQ(found.size(), 30u);
}

}  // namespace
}  // namespace deltavino::checkpoint
