// The pipeline: read the tables, check them, build the graphs, lay the files out, stream the weights,
// write the rest, make it visible. Nothing is at the target before the last step.
#include <deltavino/export.hpp>

#include "base/checked.hpp"
#include "base/error.hpp"
#include "base/file.hpp"
#include "base/guard.hpp"
#include "base/staged_directory.hpp"
#include "base/staged_file.hpp"
#include "base/text.hpp"
#include "checkpoint/checkpoint.hpp"
#include "export/artifact.hpp"
#include "export/directory/generation_config.hpp"
#include "export/directory/origin.hpp"
#include "export/directory/processor_files.hpp"
#include "export/directory/side_files.hpp"
#include "export/report.hpp"
#include "export/sensitivity.hpp"
#include "graph/names.hpp"
#include "models/plan.hpp"
#include "tokenizer/ir.hpp"

#include <algorithm>
#include <chrono>
#include <map>
#include <numeric>
#include <span>

namespace deltavino {
namespace {

using namespace exporter;
using checkpoint::Checkpoint;

void claim_space(std::span<const Artifact> artifacts, StagedDirectory& directory) {
    std::uint64_t needed = 0;
    for (const Artifact& artifact : artifacts) {
        needed = checked_add(needed, artifact.layout.bytes());
    }
    directory.claim_space(needed);
}

std::vector<std::string> compressed_models(const std::vector<Artifact>& artifacts) {
    std::vector<std::string> names;
    for (const Artifact& artifact : artifacts) {
        if (artifact.compressed()) {
            names.push_back(artifact.name);
        }
    }
    return names;
}

struct WrittenTokenizer {
    std::uint64_t bytes = 0;
    std::map<std::string, std::int64_t> added;
    std::vector<std::string> notes;
};

WrittenTokenizer write_tokenizer(const std::filesystem::path& checkpoint, StagedDirectory& directory,
                                 std::uint64_t embedding_rows) {
    tokenizer::TokenizerModels models = tokenizer::build_tokenizer_models(checkpoint, embedding_rows);
    Artifact both[] = {
        {graph::names::kTokenizer, std::move(models.tokenizer), std::move(models.tokenizer_info), nullptr, {}},
        {graph::names::kDetokenizer, std::move(models.detokenizer), std::move(models.detokenizer_info), nullptr, {}}};
    std::for_each(std::begin(both), std::end(both), lay_out);
    claim_space(both, directory);
    std::uint64_t bytes = 0;
    for (const Artifact& artifact : both) {
        write_artifact(artifact, directory.path()).close();
        bytes += artifact.layout.bytes();
    }
    return {bytes, std::move(models.added), std::move(models.notes)};
}

ExportSummary unguarded(const ExportOptions& options, ProgressSink& progress) {
    const auto start = std::chrono::steady_clock::now();
    Recipe recipe(options.compression);  // a wrong option shows before any file is read
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
    StagedFile report(options.report, directory);
    if (recipe.needs_sensitivities()) {
        measure_sensitivities(checkpoint, plan, recipe);
    }
    const std::string model_type = vision ? vision_model_type(plan.config) : plan.config.text.model_type;
    const Origin origin(source_of(options.model), model_type, models::task_name(plan.task), recipe);
    std::vector<Artifact> artifacts = make_artifacts(checkpoint, plan, recipe, origin);
    recipe.check_all_used();
    plan.table.check_all_used();
    for (const std::string& fallback : recipe.fallbacks()) {
        progress.note(fallback);
    }
    std::for_each(artifacts.begin(), artifacts.end(), lay_out);
    for (const std::string& note : copy_side_files(options.model, directory.path())) {
        progress.note(note);
    }
    for (const auto& [name, text] : processors.files) {
        write_text_file(directory.path() / name, text);
    }
    write_text_file(directory.path() / "config.json",
                    vision ? vision_config_json(checkpoint.config_text(), plan.config, plan.tied_head)
                           : text_config_json(checkpoint.config_text(), plan.config, plan.tied_head));
    write_text_file(directory.path() / kOriginFile, origin.config_json(compressed_models(artifacts)));
    report.require_unused();
    claim_space(artifacts, directory);  // after the small files, which then need not be counted
    ExportSummary summary;
    WrittenTokenizer written;
    const std::uint64_t vocab_size = plan.config.text.vocab_size;
    const auto beside = [&] {
        if (options.convert_tokenizer) {
            written = write_tokenizer(options.model, directory, vocab_size);
        }
        const std::vector<std::string> notes = write_generation_config(
            {options.model, checkpoint.config_text(), vocab_size, written.added}, directory.path());
        written.notes.insert(written.notes.end(), notes.begin(), notes.end());
    };
    const std::vector<quant::BlockStatistics> statistics = stream_artifacts(
        artifacts, directory.path(), {options.threads, options.allow_nonfinite, recipe.search()}, progress, beside);
    summary.bytes_written += written.bytes;
    for (const std::string& note : written.notes) {
        progress.note(note);
    }

    summary.model_type = model_type;
    summary.task = models::task_name(plan.task);
    summary.recipe = recipe.description();
    summary.tensors = report_tensors(checkpoint, artifacts, statistics);
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
    checkpoint.require_unchanged();
    if (options.before_publishing) {
        options.before_publishing(directory.path());
    }
    if (!options.report.empty()) {
        write_report(report.path(), summary);
        report.commit(options.sync);
    }
    directory.commit(options.sync);
    summary.seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
    return summary;
}

}  // namespace

ExportSummary export_model(const ExportOptions& options, ProgressSink& progress) {
    return guarded("cannot export", [&]() { return unguarded(options, progress); });
}

}  // namespace deltavino
