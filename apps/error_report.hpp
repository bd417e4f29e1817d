// How the program tells errors: a line for people or, with --json-errors, an object for programs.
#pragma once

#include <deltavino/error.hpp>

#include <string>
#include <vector>

namespace deltavino::app {

// Takes --json-errors out of the command line, wherever it stands before '--': also errors of the command line are
// told as it says.
void take_error_format(int& argc, char** argv);

// To standard error, which may not take it: then the error is lost, there is nowhere else to tell it.
void report_error(const Error& error);

}  // namespace deltavino::app
