#include "runtime/chat/jinja_template.hpp"

#include "runtime/chat/jinja_ast.hpp"
#include "runtime/chat/jinja_interpreter.hpp"
#include "runtime/chat/tokenizer.hpp"

namespace deltavino::runtime {

struct ChatTemplate::Parsed {
    std::string name;
    std::uint64_t most_steps;
    jinja::Body body;
};

ChatTemplate ChatTemplate::parse(std::string_view text, std::string name, std::uint64_t most_steps) {
    jinja::Meter meter(name, most_steps);
    if (!is_utf8(text)) {
        meter.wrong("the template is not UTF-8");
    }
    ChatTemplate made;
    made.parsed_ =
        std::make_shared<const Parsed>(Parsed{std::move(name), most_steps, jinja::parse_template(text, meter)});
    return made;
}

std::vector<PromptSegment> ChatTemplate::render(const RenderInput& input) const {
    jinja::Meter meter(parsed_->name, parsed_->most_steps);
    std::vector<std::pair<std::string, jinja::Value>> variables = input.variables;
    variables.emplace_back("messages", input.messages);
    variables.emplace_back("tools", input.tools);
    variables.emplace_back("documents", jinja::Value::none());
    variables.emplace_back("add_generation_prompt", jinja::Value::of(input.add_generation_prompt));
    jinja::Interpreter interpreter(meter, std::move(variables), input.now);
    const jinja::Text text = interpreter.run(parsed_->body);
    std::vector<PromptSegment> segments;
    std::size_t at = 0;
    const auto add = [&](std::size_t end, bool control) {
        if (end > at) {
            segments.push_back({text.bytes().substr(at, end - at), control});
        }
        at = end;
    };
    for (const jinja::ByteRange& range : text.untrusted()) {
        add(range.begin, true);
        add(range.end, false);
    }
    add(text.size(), true);
    return segments;
}

std::string text_of(const std::vector<PromptSegment>& segments) {
    std::string text;
    for (const PromptSegment& segment : segments) {
        text += segment.text;
    }
    return text;
}

std::tm local_time() {
    const std::time_t now = std::time(nullptr);
    std::tm local = {};
    localtime_r(&now, &local);
    return local;
}

}  // namespace deltavino::runtime
