// The parts of an error message, for programs.
//
// Messages are written by one rule: what could not be done, with which object, what was expected and what was found,
// and a hint. So the parts can be taken out of the text. What a message does not have stays empty.
#pragma once

#include <string>
#include <string_view>

namespace deltavino {

struct ErrorParts {
    std::string object;    // an option at the start of the message or behind a colon, else the first name in quotes
    std::string expected;  // behind "expected"
    std::string found;     // behind "found", or what the object "has", "is" or "holds" instead
    std::string hint;      // behind the last semicolon, or the line "run `...`"
};

ErrorParts error_parts(std::string_view message);

// "usage", "input", "unsupported", "output", "network", "internal" or "cancelled"; for an unknown one "internal".
std::string_view error_kind_name(int exit_code);

}  // namespace deltavino
