// Work on all cores, for loops whose steps do not depend on each other.
#pragma once

#include <cstdint>
#include <functional>

namespace deltavino::reference {

// Calls step(i) for every i below `count`, on `threads` threads (0: one per core). What a step throws is
// thrown again here, once the others have stopped.
void parallel_for(std::uint64_t count, unsigned threads, const std::function<void(std::uint64_t)>& step);

}  // namespace deltavino::reference
