// Ground truth: Unicode's canonical ordering and composition (UAX 15), from utf8proc's tables.
#include "tokenizer/normalization.hpp"

#include "base/error.hpp"
#include "base/unicode.hpp"

#include <algorithm>
#include <map>
#include <set>
#include <vector>

namespace deltavino::tokenizer {
namespace {

using Characters = std::vector<char32_t>;

constexpr char32_t kEnd = 0x110000;

bool is_surrogate(char32_t character) {
    return character >= 0xD800 && character < 0xE000;
}

// "[a-cx]"; `characters` in rising order.
std::string one_of(const Characters& characters) {
    std::string text = "[";
    for (std::size_t i = 0; i < characters.size();) {
        std::size_t last = i;
        while (last + 1 < characters.size() && characters[last + 1] == characters[last] + 1) {
            ++last;
        }
        text += utf8(characters[i]);
        if (last > i) {
            text += (last > i + 1 ? "-" : "") + utf8(characters[last]);
        }
        i = last + 1;
    }
    return text + "]";
}

std::map<int, Characters> marks_by_class() {
    std::map<int, Characters> marks;
    for (char32_t c = 1; c < kEnd; ++c) {
        const int combining = is_surrogate(c) ? 0 : combining_class(c);
        if (combining > 0) {
            marks[combining].push_back(c);
        }
    }
    return marks;
}

char32_t last_character(const std::string& text, std::size_t& begin) {
    begin = text.size() - 1;
    while ((static_cast<unsigned char>(text[begin]) & 0xC0) == 0x80) {
        --begin;
    }
    const auto byte = [&](std::size_t i) {
        return static_cast<unsigned char>(text[i]);
    };
    const std::size_t size = text.size() - begin;
    char32_t character = size == 1 ? byte(begin) : byte(begin) & (0xFFu >> (size + 1));
    for (std::size_t i = begin + 1; i < text.size(); ++i) {
        character = character << 6 | (byte(i) & 0x3Fu);
    }
    return character;
}

// What composes: a decomposed beginning and the marks that it takes.
std::map<std::string, std::set<char32_t>> composing_marks() {
    std::map<std::string, std::set<char32_t>> composing;
    for (char32_t c = 0xC0; c < kEnd; ++c) {
        if (is_surrogate(c) || (c >= 0xAC00 && c < 0xD7A4) || !decomposes(c)) {
            continue;
        }
        const std::string text = utf8(c);
        const std::string parts = normalized(text, "nfd");
        if (parts == text || normalized(parts, "nfc") != text) {
            continue;
        }
        std::size_t begin = 0;
        const char32_t mark = last_character(parts, begin);
        if (begin > 0 && combining_class(mark) > 0) {
            composing[parts.substr(0, begin)].insert(mark);
        }
    }
    return composing;
}

// Marks that may stand between a beginning and `mark`: of lower classes, and not themselves taken by the beginning;
// behind a mark of the same class even those that it would take.
std::string between(const std::map<int, Characters>& marks, const std::set<char32_t>& taken, char32_t mark) {
    Characters plain;
    std::string others;
    for (const auto& [combining, characters] : marks) {
        if (combining >= combining_class(mark)) {
            break;
        }
        Characters free;
        std::copy_if(characters.begin(), characters.end(), std::back_inserter(free),
                     [&](char32_t c) { return !taken.contains(c); });
        if (free.size() == characters.size()) {
            plain.insert(plain.end(), free.begin(), free.end());
        } else if (!free.empty()) {
            others += "|" + one_of(free) + one_of(characters) + "*";
        }
    }
    std::sort(plain.begin(), plain.end());
    return plain.empty() && others.empty() ? "" : "((?:" + one_of(plain) + others + ")+)";
}

}  // namespace

Rewriting reorder_marks() {
    const std::map<int, Characters> marks = marks_by_class();
    std::string alternatives;
    for (auto lowest = marks.begin(); std::next(lowest) != marks.end(); ++lowest) {
        Characters higher;
        for (auto other = std::next(lowest); other != marks.end(); ++other) {
            higher.insert(higher.end(), other->second.begin(), other->second.end());
        }
        std::sort(higher.begin(), higher.end());
        alternatives +=
            fmt::format("{}({}+)({}+)", alternatives.empty() ? "" : "|", one_of(higher), one_of(lowest->second));
    }
    // Two marks side by side: almost every place of a text is passed over here.
    return {R"((?=\p{M}\p{M})(?|)" + alternatives + ")", "$2$1"};
}

Rewriting gather_composing_marks() {
    const std::map<int, Characters> marks = marks_by_class();
    const std::map<std::string, std::set<char32_t>> composing = composing_marks();
    // Beginnings with the same marks in between share an alternative.
    std::map<std::pair<char32_t, std::set<char32_t>>, std::vector<std::string>> beginnings;
    for (const auto& [beginning, taken] : composing) {
        for (const char32_t mark : taken) {
            std::set<char32_t> lower;
            std::copy_if(taken.begin(), taken.end(), std::inserter(lower, lower.end()),
                         [&](char32_t c) { return combining_class(c) < combining_class(mark); });
            beginnings[{mark, lower}].push_back(beginning);
        }
    }
    std::string alternatives;
    for (const auto& [key, texts] : beginnings) {
        const std::string gap = between(marks, key.second, key.first);
        if (gap.empty()) {
            continue;
        }
        Characters single;
        std::string longer;
        for (const std::string& text : texts) {
            std::size_t begin = 0;
            const char32_t last = last_character(text, begin);
            if (begin == 0) {
                single.push_back(last);
            } else {
                longer += (longer.empty() ? "" : "|") + text;
            }
        }
        std::sort(single.begin(), single.end());
        const std::string first = single.empty() ? longer : one_of(single) + (longer.empty() ? "" : "|" + longer);
        alternatives += fmt::format("{}({}){}({})", alternatives.empty() ? "" : "|", first, gap, utf8(key.first));
    }
    return {R"((?=(?s:.)\p{M}\p{M})(?|)" + alternatives + ")", "$1$3$2"};
}

}  // namespace deltavino::tokenizer
