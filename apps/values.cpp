// How values of options are taken.
#include "command_line.hpp"

#include <fmt/format.h>

#include <charconv>
#include <cmath>
#include <limits>

namespace deltavino::app {
namespace {

[[noreturn]] void wrong(const std::string& text, const std::string& expected) {
    throw Error(ErrorKind::Usage, fmt::format("is '{}', expected {}", text, expected));
}

template <typename Number>
std::optional<Number> number_of(const std::string& text) {
    Number number{};
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
    return error == std::errc() && end == text.data() + text.size() ? std::optional(number) : std::nullopt;
}

std::uint64_t count_of(const std::string& text, std::uint64_t least, std::uint64_t most) {
    const std::optional<std::uint64_t> number = number_of<std::uint64_t>(text);
    if (!number || *number < least || *number > most) {
        wrong(text, most == std::numeric_limits<std::uint64_t>::max()
                        ? fmt::format("a whole number of {} or more", least)
                        : fmt::format("a whole number from {} to {}", least, most));
    }
    return *number;
}

constexpr std::uint64_t kNoMost = std::numeric_limits<std::uint64_t>::max();

}  // namespace

Take text_into(std::string& target) {
    return [&target](const std::string& text) {
        target = text;
    };
}

Take text_into(std::optional<std::string>& target) {
    return [&target](const std::string& text) {
        target = text;
    };
}

Take path_into(std::filesystem::path& target) {
    return [&target](const std::string& text) {
        target = text;
    };
}

Take path_into(std::vector<std::filesystem::path>& target) {
    return [&target](const std::string& text) {
        target.emplace_back(text);
    };
}

Take count_into(std::uint64_t& target, std::uint64_t least) {
    return [&target, least](const std::string& text) {
        target = count_of(text, least, kNoMost);
    };
}

Take count_into(std::optional<std::uint64_t>& target, std::uint64_t least) {
    return [&target, least](const std::string& text) {
        target = count_of(text, least, kNoMost);
    };
}

Take count_into(unsigned& target) {
    constexpr std::uint64_t kMostThreads = 4096;
    return [&target](const std::string& text) {
        target = static_cast<unsigned>(count_of(text, 0, kMostThreads));
    };
}

Take whole_into(std::optional<std::int64_t>& target) {
    return [&target](const std::string& text) {
        target = number_of<std::int64_t>(text);
        if (!target) {
            wrong(text, "a whole number");
        }
    };
}

Take real_into(std::optional<double>& target) {
    return [&target](const std::string& text) {
        target = number_of<double>(text);
        if (!target || !std::isfinite(*target)) {
            wrong(text, "a number");
        }
    };
}

void one_model(Command& command, const std::string& help, std::filesystem::path& target) {
    const Take take = [&target](const std::string& text) {
        if (!target.empty()) {
            throw Error(ErrorKind::Usage,
                        fmt::format("is '{}', but the model was given already: '{}'", text, target.string()));
        }
        target = text;
    };
    command.value("model", "DIR", help, take);
    command.value("-m,--model", "DIR", "The same, by name", take);
}

void require_model(const std::filesystem::path& target) {
    if (target.empty()) {
        throw Error(ErrorKind::Usage, "the directory must be given");
    }
}

}  // namespace deltavino::app
