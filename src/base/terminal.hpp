// What a program asks of the terminal it runs in.
#pragma once

#include <cstddef>
#include <string>

namespace deltavino {

enum class Stream { Input, Output, Error };

bool is_terminal(Stream stream);

// Columns of the terminal: the variable COLUMNS, else what the terminal behind `stream` says, else 80.
std::size_t terminal_columns(Stream stream);

// From now on an interrupt (Ctrl-C), a request to end or the end of the terminal is noted, for
// stop_requested(); a second interrupt ends the process at once.
void note_stop_requests();
bool stop_requested();

// Whether an interrupt is noted; it is forgotten then, and the next one is again the first. A request
// to end is never forgotten.
bool take_interrupt();

// Standard input. Unlike std::getline, which reads on after a signal, it hears stop requests while it
// waits. Nothing else may read standard input then. Its functions throw ErrorKind::Input when reading
// fails or when more than kMostBytes come at once.
class StandardInput {
public:
    static constexpr std::size_t kMostBytes = 64ull << 20;

    // Stop: a stop request was noted before the text was whole; what came of it is dropped.
    enum class Got { Text, End, Stop };

    // The next line without its end (LF or CR LF); the last one may lack it.
    Got next_line(std::string& line);
    // Everything up to the end of the input; never Got::End.
    Got rest(std::string& text);

private:
    Got fill();

    std::string buffer_;
    std::size_t begin_ = 0;  // of what was not given out yet
    bool ended_ = false;
};

}  // namespace deltavino
