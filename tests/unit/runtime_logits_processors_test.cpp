#include "runtime/logits_processors.hpp"

#include "base/file.hpp"
#include "json/document.hpp"
#include "runtime/generation_config.hpp"
#include "support/golden.hpp"

#include <deltavino/error.hpp>

#include <gtest/gtest.h>

#include <cmath>

namespace deltavino::runtime {
namespace {

using Ids = std::vector<std::int64_t>;

std::vector<float> process(std::vector<float> logits, const LogitsSettings& settings, const Ids& prompt,
                           const Ids& answer, const Ids& eos = {}) {
    Ids ids = prompt;
    ids.insert(ids.end(), answer.begin(), answer.end());
    process_logits(logits, settings, {ids, prompt.size()}, eos);
    return logits;
}

// The settings go through the reader of generation_config.json, as they do in a directory.
TEST(LogitsProcessors, GiveTheLogitsOfTransformers) {
    const test::TemporaryDirectory directory;
    const Json golden =
        parse_json(read_text_file(test::golden_directory("logits") / "processors.json"), "processors.json");
    const Ids eos = golden.at("eos").get<Ids>();
    std::size_t forbidden = 0;
    for (const Json& entry : golden.at("cases")) {
        write_text_file(directory.path() / "generation_config.json", entry.at("settings").dump());
        const LogitsSettings settings = read_generation_defaults(directory.path()).logits;
        const std::vector<float> found = process(entry.at("logits").get<std::vector<float>>(), settings,
                                                 entry.at("prompt").get<Ids>(), entry.at("answer").get<Ids>(), eos);
        const Json& expected = entry.at("expected");
        ASSERT_EQ(found.size(), expected.size());
        for (std::size_t i = 0; i < found.size(); ++i) {
            if (expected[i].is_null()) {
                EXPECT_TRUE(std::isinf(found[i])) << entry.dump() << " token " << i;
                forbidden += 1;
            } else {
                EXPECT_EQ(found[i], expected[i].get<float>()) << entry.dump() << " token " << i;
            }
        }
    }
    EXPECT_EQ(golden.at("cases").size(), 70u);
    EXPECT_GT(forbidden, 50u);
}

// The OpenAI API: mu[j] - c[j] * frequency - (c[j] > 0) * presence, over the answer.
TEST(LogitsProcessors, PresenceAndFrequencyCountTheAnswerOnly) {
    LogitsSettings settings;
    settings.presence_penalty = 1.5;
    EXPECT_EQ(process({1.0f, -1.0f, 2.0f}, settings, {0, 0}, {1, 1, 2}), (std::vector<float>{1.0f, -2.5f, 0.5f}));
    settings.frequency_penalty = 0.25;
    EXPECT_EQ(process({1.0f, -1.0f, 2.0f}, settings, {0, 0}, {1, 1, 2}), (std::vector<float>{1.0f, -3.0f, 0.25f}));
}

TEST(LogitsProcessors, ABiasBeyondTheVocabularyIsAnError) {
    LogitsSettings settings;
    settings.sequence_bias = {{{2, 3}, 1.0f}};
    EXPECT_THROW(process({0.0f, 0.0f, 0.0f}, settings, {0}, {}), Error);
    settings = {};
    settings.bad_words = {{3}};
    EXPECT_THROW(process({0.0f, 0.0f, 0.0f}, settings, {0}, {}), Error);
    settings = {};
    settings.suppress_tokens = {3};
    EXPECT_EQ(process({1.0f}, settings, {0}, {}), (std::vector<float>{1.0f}));
}

TEST(LogitsProcessors, NothingAskedNothingDone) {
    EXPECT_EQ(process({1.0f, -2.0f}, {}, {0, 1}, {1}, {0}), (std::vector<float>{1.0f, -2.0f}));
}

}  // namespace
}  // namespace deltavino::runtime
