// The conversation behind deltavino/generate.hpp: what is fed, in which order, and the loop that takes
// one token after another.
//
// Each question renders the whole conversation by the checkpoint's template; only the tokens that the
// states have not read are fed. Templates write an earlier answer without its thinking, but the states have
// read it, and linear layers cannot forget. So the states are kept as they were before the answer was
// opened; where the prompt parts from them after that, the runner goes back there. Where it parts from
// them before, everything is read anew.
#include <deltavino/generate.hpp>

#include "base/error.hpp"
#include "runtime/chat/conversation.hpp"
#include "runtime/chat/template.hpp"
#include "runtime/engine.hpp"
#include "runtime/sampler.hpp"
#include "runtime/settings.hpp"

#include <fmt/ranges.h>

#include <algorithm>
#include <chrono>
#include <exception>
#include <iterator>

namespace deltavino {

using namespace runtime;

namespace {

using Clock = std::chrono::steady_clock;

double seconds_since(Clock::time_point start) {
    return std::chrono::duration<double>(Clock::now() - start).count();
}

SamplingSettings sampling_of(const GenerateOptions& options, const GenerationDefaults& defaults) {
    SamplingSettings settings;
    settings.sample = defaults.do_sample || options.temperature || options.top_k || options.top_p;
    settings.temperature = options.temperature.value_or(defaults.temperature.value_or(1.0));
    settings.top_k = options.top_k.value_or(defaults.top_k.value_or(0));
    settings.top_p = options.top_p.value_or(defaults.top_p.value_or(1.0));
    settings.repetition_penalty = options.repetition_penalty.value_or(defaults.repetition_penalty.value_or(1.0));
    return settings;
}

}  // namespace

struct Runner::Session {
    Session(const RunnerOptions& options, ProgressSink& sink);

    void begin(std::optional<std::string> text);
    Answer ask(const Question& question, const GenerateOptions& options, const TextSink& sink);
    Answer complete(const Question& prompt, const GenerateOptions& options, const TextSink& sink);

    void forget();
    void check(const GenerateOptions& options) const;
    void load_template(const std::filesystem::path& model);
    void warn_without_template();
    void require_no_placeholders(const std::string& text) const;
    std::vector<PictureRows> look_at(const std::vector<std::filesystem::path>& files);
    struct NextPrompt {
        Turn question;
        std::string text;
        std::vector<std::int64_t> ids;
        std::size_t answer_at = 0;  // tokens before the answer is opened, where a later question goes back to
        std::string before_answer;  // their text
        bool thinking = false;      // the prompt ends inside a thinking block
    };
    NextPrompt next_prompt(const Question& question, const GenerateOptions& options);
    std::span<float> read_prompt(const NextPrompt& prompt, std::size_t seen_before, Answer& answer);
    void generate(std::span<float> logits, const GenerateOptions& options, const TextSink& sink,
                  Clock::time_point start, Answer& answer);

    std::uint64_t limit_of(const GenerateOptions& options) const {
        return options.max_new_tokens.value_or(defaults.max_new_tokens.value_or(kDefaultMaxNewTokens));
    }

    bool one_question = false;
    std::string directory;  // as the user typed it
    ProgressSink& progress;
    Engine engine;
    GenerationDefaults defaults;
    std::optional<Conversation> conversation;
    std::exception_ptr broken_template;  // told when a question is asked: plain text needs no template
    bool has_template = false;
    bool warned = false;

    // What the states hold.
    std::optional<std::string> system;
    bool fresh = true;                   // nothing was asked yet
    std::optional<Engine::Place> place;  // before the last answer was opened
    std::string place_text;              // the text up to there
    std::string history_text;            // the text of all of it
    std::vector<PictureRows> seen;       // all pictures of the conversation
};

Runner::Session::Session(const RunnerOptions& options, ProgressSink& sink)
    : one_question(options.one_question),
      directory(options.model.string()),
      progress(sink),
      engine(options.model, {options.device, options.precision}),
      defaults(read_generation_defaults(options.model)) {
    if (defaults.eos_ids.empty() && engine.tokenizer().eos_id()) {
        defaults.eos_ids.push_back(*engine.tokenizer().eos_id());
    }
    if (defaults.eos_ids.empty()) {
        progress.note(
            fmt::format("neither generation_config.json nor the tokenizer of '{}' names an end-of-sequence token: "
                        "answers end at the length limit",
                        directory));
    }
    if (!defaults.ignored.empty()) {
        progress.note(fmt::format("generation_config.json of '{}' asks for {}, which this runner does not do",
                                  directory, fmt::join(defaults.ignored, ", ")));
    }
    load_template(options.model);
}

void Runner::Session::load_template(const std::filesystem::path& model) {
    std::optional<std::string> text = read_chat_template(model);
    if (!text) {
        text = engine.tokenizer().chat_template();
    }
    has_template = text.has_value();
    try {
        conversation.emplace(
            ChatTemplate::parse(text.value_or(kQwenTemplate), fmt::format("the chat template of '{}'", directory)),
            read_special_tokens(model));
    } catch (const Error&) {
        broken_template = std::current_exception();
    }
}

void Runner::Session::begin(std::optional<std::string> text) {
    require_no_placeholders(text.value_or(""));
    system = std::move(text);
    forget();
}

void Runner::Session::forget() {
    engine.reset();
    place.reset();
    place_text.clear();
    history_text.clear();
    seen.clear();
    if (conversation) {
        conversation->begin(system);
    }
    fresh = true;
}

// Wrong options show before anything is read.
void Runner::Session::check(const GenerateOptions& options) const {
    Sampler(sampling_of(options, defaults), options.seed);
    if (limit_of(options) == 0) {
        fail(ErrorKind::Usage, "the limit of new tokens is 0, expected 1 or more");
    }
}

std::vector<PictureRows> Runner::Session::look_at(const std::vector<std::filesystem::path>& files) {
    std::vector<PictureRows> pictures;
    for (const std::filesystem::path& file : files) {
        if (progress.cancelled()) {
            fail(ErrorKind::Cancelled, "stopped");
        }
        pictures.push_back(engine.look_at(file));
    }
    return pictures;
}

void Runner::Session::warn_without_template() {
    if (warned || has_template) {
        return;
    }
    warned = true;
    progress.note(fmt::format("there is no chat template in '{}'; the Qwen chat format is used", directory));
}

void Runner::Session::require_no_placeholders(const std::string& text) const {
    for (const char* placeholder : {kImagePad, kVideoPad}) {
        if (engine.takes_pictures() && text.find(placeholder) != std::string::npos) {
            fail(ErrorKind::Usage,
                 "the text holds '{}', which stands for a picture or video: name pictures as files instead",
                 placeholder);
        }
    }
}

Runner::Session::NextPrompt Runner::Session::next_prompt(const Question& question, const GenerateOptions& options) {
    NextPrompt prompt;
    prompt.question = {Turn::Role::User, question.text, question.pictures.size(), std::nullopt};
    const std::vector<PromptSegment> segments = conversation->prompt(prompt.question, options.thinking);
    prompt.thinking = opens_thinking(segments);
    prompt.text = text_of(segments);
    prompt.ids = engine.encode(prompt.text, seen);
    if (prompt.ids.empty()) {
        fail(ErrorKind::Input, "the chat template of '{}' writes an empty prompt", directory);
    }
    prompt.answer_at = prompt.ids.size() - 1;
    if (!one_question) {
        std::string closed = text_of(conversation->prompt(prompt.question, options.thinking, false));
        if (prompt.text.starts_with(closed)) {
            prompt.answer_at = std::min(prompt.answer_at, common_tokens(prompt.ids, engine.encode(closed, seen)));
            prompt.before_answer = std::move(closed);
        }
    }
    return prompt;
}

// Feeds what the states have not read. `seen_before`: pictures of earlier questions.
std::span<float> Runner::Session::read_prompt(const NextPrompt& prompt, std::size_t seen_before, Answer& answer) {
    const std::optional<std::size_t> back = place ? std::optional<std::size_t>(place->mark.tokens) : std::nullopt;
    const std::size_t kept = tokens_to_keep(engine.history(), back, prompt.ids);
    const std::string* known = &history_text;
    if (kept < engine.history().size()) {
        known = &place_text;
        if (kept > 0) {
            engine.rewind(*place);
        } else {
            engine.reset();
        }
    }
    const bool told = kept > 0 && prompt.text.starts_with(*known);
    answer.prompt = told ? prompt.text.substr(known->size()) : prompt.text;
    answer.context_tokens = kept;
    answer.prompt_ids.assign(prompt.ids.begin() + static_cast<std::ptrdiff_t>(kept), prompt.ids.end());
    auto pictures = std::span<const PictureRows>(seen).subspan(kept > 0 ? seen_before : 0);
    if (one_question) {
        return engine.feed(answer.prompt_ids, pictures);
    }
    const std::size_t first = std::max(prompt.answer_at, kept) - kept;
    const auto middle = answer.prompt_ids.begin() + static_cast<std::ptrdiff_t>(first);
    if (first > 0) {
        engine.feed({answer.prompt_ids.begin(), middle}, pictures);
        pictures = {};
    }
    place = engine.mark();
    place_text = prompt.before_answer;
    return engine.feed({middle, answer.prompt_ids.end()}, pictures);
}

Answer Runner::Session::ask(const Question& question, const GenerateOptions& options, const TextSink& sink) {
    const Clock::time_point start = Clock::now();
    check(options);
    if (!fresh && !place) {
        fail(ErrorKind::Usage, "the runner was opened for one question only");
    }
    if (broken_template) {
        std::rethrow_exception(broken_template);
    }
    warn_without_template();
    require_no_placeholders(question.text);
    const std::size_t seen_before = seen.size();
    NextPrompt prompt;
    try {
        std::vector<PictureRows> pictures = look_at(question.pictures);
        std::move(pictures.begin(), pictures.end(), std::back_inserter(seen));
        prompt = next_prompt(question, options);
    } catch (...) {
        seen.resize(seen_before);
        throw;
    }
    Answer answer;
    try {
        const std::span<float> logits = read_prompt(prompt, seen_before, answer);
        fresh = false;
        generate(logits, options, sink, start, answer);
    } catch (...) {
        forget();
        throw;
    }
    // The last token was chosen and not read.
    history_text = prompt.text + engine.tokenizer().decode(std::span(answer.ids).first(answer.ids.size() - 1));
    AnswerParts parts = split_answer(answer.text, prompt.thinking);
    conversation->add(std::move(prompt.question));
    conversation->add({Turn::Role::Assistant, std::move(parts.content), 0, std::move(parts.reasoning)});
    return answer;
}

Answer Runner::Session::complete(const Question& prompt, const GenerateOptions& options, const TextSink& sink) {
    const Clock::time_point start = Clock::now();
    check(options);
    const std::vector<PictureRows> pictures = look_at(prompt.pictures);
    Answer answer;
    answer.prompt = prompt.text;
    answer.prompt_ids = engine.encode(prompt.text, pictures);
    if (answer.prompt_ids.empty()) {
        fail(ErrorKind::Usage, "the prompt is empty");
    }
    forget();
    try {
        generate(engine.feed(answer.prompt_ids, pictures), options, sink, start, answer);
    } catch (...) {
        forget();
        throw;
    }
    forget();
    return answer;
}

void Runner::Session::generate(std::span<float> logits, const GenerateOptions& options, const TextSink& sink,
                               Clock::time_point start, Answer& answer) {
    const std::uint64_t limit = limit_of(options);
    Sampler sampler(sampling_of(options, defaults), options.seed);
    TextStream stream([this](std::span<const std::int64_t> ids) { return engine.tokenizer().decode(ids); });
    const auto give = [&](const std::string& piece) {
        answer.text += piece;
        if (!piece.empty() && sink) {
            sink(piece);
        }
    };
    Clock::time_point first;
    while (true) {
        const std::int64_t id = sampler.next(logits, engine.history());
        answer.ids.push_back(id);
        if (answer.ids.size() == 1) {
            first = Clock::now();
            answer.first_token_seconds = seconds_since(start);
        }
        answer.later_token_seconds = seconds_since(first);
        if (!options.ignore_eos &&
            std::find(defaults.eos_ids.begin(), defaults.eos_ids.end(), id) != defaults.eos_ids.end()) {
            answer.finish = FinishReason::EndOfSequence;
            break;
        }
        give(stream.push(id));
        if (answer.ids.size() >= limit) {
            answer.finish = FinishReason::Length;
            break;
        }
        if (progress.cancelled()) {
            answer.finish = FinishReason::Cancelled;
            break;
        }
        logits = engine.feed({id}, {});
    }
    give(stream.finish());
}

Runner::Runner(const RunnerOptions& options, ProgressSink& progress)
    : session_(std::make_unique<Session>(options, progress)) {}
Runner::~Runner() = default;

bool Runner::takes_pictures() const {
    return session_->engine.takes_pictures();
}

bool Runner::remembers() const {
    return !session_->fresh;
}

void Runner::begin(std::optional<std::string> system) {
    session_->begin(std::move(system));
}

Answer Runner::ask(const Question& question, const GenerateOptions& options, const TextSink& sink) {
    return session_->ask(question, options, sink);
}

Answer Runner::complete(const Question& prompt, const GenerateOptions& options, const TextSink& sink) {
    return session_->complete(prompt, options, sink);
}

}  // namespace deltavino
