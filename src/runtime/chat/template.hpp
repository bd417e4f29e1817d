// The Qwen chat format: turns between <|im_start|> and <|im_end|>, pictures as placeholders.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace deltavino::runtime {

inline constexpr const char* kVisionStart = "<|vision_start|>";
inline constexpr const char* kVisionEnd = "<|vision_end|>";
inline constexpr const char* kImagePad = "<|image_pad|>";
inline constexpr const char* kVideoPad = "<|video_pad|>";

// How the members of the family differ in what their templates write for plain turns (no tools).
struct ChatFormat {
    bool known = false;                         // the checkpoint's template is one that this format was compared with
    bool trims = true;                          // white space around each text is left out
    bool drops_thinking = true;                 // an earlier answer is written without what stands before its </think>
    bool thinks_by_default = true;              // when the caller does not say
    std::string thinking_prompt = "<think>\n";  // opens an answer with thinking
    std::string answer_prompt = "<think>\n\n</think>\n\n";  // opens an answer without it

    // `text`: a checkpoint's Jinja template. One that is not known gives the nearest format by what it
    // mentions, with `known` false.
    static ChatFormat of_template(std::string_view text);
};

enum class Role { System, User, Assistant };

struct ChatMessage {
    Role role = Role::User;
    std::string text;
    std::size_t pictures = 0;  // before the text
};

// One turn, closed. An assistant's turn is written as one that a later question follows.
std::string render_message(const ChatFormat& format, const ChatMessage& message);

// What opens the answer. `thinking`: empty takes the template's default.
std::string render_generation_prompt(const ChatFormat& format, std::optional<bool> thinking);

// The part of a generated text that is the answer. `opened`: the prompt ended inside a thinking block.
std::string answer_without_thinking(std::string_view generated, bool opened);

// A number that stands for a template's text without its white space.
std::uint64_t template_fingerprint(std::string_view text);

// Without white space at both ends, as Python's strip() sees white space in UTF-8 text.
std::string_view strip(std::string_view text);

}  // namespace deltavino::runtime
