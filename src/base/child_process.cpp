// POSIX side of child_process.hpp.
#include "base/child_process.hpp"

#include "base/error.hpp"
#include "base/file.hpp"

#include <fcntl.h>
#include <poll.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <chrono>
#include <csignal>
#include <thread>

extern char** environ;

namespace deltavino {
namespace {

constexpr std::size_t kMostOutput = 16ull << 20;
constexpr int kAskEveryMs = 50;
constexpr std::chrono::seconds kPatience(5);  // between the request to end and the end

class Pipe {
public:
    Pipe() {
        if (::pipe2(ends_.data(), O_CLOEXEC) != 0) {
            fail(ErrorKind::Unsupported, "cannot start another process: {}", system_reason(errno));
        }
    }
    ~Pipe() {
        close(0);
        close(1);
    }
    Pipe(const Pipe&) = delete;
    Pipe& operator=(const Pipe&) = delete;

    int read_end() const { return ends_[0]; }
    int write_end() const { return ends_[1]; }
    void close(std::size_t end) {
        if (ends_[end] >= 0) {
            ::close(ends_[end]);
            ends_[end] = -1;
        }
    }

    // Takes what there is. At the end of the text the pipe is closed.
    void take(std::string& text) {
        std::array<char, 1 << 14> part{};
        const ssize_t got = ::read(ends_[0], part.data(), part.size());
        if (got > 0) {
            text.append(part.data(), static_cast<std::size_t>(got));
        } else if (got == 0 || (errno != EINTR && errno != EAGAIN)) {
            close(0);
        }
    }

private:
    std::array<int, 2> ends_{-1, -1};
};

// A started process that is not left behind: whoever leaves early ends it.
class Child {
public:
    explicit Child(::pid_t id) : id_(id) {}
    ~Child() {
        if (id_ > 0) {
            end();
        }
    }
    Child(const Child&) = delete;
    Child& operator=(const Child&) = delete;

    void end() {
        ::kill(id_, SIGTERM);
        const auto latest = std::chrono::steady_clock::now() + kPatience;
        while (!ended(WNOHANG)) {
            if (std::chrono::steady_clock::now() > latest) {
                ::kill(id_, SIGKILL);
                while (!ended(0)) {
                }
                return;
            }
            std::this_thread::sleep_for(std::chrono::milliseconds(kAskEveryMs));
        }
    }

    // Whether it is over; `status()` is known then.
    bool ended(int options) {
        if (id_ <= 0) {
            return true;
        }
        const ::pid_t got = ::waitpid(id_, &status_, options);
        if (got == id_ || (got < 0 && errno != EINTR)) {
            id_ = 0;
        }
        return id_ == 0;
    }
    int status() const { return status_; }

private:
    ::pid_t id_;
    int status_ = 0;
};

::pid_t spawn(const std::filesystem::path& program, const std::vector<std::string>& arguments, const Pipe& output,
              const Pipe& errors) {
    std::vector<std::string> words{program.string()};
    words.insert(words.end(), arguments.begin(), arguments.end());
    std::vector<char*> pointers;
    for (std::string& word : words) {
        pointers.push_back(word.data());
    }
    pointers.push_back(nullptr);
    ::posix_spawn_file_actions_t actions;
    ::posix_spawn_file_actions_init(&actions);
    ::posix_spawn_file_actions_addopen(&actions, STDIN_FILENO, "/dev/null", O_RDONLY, 0);
    ::posix_spawn_file_actions_adddup2(&actions, output.write_end(), STDOUT_FILENO);
    ::posix_spawn_file_actions_adddup2(&actions, errors.write_end(), STDERR_FILENO);
    ::pid_t id = 0;
    const int code = ::posix_spawn(&id, program.c_str(), &actions, nullptr, pointers.data(), environ);
    ::posix_spawn_file_actions_destroy(&actions);
    if (code != 0) {
        fail(ErrorKind::Unsupported, "cannot start '{}': {}", program.string(), system_reason(code));
    }
    return id;
}

void require_bounded(const std::filesystem::path& program, const ChildResult& result) {
    if (result.output.size() > kMostOutput || result.errors.size() > kMostOutput) {
        fail(ErrorKind::Internal, "'{}' writes more than {} bytes", program.string(), kMostOutput);
    }
}

}  // namespace

std::filesystem::path running_program() {
    std::error_code error;
    std::filesystem::path program = std::filesystem::read_symlink("/proc/self/exe", error);
    return error ? std::filesystem::path() : program;
}

ChildResult run_child(const std::filesystem::path& program, const std::vector<std::string>& arguments,
                      const std::function<bool()>& stop) {
    Pipe output;
    Pipe errors;
    Child child(spawn(program, arguments, output, errors));
    output.close(1);
    errors.close(1);
    ChildResult result;
    while (output.read_end() >= 0 || errors.read_end() >= 0) {
        if (stop && stop()) {
            child.end();
            fail(ErrorKind::Cancelled, "stopped");
        }
        std::array<::pollfd, 2> ends{::pollfd{output.read_end(), POLLIN, 0}, ::pollfd{errors.read_end(), POLLIN, 0}};
        if (::poll(ends.data(), ends.size(), kAskEveryMs) <= 0) {
            continue;
        }
        if (ends[0].revents != 0) {
            output.take(result.output);
        }
        if (ends[1].revents != 0) {
            errors.take(result.errors);
        }
        require_bounded(program, result);
    }
    while (!child.ended(WNOHANG)) {
        if (stop && stop()) {
            child.end();
            fail(ErrorKind::Cancelled, "stopped");
        }
        std::this_thread::sleep_for(std::chrono::milliseconds(1));
    }
    result.exit_code = WIFEXITED(child.status()) ? WEXITSTATUS(child.status()) : 0;
    result.signal = WIFSIGNALED(child.status()) ? WTERMSIG(child.status()) : 0;
    return result;
}

int parent_process() {
    return static_cast<int>(::getppid());
}

}  // namespace deltavino
