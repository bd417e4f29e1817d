// The pipeline: read the tables, check them, build the graphs, lay the files out, stream the weights,
// write the rest, make it visible. Nothing is at the target before the last step.
#include <deltavino/export.hpp>

#include "base/byte_sink.hpp"
#include "base/checked.hpp"
#include "base/error.hpp"
#include "base/file.hpp"
#include "base/guard.hpp"
#include "base/staged_directory.hpp"
#include "base/staged_file.hpp"
#include "calibration/text.hpp"
#include "export/artifact.hpp"
#include "export/calibrated_weights.hpp"
#include "export/directory/generation_config.hpp"
#include "export/directory/processor_files.hpp"
#include "export/directory/server_graph.hpp"
#include "export/directory/side_files.hpp"
#include "export/preparation.hpp"
#include "export/report.hpp"
#include "graph/names.hpp"
#include "tokenizer/ir.hpp"

#include <algorithm>
#include <chrono>
#include <map>
#include <optional>
#include <span>

namespace deltavino {
namespace {

using namespace exporter;

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
    std::map<std::string, std::int64_t> added;
    std::vector<std::string> notes;
};

// Consumers of embeddings take the last token of a text that is padded behind it.
tokenizer::Padding padding_of(models::Task task) {
    return models::generates(task) ? tokenizer::Padding::Left : tokenizer::Padding::Right;
}

Servable servable_of(models::Task task) {
    return task == models::Task::FeatureExtraction    ? Servable::Embeddings
           : task == models::Task::TextClassification ? Servable::Rerank
                                                      : Servable::TextGeneration;
}

WrittenTokenizer write_tokenizer(const std::filesystem::path& checkpoint, StagedDirectory& directory,
                                 const models::Plan& plan) {
    tokenizer::TokenizerModels models =
        tokenizer::build_tokenizer_models(checkpoint, plan.config.text.vocab_size, padding_of(plan.task));
    Artifact both[] = {
        {graph::names::kTokenizer, std::move(models.tokenizer), std::move(models.tokenizer_info), nullptr, {}},
        {graph::names::kDetokenizer, std::move(models.detokenizer), std::move(models.detokenizer_info), nullptr, {}}};
    std::for_each(std::begin(both), std::end(both), lay_out);
    claim_space(both, directory);
    for (const Artifact& artifact : both) {
        write_artifact(artifact, directory.path()).close();
    }
    return {std::move(models.added), std::move(models.notes)};
}

// Every file of the finished directory. Those of `artifacts` need not be there yet.
std::vector<ExportedFile> files_of(const std::filesystem::path& directory, const std::vector<Artifact>& artifacts) {
    std::map<std::string, std::uint64_t> sizes;
    for (const auto& entry : std::filesystem::directory_iterator(directory)) {
        sizes[entry.path().filename().string()] = entry.file_size();
    }
    for (const Artifact& artifact : artifacts) {
        sizes[artifact.name + ".xml"] = artifact.layout.xml.size();
        sizes[artifact.name + ".bin"] = artifact.layout.bin_bytes;
    }
    std::vector<ExportedFile> files;
    for (const auto& [name, bytes] : sizes) {
        files.push_back({name, bytes});
    }
    return files;
}

double estimate(const std::vector<Artifact>& artifacts, const StreamOptions& options) {
    constexpr double kBudgetSeconds = 0.5;
    NullSink nowhere;
    WeightList list;
    for (const Artifact& artifact : artifacts) {
        list.add(artifact, nowhere);
    }
    return estimate_seconds(list.weights(), options, kBudgetSeconds);
}

// The progress of an export within one: notes were told before.
class Quiet : public ProgressSink {
public:
    explicit Quiet(ProgressSink& outer) : outer_(outer) {}
    void update(const std::string& stage, std::uint64_t done, std::uint64_t total) override {
        outer_.update(stage, done, total);
    }
    bool cancelled() override { return outer_.cancelled(); }
    void note(const std::string&) override {}

private:
    ProgressSink& outer_;
};

// One export: everything is decided from tables and configuration, then written.
class Export {
public:
    Export(const ExportOptions& options, ProgressSink& progress)
        : options_(options), progress_(progress), prepared_(options, progress) {
        if (calibrates() && !options.convert_tokenizer) {
            fail(ErrorKind::Usage,
                 "--calibrate reads the text with the tokenizer: it does not go with --disable-convert-tokenizer");
        }
        if (options.compression.calibrate == kSelf && !models::generates(prepared_.plan().task)) {
            fail(ErrorKind::Usage, "--calibrate {} lets the model write a text, which this one cannot: name a file",
                 kSelf);
        }
        if (calibrates() && options.compression.calibrate != kSelf) {
            const InputFile readable(options.compression.calibrate);  // a wrong name shows before the work
        }
        if (options.ovms) {
            const models::Plan& plan = prepared_.plan();
            server_graph_.emplace(*options.ovms, Served{servable_of(plan.task), prepared_.vision(), plan.mtp});
        }
    }

    ExportSummary run() {
        if (prepared_.vision()) {
            processors_ = read_processor_files(options_.model, *prepared_.plan().config.vision);
        }
        note(processors_.notes);
        StagedDirectory directory(options_.output, options_.force, options_.model);
        StagedFile report(options_.report, directory);
        prepared_.build(progress_);
        write_small_files(directory.path());
        report.require_unused();
        claim_space(prepared_.artifacts(), directory);  // after the small files, which then need not be counted
        const std::vector<quant::BlockStatistics> statistics = write_weights(directory);
        const ExportSummary summary = summarise_export(directory.path(), statistics);
        if (progress_.cancelled()) {
            fail(ErrorKind::Cancelled, "stopped");
        }
        prepared_.checkpoint().require_unchanged();
        if (!options_.dry_run) {
            publish(directory, report, summary);
        }
        return summary;
    }

private:
    void note(const std::vector<std::string>& notes) { note_all(progress_, notes); }

    bool calibrates() const { return !options_.compression.calibrate.empty(); }

    // The windows of text that --calibrate names. `directory` has the tokenizer.
    calibration::Windows windows(const std::filesystem::path& directory) {
        const CompressionOptions& wanted = options_.compression;
        const std::uint64_t tokens = prepared_.recipe().calibration_tokens();
        if (wanted.calibrate != kSelf) {
            return calibration::text_windows(wanted.calibrate, directory, tokens,
                                             static_cast<std::int64_t>(prepared_.plan().config.text.vocab_size));
        }
        // The model as it writes: in 8 bit, which changes nothing that anybody reads.
        ExportOptions plain;
        plain.model = options_.model;
        plain.lora = options_.lora;
        plain.mtp = false;
        plain.output = directory / "calibration";
        plain.task = models::task_name(models::Task::TextGeneration);
        plain.compression.weight_format = "int8";
        plain.assume_tied_head = options_.assume_tied_head;
        plain.threads = options_.threads;
        plain.sync = false;
        Quiet quiet(progress_);
        Export(plain, quiet).run();
        calibration::Windows made =
            calibration::self_windows(plain.output, tokens, options_.threads, [&](std::uint64_t done) {
                progress_.update("calibration, writing text", done, tokens);
                return progress_.cancelled();
            });
        std::filesystem::remove_all(plain.output);
        return made;
    }

    void write_small_files(const std::filesystem::path& directory) {
        note(copy_side_files(options_.model, directory));
        for (const auto& [name, text] : processors_.files) {
            write_text_file(directory / name, text);
        }
        const models::Plan& plan = prepared_.plan();
        const std::string& given = prepared_.checkpoint().config_text();
        write_text_file(directory / "config.json",
                        prepared_.vision() ? vision_config_json(given, plan.config, plan.tied_head)
                                           : text_config_json(given, plan.config, plan.tied_head, plan.task));
        if (plan.task == models::Task::TextClassification) {
            join_pairs(directory);
        }
        write_text_file(directory / kOriginFile,
                        prepared_.origin().config_json(compressed_models(prepared_.artifacts())));
        if (server_graph_) {
            note(server_graph_->write(directory));
        }
    }

    // The tokenizer is converted on a thread of its own while the weights are streamed. Of a dry run: nothing is
    // written but the small files, and the time of the weights is estimated.
    std::vector<quant::BlockStatistics> write_weights(StagedDirectory& directory) {
        std::vector<std::string> notes;
        const auto beside = [&] {
            const std::uint64_t vocab_size = prepared_.plan().config.text.vocab_size;
            WrittenTokenizer written;
            if (options_.convert_tokenizer) {
                written = write_tokenizer(options_.model, directory, prepared_.plan());
            }
            notes = std::move(written.notes);
            const std::vector<std::string> more = write_generation_config(
                {options_.model, prepared_.checkpoint().config_text(), vocab_size, written.added}, directory.path());
            notes.insert(notes.end(), more.begin(), more.end());
        };
        const StreamOptions streaming{options_.threads, options_.allow_nonfinite, prepared_.recipe().search()};
        std::vector<quant::BlockStatistics> statistics;
        if (options_.dry_run) {
            beside();
            estimated_seconds_ = estimate(prepared_.artifacts(), streaming);
        } else if (calibrates()) {
            beside();  // the calibration needs the tokenizer
            const calibration::Windows text = windows(directory.path());
            const auto calibrate = [&](std::vector<StreamedWeight>& weights) {
                const models::Plan& plan = prepared_.plan();
                const std::vector<std::string> done =
                    write_calibrated({prepared_.checkpoint(), plan.config.text, text, plan.tied_head, options_.threads},
                                     weights, progress_);
                notes.insert(notes.end(), done.begin(), done.end());
            };
            statistics = stream_artifacts(prepared_.artifacts(), directory.path(), streaming, progress_, {}, calibrate);
        } else {
            statistics = stream_artifacts(prepared_.artifacts(), directory.path(), streaming, progress_, beside);
        }
        note(notes);
        return statistics;
    }

    ExportSummary summarise_export(const std::filesystem::path& directory,
                                   const std::vector<quant::BlockStatistics>& statistics) const {
        ExportSummary summary;
        summary.model_type = prepared_.model_type();
        summary.task = models::task_name(prepared_.plan().task);
        summary.recipe = prepared_.recipe().origins();
        const std::vector<std::string> description = prepared_.recipe().description();
        summary.recipe.insert(summary.recipe.end(), description.begin(), description.end());
        summary.tensors = report_tensors(prepared_.checkpoint(), prepared_.artifacts(), statistics);
        summary.rows = summarise(summary.tensors);
        for (const TensorReport& tensor : summary.tensors) {
            summary.bytes_read += tensor.bytes_read;
        }
        summary.files = files_of(directory, prepared_.artifacts());
        for (const ExportedFile& file : summary.files) {
            const bool model = file.name.ends_with(".xml") || file.name.ends_with(".bin");
            summary.bytes_written += model ? file.bytes : 0;
        }
        summary.seconds = estimated_seconds_;
        return summary;
    }

    void publish(StagedDirectory& directory, StagedFile& report, const ExportSummary& summary) {
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
    Preparation prepared_;
    ProcessorFiles processors_;
    std::optional<ServerGraph> server_graph_;
    double estimated_seconds_ = 0.0;  // of a dry run
};

}  // namespace

ExportSummary export_model(const ExportOptions& options, ProgressSink& progress) {
    return guarded("cannot export", [&]() {
        const auto start = std::chrono::steady_clock::now();
        ExportSummary summary = Export(options, progress).run();
        summary.seconds += std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
        return summary;
    });
}

}  // namespace deltavino
