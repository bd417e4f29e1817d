#include "json/document.hpp"

#include "base/error.hpp"
#include "base/text.hpp"

#include <set>

namespace deltavino {

namespace {
constexpr int kMaxDepth = 64;
}

Json parse_json(std::string_view text, const std::string& where) {
    std::vector<std::set<std::string>> keys;  // of the objects that are open
    const auto watch = [&](int depth, Json::parse_event_t event, Json& value) {
        if (depth > kMaxDepth) {
            fail(ErrorKind::Input, "cannot read '{}': JSON nested deeper than {} levels", where, kMaxDepth);
        }
        if (event == Json::parse_event_t::object_start) {
            keys.emplace_back();
        } else if (event == Json::parse_event_t::object_end) {
            keys.pop_back();
        } else if (event == Json::parse_event_t::key &&
                   !keys.back().insert(value.get_ref<const std::string&>()).second) {
            fail(ErrorKind::Input, "cannot read '{}': key '{}' stands twice in one object", where,
                 value.get_ref<const std::string&>());
        }
        return true;
    };
    try {
        return Json::parse(text.begin(), text.end(), watch);
    } catch (const Json::exception& error) {
        fail(ErrorKind::Input, "cannot read '{}': {}", where, as_utf8(error.what()));
    }
}

}  // namespace deltavino
