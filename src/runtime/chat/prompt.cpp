#include "runtime/chat/prompt.hpp"

namespace deltavino::runtime {

Prompt message_prompt(const ChatFormat& format, const ChatMessage& message) {
    // The format writes the same around any text: what is more than around none is the text, as the format
    // trims it.
    const std::string rendered = render_message(format, message);
    const std::string frame = render_message(format, {message.role, {}, message.pictures});
    const std::size_t head = frame.rfind("<|im_end|>");
    Prompt prompt;
    prompt.push_back({frame.substr(0, head), true});
    if (rendered.size() > frame.size()) {
        prompt.push_back({rendered.substr(head, rendered.size() - frame.size()), false});
    }
    prompt.push_back({frame.substr(head), true});
    return prompt;
}

Prompt generation_prompt(const ChatFormat& format, std::optional<bool> thinking) {
    return {{render_generation_prompt(format, thinking), true}};
}

std::string text_of(const Prompt& prompt) {
    std::string text;
    for (const TextSegment& piece : prompt) {
        text += piece.text;
    }
    return text;
}

void append(Prompt& prompt, const Prompt& more) {
    prompt.insert(prompt.end(), more.begin(), more.end());
}

}  // namespace deltavino::runtime
