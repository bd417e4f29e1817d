// The pipeline: read the tables, check them, build the graphs, lay the files out, stream the weights,
// write the rest, make it visible. Nothing is at the target before the last step.
#include <deltavino/export.hpp>

#include "base/checked.hpp"
#include "base/error.hpp"
#include "base/file.hpp"
#include "base/text.hpp"
#include "checkpoint/checkpoint.hpp"
#include "export/artifact.hpp"
#include "export/directory/processor_files.hpp"
#include "export/directory/side_files.hpp"
#include "export/report.hpp"
#include "export/sensitivity.hpp"
#include "graph/names.hpp"
#include "models/plan.hpp"
#include "tokenizer/ir.hpp"

#include <algorithm>
#include <chrono>
#include <numeric>

namespace deltavino {
namespace {

using namespace exporter;
using checkpoint::Checkpoint;

void require_space(const std::vector<Artifact>& artifacts, const std::filesystem::path& output) {
    std::uint64_t needed = 128u << 20;  // side files and tokenizer models
    for (const Artifact& artifact : artifacts) {
        needed = checked_add(needed, artifact.layout.bytes());
    }
    const std::uint64_t free = free_disk_bytes(output);
    if (free < needed) {
        fail(ErrorKind::Output, "cannot write '{}': {} ({} bytes) are needed on its disk, {} are free", output.string(),
             human_bytes(needed), needed, human_bytes(free));
    }
}

// Returns the bytes written.
std::uint64_t write_tokenizer(const std::filesystem::path& checkpoint, const std::filesystem::path& directory) {
    tokenizer::TokenizerModels models = tokenizer::build_tokenizer_models(checkpoint);
    Artifact both[] = {
        {graph::names::kTokenizer, std::move(models.tokenizer), std::move(models.tokenizer_info), nullptr, {}},
        {graph::names::kDetokenizer, std::move(models.detokenizer), std::move(models.detokenizer_info), nullptr, {}}};
    std::uint64_t bytes = 0;
    for (Artifact& artifact : both) {
        lay_out(artifact);
        write_artifact(artifact, directory).close();
        bytes += artifact.layout.bytes();
    }
    return bytes;
}

// Before the work rather than after it.
void require_report_folder(const std::filesystem::path& report) {
    std::error_code error;
    if (!report.empty() &&
        !std::filesystem::is_directory(std::filesystem::absolute(report, error).parent_path(), error)) {
        fail(ErrorKind::Output, "cannot write the report '{}': its folder does not exist", report.string());
    }
}

}  // namespace

ExportSummary export_model(const ExportOptions& options, ProgressSink& progress) {
    const auto start = std::chrono::steady_clock::now();
    Recipe recipe(options.compression);  // a wrong option shows before any file is read
    require_report_folder(options.report);
    const Checkpoint checkpoint(options.model);
    const models::Plan plan = models::make_plan(checkpoint, options.task, options.assume_tied_head);
    for (const std::string& note : plan.notes) {
        progress.note(note);
    }
    std::vector<std::string> quantization_notes;
    for (const auto& left_out : plan.table.check(checkpoint, &quantization_notes)) {
        progress.note(
            fmt::format("left out: {}, {} tensors, {}", left_out.why, left_out.tensors, human_bytes(left_out.bytes)));
    }
    for (const std::string& note : quantization_notes) {
        progress.note(note);
    }

    const std::uint64_t expert_columns =
        plan.config.text.moe ? std::gcd(plan.config.text.hidden_size, plan.config.text.moe->moe_intermediate_size) : 0;
    recipe.set_architecture(plan.config.text.moe.has_value(), plan.tied_head, expert_columns);
    const bool vision = plan.task == models::Task::ImageTextToText;
    const ProcessorFiles processors =
        vision ? read_processor_files(options.model, *plan.config.vision) : ProcessorFiles{};
    for (const std::string& note : processors.notes) {
        progress.note(note);
    }
    StagedDirectory directory(options.output, options.force, options.model);
    if (recipe.needs_sensitivities()) {
        measure_sensitivities(checkpoint, plan, recipe);
    }
    std::vector<Artifact> artifacts = make_artifacts(checkpoint, plan, recipe);
    recipe.check_all_used();
    for (const std::string& fallback : recipe.fallbacks()) {
        progress.note(fallback);
    }
    std::for_each(artifacts.begin(), artifacts.end(), lay_out);
    require_space(artifacts, options.output);
    copy_side_files(options.model, directory.path());
    for (const auto& [name, text] : processors.files) {
        write_text_file(directory.path() / name, text);
    }
    write_text_file(directory.path() / "config.json",
                    vision ? vision_config_json(checkpoint.config_text(), plan.config, plan.tied_head)
                           : text_config_json(checkpoint.config_text(), plan.config, plan.tied_head));
    ExportSummary summary;
    const auto beside = [&] {
        summary.bytes_written += options.convert_tokenizer ? write_tokenizer(options.model, directory.path()) : 0;
    };
    const std::vector<quant::BlockStatistics> statistics = stream_artifacts(
        artifacts, directory.path(), {options.threads, options.allow_nonfinite, recipe.search()}, progress, beside);

    summary.model_type = vision ? vision_model_type(plan.config) : plan.config.text.model_type;
    summary.task = models::task_name(plan.task);
    summary.recipe = recipe.description();
    summary.tensors = report_tensors(artifacts, statistics);
    summary.rows = summarise(summary.tensors);
    for (const Artifact& artifact : artifacts) {
        summary.bytes_written += artifact.layout.bytes();
    }
    for (const TensorReport& tensor : summary.tensors) {
        summary.bytes_read += tensor.bytes_read;
    }
    const std::vector<std::string> origins = recipe.origins();
    summary.recipe.insert(summary.recipe.begin(), origins.begin(), origins.end());
    if (progress.cancelled()) {
        fail(ErrorKind::Cancelled, "stopped");
    }
    if (!options.report.empty()) {
        write_report(options.report, summary);
    }
    directory.commit();
    summary.seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
    return summary;
}

}  // namespace deltavino
