// The texts of --help, wrapped to the width of the terminal.
#pragma once

#include "command_line.hpp"

#include <cstddef>
#include <string>
#include <vector>

namespace deltavino::app {

std::string program_help(const std::vector<Command>& commands, std::size_t columns);
std::string command_help(const Command& command, std::size_t columns);

// "deltavino 0.2.0 (OpenVINO ...)"
std::string version_text();

}  // namespace deltavino::app
