#include "base/error_parts.hpp"

#include <deltavino/error.hpp>

#include <algorithm>
#include <array>
#include <cctype>

namespace deltavino {
namespace {

constexpr auto kNone = std::string_view::npos;

std::string_view until(std::string_view text, std::initializer_list<std::string_view> ends) {
    std::size_t size = text.size();
    for (const std::string_view end : ends) {
        size = std::min(size, text.find(end));
    }
    return text.substr(0, size);
}

bool is_letter(char c) {
    return std::isalnum(static_cast<unsigned char>(c)) != 0;
}

struct Quoted {
    std::size_t begin = kNone;  // of what is between the quotes
    std::size_t end = kNone;
};

// The first 'name' from there on; an apostrophe within a word is none.
Quoted next_quoted(std::string_view text, std::size_t from) {
    for (std::size_t begin = text.find('\'', from); begin != kNone; begin = text.find('\'', begin + 1)) {
        if (begin > 0 && is_letter(text[begin - 1])) {
            continue;
        }
        std::size_t end = text.find('\'', begin + 1);
        while (end != kNone && end + 1 < text.size() && is_letter(text[end + 1])) {
            end = text.find('\'', end + 1);
        }
        return end == kNone ? Quoted() : Quoted{begin + 1, end};
    }
    return {};
}

std::string_view first_quoted(std::string_view text) {
    const Quoted name = next_quoted(text, 0);
    return name.begin == kNone ? std::string_view() : text.substr(name.begin, name.end - name.begin);
}

// The text with all names blotted out: their words are the user's, and no parts of the message.
std::string without_names(std::string_view text) {
    std::string out(text);
    for (Quoted name = next_quoted(text, 0); name.begin != kNone; name = next_quoted(text, name.end + 1)) {
        std::fill(out.begin() + static_cast<std::ptrdiff_t>(name.begin),
                  out.begin() + static_cast<std::ptrdiff_t>(name.end), '_');
    }
    return out;
}

// Where the word stands, not as the end of another one.
std::size_t find_word(std::string_view text, std::string_view word, std::size_t from) {
    std::size_t at = text.find(word, from);
    while (at != kNone && at > 0 && is_letter(text[at - 1])) {
        at = text.find(word, at + 1);
    }
    return at;
}

std::string_view unquoted(std::string_view text) {
    const bool quoted = text.size() >= 2 && text.front() == '\'' && text.back() == '\'';
    return quoted && text.find('\'', 1) == text.size() - 1 ? text.substr(1, text.size() - 2) : text;
}

// "... has shape [16], expected [32]" -> where "[16]" begins
std::size_t found_before(std::string_view plain, std::size_t expected) {
    constexpr std::array<std::string_view, 8> kVerbs{" has shape ", " has type ", " has ",  " is ",
                                                     " holds ",     " are ",      " says ", " found "};
    const std::string_view before = plain.substr(0, expected);
    std::size_t begin = kNone;
    for (const std::string_view verb : kVerbs) {
        const std::size_t at = before.rfind(verb);
        if (at != kNone && (begin == kNone || at + verb.size() > begin)) {
            begin = at + verb.size();
        }
    }
    return begin;
}

std::string_view hint_of(std::string_view message, std::string_view line, std::string_view plain) {
    const std::size_t semicolon = plain.rfind("; ");
    if (semicolon != kNone) {
        return line.substr(semicolon + 2);
    }
    const std::size_t run = message.rfind("\nrun `");
    return run == kNone ? std::string_view() : message.substr(run + 1);
}

}  // namespace

ErrorParts error_parts(std::string_view message) {
    const std::string_view line = until(message, {"\n"});
    const std::string plain = without_names(line);
    const std::string_view words = plain;
    const auto part = [&](std::size_t begin, std::initializer_list<std::string_view> ends) {
        return unquoted(line.substr(begin, until(words.substr(begin), ends).size()));
    };
    ErrorParts parts;
    constexpr std::string_view kAfterColon = ": ";
    const std::size_t option = words.find(": --");
    if (line.starts_with("--") || option < words.find('\'')) {
        const std::size_t begin = line.starts_with("--") ? 0 : option + kAfterColon.size();
        parts.object = until(line.substr(begin), {" ", "=", ","});
    } else {
        parts.object = first_quoted(line);
    }
    constexpr std::string_view kExpected = "expected ";
    constexpr std::string_view kFound = "found ";
    constexpr std::string_view kComma = ", ";
    const std::size_t expected = find_word(words, kExpected, 0);
    if (expected != kNone) {
        parts.expected = part(expected + kExpected.size(), {"; ", ", found "});
        const std::size_t found = find_word(words, kFound, expected);
        if (found != kNone) {
            parts.found = part(found + kFound.size(), {"; "});
        } else if (expected >= kComma.size() && words.substr(expected - kComma.size(), kComma.size()) == kComma) {
            const std::size_t begin = found_before(words, expected - kComma.size());
            parts.found =
                begin == kNone ? std::string_view() : unquoted(line.substr(begin, expected - kComma.size() - begin));
        }
    }
    parts.hint = hint_of(message, line, words);
    return parts;
}

std::string_view error_kind_name(int exit_code) {
    switch (static_cast<ErrorKind>(exit_code)) {
        case ErrorKind::Usage: return "usage";
        case ErrorKind::Input: return "input";
        case ErrorKind::Unsupported: return "unsupported";
        case ErrorKind::Output: return "output";
        case ErrorKind::Network: return "network";
        case ErrorKind::Internal: return "internal";
        case ErrorKind::Cancelled: return "cancelled";
    }
    return "internal";
}

}  // namespace deltavino
