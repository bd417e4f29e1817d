// How fast this machine reads memory.
#pragma once

#include <functional>
#include <optional>

namespace deltavino::benchmark {

// Bytes per second that `threads` threads read together from memory that no cache holds: the best of five passes.
// Empty when there is too little memory to measure it. Throws ErrorKind::Cancelled when `stop` says so.
std::optional<double> read_bandwidth(unsigned threads, const std::function<bool()>& stop);

}  // namespace deltavino::benchmark
