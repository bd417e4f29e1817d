// Ground truth: the messages that transformers' chat templates are written for, pictures as items of
// content, an earlier answer's thinking as reasoning_content.
#include "runtime/chat/conversation.hpp"

#include "base/error.hpp"
#include "base/file.hpp"
#include "json/document.hpp"
#include "runtime/chat/tokenizer.hpp"

#include <algorithm>

namespace deltavino::runtime {
namespace {

using jinja::Dict;
using jinja::Meter;
using jinja::Value;

constexpr std::string_view kThinkBegin = "<think>";
constexpr std::string_view kThinkEnd = "</think>";

std::string_view without_newlines(std::string_view text, bool both_ends) {
    const std::size_t begin = std::min(text.find_first_not_of('\n'), text.size());
    text.remove_prefix(begin);
    while (both_ends && text.ends_with('\n')) {
        text.remove_suffix(1);
    }
    return text;
}

void set(Dict& dict, const char* name, Value value) {
    dict.set("s" + std::string(name), Value::of(std::string(name)), std::move(value));
}

const char* name_of(Turn::Role role) {
    switch (role) {
        case Turn::Role::System: return "system";
        case Turn::Role::User: return "user";
        case Turn::Role::Assistant: return "assistant";
    }
    fail(ErrorKind::Internal, "unknown role");
}

Value content_of(Meter& meter, const Turn& turn) {
    if (turn.pictures == 0) {
        return Value::of(turn.text, true);
    }
    std::vector<Value> items;
    for (std::size_t i = 0; i < turn.pictures; ++i) {
        Dict image;
        set(image, "type", Value::of(std::string("image")));
        items.push_back(make_dict(meter, std::move(image)));
    }
    Dict text;
    set(text, "type", Value::of(std::string("text")));
    set(text, "text", Value::of(turn.text, true));
    items.push_back(make_dict(meter, std::move(text)));
    return make_sequence(meter, std::move(items));
}

Value message_of(Meter& meter, const Turn& turn) {
    if (!turn.message.empty()) {
        return jinja::from_json(turn.message, "a message", true);
    }
    Dict message;
    set(message, "role", Value::of(std::string(name_of(turn.role))));
    set(message, "content", content_of(meter, turn));
    if (turn.reasoning) {
        set(message, "reasoning_content", Value::of(*turn.reasoning, true));
    }
    return make_dict(meter, std::move(message));
}

Value tools_of(const std::string& json) {
    const Json tools = parse_json(json, "tools");
    if (!tools.is_array() ||
        !std::all_of(tools.begin(), tools.end(), [](const Json& tool) { return tool.is_object(); })) {
        fail(ErrorKind::Input, "cannot use the tools: expected a JSON array of objects");
    }
    return tools.empty() ? Value::none() : jinja::from_json(json, "tools", true);
}

void add_variables(const TemplateOptions& options, RenderInput& input) {
    const Json given = parse_json(options.variables, "chat template variables");
    if (!given.is_object()) {
        fail(ErrorKind::Input, "cannot use the variables for the chat template: expected a JSON object");
    }
    for (const auto& [name, value] : given.items()) {
        const bool taken = name == "messages" || name == "tools" || name == "add_generation_prompt" ||
                           (name == "enable_thinking" && options.thinking);
        if (taken) {
            fail(ErrorKind::Usage, "cannot use '{}' as a variable for the chat template: it is given in another way",
                 name);
        }
        const auto same = [&name](const auto& variable) {
            return variable.first == name;
        };
        std::erase_if(input.variables, same);
        input.variables.emplace_back(name, jinja::from_json(value.dump(), "chat template variables", true));
    }
}

}  // namespace

const char* const kQwenTemplate = R"({%- for message in messages %}
    {%- set ns = namespace(text='') %}
    {%- for item in ([message.content] if message.content is string else message.content) %}
        {%- if item is string %}
            {%- set ns.text = ns.text + item %}
        {%- elif item.type == 'image' %}
            {%- set ns.text = ns.text + '<|vision_start|><|image_pad|><|vision_end|>' %}
        {%- else %}
            {%- set ns.text = ns.text + item.text %}
        {%- endif %}
    {%- endfor %}
    {{- '<|im_start|>' + message.role + '\n' + ns.text|trim + '<|im_end|>\n' }}
{%- endfor %}
{%- if add_generation_prompt %}
    {{- '<|im_start|>assistant\n' }}
    {%- if enable_thinking is defined and enable_thinking is false %}
        {{- '<think>\n\n</think>\n\n' }}
    {%- else %}
        {{- '<think>\n' }}
    {%- endif %}
{%- endif %}
)";

AnswerParts split_answer(std::string_view generated, bool thinking) {
    AnswerParts parts;
    std::string_view rest = generated;
    const std::string_view begun = without_newlines(rest, false);
    if (!thinking && begun.starts_with(kThinkBegin)) {
        thinking = true;
        rest = begun.substr(kThinkBegin.size());
    }
    if (!thinking) {
        parts.content = std::string(generated);
        return parts;
    }
    const std::size_t end = rest.find(kThinkEnd);
    parts.reasoning = std::string(without_newlines(rest.substr(0, end), true));
    if (end != std::string_view::npos) {
        parts.content = std::string(without_newlines(rest.substr(end + kThinkEnd.size()), false));
    }
    return parts;
}

bool opens_thinking(const std::vector<PromptSegment>& prompt) {
    if (prompt.empty() || !prompt.back().control) {
        return false;
    }
    std::string_view end = prompt.back().text;
    while (const std::size_t bytes = jinja::space_at_end(end)) {
        end.remove_suffix(bytes);
    }
    return end.ends_with(kThinkBegin);
}

std::vector<Turn> turns_of(const std::string& messages, const std::string& where) {
    const Json json = parse_json(messages, where);
    std::vector<Turn> turns;
    bool good = json.is_array();
    for (const Json& message : good ? json : Json::array()) {
        good = good && message.is_object() && message.contains("role") && message["role"].is_string();
        turns.push_back({Turn::Role::User, {}, 0, std::nullopt, message.dump()});
    }
    if (!good) {
        fail(ErrorKind::Input, "cannot use {}: expected a JSON array of messages, objects with a role", where);
    }
    return turns;
}

void Conversation::begin(const std::optional<std::string>& system, const std::vector<Turn>& said) {
    turns_.clear();
    if (system) {
        turns_.push_back({Turn::Role::System, *system, 0, std::nullopt, {}});
    }
    turns_.insert(turns_.end(), said.begin(), said.end());
}

std::vector<PromptSegment> Conversation::prompt(const Turn& question, const TemplateOptions& options,
                                                bool add_generation_prompt) const {
    Meter meter("the conversation");
    std::vector<Value> messages;
    const auto add_message = [&](const Turn& turn) {
        if (!is_utf8(turn.text)) {
            fail(ErrorKind::Usage, "the text is not UTF-8");
        }
        messages.push_back(message_of(meter, turn));
    };
    std::for_each(turns_.begin(), turns_.end(), add_message);
    add_message(question);
    RenderInput input;
    input.messages = make_sequence(meter, std::move(messages));
    input.add_generation_prompt = add_generation_prompt;
    input.now = local_time();
    for (const auto& [name, token] : special_tokens_) {
        input.variables.emplace_back(name, Value::of(token));
    }
    if (options.thinking) {
        input.variables.emplace_back("enable_thinking", Value::of(*options.thinking));
    }
    if (!options.tools.empty()) {
        input.tools = tools_of(options.tools);
    }
    if (!options.variables.empty()) {
        add_variables(options, input);
    }
    return format_.render(input);
}

std::vector<std::pair<std::string, std::string>> read_special_tokens(const std::filesystem::path& directory) {
    std::vector<std::pair<std::string, std::string>> tokens;
    const std::filesystem::path path = directory / "tokenizer_config.json";
    std::error_code error;
    if (!std::filesystem::exists(path, error)) {
        return tokens;
    }
    constexpr std::uint64_t kMostBytes = std::uint64_t{64} << 20;
    const Json settings = parse_json(read_text_file(path, kMostBytes), path.string());
    for (const char* name : {"bos_token", "eos_token", "unk_token", "pad_token"}) {
        const auto found = settings.is_object() ? settings.find(name) : settings.end();
        if (found == settings.end()) {
            continue;
        }
        // Older files hold an object with the text inside.
        const Json& token = found->is_object() && found->contains("content") ? (*found)["content"] : *found;
        if (token.is_string()) {
            tokens.emplace_back(name, token.get<std::string>());
        }
    }
    return tokens;
}

std::size_t common_tokens(std::span<const std::int64_t> a, std::span<const std::int64_t> b) {
    const std::size_t most = std::min(a.size(), b.size());
    const auto end = a.begin() + static_cast<std::ptrdiff_t>(most);
    return static_cast<std::size_t>(std::mismatch(a.begin(), end, b.begin()).first - a.begin());
}

std::size_t tokens_to_keep(std::span<const std::int64_t> history, std::optional<std::size_t> place,
                           std::span<const std::int64_t> prompt) {
    if (prompt.empty()) {
        return 0;
    }
    const std::size_t common = common_tokens(history, prompt.first(prompt.size() - 1));
    if (common == history.size()) {
        return common;
    }
    return place && *place <= common ? *place : 0;
}

}  // namespace deltavino::runtime
