// POSIX side of terminal.hpp.
#include "base/terminal.hpp"

#include <unistd.h>
#include <atomic>
#include <csignal>
#include <cstdint>
#include <cstdlib>
#include <ctime>
#include <initializer_list>

namespace deltavino {
namespace {

volatile std::sig_atomic_t g_stop = 0;
std::atomic<std::int64_t> g_first{0};  // milliseconds of a clock, when the first interrupt came
static_assert(std::atomic<std::int64_t>::is_always_lock_free, "a signal handler must not wait");

void on_signal(int number) {
    std::timespec now{};
    ::clock_gettime(CLOCK_MONOTONIC, &now);
    const std::int64_t milliseconds = now.tv_sec * INT64_C(1000) + now.tv_nsec / 1'000'000;
    // Ctrl-C again: do not wait. Terminals that close, shells and timeout(1) send one request twice, to the
    // process and to its group.
    constexpr std::int64_t kSameRequest = 300;
    if (g_stop != 0 && number == SIGINT && milliseconds - g_first > kSameRequest) {
        std::_Exit(130);
    }
    if (g_stop == 0) {
        g_first = milliseconds;
    }
    g_stop = 1;
}

}  // namespace

bool is_terminal(Stream stream) {
    return ::isatty(stream == Stream::Input ? STDIN_FILENO : STDERR_FILENO) == 1;
}

void note_stop_requests() {
    for (const int number : {SIGINT, SIGTERM, SIGHUP}) {
        struct sigaction action{};
        // What nohup, or a shell for its background jobs, has switched off stays off.
        if (::sigaction(number, nullptr, &action) == 0 && action.sa_handler == SIG_IGN) {
            continue;
        }
        action = {};
        action.sa_handler = on_signal;  // without SA_RESTART: a read that waits ends
        ::sigaction(number, &action, nullptr);
    }
}

bool stop_requested() {
    return g_stop != 0;
}

}  // namespace deltavino
