// Size arithmetic that never wraps: every size from a file goes through these.
#pragma once

#include "base/error.hpp"

#include <cstdint>
#include <vector>

namespace deltavino {

// Both return false, and leave `out` alone, when the result does not fit 64 bits.
inline bool multiply_fits(std::uint64_t a, std::uint64_t b, std::uint64_t& out) {
    return !__builtin_mul_overflow(a, b, &out);
}
inline bool add_fits(std::uint64_t a, std::uint64_t b, std::uint64_t& out) {
    return !__builtin_add_overflow(a, b, &out);
}

inline std::uint64_t checked_multiply(std::uint64_t a, std::uint64_t b) {
    std::uint64_t out = 0;
    if (!multiply_fits(a, b, out)) {
        fail(ErrorKind::Input, "size {} x {} does not fit 64 bits", a, b);
    }
    return out;
}
inline std::uint64_t checked_add(std::uint64_t a, std::uint64_t b) {
    std::uint64_t out = 0;
    if (!add_fits(a, b, out)) {
        fail(ErrorKind::Input, "size {} + {} does not fit 64 bits", a, b);
    }
    return out;
}
inline std::uint64_t checked_product(const std::vector<std::uint64_t>& shape) {
    std::uint64_t count = 1;
    for (std::uint64_t dim : shape) {
        count = checked_multiply(count, dim);
    }
    return count;
}
inline std::uint64_t divide_up(std::uint64_t value, std::uint64_t divisor) {
    return value / divisor + (value % divisor != 0 ? 1 : 0);
}
inline std::uint64_t align_up(std::uint64_t value, std::uint64_t alignment) {
    return checked_add(value, alignment - 1) / alignment * alignment;
}

}  // namespace deltavino
