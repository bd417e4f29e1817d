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
#include "export/gpu_notes.hpp"
#include "export/report.hpp"
#include "export/sensitivity.hpp"
#include "graph/names.hpp"
#include "models/plan.hpp"
#include "tokenizer/ir.hpp"

#include <algorithm>
#include <chrono>
#include <map>
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

std::vector<std::string> left_out_notes(const models::Plan& plan, const Checkpoint& checkpoint) {
    std::vector<std::string> quantization_notes;
    std::vector<std::string> notes;
    for (const auto& left_out : plan.table.check(checkpoint, &quantization_notes)) {
        notes.push_back(
            fmt::format("left out: {}, {} tensors, {}", left_out.why, left_out.tensors, human_bytes(left_out.bytes)));
    }
    notes.insert(notes.end(), quantization_notes.begin(), quantization_notes.end());
    return notes;
}

// One export: everything is decided from tables and configuration, then written.
class Export {
public:
    Export(const ExportOptions& options, ProgressSink& progress)
        : options_(options),
          progress_(progress),
          recipe_(options.compression),  // a wrong option shows before any file is read
          checkpoint_(options.model),
          plan_(models::make_plan(checkpoint_, options.task, options.assume_tied_head)),
          vision_(plan_.task == models::Task::ImageTextToText) {}

    ExportSummary run() {
        decide();
        StagedDirectory directory(options_.output, options_.force, options_.model);
        StagedFile report(options_.report, directory);
        if (recipe_.needs_sensitivities()) {
            measure_sensitivities(checkpoint_, plan_, recipe_);
        }
        const Origin origin(source_of(options_.model), model_type(), models::task_name(plan_.task), recipe_);
        std::vector<Artifact> artifacts = build(origin);
        write_small_files(directory.path(), origin, artifacts);
        report.require_unused();
        claim_space(artifacts, directory);  // after the small files, which then need not be counted
        const ExportSummary summary = summarise_export(artifacts, write_weights(artifacts, directory));
        publish(directory, report, summary);
        return summary;
    }

private:
    void note(const std::vector<std::string>& notes) {
        std::for_each(notes.begin(), notes.end(), [this](const std::string& text) { progress_.note(text); });
    }

    std::string model_type() const { return vision_ ? vision_model_type(plan_.config) : plan_.config.text.model_type; }

    void decide() {
        note(plan_.notes);
        note(left_out_notes(plan_, checkpoint_));
        const checkpoint::TextConfig& text = plan_.config.text;
        const ExpertSizes experts =
            text.moe ? ExpertSizes{text.hidden_size, text.moe->moe_intermediate_size} : ExpertSizes{};
        recipe_.set_architecture(text.moe.has_value(), plan_.tied_head, experts);
        if (vision_) {
            processors_ = read_processor_files(options_.model, *plan_.config.vision);
        }
        note(processors_.notes);
    }

    std::vector<Artifact> build(const Origin& origin) {
        std::vector<Artifact> artifacts = make_artifacts(checkpoint_, plan_, recipe_, origin);
        recipe_.check_all_used();
        plan_.table.check_all_used();
        note(recipe_.fallbacks());
        note(gpu_notes(artifacts));
        std::for_each(artifacts.begin(), artifacts.end(), lay_out);
        return artifacts;
    }

    void write_small_files(const std::filesystem::path& directory, const Origin& origin,
                           const std::vector<Artifact>& artifacts) {
        note(copy_side_files(options_.model, directory));
        for (const auto& [name, text] : processors_.files) {
            write_text_file(directory / name, text);
        }
        const std::string& config = checkpoint_.config_text();
        write_text_file(directory / "config.json", vision_ ? vision_config_json(config, plan_.config, plan_.tied_head)
                                                           : text_config_json(config, plan_.config, plan_.tied_head));
        write_text_file(directory / kOriginFile, origin.config_json(compressed_models(artifacts)));
    }

    // The tokenizer is converted on a thread of its own while the weights are streamed.
    std::vector<quant::BlockStatistics> write_weights(std::vector<Artifact>& artifacts, StagedDirectory& directory) {
        WrittenTokenizer written;
        const std::uint64_t vocab_size = plan_.config.text.vocab_size;
        const auto beside = [&] {
            if (options_.convert_tokenizer) {
                written = write_tokenizer(options_.model, directory, vocab_size);
            }
            const std::vector<std::string> notes = write_generation_config(
                {options_.model, checkpoint_.config_text(), vocab_size, written.added}, directory.path());
            written.notes.insert(written.notes.end(), notes.begin(), notes.end());
        };
        auto statistics =
            stream_artifacts(artifacts, directory.path(),
                             {options_.threads, options_.allow_nonfinite, recipe_.search()}, progress_, beside);
        tokenizer_bytes_ = written.bytes;
        note(written.notes);
        return statistics;
    }

    ExportSummary summarise_export(const std::vector<Artifact>& artifacts,
                                   const std::vector<quant::BlockStatistics>& statistics) const {
        ExportSummary summary;
        summary.model_type = model_type();
        summary.task = models::task_name(plan_.task);
        summary.recipe = recipe_.origins();
        const std::vector<std::string> description = recipe_.description();
        summary.recipe.insert(summary.recipe.end(), description.begin(), description.end());
        summary.tensors = report_tensors(checkpoint_, artifacts, statistics);
        summary.rows = summarise(summary.tensors);
        summary.bytes_written = tokenizer_bytes_;
        for (const Artifact& artifact : artifacts) {
            summary.bytes_written += artifact.layout.bytes();
        }
        for (const TensorReport& tensor : summary.tensors) {
            summary.bytes_read += tensor.bytes_read;
        }
        return summary;
    }

    void publish(StagedDirectory& directory, StagedFile& report, const ExportSummary& summary) {
        if (progress_.cancelled()) {
            fail(ErrorKind::Cancelled, "stopped");
        }
        checkpoint_.require_unchanged();
        if (options_.before_publishing) {
            options_.before_publishing(directory.path());
        }
        if (!options_.report.empty()) {
            write_report(report.path(), summary);
            report.commit(options_.sync);
        }
        directory.commit(options_.sync);
    }

    const ExportOptions& options_;
    ProgressSink& progress_;
    Recipe recipe_;
    const Checkpoint checkpoint_;
    const models::Plan plan_;
    const bool vision_;
    ProcessorFiles processors_;
    std::uint64_t tokenizer_bytes_ = 0;
};

}  // namespace

ExportSummary export_model(const ExportOptions& options, ProgressSink& progress) {
    return guarded("cannot export", [&]() {
        const auto start = std::chrono::steady_clock::now();
        ExportSummary summary = Export(options, progress).run();
        summary.seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
        return summary;
    });
}

}  // namespace deltavino
