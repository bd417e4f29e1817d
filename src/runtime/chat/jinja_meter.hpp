// What one rendering may cost, and where it is: hostile templates end with an Error instead of running
// on, and every Error names the template and the line.
#pragma once

#include "base/error.hpp"

#include <cstddef>
#include <cstdint>
#include <string>

namespace deltavino::runtime::jinja {

inline constexpr std::size_t kMaxTemplateBytes = std::size_t{1} << 20;
inline constexpr std::size_t kMaxParseDepth = 200;       // of nested brackets, blocks and operators
inline constexpr std::size_t kMaxEvaluationDepth = 800;  // of the same while macros call each other
inline constexpr std::size_t kMaxValueDepth = 200;       // of lists in lists
inline constexpr std::uint64_t kMaxSteps = 10'000'000;
inline constexpr std::uint64_t kMaxAllocatedBytes = std::uint64_t{1} << 30;  // all together, freed or not
inline constexpr std::size_t kMaxOutputBytes = std::size_t{64} << 20;
inline constexpr std::int64_t kMaxRange = 100'000;  // jinja2's own limit in a sandbox

class Meter {
public:
    explicit Meter(std::string template_name, std::uint64_t most_steps = kMaxSteps)
        : name_(std::move(template_name)), most_steps_(most_steps) {}

    std::size_t line = 1;

    void step(std::uint64_t count = 1) {
        steps_ += count;
        if (steps_ > most_steps_) {
            unsupported(fmt::format("more than {} steps", most_steps_));
        }
    }
    // Bytes that are about to be copied or kept.
    void allocate(std::uint64_t bytes) {
        allocated_ += bytes;
        if (allocated_ > kMaxAllocatedBytes) {
            unsupported(fmt::format("more than {} bytes of values", kMaxAllocatedBytes));
        }
        step(bytes / 256);
    }

    // What jinja2 itself refuses: an operation that its operands do not have, a wrong argument.
    [[noreturn]] void wrong(const std::string& what) const {
        fail(ErrorKind::Input, "cannot render {}, line {}: {}", name_, line, what);
    }
    // What jinja2 has and this renderer does not.
    [[noreturn]] void unsupported(const std::string& what) const {
        fail(ErrorKind::Unsupported, "cannot render {}, line {}: {} is not supported", name_, line, what);
    }

    const std::string& template_name() const { return name_; }

private:
    std::string name_;
    std::uint64_t most_steps_;
    std::uint64_t steps_ = 0;
    std::uint64_t allocated_ = 0;
};

}  // namespace deltavino::runtime::jinja
