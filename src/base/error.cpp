#include "base/error.hpp"

#include <deltavino/problems.hpp>

#include <fmt/ranges.h>

#include <algorithm>

namespace deltavino {

void Problems::throw_if_any(ErrorKind kind, std::string_view what_failed) const {
    if (problems_.empty()) {
        return;
    }
    if (problems_.size() == 1) {
        fail(kind, "{}: {}", what_failed, problems_.front());
    }
    constexpr std::size_t kShown = 10;
    std::string text = fmt::format("{}: {} problems", what_failed, problems_.size());
    for (std::size_t i = 0; i < problems_.size() && i < kShown; ++i) {
        text += "\n  - " + problems_[i];
    }
    if (problems_.size() > kShown) {
        text += fmt::format("\n  - and {} more", problems_.size() - kShown);
    }
    throw ProblemsError(kind, text, problems_);
}

std::string shape_text(const std::vector<std::uint64_t>& shape) {
    constexpr std::size_t kMost = 16;
    const auto end = shape.begin() + static_cast<std::ptrdiff_t>(std::min(shape.size(), kMost));
    return fmt::format("[{}{}]", fmt::join(shape.begin(), end, ", "),
                       shape.size() > kMost ? fmt::format(", ... of {} dimensions", shape.size()) : std::string());
}

}  // namespace deltavino
