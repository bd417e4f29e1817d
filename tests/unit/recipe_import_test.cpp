// Weights that are quantized in the checkpoint: when their codes are kept bit for bit, and when they are read and
// quantized again.
#include "export/recipe.hpp"

#include "base/error.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace deltavino::exporter {
namespace {

using checkpoint::DType;
using graph::Role;
using graph::WeightRequest;
using quant::Format;
using quant::Scheme;
using testing::ElementsAre;

constexpr Scheme kU4{Format::U4, 128};
constexpr Scheme kI4{Format::I4, 128};
constexpr Scheme kU4Small{Format::U4, 64};
constexpr Scheme kU8{Format::U8, 0};
constexpr Scheme kI8{Format::I8, 0};
constexpr const char* kKept = " kept";

WeightRequest request(std::optional<Scheme> scheme, Role role = Role::FeedForward,
                      std::string name = "model.layers.0.mlp.up_proj.weight") {
    WeightRequest request{std::move(name), role, 64, 256, DType::BF16};
    request.origin = graph::QuantizedOrigin{"gptq", scheme, 0, 8, 0.0};
    return request;
}

CompressionOptions format(std::string name) {
    CompressionOptions options;
    options.weight_format = std::move(name);
    return options;
}

// "u4 in groups of 128 kept", or without the last word when the codes are made anew.
std::string stored(const CompressionOptions& options, const WeightRequest& weight,
                   ModelPart part = ModelPart::Language) {
    Recipe recipe(options);
    const graph::Storage storage = recipe.choose(weight, part);
    EXPECT_EQ(recipe.keeps_codes(), storage.imported);
    return storage.text() + (storage.imported ? kKept : "");
}

TEST(RecipeImport, ByFormat) {
    struct Case {
        const char* format;
        Scheme scheme;
        const char* stored;
    };
    for (const Case& c : {
             // No format: the checkpoint's own.
             Case{"", kU4, "u4 in groups of 128 kept"},
             {"", kU4Small, "u4 in groups of 64 kept"},
             {"", kI8, "i8 per channel kept"},
             // A float format widens.
             {"fp16", kU4, "f16"},
             {"bf16", kI8, "bf16"},
             {"fp32", kU8, "f32"},
             // The same number of bits is what was asked for; another is not.
             {"int8", kU8, "u8 per channel kept"},
             {"int8", kI8, "i8 per channel kept"},
             {"int8", kU4, "u8 per channel"},
             {"int4", kU4, "u4 in groups of 128 kept"},
             {"int4", kI4, "i4 in groups of 128 kept"},
             {"int4", kU4Small, "u4 in groups of 64 kept"},
             {"int4", kI8, "u4 in groups of 128"},
             {"int4", kU8, "u4 in groups of 128"},
             // Other codes of four bits.
             {"nf4", kU4, "nf4 in groups of 128"},
             {"mxfp4", kU4, "mxfp4 in groups of 32"},
         }) {
        EXPECT_EQ(stored(format(c.format), request(c.scheme)), c.stored)
            << c.format << " of " << quant::scheme_text(c.scheme);
    }
}

TEST(RecipeImport, SymmetricCodesOnlyWhereTheyAreAskedFor) {
    for (const char* name : {"int4", "int8"}) {
        CompressionOptions options = format(name);
        options.sym = true;
        const bool four = options.weight_format == "int4";
        EXPECT_EQ(stored(options, request(four ? kU4 : kU8)), four ? "i4 in groups of 128" : "i8 per channel");
        EXPECT_EQ(stored(options, request(four ? kI4 : kI8)),
                  four ? "i4 in groups of 128 kept" : "i8 per channel kept");
    }
}

TEST(RecipeImport, AGroupSizeThatIsAskedForMustBeTheCheckpoints) {
    CompressionOptions options = format("int4");
    options.group_size = 128;
    EXPECT_EQ(stored(options, request(kU4)), "u4 in groups of 128 kept");
    EXPECT_EQ(stored(options, request(kU4Small)), "u4 in groups of 128");
    options.group_size = 64;
    EXPECT_EQ(stored(options, request(kU4)), "u4 in groups of 64");
    EXPECT_EQ(stored(options, request(kU4Small)), "u4 in groups of 64 kept");
    options.group_size = -1;
    EXPECT_EQ(stored(options, request(kU4)), "u4 per channel");
    EXPECT_EQ(stored(options, request(Scheme{Format::U4, 0})), "u4 per channel kept");
}

TEST(RecipeImport, FloatsOfTheCheckpointHaveNoCodesToKeep) {
    EXPECT_EQ(stored(format(""), request(std::nullopt)), "bf16");
    EXPECT_EQ(stored(format("int4"), request(std::nullopt)), "u4 in groups of 128");
    EXPECT_EQ(stored(format("int8"), request(std::nullopt)), "u8 per channel");
}

// What int4 would store otherwise is kept when the checkpoint has it in four bits, and when it would be left alone.
TEST(RecipeImport, ByRole) {
    const CompressionOptions int4 = format("int4");
    EXPECT_EQ(stored(int4, request(kU4, Role::Embedding)), "u4 in groups of 128 kept");
    EXPECT_EQ(stored(int4, request(kI8, Role::Embedding)), "i8 per channel kept");  // as it would be stored
    EXPECT_EQ(stored(int4, request(kU8, Role::Embedding)), "i8 per channel");
    EXPECT_EQ(stored(int4, request(kU8, Role::DecayProjection)), "u8 per channel kept");
    EXPECT_EQ(stored(format("fp16"), request(kU8, Role::DecayProjection)), "f16");
    EXPECT_EQ(stored(int4, request(kU4, Role::Vector)), "f32");
    EXPECT_EQ(stored(int4, request(kI8, Role::VisionProjection), ModelPart::Other), "i8 per channel kept");
    EXPECT_EQ(stored(int4, request(kU8, Role::VisionProjection), ModelPart::Other), "i8 per channel");
    EXPECT_EQ(stored(int4, request(kU4, Role::VisionProjection), ModelPart::Other), "u4 in groups of 128 kept");
    CompressionOptions none = int4;
    none.backup_precision = "none";
    EXPECT_EQ(stored(none, request(kU8, Role::Head)), "u8 per channel kept");
}

TEST(RecipeImport, KeepGoesBefore) {
    struct Case {
        const char* type;
        const char* of_u4;
        const char* of_i8;
    };
    for (const Case& c : {Case{"stored", "u4 in groups of 128 kept", "i8 per channel kept"},
                          {"fp16", "f16", "f16"},
                          {"int8_sym", "i8 per channel", "i8 per channel kept"},
                          {"int8_asym", "u8 per channel", "u8 per channel"},
                          {"int4_asym", "u4 in groups of 128 kept", "u4 in groups of 128"},
                          {"int4_sym", "i4 in groups of 128", "i4 in groups of 128"}}) {
        for (const char* name : {"int4", "int8", "fp32", ""}) {
            CompressionOptions options = format(name);
            options.keep = {fmt::format("*={}", c.type)};
            EXPECT_EQ(stored(options, request(kU4)), c.of_u4) << name << " " << c.type;
            EXPECT_EQ(stored(options, request(kI8)), c.of_i8) << name << " " << c.type;
        }
    }
}

TEST(RecipeImport, WhatIsKeptIsNotAmongThoseThatRatioChooses) {
    CompressionOptions options = format("int4");
    options.ratio = 0.5;
    const Recipe recipe(options);
    EXPECT_FALSE(recipe.ratio_candidate(request(kU4)));
    EXPECT_FALSE(recipe.ratio_candidate(request(kU4Small)));
    EXPECT_TRUE(recipe.ratio_candidate(request(kI8)));
    EXPECT_TRUE(recipe.ratio_candidate(request(std::nullopt)));
    options.group_size = 128;
    EXPECT_TRUE(Recipe(options).ratio_candidate(request(kU4Small)));
}

TEST(RecipeImport, ADemotedWeightIsMadeAnew) {
    CompressionOptions options = format("int4");
    options.ratio = 0.5;
    Recipe recipe(options);
    recipe.set_sensitivities({{"a", 0.2}, {"b", 0.1}}, {{"a", 1}, {"b", 1}});
    EXPECT_EQ(recipe.choose(request(kI8, Role::FeedForward, "a"), ModelPart::Language).text(), "u8 per channel");
    EXPECT_EQ(recipe.choose(request(kI8, Role::FeedForward, "b"), ModelPart::Language).text(), "u4 in groups of 128");
    EXPECT_FALSE(recipe.keeps_codes());
}

// Columns that no group divides.
TEST(RecipeImport, WhatFitsNoGroupKeepsItsCodes) {
    CompressionOptions options = format("int4");
    options.group_size_fallback = "ignore";
    WeightRequest odd = request(kI8);
    odd.columns = 100;
    EXPECT_EQ(stored(options, odd), "i8 per channel kept");
    options.group_size_fallback = "adjust";
    EXPECT_EQ(stored(options, odd), "i8 per channel kept");  // the backup is the same scheme
    odd.origin->scheme = kU8;
    EXPECT_EQ(stored(options, odd), "i8 per channel");
}

TEST(RecipeImport, SaysWhatBecameOfThem) {
    Recipe recipe(format("int4"));
    WeightRequest kept = request(kU4, Role::FeedForward, "a");
    kept.origin->inexact_scales = 3;
    kept.origin->largest_change = 0.25;
    recipe.choose(kept, ModelPart::Language);
    recipe.choose(kept, ModelPart::Language);  // an embedding is asked for twice
    kept.name = "b";
    kept.origin->largest_change = 0.125;
    recipe.choose(kept, ModelPart::Language);
    WeightRequest anew = request(std::nullopt, Role::FeedForward, "c");
    anew.origin->text = "fp8 e4m3 in blocks of 128 x 128";
    recipe.choose(anew, ModelPart::Language);
    EXPECT_THAT(recipe.origins(),
                ElementsAre("2 weights keep the codes of the checkpoint bit for bit: gptq, as u4 in groups of 128",
                            "6 of their 16 scales are not exact in float16 and were rounded, by 0.25 at most",
                            "1 weights were read from fp8 e4m3 in blocks of 128 x 128 and are stored anew as u4 in "
                            "groups of 128"));
    EXPECT_TRUE(recipe.keeps_codes());
}

TEST(RecipeImport, GroupsOfExpertsThatGpusRefuseAreKeptAndNamed) {
    Recipe recipe(format("int4"));
    recipe.set_architecture(true, false, {256, 128});
    EXPECT_TRUE(recipe.choose(request(kU4, Role::Expert), ModelPart::Language).imported);
    ASSERT_EQ(recipe.fallbacks().size(), 1u);
    EXPECT_NE(recipe.fallbacks()[0].find("groups of 128, one in down_proj"), std::string::npos);
}

}  // namespace
}  // namespace deltavino::exporter
