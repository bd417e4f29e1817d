#include "help.hpp"

#include <deltavino/version.hpp>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>

namespace deltavino::app {
namespace {

constexpr std::size_t kIndent = 2;
constexpr std::size_t kWideNames = 28;   // columns of the names; longer ones get a line of their own
constexpr std::size_t kNarrowNames = 6;  // on terminals that are not wide
constexpr std::size_t kWide = 72;
constexpr std::size_t kNarrowest = 40;  // narrower terminals break the lines themselves

// Words of `text` in lines of at most `columns`; all but the first begin with `indent` spaces.
std::string wrapped(const std::string& text, std::size_t indent, std::size_t columns) {
    std::string out;
    std::size_t used = indent;
    std::size_t begin = 0;
    while (begin < text.size()) {
        const std::size_t end = std::min(text.find(' ', begin), text.size());
        const std::size_t length = end - begin;
        if (used > indent && used + 1 + length > columns) {
            out += '\n' + std::string(indent, ' ');
            used = indent;
        } else if (used > indent) {
            out += ' ';
            used += 1;
        }
        out.append(text, begin, length);
        used += length;
        begin = end + 1;
    }
    return out;
}

std::string row(const std::string& name, const std::string& help, std::size_t names, std::size_t columns) {
    std::string out = std::string(kIndent, ' ') + name;
    const std::size_t begin = kIndent + names;
    if (out.size() + 1 > begin) {
        out += '\n';
        out += std::string(begin, ' ');
    } else {
        out.resize(begin, ' ');
    }
    return out + wrapped(help, begin, columns) + '\n';
}

bool positional(const Option& option) {
    return option.names.front() != '-';
}

std::string examples_text(const std::vector<std::string>& examples) {
    std::string out = "\nExamples:\n";
    for (const std::string& line : examples) {
        out += fmt::format("  {}\n", line);
    }
    return out;
}

}  // namespace

const char* const kSummary =
    "deltavino turns Qwen3.5-family checkpoints into OpenVINO models and runs them, without Python.";
const char* const kExitCodes =
    "Exit codes: 0 done, 1 check found a fault, 2 wrong usage, 3 bad input, 4 not supported, 5 cannot write, 6 not to "
    "be had from the Hub, 70 a bug, 130 stopped.";

std::string shown_names(const Option& option) {
    if (positional(option)) {
        return option.names + (option.values == Values::Many ? "..." : "");
    }
    std::string out = option.names;
    for (std::size_t comma = out.find(','); comma != std::string::npos; comma = out.find(',', comma + 2)) {
        out.insert(comma + 1, " ");
    }
    if (out.starts_with("--")) {
        out.insert(0, 4, ' ');  // under the long names of those that have a short one
    }
    return option.values == Values::None
               ? out
               : fmt::format("{} {}{}", out, option.type, option.values == Values::Many ? "..." : "");
}

std::string heading_of(const Option& option) {
    return positional(option) ? "Arguments" : option.group;
}

std::vector<std::string> headings_of(const Command& command) {
    std::vector<std::string> headings;
    for (const Option& option : command.options()) {
        const std::string heading = heading_of(option);
        if (option.shown && std::find(headings.begin(), headings.end(), heading) == headings.end()) {
            headings.push_back(heading);
        }
    }
    return headings;
}

std::string version_json() {
    return fmt::format(R"({{"deltavino": "{}", "openvino": "{}"}})", version(), openvino_version());
}

std::string version_text() {
    return fmt::format("deltavino {} (OpenVINO {})", version(), openvino_version());
}

std::string program_help(const std::vector<Command>& commands, std::size_t columns) {
    columns = std::max(columns, kNarrowest);
    std::string out = wrapped(kSummary, 0, columns);
    out += "\n\nUsage: deltavino COMMAND ...\n\nCommands:\n";
    constexpr std::size_t kCommandNames = 12;
    for (const Command& command : commands) {
        out += row(command.name(), command.summary(), kCommandNames, columns);
    }
    out += row("completion", "Print a completion script: completion bash, zsh or fish", kCommandNames, columns);
    out += row("help", "Print the help of a command; help --man prints the manual page", kCommandNames, columns);
    out += "\nOptions:\n";
    out += row("-h, --help", "Print this, or the help of a command", kCommandNames + 8, columns);
    out += row("--json-errors", "Tell an error as one JSON object on standard error", kCommandNames + 8, columns);
    out += row("--version [--json]", "Print the versions of deltavino and OpenVINO", kCommandNames + 8, columns);
    std::vector<std::string> examples;
    for (const Command& command : commands) {
        if (!command.examples().empty()) {
            examples.push_back(command.examples().front());
        }
    }
    return out + examples_text(examples) + "\n" + wrapped(kExitCodes, 0, columns) + "\n";
}

std::string command_help(const Command& command, std::size_t columns) {
    columns = std::max(columns, kNarrowest);
    const std::size_t names = columns < kWide ? kNarrowNames : kWideNames;
    std::vector<std::string> arguments;
    for (const Option& option : command.options()) {
        if (option.shown && positional(option)) {
            arguments.push_back(shown_names(option));
        }
    }
    std::string out = wrapped(command.summary() + ".", 0, columns);
    out += fmt::format("\n\nUsage: deltavino {} {} [OPTIONS]\n", command.name(), fmt::join(arguments, " "));
    for (const std::string& heading : headings_of(command)) {
        out += fmt::format("\n{}:\n", wrapped(heading, 0, columns));
        for (const Option& option : command.options()) {
            if (option.shown && heading_of(option) == heading) {
                out += row(shown_names(option), option.help, names, columns);
            }
        }
    }
    for (const Option& option : common_options()) {
        out += row(shown_names(option), option.help, names, columns);
    }
    return out + examples_text(command.examples());
}

}  // namespace deltavino::app
