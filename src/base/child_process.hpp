// Another program, started and waited for.
#pragma once

#include <filesystem>
#include <functional>
#include <string>
#include <vector>

namespace deltavino {

struct ChildResult {
    int exit_code = 0;  // when it ended by itself
    int signal = 0;     // that ended it; 0: none
    std::string output;
    std::string errors;
};

// The file of the running program; empty when the system cannot tell.
std::filesystem::path running_program();

// Runs `program` with `arguments` (without its own name) and an empty standard input, and collects what it writes.
// `stop` is asked some twenty times a second: when it says so the child is asked to end, then ended, and
// ErrorKind::Cancelled is thrown. Throws ErrorKind::Unsupported when the program cannot be started and
// ErrorKind::Internal when it writes more than 16 MB.
ChildResult run_child(const std::filesystem::path& program, const std::vector<std::string>& arguments,
                      const std::function<bool()>& stop);

// The number of the process that started this one. It changes when that process is gone.
int parent_process();

}  // namespace deltavino
