// POSIX side of terminal.hpp.
#include "base/terminal.hpp"

#include <unistd.h>
#include <csignal>
#include <cstdlib>

namespace deltavino {
namespace {

volatile std::sig_atomic_t g_stop = 0;

void on_signal(int) {
    if (g_stop != 0) {
        std::_Exit(130);  // asked twice: do not wait
    }
    g_stop = 1;
}

}  // namespace

bool is_terminal(Stream stream) {
    return ::isatty(stream == Stream::Input ? STDIN_FILENO : STDERR_FILENO) == 1;
}

void note_stop_requests() {
    std::signal(SIGINT, on_signal);
    std::signal(SIGTERM, on_signal);
}

bool stop_requested() {
    return g_stop != 0;
}

}  // namespace deltavino
