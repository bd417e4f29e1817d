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

// The first 'name'; an apostrophe within a word is none.
std::string_view first_quoted(std::string_view text) {
    for (std::size_t begin = text.find('\''); begin != kNone; begin = text.find('\'', begin + 1)) {
        if (begin > 0 && is_letter(text[begin - 1])) {
            continue;
        }
        std::size_t end = text.find('\'', begin + 1);
        while (end != kNone && end + 1 < text.size() && is_letter(text[end + 1])) {
            end = text.find('\'', end + 1);
        }
        return end == kNone ? std::string_view() : text.substr(begin + 1, end - begin - 1);
    }
    return {};
}

std::string_view unquoted(std::string_view text) {
    const bool quoted = text.size() >= 2 && text.front() == '\'' && text.back() == '\'';
    return quoted && text.find('\'', 1) == text.size() - 1 ? text.substr(1, text.size() - 2) : text;
}

// "... has shape [16], expected [32]" -> "[16]"
std::string_view found_before(std::string_view text, std::size_t expected) {
    constexpr std::array<std::string_view, 8> kVerbs{" has shape ", " has type ", " has ",  " is ",
                                                     " holds ",     " are ",      " says ", " found "};
    const std::string_view before = text.substr(0, expected);
    std::size_t begin = kNone;
    for (const std::string_view verb : kVerbs) {
        const std::size_t at = before.rfind(verb);
        if (at != kNone && (begin == kNone || at + verb.size() > begin)) {
            begin = at + verb.size();
        }
    }
    return begin == kNone ? std::string_view() : before.substr(begin);
}

std::string_view hint_of(std::string_view message, std::string_view line) {
    const std::size_t semicolon = line.rfind("; ");
    if (semicolon != kNone) {
        return line.substr(semicolon + 2);
    }
    const std::size_t run = message.rfind("\nrun `");
    return run == kNone ? std::string_view() : message.substr(run + 1);
}

}  // namespace

ErrorParts error_parts(std::string_view message) {
    const std::string_view line = until(message, {"\n"});
    ErrorParts parts;
    parts.object = line.starts_with("--") ? until(line, {" ", "="}) : first_quoted(line);
    constexpr std::string_view kExpected = "expected ";
    constexpr std::string_view kFound = "found ";
    const std::size_t expected = line.find(kExpected);
    if (expected != kNone) {
        const std::string_view rest = line.substr(expected + kExpected.size());
        parts.expected = unquoted(until(rest, {"; ", ", found "}));
        const std::size_t found = rest.find(kFound);
        constexpr std::string_view kComma = ", ";
        if (found != kNone) {
            parts.found = unquoted(until(rest.substr(found + kFound.size()), {"; "}));
        } else if (expected >= kComma.size() && line.substr(expected - kComma.size(), kComma.size()) == kComma) {
            parts.found = unquoted(found_before(line, expected - kComma.size()));
        }
    }
    parts.hint = hint_of(message, line);
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
