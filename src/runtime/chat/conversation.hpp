// A conversation as a chat template sees it, and what of its next prompt the model has read already.
#pragma once

#include "runtime/chat/jinja_template.hpp"

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace deltavino::runtime {

// An answer in the parts that templates ask for: message.reasoning_content and message.content.
struct AnswerParts {
    std::optional<std::string> reasoning;  // without <think> and </think>, and the newlines around
    std::string content;
};

// `thinking`: the prompt ended inside a thinking block. What is cut short there is reasoning without content.
AnswerParts split_answer(std::string_view generated, bool thinking);

// Whether the template left a thinking block open at the end of the prompt.
bool opens_thinking(const std::vector<PromptSegment>& prompt);

struct Turn {
    enum class Role { System, User, Assistant };
    Role role = Role::User;
    std::string text;
    std::size_t pictures = 0;              // before the text
    std::optional<std::string> reasoning;  // of an assistant
    std::string message{};                 // the whole message as a JSON object, in place of all above; empty: none
};

// What else a template hears.
struct TemplateOptions {
    std::optional<bool> thinking;  // its variable enable_thinking; empty: undefined
    std::string tools{};           // a JSON array; empty: none
    std::string variables{};       // a JSON object with more variables; empty: none
};

// The messages of a JSON array. `where` stands in messages. Throws ErrorKind::Input for anything else.
std::vector<Turn> turns_of(const std::string& messages, const std::string& where);

class Conversation {
public:
    // `special_tokens`: eos_token and the like, variables of every template.
    Conversation(ChatTemplate format, std::vector<std::pair<std::string, std::string>> special_tokens)
        : format_(std::move(format)), special_tokens_(std::move(special_tokens)) {}

    // `said`: turns after the system turn.
    void begin(const std::optional<std::string>& system, const std::vector<Turn>& said = {});
    void add(Turn turn) { turns_.push_back(std::move(turn)); }

    // The prompt that asks `question` after everything before, as apply_chat_template() of transformers
    // writes it. Throws ErrorKind::Usage for text that is not UTF-8 and for variables that are not the caller's,
    // ErrorKind::Input for JSON that is not what it should be, and what ChatTemplate::render() throws.
    std::vector<PromptSegment> prompt(const Turn& question, const TemplateOptions& options,
                                      bool add_generation_prompt = true) const;

private:
    ChatTemplate format_;
    std::vector<std::pair<std::string, std::string>> special_tokens_;
    std::vector<Turn> turns_;
};

// Used, with a note, where a checkpoint has no template: the turns of Qwen's.
extern const char* const kQwenTemplate;

// bos_token, eos_token, pad_token and unk_token of tokenizer_config.json, those that it names.
std::vector<std::pair<std::string, std::string>> read_special_tokens(const std::filesystem::path& directory);

// How many tokens of `prompt` need not be read, given those that the states hold and the place that they can
// be taken back to, in tokens. Either all of `history`, or `place`, or none; at least one token is left to read.
std::size_t tokens_to_keep(std::span<const std::int64_t> history, std::optional<std::size_t> place,
                           std::span<const std::int64_t> prompt);

// The tokens that both begin with.
std::size_t common_tokens(std::span<const std::int64_t> a, std::span<const std::int64_t> b);

}  // namespace deltavino::runtime
