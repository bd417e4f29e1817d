// adapter_config.json: scales and ranks by module, and what is refused.
#include "checkpoint/lora/adapter_config.hpp"

#include "base/error.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <string>

namespace deltavino::checkpoint {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

LoraConfig read(const std::string& more) {
    return read_lora_config(R"({"peft_type": "LORA")" + (more.empty() ? "" : ", " + more) + "}", "adapter_config.json");
}

ErrorKind kind_of(const std::string& json, std::string& message) {
    try {
        read_lora_config(json, "adapter_config.json");
    } catch (const Error& error) {
        message = error.what();
        return error.kind();
    }
    ADD_FAILURE() << json;
    return ErrorKind::Internal;
}

TEST(LoraConfig, DefaultsAreThoseOfPeft) {
    const LoraConfig config = read("");
    EXPECT_EQ(config.r, 8u);
    EXPECT_EQ(config.rank_of("model.layers.0.mlp.up_proj"), 8u);
    EXPECT_DOUBLE_EQ(config.scale_of("model.layers.0.mlp.up_proj"), 1.0);
    EXPECT_FALSE(config.keeps_tying);
    EXPECT_TRUE(config.replaced.empty());
}

TEST(LoraConfig, ScaleIsAlphaOverRankOrItsRoot) {
    EXPECT_DOUBLE_EQ(read(R"("r": 4, "lora_alpha": 6)").scale_of("a"), 1.5);
    EXPECT_DOUBLE_EQ(read(R"("r": 4, "lora_alpha": 6, "use_rslora": true)").scale_of("a"), 3.0);
    EXPECT_DOUBLE_EQ(read(R"("r": 3, "lora_alpha": 1, "use_rslora": true)").scale_of("a"), 1.0 / std::sqrt(3.0));
}

TEST(LoraConfig, PatternsChangeRankAndAlphaOfWhatTheyMatch) {
    const LoraConfig config =
        read(R"("r": 4, "lora_alpha": 8, "rank_pattern": {"q_proj": 2, "layers.1.mlp.up_proj": 16},
                                      "alpha_pattern": {"layers\\.\\d\\.mlp\\.up_proj": 32})");
    EXPECT_EQ(config.rank_of("model.layers.0.self_attn.q_proj"), 2u);
    EXPECT_EQ(config.rank_of("model.layers.0.self_attn.k_proj"), 4u);
    EXPECT_EQ(config.rank_of("model.layers.1.mlp.up_proj"), 16u);
    EXPECT_DOUBLE_EQ(config.scale_of("model.layers.0.self_attn.q_proj"), 4.0);
    EXPECT_DOUBLE_EQ(config.scale_of("model.layers.1.mlp.up_proj"), 2.0);
    EXPECT_DOUBLE_EQ(config.scale_of("model.layers.2.mlp.up_proj"), 8.0);
    EXPECT_DOUBLE_EQ(config.scale_of("model.layers.12.mlp.up_proj"), 2.0) << "one digit is all the pattern has";
}

TEST(LoraConfig, PatternsAreEndsOfPaths) {
    EXPECT_TRUE(matches_module("q_proj", "model.layers.0.self_attn.q_proj"));
    EXPECT_TRUE(matches_module("q_proj", "q_proj"));
    EXPECT_FALSE(matches_module("proj", "model.layers.0.self_attn.q_proj")) << "not from a dot on";
    EXPECT_FALSE(matches_module("self_attn", "model.layers.0.self_attn.q_proj")) << "not to the end";
    EXPECT_FALSE(matches_module("model.layers.0.self_attn.q_proj", "q_proj"));
    EXPECT_TRUE(matches_module("layers.[01].mlp.*", "model.layers.1.mlp.up_proj"));
    EXPECT_FALSE(matches_module("^layers.[01].mlp.*", "model.layers.1.mlp.up_proj"));
    EXPECT_TRUE(matches_module("^model.layers.[01].mlp.*", "model.layers.1.mlp.up_proj"));
    EXPECT_FALSE(matches_module("(.*)up", std::string(2000, 'a') + "up")) << "longer than what is matched";
}

TEST(LoraConfig, WholeModules) {
    EXPECT_THAT(read(R"("modules_to_save": ["norm", "lm_head"])").replaced, ElementsAre("norm", "lm_head"));
    EXPECT_TRUE(read(R"("ensure_weight_tying": true)").keeps_tying);
}

TEST(LoraConfig, WhatCannotBeMergedIsNamed) {
    for (const char* key : {R"("use_dora": true)", R"("bias": "all")", R"("fan_in_fan_out": true)", R"("new_key": 1)",
                            R"("init_lora_weights": "olora")", R"("trainable_token_indices": [1])"}) {
        std::string message;
        EXPECT_EQ(kind_of(std::string(R"({"peft_type": "LORA", )") + key + "}", message), ErrorKind::Unsupported)
            << key;
        const std::string name = std::string(key).substr(1, std::string(key).find('"', 1) - 1);
        EXPECT_THAT(message, HasSubstr("/" + name));
    }
    std::string message;
    EXPECT_EQ(kind_of(R"({"peft_type": "IA3"})", message), ErrorKind::Unsupported);
}

TEST(LoraConfig, WhatIsOffDoesNotCount) {
    EXPECT_NO_THROW(read(R"("use_dora": false, "layer_replication": null, "target_parameters": [], "new_key": "")"));
    EXPECT_NO_THROW(read(R"("init_lora_weights": "gaussian")"));
}

TEST(LoraConfig, WrongFormsAreAllListed) {
    std::string message;
    const char* json = R"({"peft_type": "LORA", "r": -1, "lora_alpha": "8", "rank_pattern": {"a": 0, "(a*)*": 2}})";
    EXPECT_EQ(kind_of(json, message), ErrorKind::Input);
    for (const char* part : {"/r is -1", "/lora_alpha", "/rank_pattern/a is 0", "repeated groups"}) {
        EXPECT_THAT(message, HasSubstr(part));
    }
    EXPECT_EQ(kind_of("[]", message), ErrorKind::Input);
    EXPECT_EQ(kind_of("{", message), ErrorKind::Input);
    EXPECT_EQ(kind_of("{}", message), ErrorKind::Input) << "no peft_type";
}

}  // namespace
}  // namespace deltavino::checkpoint
