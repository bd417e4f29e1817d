// Builds Error messages. Text rules: lower case, no trailing period, names in single quotes,
// shapes as [a, b], paths as the user typed them.
#pragma once

#include <deltavino/error.hpp>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace deltavino {

template <typename... Args>
[[noreturn]] void fail(ErrorKind kind, fmt::format_string<Args...> text, Args&&... args) {
    throw Error(kind, fmt::format(text, std::forward<Args>(args)...));
}

// Gathers everything that is wrong before anything is thrown, so that a user sees all of it at once.
class Problems {
public:
    void add(std::string problem) { problems_.push_back(std::move(problem)); }
    bool empty() const { return problems_.empty(); }
    std::size_t size() const { return problems_.size(); }

    // Throws one Error that lists up to ten problems and counts the rest; does nothing when empty.
    void throw_if_any(ErrorKind kind, std::string_view what_failed) const;

private:
    std::vector<std::string> problems_;
};

// "[2, 3, 4]"
std::string shape_text(const std::vector<std::uint64_t>& shape);

}  // namespace deltavino
