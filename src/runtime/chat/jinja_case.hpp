// Upper and lower case of UTF-8 text as Python's str has it, beyond ASCII, too.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

namespace deltavino::runtime::jinja {

std::string upper_case(std::string_view text);
std::string lower_case(std::string_view text);
std::string title_case(std::string_view text);  // every character as at the beginning of a word

// `point`: one code point that is an upper, lower or title case letter.
bool is_cased(std::string_view point);

// Whether repr() writes the code point as it is. Unassigned ones count as printable.
bool is_printable(std::uint32_t code_point);
// "\x1b", "\u200b", "\U000e0001"
std::string escape_code_point(std::uint32_t code_point);

}  // namespace deltavino::runtime::jinja
