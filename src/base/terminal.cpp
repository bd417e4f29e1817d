// POSIX side of terminal.hpp.
#include "base/terminal.hpp"

#include "base/error.hpp"

#include <fcntl.h>
#include <poll.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <cerrno>
#include <csignal>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <ctime>
#include <initializer_list>

namespace deltavino {
namespace {

volatile std::sig_atomic_t g_interrupt = 0;
volatile std::sig_atomic_t g_end = 0;
std::atomic<std::int64_t> g_first{0};  // when the first of them came, in milliseconds of a clock
static_assert(std::atomic<std::int64_t>::is_always_lock_free, "a signal handler must not wait");
// A signal wakes whoever waits for input by a byte in this pipe: a flag alone could be set between the
// last look at it and the call that waits.
std::array<int, 2> g_wake{-1, -1};

void on_signal(int number) {
    std::timespec now{};
    ::clock_gettime(CLOCK_MONOTONIC, &now);
    const std::int64_t milliseconds = now.tv_sec * INT64_C(1000) + now.tv_nsec / 1'000'000;
    // Ctrl-C again: do not wait. Terminals that close, shells and timeout(1) may send one request twice, to
    // the process and to its group.
    constexpr std::int64_t kSameRequest = 300;
    const bool again = g_interrupt != 0 || g_end != 0;
    if (again && number == SIGINT && milliseconds - g_first > kSameRequest) {
        std::_Exit(130);
    }
    if (!again) {
        g_first = milliseconds;
    }
    (number == SIGINT ? g_interrupt : g_end) = 1;
    const int error = errno;
    if (g_wake[1] >= 0) {
        [[maybe_unused]] const ssize_t written = ::write(g_wake[1], "", 1);  // a full pipe wakes as well
    }
    errno = error;
}

void open_wake_pipe() {
    if (g_wake[0] >= 0) {
        return;
    }
    std::array<int, 2> ends{-1, -1};
    if (::pipe2(ends.data(), O_CLOEXEC | O_NONBLOCK) == 0) {
        g_wake = ends;
    }
}

int handle_of(Stream stream) {
    switch (stream) {
        case Stream::Input: return STDIN_FILENO;
        case Stream::Output: return STDOUT_FILENO;
        case Stream::Error: break;
    }
    return STDERR_FILENO;
}

// Waits until standard input has something, or a signal came.
void wait_for_input() {
    std::array<pollfd, 2> wanted{pollfd{STDIN_FILENO, POLLIN, 0}, pollfd{g_wake[0], POLLIN, 0}};
    if (::poll(wanted.data(), g_wake[0] >= 0 ? 2 : 1, -1) < 0 && errno != EINTR) {
        fail(ErrorKind::Input, "cannot wait for standard input: {}", std::strerror(errno));
    }
}

}  // namespace

bool is_terminal(Stream stream) {
    return ::isatty(handle_of(stream)) == 1;
}

std::size_t terminal_columns(Stream stream) {
    constexpr std::size_t kUsual = 80;
    constexpr unsigned long kMost = 10000;
    if (const char* text = std::getenv("COLUMNS")) {
        const unsigned long columns = std::strtoul(text, nullptr, 10);
        if (columns > 0 && columns < kMost) {
            return columns;
        }
    }
    winsize size{};
    return ::ioctl(handle_of(stream), TIOCGWINSZ, &size) == 0 && size.ws_col > 0 ? size.ws_col : kUsual;
}

void note_stop_requests() {
    open_wake_pipe();
    for (const int number : {SIGINT, SIGTERM, SIGHUP}) {
        struct sigaction action{};
        // What nohup, or a shell for its background jobs, has switched off stays off.
        if (::sigaction(number, nullptr, &action) == 0 && action.sa_handler == SIG_IGN) {
            continue;
        }
        action = {};
        action.sa_handler = on_signal;  // without SA_RESTART: whatever waits goes on, and sees the request
        ::sigaction(number, &action, nullptr);
    }
}

bool stop_requested() {
    return g_interrupt != 0 || g_end != 0;
}

bool take_interrupt() {
    if (g_interrupt == 0) {
        return false;
    }
    std::array<char, 64> woken{};
    while (g_wake[0] >= 0 && ::read(g_wake[0], woken.data(), woken.size()) > 0) {
    }
    g_interrupt = 0;
    return true;
}

// Waits for more of the input and appends it to the buffer.
StandardInput::Got StandardInput::fill() {
    buffer_.erase(0, begin_);
    begin_ = 0;
    if (buffer_.size() > kMostBytes) {
        fail(ErrorKind::Input, "cannot read standard input: more than {} bytes at once", kMostBytes);
    }
    wait_for_input();
    if (stop_requested()) {
        buffer_.clear();
        return Got::Stop;
    }
    std::array<char, 65536> piece{};
    const ssize_t got = ::read(STDIN_FILENO, piece.data(), piece.size());
    if (got < 0 && errno != EINTR && errno != EAGAIN) {
        fail(ErrorKind::Input, "cannot read standard input: {}", std::strerror(errno));
    }
    ended_ = got == 0;
    buffer_.append(piece.data(), got > 0 ? static_cast<std::size_t>(got) : 0);
    return ended_ ? Got::End : Got::Text;
}

StandardInput::Got StandardInput::next_line(std::string& line) {
    while (true) {
        const std::size_t end = buffer_.find('\n', begin_);
        if (end != std::string::npos || (ended_ && begin_ < buffer_.size())) {
            line = buffer_.substr(begin_, end == std::string::npos ? end : end - begin_);
            begin_ = end == std::string::npos ? buffer_.size() : end + 1;
            if (line.ends_with('\r')) {
                line.pop_back();
            }
            return Got::Text;
        }
        if (ended_) {
            return Got::End;
        }
        if (fill() == Got::Stop) {
            return Got::Stop;
        }
    }
}

StandardInput::Got StandardInput::rest(std::string& text) {
    while (!ended_) {
        if (fill() == Got::Stop) {
            return Got::Stop;
        }
    }
    text = buffer_.substr(begin_);
    buffer_.clear();
    begin_ = 0;
    return Got::Text;
}

}  // namespace deltavino
