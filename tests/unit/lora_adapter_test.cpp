// An adapter's folder: names of tensors, pairs of factors, and their products row by row.
#include "checkpoint/lora/adapter.hpp"

#include "base/error.hpp"
#include "support/checkpoint_writer.hpp"
#include "support/golden.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <limits>
#include <string>
#include <vector>

namespace deltavino::checkpoint {
namespace {

namespace fs = std::filesystem;
using test::NamedTensor;
using test::noise;
using ::testing::HasSubstr;

constexpr std::uint64_t kRows = 6, kColumns = 70, kRank = 3;
constexpr const char* kWeight = "model.layers.0.mlp.up_proj.weight";
constexpr const char* kModule = "model.layers.0.mlp.up_proj";

NamedTensor factor(const std::string& name, std::vector<std::uint64_t> shape, std::uint32_t seed) {
    std::vector<float> values = noise(shape[0] * shape[1], seed);
    return {name, std::move(shape), std::move(values)};
}

std::vector<NamedTensor> pair_of(const std::string& module, const std::string& end = ".weight") {
    return {factor(module + ".lora_A" + end, {kRank, kColumns}, 1),
            factor(module + ".lora_B" + end, {kRows, kRank}, 2)};
}

class LoraAdapter : public ::testing::Test {
protected:
    const fs::path& write(const std::vector<NamedTensor>& tensors, const std::string& more = "") {
        fs::remove_all(folder_);
        test::write_checkpoint(folder_, "{}", tensors);
        fs::rename(folder_ / "model.safetensors", folder_ / "adapter_model.safetensors");
        fs::remove(folder_ / "config.json");
        std::ofstream(folder_ / "adapter_config.json")
            << R"({"peft_type": "LORA", "r": 3, "lora_alpha": 6)" << (more.empty() ? "" : ", ") << more << "}";
        return folder_;
    }

    std::string refusal(ErrorKind kind) {
        try {
            const Adapter adapter(folder_);
        } catch (const Error& error) {
            EXPECT_EQ(error.kind(), kind) << error.what();
            return error.what();
        }
        ADD_FAILURE() << "nothing was refused";
        return {};
    }

    test::TemporaryDirectory temporary_;
    fs::path folder_ = temporary_.path() / "adapter";
};

TEST_F(LoraAdapter, NamesOfEveryTrainingStackAreOne) {
    for (const char* prefix : {"base_model.model.", "base_model.model.model.", "",
                               "base_model.model.model.language_model.", "base_model.model.base_model.model.model."}) {
        for (const char* end : {".weight", ".default.weight"}) {
            const std::string module = std::string(prefix) + (std::string(prefix).ends_with("model.model.") ||
                                                                      std::string(prefix).ends_with("language_model.")
                                                                  ? "layers.0.mlp.up_proj"
                                                                  : kModule);
            const Adapter adapter(write(pair_of(module, end)));
            ASSERT_EQ(adapter.products().size(), 1u) << module << end;
            const auto& [name, product] = *adapter.products().begin();
            EXPECT_EQ(name, kWeight) << module << end;
            EXPECT_EQ(product.rows, kRows);
            EXPECT_EQ(product.columns, kColumns);
            EXPECT_EQ(product.rank, kRank);
            EXPECT_EQ(product.scale, 2.0f);
            EXPECT_EQ(adapter.text(), "rank 3, scale 2");
        }
    }
}

TEST_F(LoraAdapter, RowsOfTheProductWhateverTheRowsOfOneCall) {
    const Adapter adapter(write(pair_of(kModule)));
    const std::vector<float> a = noise(kRank * kColumns, 1), b = noise(kRows * kRank, 2),
                             base = noise(kRows * kColumns, 3);
    std::vector<float> expected = base;
    for (std::size_t row = 0; row < kRows; ++row) {
        for (std::size_t column = 0; column < kColumns; ++column) {
            float sum = 0.0f;
            for (std::size_t k = 0; k < kRank; ++k) {
                sum += b[row * kRank + k] * a[k * kColumns + column];
            }
            expected[row * kColumns + column] += sum * 2.0f;
        }
    }
    for (const std::size_t step : {std::size_t{1}, std::size_t{4}, std::size_t{5}, std::size_t{kRows}}) {
        LowRankReader reader;
        std::vector<float> found = base;
        for (std::size_t row = 0; row < kRows; row += step) {
            const std::size_t rows = std::min<std::size_t>(step, kRows - row);
            reader.add(adapter.products().at(kWeight), row, std::span(found).subspan(row * kColumns, rows * kColumns));
        }
        for (std::size_t i = 0; i < found.size(); ++i) {
            ASSERT_NEAR(found[i], expected[i], 1e-6f) << "value " << i << ", " << step << " rows at a time";
        }
    }
}

TEST_F(LoraAdapter, AnEmbeddingsFactorsLieAcross) {
    const std::string module = "model.embed_tokens";
    const Adapter adapter(write({factor(module + ".lora_embedding_A", {kRank, kRows}, 2),
                                 factor(module + ".lora_embedding_B", {kColumns, kRank}, 1)}));
    const LowRank& product = adapter.products().at(module + ".weight");
    EXPECT_TRUE(product.of_embedding);
    EXPECT_EQ(product.rows, kRows);
    EXPECT_EQ(product.columns, kColumns);
    const std::vector<float> a = noise(kRank * kRows, 2), b = noise(kColumns * kRank, 1);
    LowRankReader reader;
    std::vector<float> found(2 * kColumns, 0.0f);
    reader.add(product, 3, found);
    for (std::size_t row = 0; row < 2; ++row) {
        for (std::size_t column = 0; column < kColumns; ++column) {
            float sum = 0.0f;
            for (std::size_t k = 0; k < kRank; ++k) {
                sum += a[k * kRows + 3 + row] * b[column * kRank + k];
            }
            ASSERT_NEAR(found[row * kColumns + column], 2.0f * sum, 1e-6f) << row << ", " << column;
        }
    }
}

TEST_F(LoraAdapter, RowsBeyondTheProductAreAnError) {
    const Adapter adapter(write(pair_of(kModule)));
    LowRankReader reader;
    std::vector<float> rows(2 * kColumns);
    const LowRank& product = adapter.products().at(kWeight);
    EXPECT_THROW(reader.add(product, kRows - 1, rows), Error);
    EXPECT_THROW(reader.add(product, 0, std::span(rows).first(kColumns + 1)), Error);
    EXPECT_NO_THROW(reader.add(product, kRows - 2, rows));
}

TEST_F(LoraAdapter, ValuesThatAreNoNumbersAreAnErrorAndNothingIsKeptOfThem) {
    std::vector<NamedTensor> tensors = pair_of(kModule);
    tensors[0].values[7] = std::numeric_limits<float>::quiet_NaN();
    const Adapter adapter(write(tensors));
    LowRankReader reader;
    std::vector<float> row(kColumns);
    for (int i = 0; i < 2; ++i) {  // the second time, too
        EXPECT_THROW(reader.add(adapter.products().at(kWeight), 0, row), Error);
    }
}

TEST_F(LoraAdapter, WholeTensors) {
    for (const char* name : {"base_model.model.model.norm.weight", "model.norm.modules_to_save.weight",
                             "model.norm.modules_to_save.default.weight", "model.norm.base_layer.weight"}) {
        const Adapter adapter(write({factor(name, {1, 4}, 1)}));
        EXPECT_TRUE(adapter.products().empty());
        ASSERT_EQ(adapter.replacements().count("model.norm.weight"), 1u) << name;
        EXPECT_EQ(adapter.text(), "");
    }
}

TEST_F(LoraAdapter, DifferentRanksAreSaid) {
    std::vector<NamedTensor> tensors = pair_of(kModule);
    tensors.push_back(factor("model.layers.1.mlp.up_proj.lora_A.weight", {5, kColumns}, 1));
    tensors.push_back(factor("model.layers.1.mlp.up_proj.lora_B.weight", {kRows, 5}, 2));
    const Adapter adapter(write(tensors, R"("rank_pattern": {"layers.1.mlp.up_proj": 5})"));
    EXPECT_EQ(adapter.text(), "ranks 3 to 5");
    EXPECT_FLOAT_EQ(adapter.products().at("model.layers.1.mlp.up_proj.weight").scale, 1.2f);
}

TEST_F(LoraAdapter, WhatDoesNotFitIsListed) {
    std::vector<NamedTensor> tensors = pair_of(kModule);
    tensors[1] = factor(tensors[1].name, {kRows, kRank + 1}, 2);
    tensors.push_back(factor("model.layers.1.mlp.up_proj.lora_A.weight", {kRank, kColumns}, 1));
    write(tensors);
    const std::string message = refusal(ErrorKind::Input);
    EXPECT_THAT(message, HasSubstr("[3, 70] and [6, 4], which is not rank 3"));
    EXPECT_THAT(message, HasSubstr("'model.layers.1.mlp.up_proj' has one of its two factors only"));
}

TEST_F(LoraAdapter, TheSameWeightTwiceUnderTwoNames) {
    std::vector<NamedTensor> tensors = pair_of(kModule);
    tensors.push_back(factor("base_model.model." + tensors[0].name, {kRank, kColumns}, 1));
    write(tensors);
    EXPECT_THAT(refusal(ErrorKind::Input), HasSubstr("stands a second time"));
}

TEST_F(LoraAdapter, WhatIsNoProduct) {
    write({factor(std::string(kModule) + ".lora_magnitude_vector", {1, kRows}, 1)});
    EXPECT_THAT(refusal(ErrorKind::Unsupported), HasSubstr("lora_magnitude_vector"));
    write({factor(std::string(kModule) + ".lora_B.bias", {1, kRows}, 1)});
    EXPECT_THAT(refusal(ErrorKind::Unsupported), HasSubstr("lora_B.bias"));
}

TEST_F(LoraAdapter, FoldersThatAreNone) {
    EXPECT_THAT(refusal(ErrorKind::Input), HasSubstr("it is not a directory"));
    write(pair_of(kModule));
    fs::remove(folder_ / "adapter_model.safetensors");
    EXPECT_THAT(refusal(ErrorKind::Input), HasSubstr("adapter_model.safetensors"));
    std::ofstream(folder_ / "adapter_model.bin") << "pickle";
    EXPECT_THAT(refusal(ErrorKind::Unsupported), HasSubstr("is a pickle"));
    fs::rename(folder_ / "adapter_config.json", folder_ / "config.json");
    EXPECT_THAT(refusal(ErrorKind::Input), HasSubstr("this is a checkpoint, not an adapter"));
    write({});
    EXPECT_THAT(refusal(ErrorKind::Input), HasSubstr("holds no tensors"));
}

}  // namespace
}  // namespace deltavino::checkpoint
