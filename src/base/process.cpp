#include "base/process.hpp"

#include <fcntl.h>
#include <unistd.h>
#include <csignal>
#include <initializer_list>

namespace deltavino {

void prepare_process() {
    for (const int stream : {STDIN_FILENO, STDOUT_FILENO, STDERR_FILENO}) {
        if (::fcntl(stream, F_GETFD) < 0) {
            // The lowest free number is this stream's, because those before it are taken by now.
            ::open("/dev/null", stream == STDOUT_FILENO ? O_RDONLY : O_RDWR);
        }
    }
    std::signal(SIGXFSZ, SIG_IGN);
    std::signal(SIGPIPE, SIG_IGN);
}

}  // namespace deltavino
