#include "completion.hpp"

#include "help.hpp"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>

namespace deltavino::app {
namespace {

// What a value can be, for the shell.
enum class Kind { Files, Folders, Words };

Kind kind_of(const Option& option) {
    return !option.choices.empty() ? Kind::Words : option.type == "DIR" ? Kind::Folders : Kind::Files;
}

std::vector<Option> named_options(const Command& command) {
    std::vector<Option> options;
    for (const Option& option : command.options()) {
        if (option.shown && option.names.front() == '-') {
            options.push_back(option);
        }
    }
    const std::vector<Option>& common = common_options();
    options.insert(options.end(), common.begin(), common.end());
    return options;
}

// What the first argument of a command can be; empty: files.
std::vector<std::string> first_words(const Command& command) {
    const auto found = std::find_if(command.options().begin(), command.options().end(),
                                    [](const Option& option) { return option.names.front() != '-'; });
    return found == command.options().end() ? std::vector<std::string>() : found->choices;
}

// The help up to its first defaults, alternatives or explanations, without what shells take for syntax. A colon that
// stands early is behind the formats that an option is for.
std::string short_text(const std::string& help) {
    constexpr std::size_t kEarly = 12;
    std::string text = help.substr(0, help.find_first_of("[;("));
    for (std::size_t colon = text.find(':'); colon != std::string::npos; colon = text.find(':')) {
        if (colon > kEarly) {
            text.resize(colon);
        } else {
            text.replace(colon, 1, " -");
        }
    }
    std::erase_if(text, [](char c) { return c == '\'' || c == '"' || c == '\\' || c == '`' || c == '$'; });
    while (text.ends_with(' ')) {
        text.pop_back();
    }
    return text;
}

std::string bash_values(const Option& option) {
    switch (kind_of(option)) {
        case Kind::Words: return fmt::format("compgen -W '{}'", fmt::join(option.choices, " "));
        case Kind::Folders: return "compgen -d";
        case Kind::Files: break;
    }
    return "compgen -f";
}

std::string bash(const std::vector<Command>& commands) {
    std::vector<std::string> names;
    std::string values;
    std::string options;
    std::string first;
    for (const Command& command : commands) {
        names.push_back(command.name());
        std::vector<std::string> words;
        for (const Option& option : named_options(command)) {
            for (const std::string& name : split_names(option.names)) {
                words.push_back(name);
                if (option.values != Values::None) {
                    values += fmt::format("        '{} {}') found=$({} -- \"$word\") ;;\n", command.name(), name,
                                          bash_values(option));
                }
            }
        }
        options += fmt::format("            {}) found=$(compgen -W '{}' -- \"$word\") ;;\n", command.name(),
                               fmt::join(words, " "));
        if (const std::vector<std::string> arguments = first_words(command); !arguments.empty()) {
            first += fmt::format("            *:{}) found=$(compgen -W '{}' -- \"$word\") ;;\n", command.name(),
                                 fmt::join(arguments, " "));
        }
    }
    return fmt::format(R"(# deltavino: completion for bash
_deltavino() {{
    local word=${{COMP_WORDS[COMP_CWORD]}} before=${{COMP_WORDS[COMP_CWORD-1]}} command=${{COMP_WORDS[1]}} found=
    COMPREPLY=()
    if [ "$COMP_CWORD" = 1 ]; then
        found=$(compgen -W '{0} completion help --help --version' -- "$word")
        mapfile -t COMPREPLY <<<"$found"
        return
    fi
    case "$command $before" in
{1}        completion*) found=$(compgen -W 'bash zsh fish' -- "$word") ;;
        help*) found=$(compgen -W '{0} --man' -- "$word") ;;
        *) case "$word:$command" in
            -*) case $command in
{2}            esac ;;
{3}            *) found=$(compgen -f -- "$word") ;;
        esac ;;
    esac
    [ -z "$found" ] || mapfile -t COMPREPLY <<<"$found"
}}
complete -o filenames -F _deltavino deltavino
)",
                       fmt::join(names, " "), values, options, first);
}

std::string zsh_values(const Option& option) {
    switch (kind_of(option)) {
        case Kind::Words: return fmt::format(":{}:({})", option.type, fmt::join(option.choices, " "));
        case Kind::Folders: return fmt::format(":{}:_files -/", option.type);
        case Kind::Files: break;
    }
    return fmt::format(":{}:_files", option.type);
}

std::string zsh(const std::vector<Command>& commands) {
    std::string names;
    std::string cases;
    for (const Command& command : commands) {
        names += fmt::format("        '{}:{}'\n", command.name(), short_text(command.summary()));
        cases += fmt::format("        {}) _arguments -s \\\n", command.name());
        for (const Option& option : named_options(command)) {
            for (const std::string& name : split_names(option.names)) {
                cases += fmt::format("            '*{}[{}]{}' \\\n", name, short_text(option.help),
                                     option.values == Values::None ? "" : zsh_values(option));
            }
        }
        if (const std::vector<std::string> arguments = first_words(command); !arguments.empty()) {
            cases += fmt::format("            '1:{}:({})' \\\n", command.name(), fmt::join(arguments, " "));
        }
        cases += "            '*:file:_files' ;;\n";
    }
    return fmt::format(R"(#compdef deltavino
# deltavino: completion for zsh
_deltavino() {{
    local -a commands=(
{}        'completion:Print a completion script'
        'help:Print help'
    )
    if ((CURRENT == 2)); then
        _describe command commands
        return
    fi
    local command=$words[2]
    shift words
    ((CURRENT--))
    case $command in
{}        completion) _arguments '1:shell:(bash zsh fish)' ;;
        help) _describe command commands ;;
    esac
}}
compdef _deltavino deltavino
)",
                       names, cases);
}

std::string fish(const std::vector<Command>& commands) {
    std::string out = "# deltavino: completion for fish\n";
    std::vector<std::string> names;
    const auto command_line = [&out](const std::string& name, const std::string& help) {
        out += fmt::format("complete -c deltavino -n __fish_use_subcommand -f -a {} -d '{}'\n", name, help);
    };
    for (const Command& command : commands) {
        command_line(command.name(), short_text(command.summary()));
        names.push_back(command.name());
    }
    command_line("completion", "Print a completion script");
    command_line("help", "Print help");
    for (const Command& command : commands) {
        for (const Option& option : named_options(command)) {
            out += fmt::format("complete -c deltavino -n '__fish_seen_subcommand_from {}'", command.name());
            for (const std::string& name : split_names(option.names)) {
                out += name.starts_with("--") ? fmt::format(" -l {}", name.substr(2))
                                              : fmt::format(" -s {}", name.substr(1));
            }
            if (option.values != Values::None) {
                out += kind_of(option) == Kind::Words     ? fmt::format(" -xa '{}'", fmt::join(option.choices, " "))
                       : kind_of(option) == Kind::Folders ? std::string(" -xa '(__fish_complete_directories)'")
                                                          : std::string(" -rF");
            }
            out += fmt::format(" -d '{}'\n", short_text(option.help));
        }
        if (const std::vector<std::string> arguments = first_words(command); !arguments.empty()) {
            out += fmt::format(
                "complete -c deltavino -n '__fish_seen_subcommand_from {0}; and not __fish_seen_subcommand_from {1}' "
                "-fa '{1}'\n",
                command.name(), fmt::join(arguments, " "));
        }
    }
    out += "complete -c deltavino -n '__fish_seen_subcommand_from completion' -fa 'bash zsh fish'\n";
    out += fmt::format("complete -c deltavino -n '__fish_seen_subcommand_from help' -fa '{}'\n", fmt::join(names, " "));
    return out;
}

}  // namespace

std::string completion_script(const std::vector<Command>& commands, const std::string& shell) {
    if (shell == "bash") {
        return bash(commands);
    }
    if (shell == "zsh") {
        return zsh(commands);
    }
    if (shell == "fish") {
        return fish(commands);
    }
    throw Error(ErrorKind::Usage,
                shell.empty() ? "deltavino completion needs a shell: bash, zsh or fish"
                              : fmt::format("there is no completion for '{}', expected bash, zsh or fish", shell));
}

}  // namespace deltavino::app
