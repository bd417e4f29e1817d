// The one exception type of the library.
//
// Every failure that comes from a file, a user or the machine is an Error whose text says what could
// not be done, with which object, what was expected and found, and a hint. The library never prints
// and never exits; the program turns the kind into its exit code.
#pragma once

#include <stdexcept>
#include <string>

namespace deltavino {

// The value of each kind is the exit code of the program.
enum class ErrorKind {
    Usage = 2,        // a wrong option or combination of options
    Input = 3,        // a bad checkpoint, config, tokenizer or picture
    Unsupported = 4,  // a valid input that this version cannot handle
    Output = 5,       // the target cannot be written: exists, no space, no permission
    Network = 6,      // the Hub did not give a file: no network, no access, no such repository, a damaged transfer
    Internal = 70,    // a bug in deltavino
    Cancelled = 130,  // stopped by the user
};

class Error : public std::runtime_error {
public:
    Error(ErrorKind kind, const std::string& message) : std::runtime_error(message), kind_(kind) {}

    ErrorKind kind() const noexcept { return kind_; }
    int exit_code() const noexcept { return static_cast<int>(kind_); }

private:
    ErrorKind kind_;
};

}  // namespace deltavino
