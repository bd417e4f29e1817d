// Geometry from config.json in every way in which trainers write it.
#include "checkpoint/config.hpp"

#include "base/error.hpp"

#include <fmt/format.h>
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
    EXPECT_EQ(read(config).text.rope.rope_theta, 10000.0);
    EXPECT_NE(read(config).notes.back().find("config.json has no rope_theta: 10000 is used"), std::string::npos);
    config.erase("rope_parameters");
    config["rope_scaling"] = {{"rope_type", "default"}, {"rope_theta", 5.0}, {"partial_rotary_factor", 0.5}};
    EXPECT_EQ(read(config).text.rope.rope_theta, 5.0);
    EXPECT_EQ(read(config).text.rope.rotary_dims, 16u);
}

TEST(Config, TieFlagOfTheTextModelGoesFirst) {
    json config = nested(text());
    config["tie_word_embeddings"] = true;
    EXPECT_TRUE(read(config).text.tie_word_embeddings);
    EXPECT_FALSE(read(config).tie_flags_differ);
    config["text_config"]["tie_word_embeddings"] = false;
    EXPECT_FALSE(read(config).text.tie_word_embeddings);
    EXPECT_TRUE(read(config).tie_flags_differ);
    config.erase("tie_word_embeddings");
    EXPECT_FALSE(read(config).tie_flags_differ);
    config["text_config"]["tie_word_embeddings"] = true;
    EXPECT_TRUE(read(config).text.tie_word_embeddings);
    EXPECT_FALSE(read(config).tie_flags_differ);
}

// What transformers 5.2 does with both keys; tests/parity/test_rope.py compares with it.
TEST(Config, RopeScalingTakesThePlaceOfRopeParameters) {
    json config = text();
    config["rope_scaling"] = {{"type", "yarn"}, {"factor", 4.0}, {"original_max_position_embeddings", 16}};
    const ModelConfig both = read(config);
    ASSERT_TRUE(both.text.rope.yarn.has_value());
    EXPECT_EQ(both.text.rope.yarn->factor, 4.0);
    EXPECT_EQ(both.text.rope.yarn->original_max_position_embeddings, 16.0);
    EXPECT_TRUE(both.text.rope.mrope_section.empty());
    EXPECT_NE(both.notes[1].find("rope_scaling is used"), std::string::npos) << both.notes[1];
    config["rope_scaling"] = {{"rope_type", "default"}, {"rope_theta", 5.0}};
    EXPECT_EQ(read(config).text.rope.rope_theta, 5.0);
    config["rope_scaling"] = config["rope_parameters"];
    EXPECT_EQ(read(config).notes.size(), 1u);  // of the layer kinds; equal objects need none
    for (const json& nothing : {json(nullptr), json::object()}) {
        config["rope_scaling"] = nothing;
        EXPECT_EQ(read(config).text.rope.rope_theta, 10000.0);
        EXPECT_EQ(read(config).text.rope.mrope_section.size(), 3u);
    }
    config["rope_scaling"] = "yarn";
    EXPECT_NE(refusal(config, ErrorKind::Input).find("/rope_scaling is \"yarn\", expected an object"),
              std::string::npos);
}

TEST(Config, OtherScalingsAreRefusedByName) {
    for (const char* type : {"linear", "dynamic", "longrope", "llama3", "su"}) {
        for (const char* key : {"rope_type", "type"}) {
            json config = text();
            config["rope_scaling"] = {{key, type}, {"factor", 8.0}};
            EXPECT_NE(refusal(config, ErrorKind::Unsupported).find(fmt::format("rope_type is '{}'", type)),
                      std::string::npos);
        }
    }
    json config = text();
    config["rope_parameters"] = {{"full_attention", config["rope_parameters"]}};
    EXPECT_NE(refusal(config, ErrorKind::Unsupported).find("differs by layer kind"), std::string::npos);
}

TEST(Config, YarnNumbersMustBeUsable) {
    json config = text();
    config["rope_parameters"].update({{"rope_type", "yarn"}});
    EXPECT_NE(refusal(config, ErrorKind::Input).find("/rope_parameters/factor is missing"), std::string::npos);
    config["max_position_embeddings"] = 64;
    config["rope_parameters"]["original_max_position_embeddings"] = 16;
    config["rope_parameters"]["factor"] = nullptr;  // the ratio of the lengths
    EXPECT_EQ(read(config).text.rope.yarn->factor, 4.0);
    for (const json& wrong : {json(-4.0), json(0), json(1e300), json("4")}) {
        config["rope_parameters"]["factor"] = wrong;
        EXPECT_NE(refusal(config, ErrorKind::Input).find("/rope_parameters/factor is " + wrong.dump()),
                  std::string::npos);
    }
    config["rope_parameters"]["factor"] = 4;
    config["rope_parameters"]["rope_theta"] = 1.0;  // its logarithm divides
    EXPECT_NE(refusal(config, ErrorKind::Input).find("/rope_parameters/rope_theta is 1"), std::string::npos);
}

TEST(Config, OutputGateType) {
    json config = nested(text());
    EXPECT_EQ(read(config).text.output_gate, GateActivation::Silu);
    for (const char* silu : {"silu", "swish"}) {
        config["text_config"]["output_gate_type"] = silu;
        EXPECT_EQ(read(config).text.output_gate, GateActivation::Silu);
    }
    config["text_config"]["output_gate_type"] = "sigmoid";
    EXPECT_EQ(read(config).text.output_gate, GateActivation::Sigmoid);
    config["text_config"]["output_gate_type"] = "tanh";
    EXPECT_NE(refusal(config, ErrorKind::Unsupported).find("/text_config/output_gate_type is 'tanh'"),
              std::string::npos);
}

TEST(Config, UnknownLayerKindsAreCountedOnce) {
    json config = text();
    config["layer_types"] = json::array();
    for (int i = 0; i < 8; ++i) {
        config["layer_types"].push_back(i % 2 == 0 ? "full_attention" : "sliding_attention");
    }
    EXPECT_NE(
        refusal(config, ErrorKind::Input).find("/layer_types/1 is \"sliding_attention\" (4 layers in all), expected"),
        std::string::npos);
}

json experts() {
    json config = text();
    config.update({{"model_type", "qwen3_next"},
                   {"num_experts", 4},
                   {"num_experts_per_tok", 2},
                   {"moe_intermediate_size", 32},
                   {"shared_expert_intermediate_size", 32}});
    return config;
}

TEST(Config, DenseLayersAmongExpertsAreRefused) {
    json config = experts();
    config["mlp_only_layers"] = json::array();
    config["decoder_sparse_step"] = 1;
    EXPECT_TRUE(read(config).text.moe.has_value());
    config["mlp_only_layers"] = {0};
    EXPECT_NE(refusal(config, ErrorKind::Unsupported).find("/mlp_only_layers is [0]"), std::string::npos);
    config["mlp_only_layers"] = json::array();
    config["decoder_sparse_step"] = 2;
    EXPECT_NE(refusal(config, ErrorKind::Unsupported).find("/decoder_sparse_step"), std::string::npos);
}

// Multi-token prediction is not exported, so how it embeds does not matter.
TEST(Config, DedicatedEmbeddingsOfMtpDoNotMatter) {
    json config = text();
    config["mtp_num_hidden_layers"] = 1;
    config["mtp_use_dedicated_embeddings"] = true;
    EXPECT_EQ(read(config).text.mtp_num_hidden_layers, 1u);
}

TEST(Config, FamiliesThatAreNotBuiltAreNamedWithTheReason) {
    const std::pair<const char*, const char*> kTypes[] = {
        {"qwen4_exp", "hyper-connections"},         {"qwen4_exp_text", "hyper-connections"},
        {"qwen3_8_flash_next", "sparse attention"}, {"kimi_linear", "differs by channel"},
        {"bailing_hybrid", "differs by channel"},   {"glm5_next", "differs by channel"},
        {"qwen3_moe", "no gated delta rule"},
    };
    for (const auto& [type, why] : kTypes) {
        json flat = text();
        flat["model_type"] = type;
        json inner = nested(text());
        inner["text_config"]["model_type"] = type;
        for (const json& config : {flat, inner}) {
            const std::string message = refusal(config, ErrorKind::Unsupported);
            EXPECT_NE(message.find(fmt::format("'{}' is not built: it has", type)), std::string::npos) << message;
            EXPECT_NE(message.find(why), std::string::npos) << message;
            EXPECT_EQ(message.find("did you mean"), std::string::npos) << message;
        }
    }
}

TEST(Config, VisionPartIsJudgedOnItsOwn) {
    json config = nested(text());
    const json tower{{"depth", 2},      {"hidden_size", 32},      {"intermediate_size", 48},      {"num_heads", 2},
                     {"patch_size", 8}, {"out_hidden_size", 128}, {"num_position_embeddings", 36}};
    config["vision_config"] = tower;
    EXPECT_FALSE(read(config).vision_refusal.has_value());
    const std::pair<json, const char*> kWrong[] = {
        {json::object(), "/vision_config/depth is missing"},
        {{{"deepstack_visual_indexes", {8, 16}}}, "/vision_config/deepstack_visual_indexes is [8,16]"},
        {{{"hidden_act", "gelu"}}, "/vision_config/hidden_act is 'gelu'"},
        {{{"out_hidden_size", 64}}, "/vision_config/out_hidden_size is 64, expected the hidden_size 128"},
        {{{"depth", 1u << 23}}, "/vision_config/depth is 8388608"},
    };
    for (const auto& [change, word] : kWrong) {
        config["vision_config"] = change.empty() ? change : tower;
        config["vision_config"].update(change);
        const ModelConfig read_one = read(config);
        EXPECT_TRUE(read_one.vision.has_value());
        ASSERT_TRUE(read_one.vision_refusal.has_value()) << word;
        EXPECT_NE(std::string(read_one.vision_refusal->what()).find(word), std::string::npos)
            << read_one.vision_refusal->what();
    }
}

TEST(Config, HostileSizesAreRefused) {
    const std::pair<const char*, json> kWrong[] = {
        {"num_hidden_layers", 16'000'000}, {"num_hidden_layers", -1}, {"hidden_size", 1.5},
        {"vocab_size", 1u << 25},          {"rms_norm_eps", 1e300},   {"rms_norm_eps", -1e-6},
        {"num_hidden_layers", nullptr},    {"head_dim", "64"},        {"max_position_embeddings", 0},
    };
    for (const auto& [key, value] : kWrong) {
        json config = text();
        config[key] = value;
        EXPECT_NE(refusal(config, ErrorKind::Input).find(fmt::format("/{} is ", key)), std::string::npos) << key;
    }
    json config = experts();
    config["num_hidden_layers"] = 4096;
    config["num_experts"] = 257;
    EXPECT_NE(refusal(config, ErrorKind::Input).find("is more than 1048576"), std::string::npos);
    for (const char* text : {"{\"model_type\": NaN}", "{\"rms_norm_eps\": 1e999}", "{\"a\": -Infinity}"}) {
        EXPECT_THROW(read_config(text, "config.json"), Error) << text;
    }
}

TEST(Config, QuantizationIsNamed) {
    json config = text();
    EXPECT_EQ(read(config).quantization, "");
    config["quantization_config"] = {{"quant_method", "gptq"}, {"bits", 4}, {"desc_act", true}, {"group_size", 128}};
    EXPECT_EQ(read(config).quantization, "gptq (4 bits, desc_act)");
    config["quantization_config"] = {{"quant_method", "bitsandbytes"}, {"load_in_4bit", true}};
    EXPECT_EQ(read(config).quantization, "bitsandbytes (load_in_4bit)");
    config["quantization_config"] = nullptr;
    EXPECT_EQ(read(config).quantization, "");
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
