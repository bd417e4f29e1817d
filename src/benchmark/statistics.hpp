// The arithmetic of a benchmark: which process comes when, and what is made of the numbers.
#pragma once

#include <deltavino/bench.hpp>

#include <cstddef>
#include <vector>

namespace deltavino::benchmark {

// Index of the directory that each process measures: 0, 1, 2, then 2, 1, 0, and so on.
std::vector<std::size_t> schedule(std::size_t directories, std::size_t rounds);

// Of an even number of values the mean of the middle two. Throws ErrorKind::Internal when there are none.
Spread spread_of(std::vector<double> values);

// Fills `lengths`, `load_seconds` and `peak_memory_bytes` of every result from `measurements`; the first is what the
// ratios compare with. `read_bandwidth`: bytes per second.
void summarize(std::vector<DirectoryResult>& results, std::optional<double> read_bandwidth);

}  // namespace deltavino::benchmark
