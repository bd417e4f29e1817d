#include "runtime/generation.hpp"

#include <deltavino/error.hpp>

#include <gtest/gtest.h>

namespace deltavino::runtime {
namespace {

// How many pieces are taken until a string ends, 0 when none does.
std::size_t stops_after(std::vector<std::string> strings, std::string_view prompt,
                        const std::vector<std::string>& pieces) {
    StopStrings stops(std::move(strings), prompt);
    for (std::size_t i = 0; i < pieces.size(); ++i) {
        if (stops.ends_in(pieces[i])) {
            return i + 1;
        }
    }
    return 0;
}

TEST(StopStrings, EndWhereTheStringIsWhole) {
    EXPECT_EQ(stops_after({"end"}, "", {"the ", "e", "n", "d", "!"}), 4u);
    EXPECT_EQ(stops_after({"end"}, "", {"bending"}), 1u);  // the last token may go on behind it
    EXPECT_EQ(stops_after({"end", "en"}, "", {"e", "n"}), 2u);
    EXPECT_EQ(stops_after({"end"}, "", {"e n d"}), 0u);
    EXPECT_EQ(stops_after({}, "", {"end"}), 0u);
}

TEST(StopStrings, MayBeginInThePromptButNotEndThere) {
    EXPECT_EQ(stops_after({"end"}, "the end", {" of", " it"}), 0u);
    EXPECT_EQ(stops_after({"end of"}, "the end", {" of", " it"}), 1u);
    EXPECT_EQ(stops_after({"end"}, "the end", {"", ""}), 0u);
}

TEST(GenerationPlan, OptionsComeBeforeTheFile) {
    GenerationDefaults defaults;
    defaults.temperature = 0.5;
    defaults.max_new_tokens = 9;
    defaults.logits.presence_penalty = 1.5;
    defaults.logits.min_length = 4;
    defaults.stop_strings = {"file"};
    GenerationPlan plan = plan_generation({}, defaults);
    EXPECT_FALSE(plan.sampling.sample);
    EXPECT_EQ(plan.sampling.temperature, 0.5);
    EXPECT_EQ(plan.max_new_tokens, 9u);
    EXPECT_EQ(plan.sampling.logits.presence_penalty, 1.5);
    EXPECT_EQ(plan.stop_strings, (std::vector<std::string>{"file"}));
    GenerateOptions options;
    options.min_p = 0.1;
    options.max_new_tokens = 3;
    options.presence_penalty = 0.0;
    options.stop_strings = {"option"};
    plan = plan_generation(options, defaults);
    EXPECT_TRUE(plan.sampling.sample);
    EXPECT_EQ(plan.sampling.min_p, 0.1);
    EXPECT_EQ(plan.max_new_tokens, 3u);
    EXPECT_EQ(plan.sampling.logits.presence_penalty, 0.0);
    EXPECT_EQ(plan.sampling.logits.min_length, 4u);
    EXPECT_EQ(plan.stop_strings, (std::vector<std::string>{"option"}));
}

TEST(GenerationPlan, LengthsOfTransformers) {
    GenerationPlan plan;
    EXPECT_EQ(answer_limit(plan, 1000), kDefaultMaxNewTokens);
    plan.max_length = 12;
    EXPECT_EQ(answer_limit(plan, 5), 7u);
    EXPECT_THROW(answer_limit(plan, 12), Error);
    plan.max_new_tokens = 30;
    EXPECT_EQ(answer_limit(plan, 12), 30u);
}

TEST(GenerationPlan, WrongOptionsAreUsageErrors) {
    const auto kind = [](const GenerateOptions& options) {
        try {
            plan_generation(options, {});
        } catch (const Error& error) {
            return error.kind();
        }
        return ErrorKind::Internal;
    };
    GenerateOptions options;
    options.max_new_tokens = 0;
    EXPECT_EQ(kind(options), ErrorKind::Usage);
    options = {};
    options.stop_strings = {""};
    EXPECT_EQ(kind(options), ErrorKind::Usage);
    options = {};
    options.min_p = -1.0;
    EXPECT_EQ(kind(options), ErrorKind::Usage);
}

}  // namespace
}  // namespace deltavino::runtime
