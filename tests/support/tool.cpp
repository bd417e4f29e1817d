// Parts of the library for the Python tests, which compare them with jinja2 and Pillow.
//
//   deltavino_test_tool chat            one JSON object a line: {"template", "messages", "tools", "variables",
//                                       "add_generation_prompt"}; answers with {"segments": [[text, control], ...]}
//                                       or {"error", "kind"}. What time it is, is fixed
//   deltavino_test_tool picture FILE    the decoded picture as a PPM
//   deltavino_test_tool resize FILE WIDTH HEIGHT
#include "base/error.hpp"
#include "runtime/chat/jinja_template.hpp"
#include "runtime/picture/decode.hpp"

#include <nlohmann/json.hpp>

#include <cstdio>
#include <exception>
#include <iostream>
#include <string>
#include <vector>

namespace {

using namespace deltavino;
using namespace deltavino::runtime;
using Json = nlohmann::ordered_json;

jinja::Value value_of(const Json& json, bool untrusted) {
    return jinja::from_json(json.dump(), "the input", untrusted);
}

Json rendered(const Json& input) {
    RenderInput what;
    what.messages = value_of(input.value("messages", Json::array()), true);
    what.tools = value_of(input.value("tools", Json()), true);
    what.add_generation_prompt = input.value("add_generation_prompt", true);
    const Json variables = input.value("variables", Json::object());
    for (const auto& [name, value] : variables.items()) {
        what.variables.emplace_back(name, value_of(value, false));
    }
    what.now.tm_year = 126;  // 2026-11-25, 21:05:07
    what.now.tm_mon = 10;
    what.now.tm_mday = 25;
    what.now.tm_wday = 3;
    what.now.tm_yday = 328;
    what.now.tm_hour = 21;
    what.now.tm_min = 5;
    what.now.tm_sec = 7;
    Json segments = Json::array();
    for (const PromptSegment& segment :
         ChatTemplate::parse(input.at("template").get<std::string>(), "the template").render(what)) {
        segments.push_back({segment.text, segment.control});
    }
    return {{"segments", segments}};
}

void run_chat() {
    std::string line;
    while (std::getline(std::cin, line)) {
        Json answer;
        try {
            answer = rendered(Json::parse(line));
        } catch (const Error& error) {
            answer = {{"error", error.what()}, {"kind", error.exit_code()}};
        }
        std::cout << answer.dump() << "\n";
    }
}

void print(const Picture& picture) {
    std::printf("P6 %u %u 255\n", picture.width, picture.height);
    std::fwrite(picture.pixels.data(), 1, picture.pixels.size(), stdout);
}

int run(const std::vector<std::string>& arguments) {
    if (arguments.size() == 1 && arguments[0] == "chat") {
        run_chat();
    } else if (arguments.size() == 2 && arguments[0] == "picture") {
        print(read_picture(arguments[1]));
    } else if (arguments.size() == 4 && arguments[0] == "resize") {
        const PictureSize size{static_cast<std::uint32_t>(std::stoul(arguments[2])),
                               static_cast<std::uint32_t>(std::stoul(arguments[3]))};
        print(resize(read_picture(arguments[1]), size));
    } else {
        std::fprintf(stderr, "wrong arguments\n");
        return 2;
    }
    return 0;
}

}  // namespace

int main(int argc, char** argv) {
    try {
        return run({argv + 1, argv + argc});
    } catch (const Error& error) {
        std::fprintf(stderr, "error: %s\n", error.what());
        return error.exit_code();
    } catch (const std::exception& error) {
        std::fprintf(stderr, "error: %s\n", error.what());
        return 70;
    }
}
