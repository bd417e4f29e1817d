#include "commands.hpp"
#include "progress_bar.hpp"

#include "base/file.hpp"

#include <fmt/format.h>

namespace deltavino::app {

int run_check(const CheckCommand& command) {
    CheckReport report;
    {
        ProgressBar progress(ProgressUnit::Items);
        CheckOptions options = command.options;
        if (!options.against.empty()) {
            options.against = resolve_checkpoint(options.against.string(), command.hub, progress);
        }
        report = check(options, progress);
    }
    if (!command.report.empty()) {
        write_text_file(command.report, check_html(report));
    }
    fmt::print("{}", command.json ? check_json(report) : check_text(report));
    return report.good ? 0 : 1;
}

}  // namespace deltavino::app
