#include "fuzz/harness.hpp"
#include "json/reader.hpp"
#include "runtime/settings_file.hpp"
#include "tokenizer/json_events.hpp"

using namespace deltavino;

namespace {

void read_keys(const Json& json) {
    Problems problems;
    const JsonReader reader(json, "", problems);
    for (const char* key : {"a", "b", "c"}) {
        reader.size(key, 1);
        reader.number(key, 1.0);
        reader.flag(key, true);
        reader.text(key);
        reader.token_ids(key);
        reader.object_or_empty(key);
        reader.array_or_empty(key);
        runtime::real(reader, key, -1.0, 1.0);
        runtime::count(reader, key, 0, 9);
    }
    problems.throw_if_any(ErrorKind::Input, "cannot use the input");
}

}  // namespace

void fuzz_one(std::string_view input) {
    fuzz::expect_error_at_most([&] {
        const Json json = parse_json(input, "input");
        shown(json);
        runtime::json_text(json);
        tokenizer::python_json(json);
        if (json.is_object()) {
            read_keys(json);
        }
    });
    fuzz::expect_error_at_most([&] { visit_members(input, "input", [](const auto&, Json& value) { shown(value); }); });
    fuzz::expect_error_at_most(
        [&] { visit_members(input, "input", [](const auto&, Json& value) { shown(value); }, "weight_map"); });
    fuzz::expect_error_at_most([&] { token_id(input); });
}
