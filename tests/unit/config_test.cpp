// Geometry from config.json in every way in which trainers write it.
#include "checkpoint/config.hpp"

#include "base/error.hpp"

#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

namespace deltavino::checkpoint {
namespace {

using nlohmann::json;

json text() {
    return {{"model_type", "qwen3_5_text"},
            {"vocab_size", 512},
            {"hidden_size", 128},
            {"num_hidden_layers", 8},
            {"intermediate_size", 256},
            {"num_attention_heads", 4},
            {"num_key_value_heads", 2},
            {"head_dim", 32},
            {"linear_num_key_heads", 2},
            {"linear_num_value_heads", 4},
            {"linear_key_head_dim", 16},
            {"linear_value_head_dim", 16},
            {"rope_parameters",
             {{"rope_theta", 10000.0},
              {"partial_rotary_factor", 0.25},
              {"mrope_section", {2, 1, 1}},
              {"rope_type", "default"}}}};
}

json nested(json inner) {
    return {{"model_type", "qwen3_5"}, {"text_config", std::move(inner)}};
}

ModelConfig read(const json& config) {
    return read_config(config.dump(), "config.json");
}

std::string refusal(const json& config, ErrorKind kind) {
    try {
        read(config);
    } catch (const Error& error) {
        EXPECT_EQ(error.kind(), kind) << error.what();
        return error.what();
    }
    ADD_FAILURE() << "accepted " << config.dump();
    return {};
}

TEST(Config, FlatAndNestedAreTheSame) {
    for (const json& config : {text(), nested(text())}) {
        const TextConfig c = read(config).text;
        EXPECT_EQ(c.model_type, "qwen3_5_text");
        EXPECT_EQ(c.hidden_size, 128u);
        EXPECT_EQ(c.linear_conv_kernel_dim, 4u);
        EXPECT_EQ(c.conv_channels(), 2u * 2 * 16 + 4 * 16);
        EXPECT_EQ(c.rope.rotary_dims, 8u);
        EXPECT_EQ(c.count(LayerKind::FullAttention), 2u);
        EXPECT_FALSE(c.tie_word_embeddings);
    }
}

TEST(Config, LayerKindsFromTypesOrInterval) {
    json config = text();
    config["full_attention_interval"] = 2;
    EXPECT_EQ(read(config).text.count(LayerKind::FullAttention), 4u);
    config["layer_types"] = {"full_attention",   "linear_attention", "linear_attention", "linear_attention",
                             "linear_attention", "linear_attention", "linear_attention", "linear_attention"};
    const TextConfig c = read(config).text;
    EXPECT_EQ(c.layer_types[0], LayerKind::FullAttention);
    EXPECT_EQ(c.count(LayerKind::FullAttention), 1u);
}

TEST(Config, ThetaInFourPlaces) {
    json config = text();
    EXPECT_EQ(read(config).text.rope.rope_theta, 10000.0);
    config["rope_theta"] = 7.0;  // the nested one wins
    EXPECT_EQ(read(config).text.rope.rope_theta, 10000.0);
    config["rope_parameters"].erase("rope_theta");
    EXPECT_EQ(read(config).text.rope.rope_theta, 7.0);
    config.erase("rope_theta");
    EXPECT_EQ(read(config).text.rope.rope_theta, 10'000'000.0);
    EXPECT_EQ(read(config).notes.back(), "config.json has no rope_theta: the family's 10000000 is used");
    config.erase("rope_parameters");
    config["rope_scaling"] = {{"rope_type", "default"}, {"rope_theta", 5.0}, {"partial_rotary_factor", 0.5}};
    EXPECT_EQ(read(config).text.rope.rope_theta, 5.0);
    EXPECT_EQ(read(config).text.rope.rotary_dims, 16u);
}

TEST(Config, TieFlagOfTheOuterConfigDecides) {
    json config = nested(text());
    config["text_config"]["tie_word_embeddings"] = false;
    config["tie_word_embeddings"] = true;
    EXPECT_TRUE(read(config).text.tie_word_embeddings);
    config.erase("tie_word_embeddings");
    config["text_config"]["tie_word_embeddings"] = true;
    EXPECT_TRUE(read(config).text.tie_word_embeddings);
}

TEST(Config, AllProblemsAtOnce) {
    json config = text();
    config.erase("hidden_size");
    config["num_key_value_heads"] = "two";
    config["linear_num_value_heads"] = 3;
    const std::string message = refusal(config, ErrorKind::Input);
    for (const char* word :
         {"3 problems", "/hidden_size is missing", "/num_key_value_heads is \"two\"", "/linear_num_value_heads is 3"}) {
        EXPECT_NE(message.find(word), std::string::npos) << message;
    }
}

TEST(Config, UnknownModelTypeListsTheKnownOnes) {
    json config = text();
    config["model_type"] = "qwen3_55";
    const std::string message = refusal(config, ErrorKind::Unsupported);
    EXPECT_NE(message.find("qwen3_5_moe_text"), std::string::npos) << message;
    EXPECT_NE(message.find("did you mean 'qwen3_5'"), std::string::npos) << message;
}

TEST(Config, ArchitecturesDoNotMatter) {
    for (const json& architectures : {json::array(), json{"Qwen3_5Model"}, json{"Qwen3_5ForConditionalGeneration"}}) {
        json config = text();
        config["architectures"] = architectures;
        EXPECT_FALSE(read(config).vision.has_value());
    }
}

TEST(Config, ExpertsMustFit) {
    json config = text();
    config["model_type"] = "qwen3_5_moe_text";
    config["num_experts"] = 4;
    config["num_experts_per_tok"] = 5;
    config["moe_intermediate_size"] = 32;
    config["shared_expert_intermediate_size"] = 32;
    EXPECT_NE(refusal(config, ErrorKind::Input).find("num_experts_per_tok"), std::string::npos);
    config["num_experts_per_tok"] = 2;
    EXPECT_EQ(read(config).text.moe->num_experts, 4u);
}

TEST(Config, SectionsMustAddUp) {
    json config = text();
    config["rope_parameters"]["mrope_section"] = {2, 2, 2};
    EXPECT_NE(refusal(config, ErrorKind::Input).find("add up to 4"), std::string::npos);
}

TEST(Config, ByteOrderMarkIsSkipped) {
    EXPECT_EQ(read_config("\xEF\xBB\xBF" + text().dump(), "config.json").text.hidden_size, 128u);
}

}  // namespace
}  // namespace deltavino::checkpoint
