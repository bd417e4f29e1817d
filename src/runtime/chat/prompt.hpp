// A prompt in pieces that know where they come from: what the chat format writes, whose control tokens
// are tokens, and what a user or the model said, where the same spelling is text.
#pragma once

#include "runtime/chat/template.hpp"

#include <optional>
#include <string>
#include <vector>

namespace deltavino::runtime {

struct TextSegment {
    std::string text;
    bool is_control = false;  // written by the chat format
};
using Prompt = std::vector<TextSegment>;

// One turn, closed, as render_message() writes it. Only a user's turn has pictures.
Prompt message_prompt(const ChatFormat& format, const ChatMessage& message);

// What opens the answer, as render_generation_prompt() writes it.
Prompt generation_prompt(const ChatFormat& format, std::optional<bool> thinking);

// The pieces one after another.
std::string text_of(const Prompt& prompt);

void append(Prompt& prompt, const Prompt& more);

}  // namespace deltavino::runtime
