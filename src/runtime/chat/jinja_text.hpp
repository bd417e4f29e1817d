// Strings of chat templates: UTF-8 that counts in code points, as Python's str does, and that remembers
// which of its bytes came from a message.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace deltavino::runtime::jinja {

struct ByteRange {
    std::size_t begin = 0;
    std::size_t end = 0;
};

// Valid UTF-8. What comes from a message is untrusted: the text of a user may spell a control token and
// must stay text. Every operation keeps the ranges byte by byte where it can, and else marks all of its result.
class Text {
public:
    Text() = default;
    explicit Text(std::string bytes, bool untrusted = false);

    const std::string& bytes() const { return bytes_; }
    std::string_view view() const { return bytes_; }
    std::size_t size() const { return bytes_.size(); }
    bool empty() const { return bytes_.empty(); }
    bool is_untrusted() const { return !untrusted_.empty(); }
    const std::vector<ByteRange>& untrusted() const { return untrusted_; }

    void append(std::string_view piece, bool untrusted);
    void append(const Text& other) { append(other, 0, other.size()); }
    void append(const Text& other, std::size_t begin, std::size_t end);

    Text slice(std::size_t begin, std::size_t end) const;
    Text mapped(const std::function<std::string(std::string_view)>& map) const;  // each run of one trust by itself

    // jinja2's Markup: not escaped again. Only the `safe` and `escape` filters set it.
    bool markup = false;

private:
    std::string bytes_;
    std::vector<ByteRange> untrusted_;  // ascending, apart from each other
};

// Python's meaning of white space, as bytes at the beginning or the end of `text`; 0 when there is none.
std::size_t space_at_begin(std::string_view text);
std::size_t space_at_end(std::string_view text);

std::size_t code_point_bytes(char lead);
std::size_t count_code_points(std::string_view text);
// The byte where code point `index` begins; text.size() beyond the end.
std::size_t byte_of_code_point(std::string_view text, std::size_t index);
std::vector<std::string_view> code_points(std::string_view text);
std::uint32_t decode_code_point(std::string_view text);
void append_code_point(std::string& out, std::uint32_t code_point);

// The first `needle` at or after byte `from`, npos when there is none; linear in both lengths.
std::size_t find_bytes(std::string_view text, std::string_view needle, std::size_t from = 0);
// The last place.
std::size_t rfind_bytes(std::string_view text, std::string_view needle);

enum class Side { Both, Left, Right };
// `characters`: the set that is taken away; white space when missing.
Text strip(const Text& text, Side side, const std::optional<std::string_view>& characters = std::nullopt);

// str.split and str.rsplit: white space when `separator` is missing; `limit` below 0 is none.
std::vector<Text> split(const Text& text, const std::optional<std::string_view>& separator, std::int64_t limit);
std::vector<Text> split_right(const Text& text, const std::optional<std::string_view>& separator, std::int64_t limit);
std::vector<Text> split_lines(const Text& text, bool keep_ends);
Text replace(const Text& text, std::string_view old, const Text& replacement, std::int64_t limit);

Text upper(const Text& text);
Text lower(const Text& text);
Text capitalize(const Text& text);
Text title(const Text& text);         // str.title()
Text title_filter(const Text& text);  // jinja2's own idea of words

// repr(): quoted, with escapes.
Text quoted(const Text& text);

}  // namespace deltavino::runtime::jinja
