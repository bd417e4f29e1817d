#include "commands.hpp"
#include "progress_bar.hpp"

#include "base/text.hpp"

#include <fmt/format.h>

namespace deltavino::app {

int run_export(ExportOptions options, const HubOptions& hub) {
    ExportSummary summary;
    {
        ProgressBar progress;
        options.model = resolve_checkpoint(options.model.string(), hub, progress);
        summary = export_model(options, progress);
    }
    for (const std::string& line : summary.recipe) {
        fmt::print("{}\n", line);
    }
    fmt::print("{}", summary.recipe.empty() ? "" : "\n");
    std::vector<std::vector<std::string>> rows{
        {"role", "tensors", "stored as", "in the checkpoint", "in the model", "error"}};
    for (const ExportSummaryRow& row : summary.rows) {
        rows.push_back({row.role, std::to_string(row.tensors), row.storage, human_bytes(row.bytes_read),
                        human_bytes(row.bytes_written),
                        row.relative_error > 0.0 ? fmt::format("{:.2f} %", 100.0 * row.relative_error) : "-"});
    }
    fmt::print("{}", format_table(rows));
    fmt::print("\n{} for {}: {} in {:.2f} s -> {}\n", summary.model_type, summary.task,
               human_bytes(summary.bytes_written), summary.seconds, options.output.string());
    return 0;
}

}  // namespace deltavino::app
