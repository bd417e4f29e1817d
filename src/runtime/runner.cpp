// The conversation behind deltavino/generate.hpp: what is fed, in which order, and the loop that takes
// one token after another.
//
// A template writes an earlier answer without its thinking, not even the empty block that turned thinking
// off. The states, though, have read it, and linear layers cannot forget. So the states are kept as they
// were before the answer was opened; for the next question the runner goes back there and reads the
// answer as the template writes it. Nothing before the answer is read twice.
#include <deltavino/generate.hpp>

#include "base/error.hpp"
#include "base/guard.hpp"
#include "runtime/chat/prompt.hpp"
#include "runtime/engine.hpp"
#include "runtime/generation.hpp"
#include "runtime/settings.hpp"

#include <fmt/ranges.h>

#include <algorithm>
#include <chrono>

namespace deltavino {

using namespace runtime;

namespace {
using Clock = std::chrono::steady_clock;
}

struct Runner::Session {
    Session(const RunnerOptions& options, ProgressSink& sink);

    void begin(std::optional<std::string> text);
    Answer ask(const Question& question, const GenerateOptions& options, const TextSink& sink);
    Answer complete(const Question& prompt, const GenerateOptions& options, const TextSink& sink);

    void forget();
    void warn_about_format();
    void require_no_placeholders(const std::string& text) const;
    void require_room(std::size_t tokens);
    std::vector<PictureRows> look_at(const std::vector<std::filesystem::path>& files);
    std::vector<std::int64_t> catch_up(Prompt& prompt);
    std::span<float> read_question(const Question& question, const GenerateOptions& options, const GenerationPlan& plan,
                                   Answer& answer);

    const bool one_question;
    const std::string directory;
    ProgressSink& progress;
    const StopCheck stop;
    Engine engine;
    GenerationDefaults defaults;
    ChatFormat format;
    std::optional<std::uint64_t> max_positions;
    bool has_template = false;
    bool warned = false;          // about the chat format
    bool warned_of_room = false;  // about max_position_embeddings
    bool fresh = true;            // nothing was asked yet
    std::optional<std::string> system;
    std::optional<Engine::Place> place;  // before the last answer was opened
    Prompt earlier_answer;               // the last answer's turn, as a later prompt writes it
};

Runner::Session::Session(const RunnerOptions& options, ProgressSink& sink)
    : one_question(options.one_question),
      directory(options.model.string()),
      progress(sink),
      stop([&sink]() { return sink.cancelled(); }),
      engine(options.model, {options.device, options.precision, options.threads}),
      defaults(read_generation_defaults(options.model)),
      max_positions(read_max_positions(options.model)) {
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
    std::optional<std::string> chat_template = read_chat_template(options.model);
    if (!chat_template) {
        chat_template = engine.tokenizer().chat_template();
    }
    has_template = chat_template.has_value();
    format = chat_template ? ChatFormat::of_template(*chat_template) : ChatFormat();
}

void Runner::Session::begin(std::optional<std::string> text) {
    require_no_placeholders(text.value_or(""));
    system = std::move(text);
    forget();
}

void Runner::Session::forget() {
    engine.reset();
    place.reset();
    earlier_answer.clear();
    fresh = true;
}

std::vector<PictureRows> Runner::Session::look_at(const std::vector<std::filesystem::path>& files) {
    std::vector<PictureRows> pictures;
    for (const std::filesystem::path& file : files) {
        pictures.push_back(engine.look_at(file, stop));
    }
    return pictures;
}

void Runner::Session::warn_about_format() {
    if (warned || format.known) {
        return;
    }
    warned = true;
    progress.note(
        fmt::format("{} '{}'{}; the Qwen chat format is used. openvino_genai renders templates themselves: use it when "
                    "answers look wrong",
                    has_template ? "the chat template of" : "there is no chat template in", directory,
                    has_template ? " is not one that this runner knows" : ""));
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

// The tokens between what the states hold and the next user turn; goes back to `place` when the states
// hold the last answer in another form than a prompt writes it.
std::vector<std::int64_t> Runner::Session::catch_up(Prompt& prompt) {
    if (fresh) {
        prompt = system ? message_prompt(format, {Role::System, *system, 0}) : Prompt();
        return engine.encode(prompt, {});
    }
    prompt = earlier_answer;
    const std::vector<std::int64_t> wanted = engine.encode(earlier_answer, {});
    const auto read = std::span(engine.history()).subspan(place->mark.tokens);
    if (read.size() < wanted.size() && std::equal(read.begin(), read.end(), wanted.begin())) {
        return {wanted.begin() + static_cast<std::ptrdiff_t>(read.size()), wanted.end()};
    }
    engine.rewind(*place);
    return wanted;
}

// Everything up to the answer; fills what `answer` says about the prompt. When it is stopped the states are
// taken back to where the last answer was opened, or emptied when there was none.
std::span<float> Runner::Session::read_question(const Question& question, const GenerateOptions& options,
                                                const GenerationPlan& plan, Answer& answer) {
    const std::vector<PictureRows> pictures = look_at(question.pictures);
    const Prompt turn = message_prompt(format, {Role::User, question.text, question.pictures.size()});
    const std::vector<std::int64_t> turn_ids = engine.encode(turn, pictures);
    const Prompt opening = generation_prompt(format, options.thinking);
    const std::vector<std::int64_t> opening_ids = engine.encode(opening, {});
    Prompt prompt;
    std::vector<std::int64_t> ids = catch_up(prompt);
    ids.insert(ids.end(), turn_ids.begin(), turn_ids.end());
    append(prompt, turn);
    append(prompt, opening);
    answer.prompt = text_of(prompt);
    answer.context_tokens = engine.history().size();
    answer.prompt_ids = ids;
    answer.prompt_ids.insert(answer.prompt_ids.end(), opening_ids.begin(), opening_ids.end());
    const std::size_t total = engine.history().size() + answer.prompt_ids.size();
    answer_limit(plan, total);
    require_room(total);
    const std::optional<Engine::Place> before = place;
    try {
        if (one_question) {
            return engine.feed(answer.prompt_ids, pictures, stop);
        }
        engine.feed(ids, pictures, stop);
        place = engine.mark();
        return engine.feed(opening_ids, {}, stop);
    } catch (const Error& error) {
        if (error.kind() != ErrorKind::Cancelled || !before) {
            forget();
        } else {
            place = before;
            engine.rewind(*place);
        }
        throw;
    } catch (...) {
        forget();
        throw;
    }
}

Answer Runner::Session::ask(const Question& question, const GenerateOptions& options, const TextSink& sink) {
    const Clock::time_point start = Clock::now();
    const GenerationPlan plan = plan_generation(options, defaults);
    if (!fresh && !place) {
        fail(ErrorKind::Usage, "the runner was opened for one question only");
    }
    warn_about_format();
    require_no_placeholders(question.text);
    Answer answer;
    std::span<float> logits;
    try {
        logits = read_question(question, options, plan, answer);
    } catch (const Error& error) {
        if (error.kind() != ErrorKind::Cancelled) {
            throw;
        }
        answer.finish = FinishReason::Cancelled;
        return answer;
    }
    fresh = false;
    try {
        generate(engine, logits, plan, sink, stop, start, answer);
    } catch (...) {
        forget();
        throw;
    }
    require_room(engine.history().size());
    const bool thinks = options.thinking.value_or(format.thinks_by_default) && !format.thinking_prompt.empty();
    earlier_answer = message_prompt(format, {Role::Assistant, answer_without_thinking(answer.text, thinks), 0});
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
        generate(engine, engine.feed(answer.prompt_ids, pictures, stop), plan, sink, stop, start, answer);
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

void Runner::begin(std::optional<std::string> system) {
    guarded("cannot begin a conversation", [&]() { session_->begin(std::move(system)); });
}

Answer Runner::ask(const Question& question, const GenerateOptions& options, const TextSink& sink) {
    return guarded("cannot generate", [&]() { return session_->ask(question, options, sink); });
}

Answer Runner::complete(const Question& prompt, const GenerateOptions& options, const TextSink& sink) {
    return guarded("cannot generate", [&]() { return session_->complete(prompt, options, sink); });
}

}  // namespace deltavino
