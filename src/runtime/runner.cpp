// The conversation behind deltavino/generate.hpp: what is fed, in which order.
//
// Every question renders the whole conversation by the checkpoint's chat template, and only what the states have not
// read is fed. Templates write an earlier answer without its thinking, which the states have read, and linear layers
// cannot forget: so the states are kept as they were before the answer was opened, and the runner goes back there
// when the new prompt parts from the old one after that place.
#include <deltavino/generate.hpp>

#include "base/error.hpp"
#include "base/file.hpp"
#include "base/guard.hpp"
#include "runtime/chat/conversation.hpp"
#include "runtime/engine.hpp"
#include "runtime/generation.hpp"
#include "runtime/settings.hpp"

#include <fmt/ranges.h>

#include <algorithm>
#include <chrono>
#include <exception>

namespace deltavino {

using namespace runtime;

namespace {

using Clock = std::chrono::steady_clock;

// What the template wrote may hold control tokens; what a user or an answer brought stays text.
std::vector<TextSegment> segments_of(const std::vector<PromptSegment>& prompt) {
    std::vector<TextSegment> segments;
    for (const PromptSegment& piece : prompt) {
        segments.push_back({piece.text, piece.control});
    }
    return segments;
}

std::size_t speculation_of(const RunnerOptions& options) {
    if (options.speculate > kMostSpeculation) {
        fail(ErrorKind::Usage, "cannot draft {} tokens at a time, expected at most {}", options.speculate,
             kMostSpeculation);
    }
    return static_cast<std::size_t>(options.speculate);
}

std::filesystem::path compiled_cache_of(const RunnerOptions& options) {
    if (!options.compiled_cache.empty()) {
        make_folder(options.compiled_cache);
    }
    return options.compiled_cache;
}

}  // namespace

struct Runner::Session {
    Session(const RunnerOptions& options, ProgressSink& sink);

    void begin(std::optional<std::string> text, const std::string& messages);
    Answer ask(const Question& question, const GenerateOptions& options, const TextSink& sink);
    Answer complete(const Question& prompt, const GenerateOptions& options, const TextSink& sink);

    // A question as the template writes it, after everything before.
    struct NextPrompt {
        Turn question;
        std::string text;
        std::vector<std::int64_t> ids;
        std::size_t answer_at = 0;  // tokens before the answer is opened, where a later question goes back to
        std::string before_answer;  // their text
        bool thinking = false;      // the prompt ends inside a thinking block
    };

    void forget();
    void load_template(const std::filesystem::path& model);
    void warn_without_template();
    void require_room(std::size_t tokens);
    std::vector<PictureRows> look_at(const std::vector<std::filesystem::path>& files);
    NextPrompt next_prompt(const Question& question, const GenerateOptions& options);
    std::span<float> read_prompt(const NextPrompt& prompt, std::size_t seen_before, Answer& answer);
    std::span<float> feed_prompt(const NextPrompt& prompt, std::size_t kept, std::span<const PictureRows> pictures);

    const bool one_question;
    const std::string directory;
    ProgressSink& progress;
    const StopCheck stop;
    const std::size_t speculate;  // tokens at a time
    Engine engine;
    GenerationDefaults defaults;
    std::optional<std::uint64_t> max_positions;
    std::optional<Conversation> conversation;
    std::exception_ptr broken_template;  // told when a question is asked: plain text needs no template
    bool has_template = false;
    bool warned = false;          // that there is no template
    bool warned_of_room = false;  // about max_position_embeddings
    bool fresh = true;            // nothing was asked yet
    std::optional<std::string> system;
    std::vector<Turn> said;  // after it, before the first question

    // What the states hold.
    std::optional<Engine::Place> place;  // before the last answer was opened
    std::string place_text;              // the text up to there
    std::string history_text;            // the text of all of it
    std::vector<PictureRows> seen;       // all pictures of the conversation
};

Runner::Session::Session(const RunnerOptions& options, ProgressSink& sink)
    : one_question(options.one_question),
      directory(options.model.string()),
      progress(sink),
      stop([&sink]() { return sink.cancelled(); }),
      speculate(speculation_of(options)),
      engine(options.model,
             {options.device, options.precision, options.threads, compiled_cache_of(options), options.plugin_only}, 0,
             options.speculate > 0),
      defaults(read_generation_defaults(options.model)),
      max_positions(read_max_positions(options.model)) {
    engine.warm_up(stop);
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

void Runner::Session::begin(std::optional<std::string> text, const std::string& messages) {
    said = messages.empty() ? std::vector<Turn>() : turns_of(messages, "the messages");
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
        conversation->begin(system, said);
    }
    fresh = true;
}

std::vector<PictureRows> Runner::Session::look_at(const std::vector<std::filesystem::path>& files) {
    std::vector<PictureRows> pictures;
    for (const std::filesystem::path& file : files) {
        pictures.push_back(engine.look_at(file, stop));
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

// `tokens`: all that the states will have read.
void Runner::Session::require_room(std::size_t tokens) {
    if (engine.capacity() && tokens > *engine.capacity()) {
        fail(ErrorKind::Input, "cannot read {} tokens: the states of '{}' hold {}", tokens, directory,
             *engine.capacity());
    }
    if (max_positions && tokens > *max_positions && !warned_of_room) {
        warned_of_room = true;
        progress.note(
            fmt::format("the text has {} tokens, more than the {} that the model was made for "
                        "(max_position_embeddings in '{}/config.json'): answers may be wrong from there on",
                        tokens, *max_positions, directory));
    }
}

Runner::Session::NextPrompt Runner::Session::next_prompt(const Question& question, const GenerateOptions& options) {
    NextPrompt prompt;
    prompt.question = {Turn::Role::User, question.text, question.pictures.size(), std::nullopt, {}};
    if (!question.message.empty()) {
        prompt.question = turns_of("[" + question.message + "]", "the message").at(0);
    }
    const TemplateOptions heard{options.thinking, options.tools, options.chat_template_kwargs};
    const std::vector<PromptSegment> segments = conversation->prompt(prompt.question, heard);
    prompt.thinking = opens_thinking(segments);
    prompt.text = text_of(segments);
    prompt.ids = engine.encode(segments_of(segments), seen);
    if (prompt.ids.empty()) {
        fail(ErrorKind::Input, "the chat template of '{}' writes an empty prompt", directory);
    }
    prompt.answer_at = prompt.ids.size() - 1;
    if (!one_question) {
        const std::vector<PromptSegment> closed = conversation->prompt(prompt.question, heard, false);
        std::string text = text_of(closed);
        if (prompt.text.starts_with(text)) {
            prompt.answer_at =
                std::min(prompt.answer_at, common_tokens(prompt.ids, engine.encode(segments_of(closed), seen)));
            prompt.before_answer = std::move(text);
        }
    }
    return prompt;
}

// Feeds what the states have not read. `seen_before`: pictures of earlier questions. When it is stopped, the states
// are taken back to where the last answer was opened, or emptied.
std::span<float> Runner::Session::read_prompt(const NextPrompt& prompt, std::size_t seen_before, Answer& answer) {
    const std::optional<Engine::Place> before = place;
    const std::optional<std::size_t> back = place ? std::optional<std::size_t>(place->mark.tokens) : std::nullopt;
    const std::size_t kept = tokens_to_keep(engine.history(), back, prompt.ids);
    const bool rewinds = kept < engine.history().size();
    const std::string& known = rewinds ? place_text : history_text;
    const bool told = kept > 0 && prompt.text.starts_with(known);
    answer.prompt = told ? prompt.text.substr(known.size()) : prompt.text;
    answer.context_tokens = kept;
    answer.prompt_ids.assign(prompt.ids.begin() + static_cast<std::ptrdiff_t>(kept), prompt.ids.end());
    if (rewinds && kept > 0) {
        engine.rewind(*place);
    } else if (rewinds) {
        engine.reset();
    }
    try {
        return feed_prompt(prompt, kept, std::span<const PictureRows>(seen).subspan(kept > 0 ? seen_before : 0));
    } catch (const Error& error) {
        if (error.kind() != ErrorKind::Cancelled || fresh) {
            forget();
        } else if (before && kept > 0) {
            place = before;
            engine.rewind(*place);
            history_text = place_text;
        } else {
            place.reset();
            engine.reset();
            history_text.clear();
        }
        throw;
    } catch (...) {
        forget();
        throw;
    }
}

std::span<float> Runner::Session::feed_prompt(const NextPrompt& prompt, std::size_t kept,
                                              std::span<const PictureRows> pictures) {
    const auto ids = std::span<const std::int64_t>(prompt.ids).subspan(kept);
    if (one_question) {
        return engine.feed(ids, pictures, stop);
    }
    const std::size_t first = std::max(prompt.answer_at, kept) - kept;
    if (first > 0) {
        engine.feed(ids.first(first), pictures, stop);
        pictures = {};
    }
    place = engine.mark();
    place_text = prompt.before_answer;
    return engine.feed(ids.subspan(first), pictures, stop);
}

Answer Runner::Session::ask(const Question& question, const GenerateOptions& options, const TextSink& sink) {
    const Clock::time_point start = Clock::now();
    const GenerationPlan plan = plan_generation(options, defaults);
    if (!fresh && one_question) {
        fail(ErrorKind::Usage, "the runner was opened for one question only");
    }
    if (broken_template) {
        std::rethrow_exception(broken_template);
    }
    warn_without_template();
    const std::size_t seen_before = seen.size();
    const std::string place_text_before = place_text;
    Answer answer;
    NextPrompt prompt;
    std::span<float> logits;
    try {
        std::vector<PictureRows> pictures = look_at(question.pictures);
        std::move(pictures.begin(), pictures.end(), std::back_inserter(seen));
        prompt = next_prompt(question, options);
        answer_limit(plan, prompt.ids.size());
        require_room(prompt.ids.size());
        logits = read_prompt(prompt, seen_before, answer);
    } catch (const Error& error) {
        seen.resize(std::min(seen.size(), seen_before));
        if (error.kind() != ErrorKind::Cancelled) {
            throw;
        }
        place_text = place ? place_text_before : std::string();
        history_text = place ? place_text_before : std::string();
        answer.finish = FinishReason::Cancelled;
        return answer;
    }
    fresh = false;
    try {
        generate(engine, logits, plan, speculate, sink, stop, start, answer);
    } catch (...) {
        forget();
        throw;
    }
    require_room(engine.history().size());
    // The last token was chosen and not read.
    history_text = prompt.text + engine.tokenizer().decode(std::span(answer.ids).first(answer.ids.size() - 1));
    AnswerParts parts = split_answer(answer.text, prompt.thinking);
    conversation->add(std::move(prompt.question));
    conversation->add({Turn::Role::Assistant, std::move(parts.content), 0, std::move(parts.reasoning), {}});
    return answer;
}

Answer Runner::Session::complete(const Question& prompt, const GenerateOptions& options, const TextSink& sink) {
    const Clock::time_point start = Clock::now();
    const GenerationPlan plan = plan_generation(options, defaults);
    Answer answer;
    bool begun = false;
    try {
        const std::vector<PictureRows> pictures = look_at(prompt.pictures);
        answer.prompt = prompt.text;
        answer.prompt_ids = engine.encode(prompt.text, pictures);
        if (answer.prompt_ids.empty()) {
            fail(ErrorKind::Usage, "the prompt is empty");
        }
        answer_limit(plan, answer.prompt_ids.size());
        require_room(answer.prompt_ids.size());
        forget();
        begun = true;
        generate(engine, engine.feed(answer.prompt_ids, pictures, stop), plan, speculate, sink, stop, start, answer);
        require_room(engine.history().size());
    } catch (const Error& error) {
        if (begun) {
            forget();
        }
        if (error.kind() != ErrorKind::Cancelled) {
            throw;
        }
        answer.finish = FinishReason::Cancelled;
        return answer;
    } catch (...) {
        forget();
        throw;
    }
    forget();
    return answer;
}

Runner::Runner(const RunnerOptions& options, ProgressSink& progress)
    : session_(guarded("cannot load the model", [&]() { return std::make_unique<Session>(options, progress); })) {}
Runner::~Runner() = default;

bool Runner::takes_pictures() const {
    return session_->engine.takes_pictures();
}

bool Runner::remembers() const {
    return !session_->fresh;
}

void Runner::begin(std::optional<std::string> system, const std::string& messages) {
    guarded("cannot begin a conversation", [&]() { session_->begin(std::move(system), messages); });
}

Answer Runner::ask(const Question& question, const GenerateOptions& options, const TextSink& sink) {
    return guarded("cannot generate", [&]() { return session_->ask(question, options, sink); });
}

Answer Runner::complete(const Question& prompt, const GenerateOptions& options, const TextSink& sink) {
    return guarded("cannot generate", [&]() { return session_->complete(prompt, options, sink); });
}

}  // namespace deltavino
