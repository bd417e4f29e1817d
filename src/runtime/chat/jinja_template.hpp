// A checkpoint's chat template: parsed once, rendered for each prompt, exactly as transformers does it.
#pragma once

#include "runtime/chat/jinja_value.hpp"

#include <ctime>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace deltavino::runtime {

// A piece of a prompt. Control tokens hold their meaning in what the template itself wrote; anything
// that a message brought, a user's text or an earlier answer, must be read as text.
struct PromptSegment {
    std::string text;
    bool control = true;
};

struct RenderInput {
    jinja::Value messages;
    jinja::Value tools = jinja::Value::none();
    bool add_generation_prompt = true;
    std::vector<std::pair<std::string, jinja::Value>> variables;  // enable_thinking, eos_token, ...
    std::tm now = {};                                             // what strftime_now() gives
};

class ChatTemplate {
public:
    // `name` stands in messages, for instance "the chat template of 'out'"; `most_steps` ends a rendering. Throws
    // ErrorKind::Input for what is not a Jinja template, ErrorKind::Unsupported for statements that are not rendered.
    static ChatTemplate parse(std::string_view text, std::string name, std::uint64_t most_steps = jinja::kMaxSteps);

    // Segments alternate in trust; together they are the prompt. Throws ErrorKind::Input when the template
    // refuses the conversation or breaks on it, ErrorKind::Unsupported for what is not rendered and for
    // templates that run without an end. Each message names the template and the line.
    std::vector<PromptSegment> render(const RenderInput& input) const;

private:
    struct Parsed;
    std::shared_ptr<const Parsed> parsed_;
};

// All of the prompt.
std::string text_of(const std::vector<PromptSegment>& segments);

// The local time.
std::tm local_time();

}  // namespace deltavino::runtime
