#include "commands.hpp"
#include "error_report.hpp"
#include "progress_bar.hpp"

#include "base/file.hpp"
#include "base/terminal.hpp"
#include "json/document.hpp"

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include <cerrno>
#include <cstdio>
#include <string_view>
#include <system_error>
#include <utility>

namespace deltavino::app {
namespace {

constexpr std::uint64_t kMostJsonBytes = std::uint64_t{64} << 20;

const char* name_of(FinishReason reason) {
    switch (reason) {
        case FinishReason::EndOfSequence: return "end of sequence";
        case FinishReason::StopString: return "stop string";
        case FinishReason::Length: return "length";
        case FinishReason::Cancelled: return "cancelled";
    }
    return "";
}

// Text goes out as it is made; when nobody can take it, the answer is not made any further.
void put(std::string_view text) {
    if (std::fwrite(text.data(), 1, text.size(), stdout) != text.size() || std::fflush(stdout) != 0) {
        throw Error(ErrorKind::Output,
                    fmt::format("cannot write to standard output: {}", std::generic_category().message(errno)));
    }
}

void say(const std::string& line) {
    std::fputs((line + "\n").c_str(), stderr);
}

void print_json(const Answer& answer) {
    const nlohmann::ordered_json json{
        {"text", answer.text},
        {"ids", answer.ids},
        {"finish", name_of(answer.finish)},
        {"prompt", answer.prompt},
        {"prompt_ids", answer.prompt_ids},
        {"context_tokens", answer.context_tokens},
        {"first_token_seconds", answer.first_token_seconds},
        {"later_token_seconds", answer.later_token_seconds},
        {"drafted_tokens", answer.drafted_tokens},
        {"accepted_tokens", answer.accepted_tokens},
    };
    put(json.dump(-1, ' ', false, nlohmann::ordered_json::error_handler_t::replace) + "\n");
}

void print_statistics(const Answer& answer) {
    if (is_quiet()) {
        return;
    }
    if (answer.ids.empty()) {
        return say("[stopped before the first token]");
    }
    std::string text = fmt::format("prompt {} tokens", answer.prompt_ids.size());
    if (answer.context_tokens > 0) {
        text += fmt::format(" after {} that were kept", answer.context_tokens);
    }
    text += fmt::format(", first token after {:.3f} s", answer.first_token_seconds);
    if (answer.ids.size() > 1 && answer.later_token_seconds > 0.0) {
        const std::size_t later = answer.ids.size() - 1;
        text +=
            fmt::format(", then {} at {:.1f} tokens/s", later, static_cast<double>(later) / answer.later_token_seconds);
    }
    if (answer.drafted_tokens > 0) {
        text += fmt::format(
            ", {} of {} drafted tokens accepted ({:.0f} %)", answer.accepted_tokens, answer.drafted_tokens,
            100.0 * static_cast<double>(answer.accepted_tokens) / static_cast<double>(answer.drafted_tokens));
    }
    if (answer.finish == FinishReason::Length) {
        text += fmt::format("; stopped at the limit of {} tokens (--max-new-tokens)", answer.ids.size());
    }
    say(fmt::format("[{}]", text));
}

// The program's side of a conversation: what is printed where.
class Console {
public:
    Console(const GenerateCommand& command, Runner& runner) : command_(command), runner_(runner) {}

    Answer answer(const Question& question) {
        std::string last;
        const TextSink sink = [&](std::string_view piece) {
            if (!command_.json) {
                put(piece);
                last = piece;
            }
        };
        Answer answer;
        try {
            answer = command_.raw ? runner_.complete(question, command_.options, sink)
                                  : runner_.ask(question, command_.options, sink);
        } catch (const Error& error) {
            if (error.kind() != ErrorKind::Output) {
                end_line(last);
            }
            throw;
        }
        end_line(last);
        if (command_.json) {
            print_json(answer);
        }
        print_statistics(answer);
        return answer;
    }

private:
    static void end_line(const std::string& last) {
        if (!last.empty() && last.back() != '\n') {
            put("\n");
        }
    }

    const GenerateCommand& command_;
    Runner& runner_;
};

// Questions from standard input until it ends. A question that cannot be used is reported and the
// conversation goes on; the exit code is that of the last such question. An interrupt ends the answer that
// is being made, or, at the prompt, the chat.
class Chat {
public:
    Chat(const GenerateCommand& command, Runner& runner)
        : command_(command), runner_(runner), console_(command, runner), terminal_(is_terminal(Stream::Input)) {}

    int run() {
        pictures_ = command_.images;
        if (command_.prompt) {
            ask(*command_.prompt);
        }
        std::string line;
        while (!stop_requested()) {
            if (terminal_) {
                std::fputs("> ", stderr);
            }
            switch (input_.next_line(line)) {
                case StandardInput::Got::End: return code_;
                case StandardInput::Got::Stop:
                    say("");  // the prompt's line ends
                    return static_cast<int>(ErrorKind::Cancelled);
                case StandardInput::Got::Text: break;
            }
            if (line == "/exit") {
                return code_;
            }
            obey(line);
        }
        return static_cast<int>(ErrorKind::Cancelled);
    }

private:
    void obey(const std::string& line) {
        if (line == "/reset") {
            runner_.begin(command_.system);
            pictures_.clear();
        } else if (line.starts_with("/image ")) {
            pictures_.emplace_back(line.substr(7));
        } else if (line.starts_with("/")) {
            const Error error(
                ErrorKind::Usage,
                fmt::format("'{}' is not known, expected /image FILE, /reset or /exit; a space before it makes it a "
                            "question",
                            line));
            report_error(error);
            code_ = error.exit_code();
        } else if (!line.empty()) {
            ask(line);
        }
    }

    void ask(const std::string& text) {
        const bool remembered = runner_.remembers();
        try {
            if (console_.answer({text, std::exchange(pictures_, {})}).finish == FinishReason::Cancelled) {
                take_interrupt();
            }
        } catch (const Error& error) {
            const bool usable = error.kind() == ErrorKind::Usage || error.kind() == ErrorKind::Input ||
                                error.kind() == ErrorKind::Unsupported;
            if (!usable || (remembered && !runner_.remembers())) {
                throw;
            }
            report_error(error);
            code_ = error.exit_code();
        }
    }

    const GenerateCommand& command_;
    Runner& runner_;
    Console console_;
    StandardInput input_;
    bool terminal_ = false;
    int code_ = 0;
    std::vector<std::filesystem::path> pictures_;  // of the next question
};

// Editors and `echo` end a text with a line end that nobody means.
std::string without_last_line_end(std::string text) {
    if (text.ends_with('\n')) {
        text.pop_back();
    }
    if (text.ends_with('\r')) {
        text.pop_back();
    }
    return text;
}

// The question as it was given: on the command line, in a file, or from standard input.
void find_prompt(GenerateCommand& command) {
    if (!command.file.empty()) {
        command.prompt = without_last_line_end(read_text_file(command.file, StandardInput::kMostBytes));
        return;
    }
    if (!command.prompt && !command.messages.empty()) {
        return;  // the last message, or --chat's questions
    }
    const bool piped = !command.prompt && !command.chat && !is_terminal(Stream::Input);
    if (piped || command.prompt == "-") {
        std::string text;
        if (StandardInput().rest(text) == StandardInput::Got::Stop) {
            throw Error(ErrorKind::Cancelled, "stopped");
        }
        command.prompt = without_last_line_end(text);
        if (piped && command.prompt->empty()) {
            command.prompt.reset();
        }
    }
    if (!command.prompt && !command.chat) {
        throw Error(ErrorKind::Usage,
                    "there is nothing to answer: give --prompt TEXT, --file FILE or text on standard input, or --chat "
                    "for questions from standard input");
    }
}

// The messages of the file, as JSON. Without a question the last one becomes `question`.
std::string read_messages(const GenerateCommand& command, Question& question) {
    if (command.messages.empty()) {
        return {};
    }
    Json messages = parse_json(read_text_file(command.messages, kMostJsonBytes), command.messages.string());
    if (!messages.is_array() || messages.empty()) {
        throw Error(ErrorKind::Input,
                    fmt::format("cannot use '{}': expected a JSON array of messages", command.messages.string()));
    }
    if (!command.prompt && !command.chat) {
        question.message = messages.back().dump();
        messages.erase(messages.size() - 1);
    }
    return messages.dump();
}

}  // namespace

int run_generate(GenerateCommand command) {
    ProgressBar progress(ProgressUnit::Items);
    find_prompt(command);
    Question question{command.prompt.value_or(""), command.images};
    const std::string said = read_messages(command, question);
    if (!command.tools.empty()) {
        command.options.tools = read_text_file(command.tools, kMostJsonBytes);
        parse_json(command.options.tools, command.tools.string());  // names the file
    }
    const CachedDirectory model = runnable({command.runner.model}, command.recipe, command.runner.threads).front();
    command.runner.model = model.directory;
    command.runner.one_question = !command.chat;
    Runner runner(command.runner, progress);
    runner.begin(command.system, said);
    if (command.chat) {
        return Chat(command, runner).run();
    }
    const Answer answer = Console(command, runner).answer(question);
    return answer.finish == FinishReason::Cancelled ? static_cast<int>(ErrorKind::Cancelled) : 0;
}

}  // namespace deltavino::app
