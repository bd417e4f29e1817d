// The only file that includes CLI11: it is slow to compile.
#include "command_line.hpp"

#include "completion.hpp"
#include "help.hpp"
#include "progress_bar.hpp"

#include "base/terminal.hpp"
#include "base/text.hpp"

#include <deltavino/problems.hpp>

#include <fmt/format.h>
#include <CLI/CLI.hpp>

#include <algorithm>
#include <cstdio>
#include <map>

namespace deltavino::app {
namespace {

// Everything wrong that was found, in order.
class Wrong {
public:
    void add(std::string problem) { problems_.push_back(std::move(problem)); }

    void throw_if_any(const std::string& help) const {
        if (problems_.empty()) {
            return;
        }
        std::string text = problems_.front();
        if (problems_.size() > 1) {
            text = fmt::format("{} things are wrong", problems_.size());
            for (const std::string& problem : problems_) {
                text += "\n  - " + problem;
            }
        }
        throw ProblemsError(ErrorKind::Usage, fmt::format("{}\nrun `{}` for the options", text, help), problems_);
    }

private:
    std::vector<std::string> problems_;
};

// The option's long name, as messages call it.
std::string called(const Option& option) {
    return split_names(option.names).back();
}

std::string suggestion(const std::string& typed, const std::vector<std::string>& candidates) {
    const std::string near = closest(typed, candidates);
    const std::size_t letters = typed.size() - std::min(typed.find_first_not_of('-'), typed.size());
    const bool likely = !near.empty() && 2 * edit_distance(typed, near) <= letters;
    return likely ? fmt::format("; did you mean '{}'?", near) : std::string();
}

std::string unknown(const std::string& typed, const Command& command) {
    if (typed.front() != '-') {
        return fmt::format("'{}' is one argument too many", typed);
    }
    std::vector<std::string> candidates{"--help", "--json-errors"};
    for (const Option& option : command.options()) {
        if (option.names.front() == '-') {
            for (std::string& name : split_names(option.names)) {
                candidates.push_back(std::move(name));
            }
        }
    }
    const std::string name = typed.substr(0, typed.find('='));
    return fmt::format("'{}' is not an option of {}{}", name, command.name(), suggestion(name, candidates));
}

CLI::Option* declare(CLI::App& parser, const Option& option) {
    if (option.values == Values::None) {
        return parser.add_flag(option.names);
    }
    // From 2.4 on CLI11 takes an argument 'model' and an option '--model' for one and the same name.
    const bool positional = option.names.front() != '-';
    const std::string names = positional ? option.names + '#' : option.names;
    // What becomes of the values is decided later, in the order in which they were typed.
    CLI::Option* declared = parser.add_option(names, [](const CLI::results_t&) { return true; }, "");
    declared->type_size(1);
    declared->multi_option_policy(CLI::MultiOptionPolicy::TakeAll);
    if (positional && option.values == Values::One) {
        declared->expected(1);
        return declared;
    }
    declared->expected(1, CLI::detail::expected_max_vector_size);
    declared->allow_extra_args(option.values == Values::Many);
    return declared;
}

// The words after the command; CLI11 wants the last one first.
void parse(CLI::App& parser, const Command& command, std::vector<std::string> words, Wrong& wrong) {
    try {
        std::reverse(words.begin(), words.end());
        parser.parse(words);
    } catch (const CLI::ArgumentMismatch& error) {
        const std::string text = error.what();  // "--device: 1 required TEXT missing"
        wrong.add(fmt::format("{} needs a value", text.substr(0, text.find(':'))));
    } catch (const CLI::ParseError& error) {
        wrong.add(error.what());
    }
    const std::vector<std::string> left = parser.remaining();
    const auto option = [](const std::string& word) {
        return word.size() > 1 && word.front() == '-';
    };
    // Words behind an unknown option may be its values: only the option is wrong then.
    const bool options = std::any_of(left.begin(), left.end(), option);
    for (const std::string& word : left) {
        if (!options || option(word)) {
            wrong.add(unknown(word, command));
        }
    }
}

// Hands each value to its option.
void take_values(const CLI::App& parser, const std::map<const CLI::Option*, const Option*>& declared, Wrong& wrong) {
    std::map<const CLI::Option*, std::size_t> taken;
    for (const CLI::Option* parsed : parser.parse_order()) {
        const auto found = declared.find(parsed);
        if (found == declared.end()) {
            continue;
        }
        const Option& option = *found->second;
        const std::size_t index = taken[parsed]++;
        if (index > 0 && !option.repeated) {
            wrong.add(fmt::format("{} is given more than once", called(option)));
            continue;
        }
        try {
            option.take(option.values == Values::None ? std::string() : parsed->results()[index]);
        } catch (const Error& error) {
            wrong.add(fmt::format("{} {}", called(option), error.what()));
        }
    }
}

int run_command(const Command& command, const std::vector<std::string>& words) {
    Wrong wrong;
    CLI::App parser;
    parser.allow_extras();
    parser.set_help_flag();  // ours
    const CLI::Option* help = parser.add_flag("-h,--help");
    const CLI::Option* quiet = parser.add_flag("-q,--quiet");
    std::map<const CLI::Option*, const Option*> declared;
    for (const Option& option : command.options()) {
        declared.emplace(declare(parser, option), &option);
    }
    parse(parser, command, words, wrong);
    if (help->count() > 0) {
        fmt::print("{}", command_help(command, terminal_columns(Stream::Output)));
        return 0;
    }
    be_quiet(quiet->count() > 0);
    take_values(parser, declared, wrong);
    const std::string how = fmt::format("deltavino {} --help", command.name());
    wrong.throw_if_any(how);
    try {
        command.finish();
    } catch (const Error& error) {
        if (error.kind() == ErrorKind::Usage) {
            wrong.add(error.what());
            wrong.throw_if_any(how);
        }
        throw;
    }
    return command.execute();
}

const Command* find(const std::vector<Command>& commands, const std::string& name) {
    for (const Command& command : commands) {
        if (command.name() == name) {
            return &command;
        }
    }
    return nullptr;
}

// What stands alone: help, versions, scripts for shells.
bool print_about(const std::vector<Command>& commands, const std::vector<std::string>& words) {
    const std::string first = words.empty() ? "--help" : words.front();
    const std::string second = words.size() > 1 ? words[1] : "";
    if (first == "completion") {
        fmt::print("{}", completion_script(commands, second));
    } else if (first == "help" && second == "--man") {
        fmt::print("{}", man_page(commands));
    } else if (first == "--version") {
        fmt::print("{}\n", second == "--json" ? version_json() : version_text());
    } else if (first == "-h" || first == "--help" || (first == "help" && words.size() == 1)) {
        fmt::print("{}", program_help(commands, terminal_columns(Stream::Output)));
    } else {
        return false;
    }
    return true;
}

}  // namespace

std::vector<std::string> split_names(const std::string& names) {
    std::vector<std::string> out;
    std::size_t begin = 0;
    while (begin <= names.size()) {
        const std::size_t end = std::min(names.find(',', begin), names.size());
        out.push_back(names.substr(begin, end - begin));
        begin = end + 1;
    }
    return out;
}

const std::vector<Option>& common_options() {
    static const std::vector<Option> kOptions{
        {"-q,--quiet",
         "",
         "Print no progress, notes or statistics, only results and errors",
         "Options",
         Values::None,
         {}},
        {"--json-errors", "", "Tell an error as one JSON object on standard error", "Options", Values::None, {}},
        {"-h,--help", "", "Print this", "Options", Values::None, {}}};
    return kOptions;
}

void Command::value(std::string names, std::string type, std::string help, Take take, Values values) {
    options_.push_back({std::move(names), std::move(type), std::move(help), group_, values, std::move(take), true,
                        values == Values::Many});
}

void Command::list(std::string names, std::string type, std::string help, Take take) {
    options_.push_back({std::move(names), std::move(type), std::move(help), group_, Values::One, std::move(take)});
}

void Command::flag(std::string names, std::string help, std::function<void()> set) {
    options_.push_back({std::move(names), "", std::move(help), group_, Values::None,
                        [set = std::move(set)](const std::string&) { set(); }});
}

void Command::hidden(std::string names, Values values, Take take) {
    options_.push_back({std::move(names), "", "", group_, values, std::move(take), false});
}

int run_command_line(const std::vector<Command>& commands, int argc, char** argv) {
    std::vector<std::string> words(argv + std::min(argc, 1), argv + argc);
    if (print_about(commands, words)) {
        return 0;
    }
    if (words.front() == "help") {
        words = {words[1], "--help"};
    }
    const Command* command = find(commands, words.front());
    if (command == nullptr) {
        std::vector<std::string> names{"help", "completion"};
        for (const Command& known : commands) {
            names.push_back(known.name());
        }
        const bool option = words.front().starts_with("-");
        throw Error(ErrorKind::Usage,
                    fmt::format("'{}' is not {}{}\nrun `deltavino --help` for the commands", words.front(),
                                option ? "an option before the command" : "a command of deltavino",
                                option ? suggestion(words.front(), {"--help", "--version", "--json-errors"})
                                       : suggestion(words.front(), names)));
    }
    words.erase(words.begin());
    return run_command(*command, words);
}

}  // namespace deltavino::app
