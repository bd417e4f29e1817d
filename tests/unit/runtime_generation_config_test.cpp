#include "runtime/generation_config.hpp"

#include "base/file.hpp"
#include "support/golden.hpp"

#include <deltavino/error.hpp>

#include <gtest/gtest.h>

namespace deltavino::runtime {
namespace {

class GenerationConfig : public testing::Test {
protected:
    GenerationDefaults read(const std::string& text) {
        write_text_file(directory_.path() / "generation_config.json", text);
        return read_generation_defaults(directory_.path());
    }
    // The message of the error that the text must cause.
    std::string message(const std::string& text) {
        try {
            read(text);
        } catch (const Error& error) {
            EXPECT_EQ(error.kind(), ErrorKind::Input) << error.what();
            return error.what();
        }
        ADD_FAILURE() << "nothing was thrown for " << text;
        return {};
    }
    const std::filesystem::path& path() const { return directory_.path(); }

private:
    test::TemporaryDirectory directory_;
};

bool contains(const std::string& text, const std::string& part) {
    return text.find(part) != std::string::npos;
}

TEST_F(GenerationConfig, AnAbsentFileSaysNothing) {
    const GenerationDefaults defaults = read_generation_defaults(path());
    EXPECT_TRUE(defaults.eos_ids.empty());
    EXPECT_FALSE(defaults.do_sample);
    EXPECT_FALSE(defaults.temperature);
    EXPECT_TRUE(defaults.ignored.empty());
}

TEST_F(GenerationConfig, SamplingIsRead) {
    const GenerationDefaults defaults = read(
        R"({"eos_token_id": [5, 3], "do_sample": true, "temperature": 0.6, "top_k": 20, "top_p": 0.95, "min_p": 0.1,
        "repetition_penalty": 1, "max_new_tokens": 100, "max_length": 120, "pad_token_id": null})");
    EXPECT_EQ(defaults.eos_ids, (std::vector<std::int64_t>{5, 3}));
    EXPECT_TRUE(defaults.do_sample);
    EXPECT_EQ(defaults.temperature, 0.6);
    EXPECT_EQ(defaults.top_k, 20u);
    EXPECT_EQ(defaults.top_p, 0.95);
    EXPECT_EQ(defaults.min_p, 0.1);
    EXPECT_EQ(defaults.logits.repetition_penalty, 1.0);
    EXPECT_EQ(defaults.max_new_tokens, 100u);
    EXPECT_EQ(defaults.max_length, 120u);
    EXPECT_TRUE(defaults.ignored.empty());
}

TEST_F(GenerationConfig, WhatChangesLogitsIsRead) {
    const LogitsSettings logits = read(R"({"suppress_tokens": [1, 2], "begin_suppress_tokens": [3],
        "bad_words_ids": [[4], [5, 6]], "sequence_bias": [[[7, 8], -1.5], [[9], 2]], "repetition_penalty": 1.5,
        "encoder_repetition_penalty": 1.25, "presence_penalty": 1.5, "frequency_penalty": -0.5,
        "no_repeat_ngram_size": 3, "encoder_no_repeat_ngram_size": 4, "min_length": 5, "min_new_tokens": 6})")
                                      .logits;
    EXPECT_EQ(logits.suppress_tokens, (std::vector<std::int64_t>{1, 2}));
    EXPECT_EQ(logits.begin_suppress_tokens, (std::vector<std::int64_t>{3}));
    EXPECT_EQ(logits.bad_words, (std::vector<std::vector<std::int64_t>>{{4}, {5, 6}}));
    EXPECT_EQ(logits.sequence_bias, (std::map<std::vector<std::int64_t>, float>{{{7, 8}, -1.5f}, {{9}, 2.0f}}));
    EXPECT_EQ(logits.repetition_penalty, 1.5);
    EXPECT_EQ(logits.encoder_repetition_penalty, 1.25);
    EXPECT_EQ(logits.presence_penalty, 1.5);
    EXPECT_EQ(logits.frequency_penalty, -0.5);
    EXPECT_EQ(logits.no_repeat_ngram_size, 3u);
    EXPECT_EQ(logits.encoder_no_repeat_ngram_size, 4u);
    EXPECT_EQ(logits.min_length, 5u);
    EXPECT_EQ(logits.min_new_tokens, 6u);
}

TEST_F(GenerationConfig, OneValueNeedsNoList) {
    const GenerationDefaults defaults = read(R"({"eos_token_id": 7, "stop_strings": "end"})");
    EXPECT_EQ(defaults.eos_ids, (std::vector<std::int64_t>{7}));
    EXPECT_EQ(defaults.stop_strings, (std::vector<std::string>{"end"}));
    EXPECT_EQ(read(R"({"stop_strings": ["a", "b"]})").stop_strings, (std::vector<std::string>{"a", "b"}));
}

TEST_F(GenerationConfig, WhatIsNotDoneIsNamed) {
    EXPECT_EQ(read(R"({"num_beams": 4, "typical_p": 0.9, "watermarking_config": {"bias": 2.0}})").ignored,
              (std::vector<std::string>{"'num_beams' 4", "'typical_p' 0.9", "'watermarking_config' {\"bias\":2.0}"}));
    EXPECT_TRUE(read(R"({"num_beams": 1, "num_beam_groups": 1, "diversity_penalty": 0.0, "num_return_sequences": 1,
        "typical_p": 1.0, "epsilon_cutoff": 0.0, "eta_cutoff": 0, "guidance_scale": null, "remove_invalid_values": false,
        "use_cache": true, "length_penalty": 2.0, "transformers_version": "5.2.0"})")
                    .ignored.empty());
}

TEST_F(GenerationConfig, EverythingWrongIsNamedAtOnce) {
    const std::string all = message(R"({"temperature": "hot", "top_k": -1, "eos_token_id": ["</s>"],
        "bad_words_ids": [5], "sequence_bias": {"5": 1.0}, "stop_strings": [""], "repetition_penalty": 0})");
    for (const char* part :
         {"generation_config.json'", "7 problems", "/temperature is \"hot\", expected a number from 0", "/top_k is -1",
          "/eos_token_id is", "/bad_words_ids is [5]", "/sequence_bias is", "/stop_strings is",
          "/repetition_penalty is 0"}) {
        EXPECT_TRUE(contains(all, part)) << part << " in " << all;
    }
}

TEST_F(GenerationConfig, IdsAndCountsAreBounded) {
    for (const char* text : {R"({"eos_token_id": -1})", R"({"eos_token_id": 18446744073709551615})",
                             R"({"suppress_tokens": [9223372036854775808]})", R"({"bad_words_ids": [[4294967296]]})",
                             R"({"bad_words_ids": [[]]})", R"({"sequence_bias": [[[-1], 1.0]]})",
                             R"({"max_new_tokens": 18446744073709551615})", R"({"max_new_tokens": 0})",
                             R"({"min_length": 1e30})", R"({"no_repeat_ngram_size": 2.5})", R"({"top_p": 0})"}) {
        EXPECT_TRUE(contains(message(text), "generation_config.json")) << text;
    }
}

TEST_F(GenerationConfig, AFileThatIsNoObjectIsAnError) {
    EXPECT_TRUE(contains(message("[]"), "expected a JSON object"));
    EXPECT_TRUE(contains(message("{"), "generation_config.json"));
}

}  // namespace
}  // namespace deltavino::runtime
