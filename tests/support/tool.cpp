// Parts of the library for the Python tests, which compare them with jinja2 and Pillow.
//
//   deltavino_test_tool template        one JSON text a line, a chat template; answers with {"text", "rewritten",
//                                       "missing"}
//   deltavino_test_tool encode DIR      one list of segments a line, {"text", "is_control"}; answers with their ids
//   deltavino_test_tool chat            one JSON object a line: {"template", "messages", "tools", "variables",
//                                       "add_generation_prompt"}; answers with {"segments": [[text, control], ...]}
//                                       or {"error", "kind"}. What time it is, is fixed
//   deltavino_test_tool picture FILE    the decoded picture as a PPM
//   deltavino_test_tool resize FILE WIDTH HEIGHT
//   deltavino_test_tool rope FILE   rotary positions of a config.json, as one JSON object
#include "base/error.hpp"
#include "base/file.hpp"
#include "blocks/rope.hpp"
#include "checkpoint/config.hpp"
#include "runtime/chat/jinja_template.hpp"
#include "runtime/chat/tokenizer.hpp"
#include "runtime/picture/decode.hpp"
#include "tokenizer/chat_template.hpp"

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

void run_template() {
    std::string line;
    while (std::getline(std::cin, line)) {
        const tokenizer::PortableTemplate result =
            tokenizer::portable_chat_template(Json::parse(line).get<std::string>());
        std::cout << Json{{"text", result.text}, {"rewritten", result.rewritten}, {"missing", result.missing}}.dump()
                  << "\n";
    }
}

void run_encode(const std::string& directory) {
    ov::Core core;
    Tokenizer tokenizer(core, directory);
    std::string line;
    while (std::getline(std::cin, line)) {
        std::vector<TextSegment> segments;
        for (const Json& segment : Json::parse(line)) {
            segments.push_back({segment.at("text").get<std::string>(), segment.at("is_control").get<bool>()});
        }
        std::cout << Json(tokenizer.encode(segments)).dump() << "\n";
    }
}

void print(const Picture& picture) {
    std::printf("P6 %u %u 255\n", picture.width, picture.height);
    std::fwrite(picture.pixels.data(), 1, picture.pixels.size(), stdout);
}

void run_rope(const std::string& file) {
    const checkpoint::RopeConfig rope = checkpoint::read_config(read_text_file(file), file).text.rope;
    std::cout << Json{{"inverse_frequencies", blocks::inverse_frequencies(rope)},
                      {"attention_factor", rope.yarn ? rope.yarn->attention_factor : 1.0},
                      {"mrope_section", rope.mrope_section}}
                     .dump()
              << "\n";
}

int run(const std::vector<std::string>& arguments) {
    if (arguments.size() == 2 && arguments[0] == "rope") {
        run_rope(arguments[1]);
    } else if (arguments.size() == 1 && arguments[0] == "chat") {
        run_chat();
    } else if (arguments.size() == 1 && arguments[0] == "template") {
        run_template();
    } else if (arguments.size() == 2 && arguments[0] == "encode") {
        run_encode(arguments[1]);
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
