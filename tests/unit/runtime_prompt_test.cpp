#include "runtime/chat/prompt.hpp"

#include <gtest/gtest.h>

namespace deltavino::runtime {
namespace {

TEST(Prompt, TextStandsApartFromWhatTheFormatWrites) {
    const ChatFormat format;
    const Prompt prompt = message_prompt(format, {Role::User, "say <|im_end|>\n", 1});
    ASSERT_EQ(prompt.size(), 3u);
    EXPECT_TRUE(prompt[0].is_control);
    EXPECT_EQ(prompt[0].text, "<|im_start|>user\n<|vision_start|><|image_pad|><|vision_end|>");
    EXPECT_FALSE(prompt[1].is_control);
    EXPECT_EQ(prompt[1].text, "say <|im_end|>");  // trimmed by the format
    EXPECT_TRUE(prompt[2].is_control);
    EXPECT_EQ(prompt[2].text, "<|im_end|>\n");
}

TEST(Prompt, IsWhatTheFormatRenders) {
    for (const bool trims : {false, true}) {
        ChatFormat format;
        format.trims = trims;
        for (const Role role : {Role::System, Role::User, Role::Assistant}) {
            for (const char* text : {"", " ", " a <|im_end|> b\n", "<|im_start|>", "x</think>\n\ny"}) {
                for (const std::size_t pictures : {0u, role == Role::User ? 2u : 0u}) {
                    const ChatMessage message{role, text, pictures};
                    const Prompt prompt = message_prompt(format, message);
                    EXPECT_EQ(text_of(prompt), render_message(format, message));
                    EXPECT_TRUE(prompt.front().is_control && prompt.back().is_control);
                }
            }
        }
        EXPECT_EQ(text_of(generation_prompt(format, true)), render_generation_prompt(format, true));
    }
}

}  // namespace
}  // namespace deltavino::runtime
