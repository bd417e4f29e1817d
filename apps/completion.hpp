// Scripts that let a shell complete the command line.
#pragma once

#include "command_line.hpp"

#include <string>
#include <vector>

namespace deltavino::app {

// For 'bash', 'zsh' or 'fish'; throws ErrorKind::Usage for any other.
std::string completion_script(const std::vector<Command>& commands, const std::string& shell);

}  // namespace deltavino::app
