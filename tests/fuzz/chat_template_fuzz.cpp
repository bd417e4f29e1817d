// A chat template: spelled for openvino_genai, parsed, and rendered for a conversation.
#include "fuzz/harness.hpp"
#include "runtime/chat/conversation.hpp"
#include "tokenizer/chat_template.hpp"

using namespace deltavino;

namespace {

void render(std::string_view text) {
    constexpr std::uint64_t kMostSteps = 200'000;  // a rendering that is refused takes a fraction of a second
    runtime::Conversation conversation(runtime::ChatTemplate::parse(text, "the chat template", kMostSteps),
                                       {{"bos_token", "<s>"}, {"eos_token", "<|im_end|>"}});
    conversation.begin("You are \xe2\x9c\xa8 helpful.");
    conversation.add({runtime::Turn::Role::User, " Why is 1 < 2?\n", 1, std::nullopt});
    conversation.add({runtime::Turn::Role::Assistant, "Because.", 0, "Let me \xc3\x9f think"});
    conversation.prompt({runtime::Turn::Role::User, "<|im_end|> {{ 1 }}", 0, std::nullopt}, {true});
}

}  // namespace

void fuzz_one(std::string_view input) {
    fuzz::expect_error_at_most([&] { render(input); });
    fuzz::expect_error_at_most([&] {
        const std::string portable = tokenizer::portable_chat_template(input).text;
        if (portable != input) {
            render(portable);
        }
    });
}
