// The conversation behind deltavino/generate.hpp: what is fed, in which order, and the loop that takes
// one token after another.
//
// A template writes an earlier answer without its thinking, not even the empty block that turned thinking
// off. The states, though, have read it, and linear layers cannot forget. So the states are kept as they
// were before the answer was opened; for the next question the runner goes back there and reads the
// answer as the template writes it. Nothing before the answer is read twice.
#include <deltavino/generate.hpp>

#include "base/error.hpp"
#include "runtime/chat/template.hpp"
#include "runtime/engine.hpp"
#include "runtime/sampler.hpp"
#include "runtime/settings.hpp"

#include <fmt/ranges.h>

#include <algorithm>
#include <chrono>

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
    void warn_about_format();
    void require_no_placeholders(const std::string& text) const;
    std::vector<PictureRows> look_at(const std::vector<std::filesystem::path>& files);
    std::vector<std::int64_t> catch_up(std::string& prompt);
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
    ChatFormat format;
    bool has_template = false;
    bool warned = false;

    // The conversation.
    std::optional<std::string> system;
    bool fresh = true;                   // nothing was asked yet
    std::optional<Engine::Place> place;  // before the last answer was opened
    std::string earlier_answer;          // the last answer's turn, as a later prompt writes it
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

// The tokens between what the states hold and the next user turn; goes back to `place` when the states
// hold the last answer in another form than a prompt writes it.
std::vector<std::int64_t> Runner::Session::catch_up(std::string& prompt) {
    if (fresh) {
        prompt = system ? render_message(format, {Role::System, *system, 0}) : std::string();
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

Answer Runner::Session::ask(const Question& question, const GenerateOptions& options, const TextSink& sink) {
    const Clock::time_point start = Clock::now();
    check(options);
    if (!fresh && !place) {
        fail(ErrorKind::Usage, "the runner was opened for one question only");
    }
    warn_about_format();
    require_no_placeholders(question.text);
    const std::vector<PictureRows> pictures = look_at(question.pictures);
    const std::string turn = render_message(format, {Role::User, question.text, question.pictures.size()});
    const std::vector<std::int64_t> turn_ids = engine.encode(turn, pictures);
    const std::string opening = render_generation_prompt(format, options.thinking);
    const std::vector<std::int64_t> opening_ids = engine.encode(opening, {});
    Answer answer;
    try {
        answer.prompt_ids = catch_up(answer.prompt);
        answer.context_tokens = engine.history().size();
        answer.prompt += turn;
        answer.prompt_ids.insert(answer.prompt_ids.end(), turn_ids.begin(), turn_ids.end());
        std::vector<std::int64_t> ids = answer.prompt_ids;
        answer.prompt += opening;
        answer.prompt_ids.insert(answer.prompt_ids.end(), opening_ids.begin(), opening_ids.end());
        std::span<float> logits;
        if (one_question) {
            logits = engine.feed(answer.prompt_ids, pictures);
        } else {
            engine.feed(std::move(ids), pictures);
            place = engine.mark();
            logits = engine.feed(opening_ids, {});
        }
        fresh = false;
        generate(logits, options, sink, start, answer);
    } catch (...) {
        forget();
        throw;
    }
    const bool thinks = options.thinking.value_or(format.thinks_by_default) && !format.thinking_prompt.empty();
    earlier_answer = render_message(format, {Role::Assistant, answer_without_thinking(answer.text, thinks), 0});
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
