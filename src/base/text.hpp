// Small text helpers shared by messages and tables.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace deltavino {

// "1.7 GB", "512 bytes": decimal units, as disks are sold.
std::string human_bytes(std::uint64_t bytes);

// Number of single-character edits that turn `a` into `b`.
std::size_t edit_distance(std::string_view a, std::string_view b);

// The candidate nearest to `wanted`, or empty when none is near enough to be a likely typo.
std::string closest(std::string_view wanted, const std::vector<std::string>& candidates);

// Whether `text` matches a pattern in which * stands for any characters and ? for any one.
bool glob_matches(std::string_view pattern, std::string_view text);

// The text with every run of white space, line ends included, as one space: for messages of other libraries.
std::string one_line(std::string_view text);
// No overlong forms, no surrogates, nothing above U+10FFFF.
bool is_utf8(std::string_view text);

// `text` for a message: bytes that make it no UTF-8 become '?'.
std::string as_utf8(std::string_view text);

// `text` within an element or a quoted attribute of XML or HTML; line ends and tabs survive attributes, too.
std::string xml_escaped(std::string_view text);

// Columns padded to their widest cell; the first row is the heading. Numbers (cells that start with
// a digit) are aligned to the right.
std::string format_table(const std::vector<std::vector<std::string>>& rows);

}  // namespace deltavino
