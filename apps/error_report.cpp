#include "error_report.hpp"

#include "base/error_parts.hpp"

#include <deltavino/problems.hpp>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include <algorithm>
#include <cstdio>
#include <cstring>

namespace deltavino::app {
namespace {

using Json = nlohmann::ordered_json;

bool& json_errors() {
    static bool json = false;
    return json;
}

std::string json_text(const Error& error) {
    const ErrorParts parts = error_parts(error.what());
    Json out{{"kind", error_kind_name(error.exit_code())}, {"exit_code", error.exit_code()}, {"message", error.what()}};
    for (const auto& [name, part] : {std::pair("object", &parts.object), std::pair("expected", &parts.expected),
                                     std::pair("found", &parts.found), std::pair("hint", &parts.hint)}) {
        if (!part->empty()) {
            out[name] = *part;
        }
    }
    if (const auto* several = dynamic_cast<const ProblemsError*>(&error); several && several->problems().size() > 1) {
        out["problems"] = several->problems();
    }
    return Json{{"error", out}}.dump(-1, ' ', false, Json::error_handler_t::replace);
}

}  // namespace

void take_error_format(int& argc, char** argv) {
    char** const end = argv + argc;
    char** const options = std::find_if(argv, end, [](const char* word) { return std::strcmp(word, "--") == 0; });
    char** const kept =
        std::remove_if(argv, options, [](const char* word) { return std::strcmp(word, "--json-errors") == 0; });
    json_errors() = kept != options;
    argc -= static_cast<int>(options - kept);
    std::copy(options, end, kept);
}

void report_error(const Error& error) {
    const std::string text = json_errors() ? json_text(error) : fmt::format("error: {}", error.what());
    std::fputs((text + "\n").c_str(), stderr);
}

}  // namespace deltavino::app
