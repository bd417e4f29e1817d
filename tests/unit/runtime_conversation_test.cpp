// What a template is told about earlier turns, and what of a prompt the states hold already.
#include "runtime/chat/conversation.hpp"

#include "base/error.hpp"

#include <gtest/gtest.h>

namespace deltavino::runtime {
namespace {

Conversation conversation(const char* text) {
    return Conversation(ChatTemplate::parse(text, "the template"), {{"eos_token", "<end>"}});
}

TEST(SplitAnswer, TakesThinkingApart) {
    const auto expect = [](const char* text, bool thinking, std::optional<std::string> reasoning, const char* content) {
        const AnswerParts parts = split_answer(text, thinking);
        EXPECT_EQ(parts.reasoning, reasoning) << text;
        EXPECT_EQ(parts.content, content) << text;
    };
    expect("so\n</think>\n\n Yes. ", true, "so", " Yes. ");
    expect("plain", false, std::nullopt, "plain");
    expect("still think", true, "still think", "");
    expect("a</think>b</think>c", true, "a", "b</think>c");
    expect("\n<think>\nso\n</think>\n\nYes.", false, "so", "Yes.");
    expect("a </think> b", false, std::nullopt, "a </think> b");  // nothing was opened: it is text
}

TEST(OpensThinking, LooksAtWhatTheTemplateWrote) {
    EXPECT_TRUE(opens_thinking({{"<|im_start|>assistant\n<think>\n", true}}));
    EXPECT_TRUE(opens_thinking({{"a", false}, {"<think>", true}}));
    EXPECT_FALSE(opens_thinking({{"<think>\n\n</think>\n\n", true}}));
    EXPECT_FALSE(opens_thinking({{"x", true}, {"<think>", false}}));
    EXPECT_FALSE(opens_thinking({}));
}

TEST(Conversation, GivesMessagesAsTransformersDoes) {
    Conversation chat = conversation("{{ messages|tojson }}{{ enable_thinking is defined }}{{ eos_token }}");
    chat.begin("Be brief.");
    chat.add({Turn::Role::User, "Why?", 2, std::nullopt});
    chat.add({Turn::Role::Assistant, "So.", 0, "Hm"});
    EXPECT_EQ(text_of(chat.prompt({Turn::Role::User, "And?", 0, std::nullopt}, {std::nullopt})),
              R"([{"role": "system", "content": "Be brief."}, {"role": "user", "content": [{"type": "image"}, )"
              R"({"type": "image"}, {"type": "text", "text": "Why?"}]}, {"role": "assistant", "content": "So.", )"
              R"("reasoning_content": "Hm"}, {"role": "user", "content": "And?"}]False<end>)");
    chat.begin(std::nullopt);
    EXPECT_EQ(text_of(conversation("{{ enable_thinking }}").prompt({}, {false})), "False");
    EXPECT_EQ(text_of(conversation("{{ add_generation_prompt }}").prompt({}, {false}, false)), "False");
}

TEST(Conversation, MarksWhatMessagesBrought) {
    const Conversation chat =
        conversation("{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content|trim }}<|im_end|>\n{% endfor %}");
    const auto segments = chat.prompt({Turn::Role::User, " a<|im_end|> ", 0, std::nullopt}, {std::nullopt});
    ASSERT_EQ(segments.size(), 3u);
    EXPECT_EQ(segments[0].text, "<|im_start|>user\n");
    EXPECT_TRUE(segments[0].control);
    EXPECT_EQ(segments[1].text, "a<|im_end|>");
    EXPECT_FALSE(segments[1].control);
    EXPECT_EQ(segments[2].text, "<|im_end|>\n");
    EXPECT_TRUE(segments[2].control);
}

TEST(Conversation, RefusesTextThatIsNotUtf8) {
    try {
        conversation("x").prompt({Turn::Role::User, "\xff", 0, std::nullopt}, {std::nullopt});
        FAIL();
    } catch (const Error& error) {
        EXPECT_EQ(error.kind(), ErrorKind::Usage);
    }
}

TEST(Conversation, WritesQwensTurnsWithoutATemplate) {
    Conversation chat = conversation(kQwenTemplate);
    chat.begin(" Be brief.\n");
    chat.add({Turn::Role::User, "Why?", 1, std::nullopt});
    chat.add({Turn::Role::Assistant, "So.", 0, "Hm"});
    const Turn question{Turn::Role::User, "And?", 0, std::nullopt};
    const std::string turns =
        "<|im_start|>system\nBe brief.<|im_end|>\n"
        "<|im_start|>user\n<|vision_start|><|image_pad|><|vision_end|>Why?<|im_end|>\n"
        "<|im_start|>assistant\nSo.<|im_end|>\n<|im_start|>user\nAnd?<|im_end|>\n";
    EXPECT_EQ(text_of(chat.prompt(question, {std::nullopt}, false)), turns);
    EXPECT_EQ(text_of(chat.prompt(question, {std::nullopt})), turns + "<|im_start|>assistant\n<think>\n");
    EXPECT_EQ(text_of(chat.prompt(question, {false})), turns + "<|im_start|>assistant\n<think>\n\n</think>\n\n");
}

TEST(TokensToKeep, AreAllOrThoseOfThePlaceOrNone) {
    using Ids = std::vector<std::int64_t>;
    EXPECT_EQ(tokens_to_keep(Ids{1, 2, 3}, 1, Ids{1, 2, 3, 4}), 3u);
    EXPECT_EQ(tokens_to_keep(Ids{1, 2, 3}, 2, Ids{1, 2, 4, 5}), 2u);
    EXPECT_EQ(tokens_to_keep(Ids{1, 2, 3}, 1, Ids{1, 2, 4, 5}), 1u);
    EXPECT_EQ(tokens_to_keep(Ids{1, 2, 3}, 2, Ids{1, 4, 5}), 0u);
    EXPECT_EQ(tokens_to_keep(Ids{1, 2, 3}, std::nullopt, Ids{1, 2, 4}), 0u);
    EXPECT_EQ(tokens_to_keep(Ids{1, 2, 3}, 2, Ids{1, 2, 3}), 2u);  // one has to be read: its logits are wanted
    EXPECT_EQ(tokens_to_keep(Ids{1, 2}, 2, Ids{1, 2, 3}), 2u);
    EXPECT_EQ(tokens_to_keep(Ids{}, std::nullopt, Ids{1}), 0u);
    EXPECT_EQ(tokens_to_keep(Ids{}, std::nullopt, Ids{}), 0u);
}

}  // namespace
}  // namespace deltavino::runtime
