// Which weight is stored how, by default and on request.
#include "export/recipe.hpp"

#include "base/error.hpp"

#include <gtest/gtest.h>

namespace deltavino::exporter {
namespace {

using checkpoint::DType;
using graph::Role;
using namespace std::string_literals;

graph::WeightRequest request(Role role, std::uint64_t columns = 256, std::string name = "model.layers.0.x.weight") {
    return {std::move(name), role, 64, columns, DType::BF16};
}

CompressionOptions format(std::string name) {
    CompressionOptions options;
    options.weight_format = std::move(name);
    return options;
}

std::string stored(Recipe& recipe, const graph::WeightRequest& weight, ModelPart part = ModelPart::Language) {
    return recipe.choose(weight, part).text();
}

std::string refusal(const CompressionOptions& options) {
    try {
        Recipe recipe(options);
    } catch (const Error& error) {
        EXPECT_EQ(error.kind(), ErrorKind::Usage);
        return error.what();
    }
    return {};
}

TEST(Recipe, NothingIsCompressedUnasked) {
    Recipe recipe{CompressionOptions{}};
    EXPECT_EQ(stored(recipe, request(Role::FeedForward)), "bf16");
    EXPECT_EQ(stored(recipe, request(Role::Embedding)), "bf16");
    EXPECT_EQ(stored(recipe, request(Role::Vector)), "f32");
    EXPECT_FALSE(recipe.compresses());
}

TEST(Recipe, DefaultInt4) {
    Recipe recipe(format("int4"));
    recipe.set_architecture(false, true);
    EXPECT_EQ(stored(recipe, request(Role::FeedForward)), "u4 in groups of 128");
    EXPECT_EQ(stored(recipe, request(Role::DeltaProjection)), "u4 in groups of 128");
    EXPECT_EQ(stored(recipe, request(Role::Embedding)), "i8 per channel");
    EXPECT_EQ(stored(recipe, request(Role::DecayProjection)), "bf16");
    EXPECT_EQ(stored(recipe, request(Role::Router)), "bf16");
    EXPECT_EQ(stored(recipe, request(Role::SharedExpertGate)), "bf16");
    EXPECT_EQ(stored(recipe, request(Role::Convolution)), "bf16");
    EXPECT_EQ(stored(recipe, request(Role::Vector)), "f32");
    recipe.set_architecture(true, false);
    EXPECT_EQ(stored(recipe, request(Role::Expert)), "u4 in groups of 64");
}

TEST(Recipe, OtherPartsAreEightBit) {
    for (const char* name : {"int4", "int8"}) {
        Recipe recipe(format(name));
        EXPECT_EQ(stored(recipe, request(Role::VisionProjection), ModelPart::Other), "i8 per channel");
        EXPECT_EQ(stored(recipe, request(Role::Embedding), ModelPart::Other), "i8 per channel");
    }
}

TEST(Recipe, GroupsThatDoNotDivideFallBackAndAreListed) {
    Recipe adjust(format("int4"));
    EXPECT_EQ(stored(adjust, request(Role::FeedForward, 192)), "u4 in groups of 64");
    EXPECT_EQ(stored(adjust, request(Role::FeedForward, 4304)), "i8 per channel");
    EXPECT_EQ(adjust.fallbacks().size(), 2u);
    CompressionOptions options = format("int4");
    options.group_size_fallback = "ignore";
    Recipe ignore(options);
    EXPECT_EQ(stored(ignore, request(Role::FeedForward, 192)), "bf16");
    options.group_size_fallback = "error";
    Recipe error(options);
    stored(error, request(Role::FeedForward, 192));
    EXPECT_THROW(error.check_all_used(), Error);
}

TEST(Recipe, OneColumnIsLeftAlone) {
    Recipe recipe(format("int8"));
    EXPECT_EQ(stored(recipe, request(Role::FeedForward, 1)), "bf16");
}

TEST(Recipe, KeepWinsAndMustMatch) {
    CompressionOptions options = format("int4");
    options.keep = {"*.mlp.*=fp16", "*self_attn*=int8_asym", "*.nothing.*=fp32"};
    Recipe recipe(options);
    EXPECT_EQ(stored(recipe, request(Role::FeedForward, 256, "model.layers.0.mlp.up_proj.weight")), "f16");
    EXPECT_EQ(stored(recipe, request(Role::AttentionProjection, 256, "model.layers.0.self_attn.q_proj.weight")),
              "u8 per channel");
    EXPECT_THROW(recipe.check_all_used(), Error);
}

TEST(Recipe, RatioDemotesTheMostSensitive) {
    CompressionOptions options = format("int4");
    options.ratio = 0.5;
    Recipe recipe(options);
    EXPECT_TRUE(recipe.needs_sensitivities());
    recipe.set_sensitivities({{"a", 0.1}, {"b", 0.3}, {"c", 0.2}}, {{"a", 100}, {"b", 100}, {"c", 100}});
    EXPECT_EQ(stored(recipe, request(Role::FeedForward, 256, "a")), "u4 in groups of 128");
    EXPECT_EQ(stored(recipe, request(Role::FeedForward, 256, "b")), "u8 per channel");
    EXPECT_EQ(stored(recipe, request(Role::FeedForward, 256, "c")), "u8 per channel");
}

TEST(Recipe, RatioChoosesAmongWeightsThatCanBeFourBit) {
    CompressionOptions options = format("int4");
    options.ratio = 0.5;
    const auto group = [](const CompressionOptions& chosen, Role role, std::uint64_t columns) {
        const std::optional<quant::Scheme> scheme = Recipe(chosen).ratio_candidate(request(role, columns));
        return scheme ? static_cast<int>(scheme->group_size) : -1;
    };
    EXPECT_EQ(group(options, Role::FeedForward, 256), 128);
    EXPECT_EQ(group(options, Role::FeedForward, 96), 32);  // adjusted
    EXPECT_EQ(group(options, Role::FeedForward, 48), -1);  // 8 bit whatever the ratio
    EXPECT_EQ(group(options, Role::Embedding, 256), -1);
    EXPECT_EQ(group(options, Role::Router, 256), -1);
    options.group_size_fallback = "ignore";
    EXPECT_EQ(group(options, Role::FeedForward, 96), -1);  // stays as stored
    options.all_layers = true;
    EXPECT_EQ(group(options, Role::Embedding, 256), 128);
}

TEST(Recipe, BadOptionsNameTheRule) {
    CompressionOptions options = format("int4");
    options.group_size = 7;
    options.ratio = 2.0;
    const std::string message = refusal(options);
    EXPECT_NE(message.find("--group-size 7"), std::string::npos) << message;
    EXPECT_NE(message.find("--ratio is 2"), std::string::npos) << message;
    options = format("mxfp4");
    options.group_size = 64;
    EXPECT_NE(refusal(options).find("must be 32"), std::string::npos);
    options = format("nf4");
    options.sym = true;
    EXPECT_NE(refusal(options).find("--sym"), std::string::npos);
    EXPECT_NE(refusal(format("int3")).find("int3"), std::string::npos);
}

TEST(Recipe, TheProductsOfAnExpertAreStoredAlike) {
    Recipe recipe(format("int4"));
    recipe.set_architecture(true, false, {64, 96});
    EXPECT_EQ(stored(recipe, request(Role::Expert, 64)), "u4 in groups of 32");
    EXPECT_EQ(stored(recipe, request(Role::Expert, 96)), "u4 in groups of 32");
    EXPECT_EQ(stored(recipe, request(Role::SharedExpert, 64)), "u4 in groups of 64");
    recipe.set_architecture(true, false, {64, 48});
    EXPECT_EQ(stored(recipe, request(Role::Expert, 64)), "i8 per channel");
    EXPECT_EQ(stored(recipe, request(Role::Expert, 48)), "i8 per channel");
}

// One group in down_proj beside several in gate_proj and up_proj is what the GPU plugin cannot compile.
TEST(Recipe, DownProjHasTwoGroupsOrNone) {
    const auto experts = [](CompressionOptions options, ExpertSizes sizes) {
        Recipe recipe(options);
        recipe.set_architecture(true, false, sizes);
        const std::string gate = stored(recipe, request(Role::Expert, sizes.hidden));
        EXPECT_EQ(stored(recipe, request(Role::Expert, sizes.intermediate)), gate);
        EXPECT_LE(recipe.fallbacks().size(), 1u);
        return std::pair(gate, recipe.fallbacks().empty() ? std::string() : recipe.fallbacks()[0]);
    };
    CompressionOptions options = format("int4");
    const auto [halved, note] = experts(options, {128, 64});
    EXPECT_EQ(halved, "u4 in groups of 32");
    EXPECT_EQ(note.substr(0, 40), "experts are stored as u4 in groups of 32");
    EXPECT_EQ(experts(options, {2048, 512}), std::pair("u4 in groups of 64"s, ""s));
    EXPECT_EQ(experts(options, {64, 64}), std::pair("u4 in groups of 64"s, ""s));   // one group in all three
    EXPECT_EQ(experts(options, {64, 128}), std::pair("u4 in groups of 64"s, ""s));  // and two in down_proj
    options.group_size = 512;
    EXPECT_EQ(experts(options, {2048, 512}).first, "u4 in groups of 256");
    options.group_size_fallback = "error";
    EXPECT_EQ(experts(options, {2048, 512}).first, "u4 in groups of 256");
    EXPECT_EQ(experts(format("mxfp4"), {64, 32}).first, "u4 per channel");
    options = format("int4");
    options.group_size = 32;
    options.sym = true;
    EXPECT_EQ(experts(options, {64, 32}).first, "i4 per channel");
    options.keep = {"*=int4_asym"};
    EXPECT_EQ(experts(options, {64, 32}).first, "u4 per channel");
}

TEST(Recipe, ExpertsStayInAFormatThatThePluginKeeps) {
    for (const char* name : {"nf4", "mxfp4"}) {
        Recipe recipe(format(name));
        recipe.set_architecture(true, false, {256, 256});
        EXPECT_EQ(stored(recipe, request(Role::Expert)).substr(0, 2), "u4") << name;
        EXPECT_EQ(stored(recipe, request(Role::SharedExpert)).substr(0, 3), std::string(name).substr(0, 3));
    }
}

TEST(Recipe, RatioMovesTheExpertsOfALayerTogether) {
    CompressionOptions options = format("int4");
    options.ratio = 0.5;
    Recipe recipe(options);
    recipe.set_architecture(true, false, {256, 256});
    const auto expert = [](int layer, const char* projection) {
        return request(Role::Expert, 256, fmt::format("model.layers.{}.mlp.experts.{}.weight", layer, projection));
    };
    EXPECT_EQ(Recipe::ratio_group(expert(3, "up_proj")), "model.layers.3.mlp.experts");
    EXPECT_EQ(Recipe::ratio_group(request(Role::SharedExpert, 256, "model.layers.3.mlp.shared_expert.up_proj.weight")),
              "model.layers.3.mlp.shared_expert.up_proj.weight");
    recipe.set_sensitivities({{"model.layers.0.mlp.experts", 0.1}, {"model.layers.1.mlp.experts", 0.2}},
                             {{"model.layers.0.mlp.experts", 100}, {"model.layers.1.mlp.experts", 100}});
    for (const char* projection : {"gate_proj", "up_proj", "down_proj"}) {
        EXPECT_EQ(stored(recipe, expert(0, projection)), "u4 in groups of 64");
        EXPECT_EQ(stored(recipe, expert(1, projection)), "u8 per channel");
    }
}

TEST(Recipe, ASingleRowIsNeverCompressed) {
    CompressionOptions options = format("int4");
    options.keep = {"*shared_expert_gate*=int8_sym"};
    Recipe recipe(options);
    graph::WeightRequest gate = request(Role::SharedExpertGate, 256, "model.layers.0.mlp.shared_expert_gate.weight");
    gate.rows = 1;
    EXPECT_EQ(stored(recipe, gate), "bf16");
}

}  // namespace
}  // namespace deltavino::exporter
