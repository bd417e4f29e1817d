#include "commands.hpp"
#include "progress_bar.hpp"

#include "base/terminal.hpp"

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include <cstdio>
#include <iostream>
#include <string_view>
#include <utility>

namespace deltavino::app {
namespace {

const char* name_of(FinishReason reason) {
    switch (reason) {
        case FinishReason::EndOfSequence: return "end of sequence";
        case FinishReason::StopString: return "stop string";
        case FinishReason::Length: return "length";
        case FinishReason::Cancelled: return "cancelled";
    }
    return "";
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
    };
    fmt::print("{}\n", json.dump());
    std::fflush(stdout);
}

void print_statistics(const Answer& answer) {
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
    if (answer.finish == FinishReason::Length) {
        text += fmt::format("; stopped at the limit of {} tokens (--max-new-tokens)", answer.ids.size());
    }
    fmt::print(stderr, "[{}]\n", text);
}

// The program's side of a conversation: what is printed where.
class Console {
public:
    Console(const GenerateCommand& command, Runner& runner) : command_(command), runner_(runner) {}

    Answer answer(const Question& question) {
        std::string last;
        const TextSink sink = [&](std::string_view piece) {
            if (!command_.json) {
                std::fwrite(piece.data(), 1, piece.size(), stdout);
                std::fflush(stdout);
                last = piece;
            }
        };
        Answer answer;
        try {
            answer = command_.raw ? runner_.complete(question, command_.options, sink)
                                  : runner_.ask(question, command_.options, sink);
        } catch (...) {
            end_line(last);
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
            fmt::print("\n");
            std::fflush(stdout);
        }
    }

    const GenerateCommand& command_;
    Runner& runner_;
};

// Questions from standard input until it ends. A question that cannot be used is reported and the
// conversation goes on; the exit code is that of the last such question.
class Chat {
public:
    Chat(const GenerateCommand& command, Runner& runner, ProgressSink& progress)
        : command_(command),
          runner_(runner),
          progress_(progress),
          console_(command, runner),
          terminal_(is_terminal(Stream::Input)) {}

    int run() {
        pictures_ = command_.images;
        if (command_.prompt) {
            ask(*command_.prompt);
        }
        std::string line;
        while (!stopped() && next_line(line)) {
            if (line == "/exit") {
                break;
            }
            if (line == "/reset") {
                runner_.begin(command_.system);
                pictures_.clear();
            } else if (line.starts_with("/image ")) {
                pictures_.emplace_back(line.substr(7));
            } else if (line.starts_with("/")) {
                fmt::print(stderr,
                           "error: '{}' is not known, expected /image FILE, /reset or /exit; a space before it makes "
                           "it a question\n",
                           line);
                code_ = static_cast<int>(ErrorKind::Usage);
            } else if (!line.empty()) {
                ask(line);
            }
        }
        return stopped() ? static_cast<int>(ErrorKind::Cancelled) : code_;
    }

private:
    bool stopped() { return cancelled_ || progress_.cancelled(); }

    bool next_line(std::string& line) const {
        if (terminal_) {
            fmt::print(stderr, "> ");
        }
        if (!std::getline(std::cin, line)) {
            return false;
        }
        if (line.ends_with('\r')) {
            line.pop_back();
        }
        return true;
    }

    void ask(const std::string& text) {
        const bool remembered = runner_.remembers();
        try {
            cancelled_ = console_.answer({text, std::exchange(pictures_, {})}).finish == FinishReason::Cancelled;
        } catch (const Error& error) {
            const bool usable = error.kind() == ErrorKind::Usage || error.kind() == ErrorKind::Input ||
                                error.kind() == ErrorKind::Unsupported;
            if (!usable || (remembered && !runner_.remembers())) {
                throw;
            }
            fmt::print(stderr, "error: {}\n", error.what());
            code_ = error.exit_code();
        }
    }

    const GenerateCommand& command_;
    Runner& runner_;
    ProgressSink& progress_;
    Console console_;
    bool terminal_ = false;
    bool cancelled_ = false;
    int code_ = 0;
    std::vector<std::filesystem::path> pictures_;  // of the next question
};

void check(const GenerateCommand& command) {
    if (!command.chat && !command.prompt) {
        throw Error(ErrorKind::Usage,
                    "there is nothing to answer: give --prompt TEXT, or --chat for questions from standard input");
    }
    if (command.raw && (command.chat || command.system || command.options.thinking)) {
        throw Error(ErrorKind::Usage,
                    "--raw continues one prompt as it is: --chat, --system, --think and --no-think do not go with it");
    }
}

}  // namespace

int run_generate(GenerateCommand command) {
    check(command);
    command.runner.one_question = !command.chat;
    ProgressBar progress;
    Runner runner(command.runner, progress);
    runner.begin(command.system);
    if (command.chat) {
        return Chat(command, runner, progress).run();
    }
    const Answer answer = Console(command, runner).answer({*command.prompt, command.images});
    return answer.finish == FinishReason::Cancelled ? static_cast<int>(ErrorKind::Cancelled) : 0;
}

}  // namespace deltavino::app
