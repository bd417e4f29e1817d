// Formats of known templates, and what is made of others. Rendering is compared with jinja2 in
// tests/e2e/test_chat_format.py.
#include "runtime/chat/template.hpp"

#include "base/file.hpp"

#include <gtest/gtest.h>

namespace deltavino::runtime {
namespace {

TEST(ChatFormat, OfTheBundledExampleIsKnown) {
    const std::string text =
        read_text_file(std::filesystem::path(DELTAVINO_SOURCE_DIR) / "examples" / "kjv-tiny" / "chat_template.jinja");
    const ChatFormat format = ChatFormat::of_template(text);
    EXPECT_TRUE(format.known);
    EXPECT_FALSE(format.trims);
    EXPECT_FALSE(format.thinks_by_default);
    EXPECT_TRUE(ChatFormat::of_template("\n  " + text + "\r\n").known);  // white space around tags means nothing
    EXPECT_FALSE(ChatFormat::of_template(text + "x").known);
}

TEST(ChatFormat, OfOtherTemplatesIsGuessedByWhatTheyMention) {
    const ChatFormat large = ChatFormat::of_template(
        R"({{ m.content|trim }}{% set c = c.split('</think>')[-1] %}{% if add_generation_prompt %}{% if enable_thinking is false %}{{ '<think>\n\n</think>\n\n' }}{% else %}{{ '<think>\n' }}{% endif %}{% endif %})");
    EXPECT_FALSE(large.known);
    EXPECT_TRUE(large.trims);
    EXPECT_TRUE(large.drops_thinking);
    EXPECT_TRUE(large.thinks_by_default);
    const ChatFormat small = ChatFormat::of_template(
        R"({% if add_generation_prompt %}{% if enable_thinking is true %}{{ '<think>\n' }}{% else %}{{ '<think>\n\n</think>\n\n' }}{% endif %}{% endif %})");
    EXPECT_FALSE(small.trims);
    EXPECT_FALSE(small.drops_thinking);
    EXPECT_FALSE(small.thinks_by_default);
    const ChatFormat plain =
        ChatFormat::of_template("{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}");
    EXPECT_FALSE(plain.thinks_by_default);
    EXPECT_EQ(render_generation_prompt(plain, true), "<|im_start|>assistant\n");
    EXPECT_EQ(render_generation_prompt(plain, false), "<|im_start|>assistant\n");
}

TEST(RenderMessage, PutsPicturesBeforeTheText) {
    EXPECT_EQ(render_message(ChatFormat(), {Role::User, " what? ", 2}),
              "<|im_start|>user\n<|vision_start|><|image_pad|><|vision_end|><|vision_start|><|image_pad|><|vision_end|>"
              " what?<|im_end|>\n");
    ChatFormat exact;
    exact.trims = false;
    EXPECT_EQ(render_message(exact, {Role::System, " a\n", 0}), "<|im_start|>system\n a\n<|im_end|>\n");
}

TEST(RenderGenerationPrompt, OpensWithOrWithoutThinking) {
    EXPECT_EQ(render_generation_prompt(ChatFormat(), std::nullopt), "<|im_start|>assistant\n<think>\n");
    EXPECT_EQ(render_generation_prompt(ChatFormat(), false), "<|im_start|>assistant\n<think>\n\n</think>\n\n");
    ChatFormat quiet;
    quiet.thinks_by_default = false;
    EXPECT_EQ(render_generation_prompt(quiet, std::nullopt), "<|im_start|>assistant\n<think>\n\n</think>\n\n");
    EXPECT_EQ(render_generation_prompt(quiet, true), "<|im_start|>assistant\n<think>\n");
}

TEST(AnswerWithoutThinking, IsWhatFollowsTheLastEnd) {
    EXPECT_EQ(answer_without_thinking("so\n</think>\n\n Yes. ", true), " Yes. ");
    EXPECT_EQ(answer_without_thinking("plain", false), "plain");
    EXPECT_EQ(answer_without_thinking("still think", true), "");
    EXPECT_EQ(answer_without_thinking("a</think>b</think>c", true), "c");
}

TEST(Strip, TakesWhatPythonTakes) {
    EXPECT_EQ(strip(" \t\n\v\f\r\x1c\x1d\x1e\x1f"
                    "a b"
                    "\xc2\xa0\xc2\x85\xe3\x80\x80\xe2\x80\xa8"),
              "a b");
    EXPECT_EQ(strip("\xe2\x80\x8b"
                    "a"),
              "\xe2\x80\x8b"
              "a");  // the zero-width space is none
    EXPECT_EQ(strip(" \n "), "");
}

}  // namespace
}  // namespace deltavino::runtime
