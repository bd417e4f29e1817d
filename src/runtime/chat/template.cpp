// Ground truth: the chat templates published with Qwen3.5 and Qwen3.6, for turns without tools, and that
// of examples/kjv-tiny. Not a Jinja engine: templates that are not in the table below are only guessed.
#include "runtime/chat/template.hpp"

#include "base/error.hpp"

#include <algorithm>
#include <array>

namespace deltavino::runtime {
namespace {

constexpr std::string_view kTurnStart = "<|im_start|>";
constexpr std::string_view kTurnEnd = "<|im_end|>\n";
constexpr std::string_view kThinkEnd = "</think>";

struct KnownTemplate {
    std::uint64_t fingerprint;
    bool trims;
    bool drops_thinking;
    bool thinks_by_default;
};
constexpr std::array kKnownTemplates{
    KnownTemplate{0xc6608f4a66bb30ecu, true, true, true},     // Qwen3.5, 4B and larger
    KnownTemplate{0x2773032e73a36317u, true, true, false},    // Qwen3.5, 0.8B and 2B
    KnownTemplate{0x417dbbbd9c37bb8eu, true, true, true},     // Qwen3.6
    KnownTemplate{0x6f13d398c914cfa3u, false, false, false},  // examples/kjv-tiny
};

bool mentions(std::string_view text, std::string_view part) {
    return text.find(part) != std::string_view::npos;
}

// The nearest format of a template that is not known, by what it mentions.
ChatFormat guess(std::string_view text) {
    ChatFormat format;
    format.trims = mentions(text, "|trim") || mentions(text, "| trim");
    format.drops_thinking = mentions(text, "split('</think>')") || mentions(text, "split(\"</think>\")");
    const std::size_t tail_begin = text.rfind("add_generation_prompt");
    const std::string_view tail = tail_begin == std::string_view::npos ? text : text.substr(tail_begin);
    const bool opens = mentions(tail, "<think>\\n'") || mentions(tail, "<think>\\n\"");
    const bool closes = mentions(tail, "<think>\\n\\n</think>\\n\\n");
    if (!opens) {
        format.thinking_prompt.clear();
    }
    if (!closes) {
        format.answer_prompt.clear();
    }
    const bool asks_for_true = mentions(tail, "enable_thinking is true") || mentions(tail, "and enable_thinking %}");
    format.thinks_by_default = opens && !(closes && asks_for_true);
    return format;
}

std::string_view role_name(Role role) {
    switch (role) {
        case Role::System: return "system";
        case Role::User: return "user";
        case Role::Assistant: return "assistant";
    }
    fail(ErrorKind::Internal, "unknown role");
}

std::string_view without_leading_newlines(std::string_view text) {
    const std::size_t begin = text.find_first_not_of('\n');
    return begin == std::string_view::npos ? std::string_view() : text.substr(begin);
}

// The characters beyond ASCII for which Python's str.isspace() holds, in UTF-8.
constexpr std::array<std::string_view, 19> kWideSpaces{
    "\xc2\x85",     "\xc2\xa0",     "\xe1\x9a\x80", "\xe2\x80\x80", "\xe2\x80\x81", "\xe2\x80\x82", "\xe2\x80\x83",
    "\xe2\x80\x84", "\xe2\x80\x85", "\xe2\x80\x86", "\xe2\x80\x87", "\xe2\x80\x88", "\xe2\x80\x89", "\xe2\x80\x8a",
    "\xe2\x80\xa8", "\xe2\x80\xa9", "\xe2\x80\xaf", "\xe2\x81\x9f", "\xe3\x80\x80",
};

bool is_ascii_space(char c) {
    return (c >= '\t' && c <= '\r') || (c >= '\x1c' && c <= ' ');
}

// Length in bytes of the white-space character at the beginning (or end) of `text`, 0 when it is none.
std::size_t space_at_begin(std::string_view text) {
    if (!text.empty() && is_ascii_space(text.front())) {
        return 1;
    }
    const auto found = std::find_if(kWideSpaces.begin(), kWideSpaces.end(),
                                    [text](std::string_view space) { return text.starts_with(space); });
    return found == kWideSpaces.end() ? 0 : found->size();
}

std::size_t space_at_end(std::string_view text) {
    if (!text.empty() && is_ascii_space(text.back())) {
        return 1;
    }
    const auto found = std::find_if(kWideSpaces.begin(), kWideSpaces.end(),
                                    [text](std::string_view space) { return text.ends_with(space); });
    return found == kWideSpaces.end() ? 0 : found->size();
}

}  // namespace

std::string_view strip(std::string_view text) {
    while (const std::size_t bytes = space_at_begin(text)) {
        text.remove_prefix(bytes);
    }
    while (const std::size_t bytes = space_at_end(text)) {
        text.remove_suffix(bytes);
    }
    return text;
}

std::uint64_t template_fingerprint(std::string_view text) {
    std::uint64_t hash = 0xcbf29ce484222325u;  // FNV-1a
    for (const char c : text) {
        if (c != ' ' && c != '\t' && c != '\r' && c != '\n') {
            hash = (hash ^ static_cast<unsigned char>(c)) * 0x100000001b3u;
        }
    }
    return hash;
}

ChatFormat ChatFormat::of_template(std::string_view text) {
    const std::uint64_t fingerprint = template_fingerprint(text);
    for (const KnownTemplate& row : kKnownTemplates) {
        if (row.fingerprint == fingerprint) {
            ChatFormat format;
            format.known = true;
            format.trims = row.trims;
            format.drops_thinking = row.drops_thinking;
            format.thinks_by_default = row.thinks_by_default;
            return format;
        }
    }
    return guess(text);
}

std::string render_message(const ChatFormat& format, const ChatMessage& message) {
    std::string content;
    for (std::size_t i = 0; i < message.pictures; ++i) {
        content += std::string(kVisionStart) + kImagePad + kVisionEnd;
    }
    content += message.text;
    std::string_view text = format.trims ? strip(content) : std::string_view(content);
    if (message.role == Role::Assistant && format.drops_thinking) {
        const std::size_t end = text.rfind(kThinkEnd);
        if (end != std::string_view::npos) {
            text = without_leading_newlines(text.substr(end + kThinkEnd.size()));
        }
    }
    return fmt::format("{}{}\n{}{}", kTurnStart, role_name(message.role), text, kTurnEnd);
}

std::string render_generation_prompt(const ChatFormat& format, std::optional<bool> thinking) {
    const bool think = thinking.value_or(format.thinks_by_default);
    return fmt::format("{}assistant\n{}", kTurnStart, think ? format.thinking_prompt : format.answer_prompt);
}

std::string answer_without_thinking(std::string_view generated, bool opened) {
    const std::size_t end = generated.rfind(kThinkEnd);
    if (end != std::string_view::npos) {
        return std::string(without_leading_newlines(generated.substr(end + kThinkEnd.size())));
    }
    return opened ? std::string() : std::string(generated);  // cut short while thinking: there is no answer yet
}

}  // namespace deltavino::runtime
