#include "runtime/chat/jinja_case.hpp"

#include "runtime/chat/jinja_case_tables.hpp"
#include "runtime/chat/jinja_text.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <span>

namespace deltavino::runtime::jinja {
namespace {

struct CaseTable {
    std::span<const CaseRange> ranges;
    std::span<const CaseSpecial> specials;
};
constexpr CaseTable kUpper{kUpperRanges, kUpperSpecials};
constexpr CaseTable kLower{kLowerRanges, kLowerSpecials};
constexpr CaseTable kTitle{kTitleRanges, kTitleSpecials};

// Appends what `point` becomes; false when the table has no row for it.
bool append_mapped(std::string& out, std::uint32_t point, const CaseTable& table) {
    const auto special = std::lower_bound(table.specials.begin(), table.specials.end(), point,
                                          [](const CaseSpecial& row, std::uint32_t p) { return row.point < p; });
    if (special != table.specials.end() && special->point == point) {
        out += special->text;
        return true;
    }
    const auto range = std::lower_bound(table.ranges.begin(), table.ranges.end(), point,
                                        [](const CaseRange& row, std::uint32_t p) { return row.last < p; });
    // Ranges of stride 2 may interleave with their neighbours.
    for (auto row = range; row != table.ranges.end() && row->first <= point; ++row) {
        if ((point - row->first) % row->stride == 0) {
            append_code_point(out, static_cast<std::uint32_t>(static_cast<std::int64_t>(point) + row->difference));
            return true;
        }
    }
    return false;
}

char upper_ascii(char c) {
    return c >= 'a' && c <= 'z' ? static_cast<char>(c - 'a' + 'A') : c;
}

char lower_ascii(char c) {
    return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c;
}

bool has_case(std::uint32_t point) {
    std::string unused;
    return append_mapped(unused, point, kUpper) || append_mapped(unused, point, kLower) ||
           append_mapped(unused, point, kTitle);
}

constexpr std::string_view kFinalSigma = "\xcf\x82";
constexpr std::uint32_t kCapitalSigma = 0x3a3;

// A capital sigma at the end of a word becomes the final form.
bool ends_word(std::string_view text, std::size_t at) {
    const auto letter = [](std::string_view point) {
        return is_cased(point);
    };
    std::size_t before = at;
    do {
        if (before == 0) {
            return false;
        }
        before -= 1;
    } while ((static_cast<unsigned char>(text[before]) & 0xc0) == 0x80);
    const std::size_t after = at + 2;
    return letter(text.substr(before, code_point_bytes(text[before]))) &&
           (after >= text.size() || !letter(text.substr(after, code_point_bytes(text[after]))));
}

}  // namespace

std::string upper_case(std::string_view text) {
    std::string out;
    for (const std::string_view point : code_points(text)) {
        if (point.size() == 1) {
            out += upper_ascii(point.front());
        } else if (!append_mapped(out, decode_code_point(point), kUpper)) {
            out += point;
        }
    }
    return out;
}

std::string lower_case(std::string_view text) {
    std::string out;
    std::size_t at = 0;
    for (const std::string_view point : code_points(text)) {
        if (point.size() == 1) {
            out += lower_ascii(point.front());
        } else if (decode_code_point(point) == kCapitalSigma && ends_word(text, at)) {
            out += kFinalSigma;
        } else if (!append_mapped(out, decode_code_point(point), kLower)) {
            out += point;
        }
        at += point.size();
    }
    return out;
}

std::string title_case(std::string_view text) {
    std::string out;
    for (const std::string_view point : code_points(text)) {
        if (point.size() == 1) {
            out += upper_ascii(point.front());
        } else if (!append_mapped(out, decode_code_point(point), kTitle) &&
                   !append_mapped(out, decode_code_point(point), kUpper)) {
            out += point;
        }
    }
    return out;
}

bool is_cased(std::string_view point) {
    if (point.size() == 1) {
        return upper_ascii(point.front()) != lower_ascii(point.front());
    }
    return has_case(decode_code_point(point));
}

bool is_printable(std::uint32_t point) {
    if (point < 0x80) {
        return point >= 0x20 && point != 0x7f;
    }
    return std::none_of(std::begin(kUnprintable), std::end(kUnprintable),
                        [point](const PointRange& row) { return row.first <= point && point <= row.last; });
}

std::string escape_code_point(std::uint32_t point) {
    return point < 0x100     ? fmt::format("\\x{:02x}", point)
           : point < 0x10000 ? fmt::format("\\u{:04x}", point)
                             : fmt::format("\\U{:08x}", point);
}

}  // namespace deltavino::runtime::jinja
