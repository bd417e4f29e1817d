// The named recipes and what goes with them.
#include "export/recipe_table.hpp"

#include "base/error.hpp"
#include "export/recipe.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace deltavino::exporter {
namespace {

using checkpoint::DType;
using graph::Role;
using testing::AllOf;
using testing::HasSubstr;

graph::WeightRequest request(Role role, std::string name, std::uint64_t columns = 256) {
    return {std::move(name), role, 64, columns, DType::BF16};
}

const graph::WeightRequest kQuery = request(Role::AttentionProjection, "model.layers.3.self_attn.q_proj.weight");
const graph::WeightRequest kOut = request(Role::DeltaProjection, "model.layers.0.linear_attn.out_proj.weight");
const graph::WeightRequest kDown = request(Role::Expert, "model.layers.0.mlp.experts.down_proj.weight");
const graph::WeightRequest kTable = request(Role::Embedding, "model.embed_tokens.weight");
const graph::WeightRequest kHead = request(Role::Head, "lm_head.weight");

CompressionOptions int4(std::string recipe) {
    CompressionOptions options;
    options.weight_format = "int4";
    options.recipe = std::move(recipe);
    return options;
}

std::string stored(const CompressionOptions& options, const graph::WeightRequest& weight, bool tied = true,
                   bool experts = false) {
    Recipe recipe(options);
    recipe.set_architecture(experts, tied, experts ? ExpertSizes{256, 256} : ExpertSizes{});
    return recipe.choose(weight, ModelPart::Language).text();
}

std::string refusal(const CompressionOptions& options) {
    try {
        const Recipe recipe(options);
    } catch (const Error& error) {
        EXPECT_EQ(error.kind(), ErrorKind::Usage);
        return error.what();
    }
    return {};
}

TEST(RecipeTable, NpusGetOneScaleForARow) {
    CompressionOptions by_hand = int4("");
    by_hand.sym = true;
    by_hand.group_size = -1;
    for (const graph::WeightRequest& weight : {kQuery, kOut, kTable, kHead}) {
        EXPECT_EQ(stored(int4("npu"), weight, false), stored(by_hand, weight, false));
    }
    EXPECT_EQ(stored(int4("npu"), kDown, false, true), stored(by_hand, kDown, false, true));
    EXPECT_EQ(stored(int4("npu"), kOut), "i4 per channel");
}

TEST(RecipeTable, TheDefaultIsBalanced) {
    for (const graph::WeightRequest& weight : {kQuery, kOut, kTable}) {
        EXPECT_EQ(stored(int4(""), weight), stored(int4("balanced"), weight));
    }
    EXPECT_EQ(stored(int4("balanced"), kOut), "u4 in groups of 128");
    EXPECT_EQ(stored(int4("balanced"), kDown, false, true), "u4 in groups of 64");
    EXPECT_EQ(stored(int4("balanced"), kTable), "i8 per channel");
}

TEST(RecipeTable, EachRecipe) {
    EXPECT_EQ(stored(int4("smallest"), kOut), "u4 in groups of 128");
    EXPECT_EQ(stored(int4("smallest"), kTable), "i4 in groups of 64") << "no zero points";
    EXPECT_EQ(stored(int4("smallest"), kHead, false), "i4 in groups of 64");
    EXPECT_EQ(stored(int4("fastest"), kQuery), "i4 in groups of 64");
    EXPECT_EQ(stored(int4("fastest"), kTable), "i4 in groups of 64");
    EXPECT_EQ(stored(int4("fastest"), kDown, false, true), "i4 in groups of 64");
    EXPECT_EQ(stored(int4("best"), kQuery), "i4 in groups of 32");
    EXPECT_EQ(stored(int4("best"), kOut), "i8 per channel");
    EXPECT_EQ(stored(int4("best"), kTable), "i8 per channel");
    EXPECT_EQ(stored(int4("best"), kQuery, false, true), "i8 per channel") << "every token passes it";
    EXPECT_EQ(stored(int4("best"), kDown, false, true), "i4 in groups of 64");
}

TEST(RecipeTable, OptionsGoBeforeIt) {
    CompressionOptions options = int4("best");
    options.group_size = 64;
    EXPECT_EQ(stored(options, kQuery), "i4 in groups of 64");
    EXPECT_EQ(stored(options, kOut), "i8 per channel") << "what is 8 bit stays that";
    options.keep = {"*.out_proj.*=int4_asym_g32"};
    EXPECT_EQ(stored(options, kOut), "u4 in groups of 32");
    options = int4("smallest");
    options.sym = true;
    EXPECT_EQ(stored(options, kQuery), "i4 in groups of 128");
    options = int4("balanced");
    options.all_layers = true;
    EXPECT_EQ(stored(options, kTable), "i4 in groups of 128");
    options = int4("best");
    options.backup_precision = "none";
    EXPECT_EQ(stored(options, kOut), "bf16");
}

TEST(RecipeTable, OfAnExpertAllThreeAreStoredAlike) {
    for (const RecipeRow& row : recipe_rows()) {
        const graph::WeightRequest up = request(Role::Expert, "model.layers.0.mlp.experts.up_proj.weight");
        EXPECT_EQ(stored(int4(std::string(row.name)), up, false, true),
                  stored(int4(std::string(row.name)), kDown, false, true))
            << row.name;
    }
}

TEST(RecipeTable, SaysWhyInItsDescription) {
    for (const RecipeRow& row : recipe_rows()) {
        Recipe recipe(int4(std::string(row.name)));
        recipe.set_architecture(false, true);
        EXPECT_THAT(recipe.description().front(), AllOf(HasSubstr(row.name), HasSubstr(row.reason)));
    }
    Recipe best(int4("best"));
    best.set_architecture(false, true);
    EXPECT_THAT(best.description(), testing::Contains("out_proj: i8 per channel"));
}

TEST(RecipeTable, RefusesWhatDoesNotGoTogether) {
    EXPECT_THAT(refusal(int4("quick")), HasSubstr("expected one of balanced, smallest, fastest, best, npu"));
    CompressionOptions options = int4("best");
    options.weight_format = "nf4";
    EXPECT_THAT(refusal(options), HasSubstr("--recipe is for int4"));
    options = int4("best");
    options.ratio = 0.5;
    EXPECT_THAT(refusal(options), HasSubstr("--ratio and --recipe best"));
    options = int4("best");
    options.target_bits = 4.5;
    EXPECT_THAT(refusal(options), HasSubstr("--recipe and a target"));
    options = int4("");
    options.target_size = "1 GB";
    options.target_bits = 4.5;
    options.group_size = 64;
    EXPECT_THAT(refusal(options), AllOf(HasSubstr("in two ways"), HasSubstr("--group-size does not go with")));
    for (const char* size : {"GB", "1.5 XB", "-3GB", "0", "1e3MB", "nan", "99999999999999TB"}) {
        options = int4("");
        options.target_size = size;
        EXPECT_THAT(refusal(options), HasSubstr("is no size")) << size;
    }
    options = int4("");
    options.target_bits = 0.0;
    EXPECT_THAT(refusal(options), HasSubstr("--target-bits is 0"));
    options.keep = {"*=int4_asym_g48"};
    options.target_bits = 4.5;
    EXPECT_THAT(refusal(options), HasSubstr("a group size of 32, 64, 128, 256"));
}

TEST(RecipeTable, SizesHaveUnits) {
    const std::vector<std::pair<std::string, std::uint64_t>> sizes{
        {"14.5GB", 14'500'000'000}, {"700 MB", 700'000'000}, {"1.5GiB", 1'610'612'736}, {"123", 123}, {"2kb", 2000}};
    for (const auto& [text, bytes] : sizes) {
        CompressionOptions options = int4("");
        options.target_size = text;
        EXPECT_EQ(Recipe(options).target_bytes(), bytes) << text;
    }
}

}  // namespace
}  // namespace deltavino::exporter
