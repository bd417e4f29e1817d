// JSON as files and users give it: nlohmann-json, refusing duplicate keys and deep nesting. Time and memory
// grow with the length of the text, also for objects of many keys.
// Included by .cpp files only: the header is expensive to compile.
#pragma once

#include <nlohmann/json.hpp>

#include <cstdint>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

namespace deltavino {

using Json = nlohmann::ordered_json;

// Throws ErrorKind::Input naming `where` and the position. A UTF-8 byte order mark is skipped. Finding a key
// of an object takes time in proportion to its keys: walk large objects, or use visit_members.
Json parse_json(std::string_view text, const std::string& where);

// Gets one member of an object; the value may be moved from.
using MemberVisitor = std::function<void(const std::string& key, Json& value)>;

// Reads a text of one large object without keeping it: `visit` gets each member of the top-level object or,
// when `inside` is given, of the object under that key, in the order of the text. Returns whether that
// object is there. Throws as parse_json does, and for a member of more than a million values.
bool visit_members(std::string_view text, const std::string& where, const MemberVisitor& visit,
                   std::string_view inside = {});

}  // namespace deltavino
