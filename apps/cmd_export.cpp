#include "commands.hpp"
#include "progress_bar.hpp"

#include "base/text.hpp"

#include <fmt/format.h>
#include <fmt/ranges.h>

namespace deltavino::app {

namespace {

void print_dry_run(const ExportSummary& summary, const ExportOptions& options) {
    std::vector<std::vector<std::string>> files{{"file", "size"}};
    std::uint64_t bytes = 0;
    for (const ExportedFile& file : summary.files) {
        files.push_back({file.name, human_bytes(file.bytes)});
        bytes += file.bytes;
    }
    fmt::print("\n{}\n{} for {}: {} in {} files would be written to {}\n", format_table(files), summary.model_type,
               summary.task, human_bytes(bytes), summary.files.size(), options.output.string());
    fmt::print("about {:.1f} s, and what the disk needs to take the files; nothing was written\n", summary.seconds);
}

void print_summary(const ExportSummary& summary, bool errors) {
    for (const std::string& line : summary.recipe) {
        fmt::print("{}\n", line);
    }
    fmt::print("{}", summary.recipe.empty() ? "" : "\n");
    std::vector<std::vector<std::string>> rows{{"role", "tensors", "stored as", "in the checkpoint", "in the model"}};
    if (errors) {
        rows.front().emplace_back("error");
    }
    for (const ExportSummaryRow& row : summary.rows) {
        rows.push_back({row.role, std::to_string(row.tensors), row.storage, human_bytes(row.bytes_read),
                        human_bytes(row.bytes_written)});
        if (errors) {
            rows.back().push_back(row.relative_error > 0.0 ? fmt::format("{:.2f} %", 100.0 * row.relative_error) : "-");
        }
    }
    fmt::print("{}", format_table(rows));
}

}  // namespace

int run_export(const ExportCommand& command) {
    ExportOptions options = command.options;
    std::string verdict;
    if (command.verify) {
        options.before_publishing = [&](const std::filesystem::path& directory) {
            ProgressBar progress(ProgressUnit::Items);
            verdict = verify_export(directory, options, progress);
        };
    }
    if (!command.refused.empty()) {
        throw Error(ErrorKind::Unsupported, fmt::format("options of optimum-cli that deltavino does not have:\n  - {}",
                                                        fmt::join(command.refused, "\n  - ")));
    }
    ExportSummary summary;
    {
        ProgressBar progress;
        for (const std::string& note : command.notes) {
            progress.note(note);
        }
        options.model = resolve_checkpoint(options.model.string(), command.hub, progress);
        summary = export_model(options, progress);
    }
    print_summary(summary, !options.dry_run);
    if (options.dry_run) {
        print_dry_run(summary, options);
        return 0;
    }
    fmt::print("\n{} for {}: {} in {:.2f} s -> {}\n", summary.model_type, summary.task,
               human_bytes(summary.bytes_written), summary.seconds, options.output.string());
    if (command.verify) {
        fmt::print("checked: {}\n", verdict);
    }
    return 0;
}

}  // namespace deltavino::app
