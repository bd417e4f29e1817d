#include "bench_command.hpp"
#include "progress_bar.hpp"

#include "base/child_process.hpp"

#include <fmt/format.h>

namespace deltavino::app {
namespace {

// Of a measuring process: it stops when nobody waits for its result any more.
class Measuring : public ProgressBar {
public:
    bool cancelled() override { return ProgressBar::cancelled() || parent_process() != parent_; }

private:
    int parent_ = parent_process();
};

}  // namespace

int run_bench(const BenchCommand& command) {
    if (command.measure) {
        Measuring progress;
        fmt::print("{}\n", measurement_json(measure(command.options, progress)));
        return 0;
    }
    BenchReport report;
    {
        ProgressBar progress(ProgressUnit::Items);
        report = bench(command.options, progress);
    }
    fmt::print("{}", command.json ? bench_json(report) : bench_text(report));
    return 0;
}

}  // namespace deltavino::app
