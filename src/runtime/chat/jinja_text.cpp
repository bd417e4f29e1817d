// Ground truth: CPython's unicodeobject.c for what each method does with white space and limits.
#include "runtime/chat/jinja_text.hpp"

#include "runtime/chat/jinja_case.hpp"

#include <algorithm>
#include <array>
#include <cstdint>
#include <vector>

namespace deltavino::runtime::jinja {
namespace {

constexpr std::size_t kShort = 32;  // a plain search for this costs at most as many comparisons a byte

// Where `needle` begins, `end` when it is nowhere: Knuth, Morris and Pratt. The searchers of the standard library
// take time in the product of the lengths for some needles.
template <typename Iterator>
Iterator search_linear(Iterator begin, Iterator end, Iterator needle, std::size_t size) {
    using Offset = std::ptrdiff_t;
    if (end - begin < static_cast<Offset>(size)) {
        return end;
    }
    // The length of the longest end of needle[0..i] that the needle begins with, less than i + 1.
    std::vector<std::uint32_t> border(size, 0);
    for (std::size_t i = 1, matched = 0; i < size; ++i) {
        while (matched > 0 && needle[static_cast<Offset>(i)] != needle[static_cast<Offset>(matched)]) {
            matched = border[matched - 1];
        }
        matched += needle[static_cast<Offset>(i)] == needle[static_cast<Offset>(matched)] ? 1 : 0;
        border[i] = static_cast<std::uint32_t>(matched);
    }
    std::size_t matched = 0;
    for (Iterator at = begin; at != end; ++at) {
        while (matched > 0 && *at != needle[static_cast<Offset>(matched)]) {
            matched = border[matched - 1];
        }
        matched += *at == needle[static_cast<Offset>(matched)] ? 1 : 0;
        if (matched == size) {
            return at - static_cast<Offset>(size - 1);
        }
    }
    return end;
}

// The characters beyond ASCII for which str.isspace() holds.
constexpr std::array<std::string_view, 19> kWideSpaces{
    "\xc2\x85",     "\xc2\xa0",     "\xe1\x9a\x80", "\xe2\x80\x80", "\xe2\x80\x81", "\xe2\x80\x82", "\xe2\x80\x83",
    "\xe2\x80\x84", "\xe2\x80\x85", "\xe2\x80\x86", "\xe2\x80\x87", "\xe2\x80\x88", "\xe2\x80\x89", "\xe2\x80\x8a",
    "\xe2\x80\xa8", "\xe2\x80\xa9", "\xe2\x80\xaf", "\xe2\x81\x9f", "\xe3\x80\x80",
};

bool is_ascii_space(char c) {
    return (c >= '\t' && c <= '\r') || (c >= '\x1c' && c <= ' ');
}

bool is_continuation(char c) {
    return (static_cast<unsigned char>(c) & 0xc0) == 0x80;
}

std::size_t last_code_point_bytes(std::string_view text) {
    std::size_t bytes = 1;
    while (bytes < text.size() && is_continuation(text[text.size() - bytes])) {
        bytes += 1;
    }
    return bytes;
}

// Bytes of a line break at `at`, 0 when there is none; \r\n is one.
std::size_t line_break(std::string_view text, std::size_t at) {
    const std::string_view rest = text.substr(at);
    if (rest.starts_with("\r\n")) {
        return 2;
    }
    const char c = rest.front();
    if ((c >= '\n' && c <= '\r') || (c >= '\x1c' && c <= '\x1e')) {
        return 1;
    }
    for (const std::string_view wide : {"\xc2\x85", "\xe2\x80\xa8", "\xe2\x80\xa9"}) {
        if (rest.starts_with(wide)) {
            return wide.size();
        }
    }
    return 0;
}

}  // namespace

Text::Text(std::string bytes, bool untrusted) : bytes_(std::move(bytes)) {
    if (untrusted && !bytes_.empty()) {
        untrusted_.push_back({0, bytes_.size()});
    }
}

void Text::append(std::string_view piece, bool untrusted) {
    if (piece.empty()) {
        return;
    }
    const std::size_t begin = bytes_.size();
    bytes_ += piece;
    if (!untrusted) {
        return;
    }
    if (!untrusted_.empty() && untrusted_.back().end == begin) {
        untrusted_.back().end = bytes_.size();
    } else {
        untrusted_.push_back({begin, bytes_.size()});
    }
}

void Text::append(const Text& other, std::size_t begin, std::size_t end) {
    const std::size_t shift = bytes_.size();
    bytes_.append(other.bytes_, begin, end - begin);
    auto range = std::lower_bound(other.untrusted_.begin(), other.untrusted_.end(), begin,
                                  [](const ByteRange& r, std::size_t at) { return r.end <= at; });
    for (; range != other.untrusted_.end() && range->begin < end; ++range) {
        const ByteRange moved{std::max(range->begin, begin) - begin + shift, std::min(range->end, end) - begin + shift};
        if (!untrusted_.empty() && untrusted_.back().end == moved.begin) {
            untrusted_.back().end = moved.end;
        } else {
            untrusted_.push_back(moved);
        }
    }
}

Text Text::slice(std::size_t begin, std::size_t end) const {
    Text result;
    result.append(*this, begin, end);
    result.markup = markup;
    return result;
}

Text Text::mapped(const std::function<std::string(std::string_view)>& map) const {
    Text result;
    std::size_t at = 0;
    for (const ByteRange& range : untrusted_) {
        result.append(map(view().substr(at, range.begin - at)), false);
        result.append(map(view().substr(range.begin, range.end - range.begin)), true);
        at = range.end;
    }
    result.append(map(view().substr(at)), false);
    result.markup = markup;
    return result;
}

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

std::size_t code_point_bytes(char lead) {
    const auto byte = static_cast<unsigned char>(lead);
    return byte < 0x80 ? 1 : byte < 0xe0 ? 2 : byte < 0xf0 ? 3 : 4;
}

std::size_t count_code_points(std::string_view text) {
    return text.size() - static_cast<std::size_t>(std::count_if(text.begin(), text.end(), is_continuation));
}

std::size_t byte_of_code_point(std::string_view text, std::size_t index) {
    std::size_t at = 0;
    for (; index > 0 && at < text.size(); --index) {
        at += code_point_bytes(text[at]);
    }
    return std::min(at, text.size());
}

std::vector<std::string_view> code_points(std::string_view text) {
    std::vector<std::string_view> points;
    for (std::size_t at = 0; at < text.size();) {
        points.push_back(text.substr(at, code_point_bytes(text[at])));
        at += points.back().size();
    }
    return points;
}

std::uint32_t decode_code_point(std::string_view text) {
    const auto byte = [&](std::size_t i) {
        return static_cast<std::uint32_t>(static_cast<unsigned char>(text[i]));
    };
    switch (text.size()) {
        case 1: return byte(0);
        case 2: return (byte(0) & 0x1f) << 6 | (byte(1) & 0x3f);
        case 3: return (byte(0) & 0x0f) << 12 | (byte(1) & 0x3f) << 6 | (byte(2) & 0x3f);
        default: return (byte(0) & 0x07) << 18 | (byte(1) & 0x3f) << 12 | (byte(2) & 0x3f) << 6 | (byte(3) & 0x3f);
    }
}

void append_code_point(std::string& out, std::uint32_t c) {
    const auto put = [&](std::uint32_t byte) {
        out += static_cast<char>(static_cast<unsigned char>(byte));
    };
    if (c < 0x80) {
        put(c);
    } else if (c < 0x800) {
        put(0xc0 | c >> 6);
        put(0x80 | (c & 0x3f));
    } else if (c < 0x10000) {
        put(0xe0 | c >> 12);
        put(0x80 | (c >> 6 & 0x3f));
        put(0x80 | (c & 0x3f));
    } else {
        put(0xf0 | c >> 18);
        put(0x80 | (c >> 12 & 0x3f));
        put(0x80 | (c >> 6 & 0x3f));
        put(0x80 | (c & 0x3f));
    }
}

std::size_t find_bytes(std::string_view text, std::string_view needle, std::size_t from) {
    if (needle.size() <= kShort) {
        return text.find(needle, from);
    }
    if (from > text.size()) {
        return std::string_view::npos;
    }
    const auto begin = text.begin() + static_cast<std::ptrdiff_t>(from);
    const auto found = search_linear(begin, text.end(), needle.begin(), needle.size());
    return found == text.end() ? std::string_view::npos : static_cast<std::size_t>(found - text.begin());
}

std::size_t rfind_bytes(std::string_view text, std::string_view needle) {
    if (needle.size() <= kShort) {
        return text.rfind(needle);
    }
    const auto found = search_linear(text.rbegin(), text.rend(), needle.rbegin(), needle.size());
    return found == text.rend() ? std::string_view::npos
                                : static_cast<std::size_t>(text.rend() - found) - needle.size();
}

Text strip(const Text& text, Side side, const std::optional<std::string_view>& characters) {
    std::string_view rest = text.view();
    const std::vector<std::string_view> set = characters ? code_points(*characters) : std::vector<std::string_view>();
    const auto taken = [&](bool front) -> std::size_t {
        if (rest.empty()) {
            return 0;
        }
        if (!characters) {
            return front ? space_at_begin(rest) : space_at_end(rest);
        }
        const std::size_t bytes = front ? code_point_bytes(rest.front()) : last_code_point_bytes(rest);
        const std::string_view point = front ? rest.substr(0, bytes) : rest.substr(rest.size() - bytes);
        return std::find(set.begin(), set.end(), point) == set.end() ? 0 : bytes;
    };
    std::size_t begin = 0;
    if (side != Side::Right) {
        while (const std::size_t bytes = taken(true)) {
            rest.remove_prefix(bytes);
            begin += bytes;
        }
    }
    if (side != Side::Left) {
        while (const std::size_t bytes = taken(false)) {
            rest.remove_suffix(bytes);
        }
    }
    return text.slice(begin, begin + rest.size());
}

std::vector<Text> split(const Text& text, const std::optional<std::string_view>& separator, std::int64_t limit) {
    std::vector<Text> parts;
    const std::string_view all = text.view();
    if (separator) {
        std::size_t at = 0;
        while (limit < 0 || static_cast<std::int64_t>(parts.size()) < limit) {
            const std::size_t found = find_bytes(all, *separator, at);
            if (found == std::string_view::npos) {
                break;
            }
            parts.push_back(text.slice(at, found));
            at = found + separator->size();
        }
        parts.push_back(text.slice(at, all.size()));
        return parts;
    }
    std::size_t at = 0;
    while (true) {
        while (at < all.size() && space_at_begin(all.substr(at)) > 0) {
            at += space_at_begin(all.substr(at));
        }
        if (at == all.size()) {
            return parts;
        }
        if (limit >= 0 && static_cast<std::int64_t>(parts.size()) == limit) {
            parts.push_back(strip(text.slice(at, all.size()), Side::Right));
            return parts;
        }
        const std::size_t begin = at;
        while (at < all.size() && space_at_begin(all.substr(at)) == 0) {
            at += code_point_bytes(all[at]);
        }
        parts.push_back(text.slice(begin, at));
    }
}

std::vector<Text> split_right(const Text& text, const std::optional<std::string_view>& separator, std::int64_t limit) {
    std::vector<Text> parts;
    std::string_view rest = text.view();
    if (separator) {
        while (limit < 0 || static_cast<std::int64_t>(parts.size()) < limit) {
            const std::size_t found = rfind_bytes(rest, *separator);
            if (found == std::string_view::npos) {
                break;
            }
            parts.push_back(text.slice(found + separator->size(), rest.size()));
            rest = rest.substr(0, found);
        }
        parts.push_back(text.slice(0, rest.size()));
    } else {
        while (true) {
            while (const std::size_t bytes = space_at_end(rest)) {
                rest.remove_suffix(bytes);
            }
            if (rest.empty()) {
                break;
            }
            if (limit >= 0 && static_cast<std::int64_t>(parts.size()) == limit) {
                parts.push_back(strip(text.slice(0, rest.size()), Side::Left));
                break;
            }
            const std::size_t end = rest.size();
            while (!rest.empty() && space_at_end(rest) == 0) {
                rest.remove_suffix(last_code_point_bytes(rest));
            }
            parts.push_back(text.slice(rest.size(), end));
        }
    }
    std::reverse(parts.begin(), parts.end());
    return parts;
}

std::vector<Text> split_lines(const Text& text, bool keep_ends) {
    std::vector<Text> lines;
    const std::string_view all = text.view();
    std::size_t begin = 0;
    for (std::size_t at = 0; at < all.size();) {
        const std::size_t bytes = line_break(all, at);
        if (bytes == 0) {
            at += code_point_bytes(all[at]);
            continue;
        }
        lines.push_back(text.slice(begin, keep_ends ? at + bytes : at));
        at += bytes;
        begin = at;
    }
    if (begin < all.size()) {
        lines.push_back(text.slice(begin, all.size()));
    }
    return lines;
}

Text replace(const Text& text, std::string_view old, const Text& replacement, std::int64_t limit) {
    Text result;
    const std::string_view all = text.view();
    std::size_t at = 0;
    if (old.empty()) {
        for (std::int64_t done = 0; limit < 0 || done < limit; ++done) {
            result.append(replacement);
            if (at == all.size()) {
                return result;
            }
            const std::size_t bytes = code_point_bytes(all[at]);
            result.append(text, at, at + bytes);
            at += bytes;
        }
        result.append(text, at, all.size());
        return result;
    }
    for (std::int64_t done = 0; limit < 0 || done < limit; ++done) {
        const std::size_t found = find_bytes(all, old, at);
        if (found == std::string_view::npos) {
            break;
        }
        result.append(text, at, found);
        result.append(replacement);
        at = found + old.size();
    }
    result.append(text, at, all.size());
    return result;
}

Text upper(const Text& text) {
    return text.mapped([](std::string_view run) { return upper_case(run); });
}

Text lower(const Text& text) {
    return text.mapped([](std::string_view run) { return lower_case(run); });
}

Text capitalize(const Text& text) {
    const std::size_t first = text.empty() ? 0 : code_point_bytes(text.bytes().front());
    Text result = text.slice(0, first).mapped([](std::string_view run) { return title_case(run); });
    result.append(lower(text.slice(first, text.size())));
    result.markup = text.markup;
    return result;
}

Text title(const Text& text) {
    Text result;
    bool inside = false;
    for (std::size_t at = 0; at < text.size();) {
        const std::size_t end = at + code_point_bytes(text.bytes()[at]);
        const Text point = text.slice(at, end);
        result.append(inside ? lower(point) : point.mapped([](std::string_view run) { return title_case(run); }));
        inside = is_cased(point.view());
        at = end;
    }
    result.markup = text.markup;
    return result;
}

Text title_filter(const Text& text) {
    Text result;
    bool first = true;
    for (std::size_t at = 0; at < text.size();) {
        const char c = text.bytes()[at];
        const std::size_t space = space_at_begin(text.view().substr(at));
        const std::size_t end = at + code_point_bytes(c);
        const bool separator = space > 0 || c == '-' || c == '(' || c == '{' || c == '[' || c == '<';
        const Text point = text.slice(at, end);
        result.append(separator ? point : first ? upper(point) : lower(point));
        first = separator;
        at = end;
    }
    return result;
}

Text quoted(const Text& text) {
    const bool has_single = text.bytes().find('\'') != std::string::npos;
    const bool has_double = text.bytes().find('"') != std::string::npos;
    const char quote = has_single && !has_double ? '"' : '\'';
    const auto escaped = [quote](std::string_view run) {
        std::string out;
        for (const std::string_view point : code_points(run)) {
            const std::uint32_t c = decode_code_point(point);
            if (c == static_cast<unsigned char>(quote) || c == '\\') {
                out += '\\';
                out += point;
            } else if (c == '\n' || c == '\r' || c == '\t') {
                out += c == '\n' ? "\\n" : c == '\r' ? "\\r" : "\\t";
            } else if (is_printable(c)) {
                out += point;
            } else {
                out += escape_code_point(c);
            }
        }
        return out;
    };
    Text result;
    result.append(std::string_view(&quote, 1), false);
    Text body = text.mapped(escaped);
    result.append(body);
    result.append(std::string_view(&quote, 1), false);
    return result;
}

}  // namespace deltavino::runtime::jinja
