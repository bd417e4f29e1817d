// JSON as files and users give it: nlohmann-json, refusing duplicate keys and deep nesting.
// Included by .cpp files only: the header is expensive to compile.
#pragma once

#include <nlohmann/json.hpp>

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace deltavino {

using Json = nlohmann::ordered_json;

// Throws ErrorKind::Input naming `where` and the position. A UTF-8 byte order mark is skipped.
Json parse_json(std::string_view text, const std::string& where);

}  // namespace deltavino
