// The manual page, from the declarations that --help prints.
#include "help.hpp"

#include <deltavino/version.hpp>

#include <fmt/format.h>
#include <fmt/ranges.h>

namespace deltavino::app {
namespace {

// Text as troff prints it unchanged.
std::string plain(const std::string& text) {
    std::string out;
    for (const char c : text) {
        if (c == '\\') {
            out += "\\e";
        } else if (c == '-') {
            out += "\\-";
        } else if ((c == '.' || c == '\'') && (out.empty() || out.back() == '\n')) {
            out += fmt::format("\\&{}", c);
        } else {
            out += c;
        }
    }
    return out;
}

std::string entry(const std::string& name, const std::string& help) {
    return fmt::format(".TP\n.B {}\n{}\n", plain(name), plain(help));
}

std::string command_section(const Command& command) {
    std::string out = fmt::format(".SS deltavino {}\n{}.\n", plain(command.name()), plain(command.summary()));
    for (const std::string& heading : headings_of(command)) {
        out += fmt::format(".PP\n.I {}\n", plain(heading));
        for (const Option& option : command.options()) {
            if (option.shown && heading_of(option) == heading) {
                out += entry(shown_names(option), option.help);
            }
        }
    }
    if (!command.examples().empty()) {
        out += ".PP\n.I Examples\n.PP\n.EX\n";
        for (const std::string& line : command.examples()) {
            out += plain(line) + "\n";
        }
        out += ".EE\n";
    }
    return out;
}

}  // namespace

std::string man_page(const std::vector<Command>& commands) {
    std::string out = fmt::format(".TH DELTAVINO 1 \"\" \"deltavino {}\"\n", version());
    out += ".SH NAME\ndeltavino \\- " + plain(kSummary) + "\n";
    out += ".SH SYNOPSIS\n.B deltavino\n.I COMMAND\n[OPTIONS]\n.SH COMMANDS\n";
    for (const Command& command : commands) {
        out += command_section(command);
    }
    out += ".SS Options of all commands\n";
    for (const Option& option : common_options()) {
        out += entry(option.names, option.help);
    }
    out += ".SH EXIT STATUS\n" + plain(kExitCodes) + "\n";
    return out;
}

}  // namespace deltavino::app
