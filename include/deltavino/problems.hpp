// An Error that found several things wrong at once.
#pragma once

#include <deltavino/error.hpp>

#include <memory>
#include <string>
#include <utility>
#include <vector>

namespace deltavino {

class ProblemsError : public Error {
public:
    // `message` may list the first ones only.
    ProblemsError(ErrorKind kind, const std::string& message, std::vector<std::string> problems)
        : Error(kind, message), problems_(std::make_shared<const std::vector<std::string>>(std::move(problems))) {}

    // All of them, one sentence each.
    const std::vector<std::string>& problems() const noexcept { return *problems_; }

private:
    std::shared_ptr<const std::vector<std::string>> problems_;  // shared: copying an exception must not throw
};

}  // namespace deltavino
