// The command `bench`: its options and what it does.
#pragma once

#include "command_line.hpp"

#include <deltavino/bench.hpp>

namespace deltavino::app {

struct BenchCommand {
    BenchOptions options;
    bool measure = false;  // as the process that measures: in this one, printed for the one that started it
    bool json = false;
};

Command bench_options(BenchCommand& command);
int run_bench(const BenchCommand& command);

}  // namespace deltavino::app
