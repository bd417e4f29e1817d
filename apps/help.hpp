// The texts of --help, wrapped to the width of the terminal.
#pragma once

#include "command_line.hpp"

#include <cstddef>
#include <string>
#include <vector>

namespace deltavino::app {

extern const char* const kSummary;    // of the program
extern const char* const kExitCodes;  // one line

std::string program_help(const std::vector<Command>& commands, std::size_t columns);
std::string command_help(const Command& command, std::size_t columns);

// "deltavino 0.2.0 (OpenVINO ...)"
std::string version_text();
// {"deltavino": "0.2.0", "openvino": "..."}
std::string version_json();

std::string man_page(const std::vector<Command>& commands);

// "-m, --model DIR"
std::string shown_names(const Option& option);
// The heading under which an option stands, and those of a command in their order.
std::string heading_of(const Option& option);
std::vector<std::string> headings_of(const Command& command);

}  // namespace deltavino::app
