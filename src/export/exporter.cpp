// The pipeline: read the tables, check them, build the graphs, lay the files out, stream the weights,
// write the rest, make it visible. Nothing is at the target before the last step.
#include <deltavino/export.hpp>
#include <deltavino/version.hpp>

#include "base/checked.hpp"
#include "base/error.hpp"
#include "base/file.hpp"
#include "base/text.hpp"
#include "checkpoint/checkpoint.hpp"
#include "export/directory/processor_files.hpp"
#include "export/directory/side_files.hpp"
#include "export/recipe.hpp"
#include "export/weight_stream.hpp"
#include "graph/ir_writer.hpp"
#include "graph/names.hpp"
#include "graph/weights.hpp"
#include "models/plan.hpp"
#include "models/qwen3_5_text.hpp"
#include "models/qwen3_5_vision.hpp"
#include "tokenizer/ir.hpp"

#include <nlohmann/json.hpp>

#include <algorithm>
#include <chrono>
#include <functional>
#include <map>
#include <memory>
#include <numeric>

namespace deltavino {
namespace {

using namespace exporter;
using checkpoint::Checkpoint;
using graph::Weights;

// One model file of the output directory.
struct Artifact {
    std::string name;  // without extension
    std::shared_ptr<ov::Model> model;
    graph::RuntimeInfo runtime_info;
    std::unique_ptr<Weights> weights;  // null: every constant is in memory
    graph::IrLayout layout;
};

// What every model says about its origin.
graph::RuntimeInfo common_runtime_info(const Recipe& recipe) {
    return {
        {"deltavino/version", version()},
        {"deltavino/weight_format", recipe.format_name()},
    };
}

graph::RuntimeInfo language_runtime_info(const std::vector<std::string>& layer_outputs, const Recipe& recipe) {
    nlohmann::ordered_json layers = nlohmann::ordered_json::object();
    for (std::size_t i = 0; i < layer_outputs.size(); ++i) {
        layers[std::to_string(i)] = {{"producer", layer_outputs[i]}, {"output_index", 0}};
    }
    graph::RuntimeInfo info = common_runtime_info(recipe);
    // Without the factor, float16 plugins can overflow.
    info.emplace_back("runtime_options/ACTIVATIONS_SCALE_FACTOR", "8.0");
    if (!recipe.compresses()) {
        // Whoever keeps the weights whole does not expect an 8-bit cache.
        info.emplace_back("runtime_options/KV_CACHE_PRECISION", "f16");
    }
    info.emplace_back("hidden_states_decoder_layers", nlohmann::ordered_json{{"layers", layers}}.dump());
    return info;
}

// Builds the models of a task, each with weights of its own: a tensor that two models need is in both files.
class ArtifactMaker {
public:
    ArtifactMaker(const Checkpoint& checkpoint, const models::Plan& plan, Recipe& recipe)
        : checkpoint_(checkpoint), plan_(plan), recipe_(recipe) {}

    std::vector<Artifact> make() {
        if (plan_.task == models::Task::TextGeneration) {
            add_decoder(graph::names::kTextModel, models::build_text_model);
            return std::move(artifacts_);
        }
        const checkpoint::VisionConfig& vision = *plan_.config.vision;
        add_decoder(graph::names::kLanguageModel, models::build_language_model);
        add(ModelPart::Other, graph::names::kTextEmbeddings,
            [](Weights& weights) { return models::build_text_embeddings(weights); });
        add(ModelPart::Other, graph::names::kVisionEmbeddings,
            [&](Weights& weights) { return models::build_vision_embeddings(vision, weights); });
        add(ModelPart::Other, graph::names::kVisionPositions,
            [](Weights& weights) { return models::build_vision_positions(weights); });
        Artifact& merger = add(ModelPart::Other, graph::names::kVisionMerger,
                               [&](Weights& weights) { return models::build_vision_merger(vision, weights); });
        // The products of the tower can leave the range of float16, as those of the decoder.
        merger.runtime_info.emplace_back("runtime_options/ACTIVATIONS_SCALE_FACTOR", "8.0");
        return std::move(artifacts_);
    }

private:
    template <typename Build>
    Artifact& add(ModelPart part, const char* name, Build&& build) {
        auto weights = std::make_unique<Weights>(checkpoint_, plan_.table, recipe_.policy(part));
        std::shared_ptr<ov::Model> model = build(*weights);
        return artifacts_.emplace_back(
            Artifact{name, std::move(model), common_runtime_info(recipe_), std::move(weights), {}});
    }

    template <typename Build>
    void add_decoder(const char* name, Build&& build) {
        std::vector<std::string> layer_outputs;
        Artifact& artifact = add(ModelPart::Language, name, [&](Weights& weights) {
            models::TextModel decoder = build(plan_.config.text, weights, plan_.tied_head);
            layer_outputs = std::move(decoder.layer_outputs);
            return std::move(decoder.model);
        });
        artifact.runtime_info = language_runtime_info(layer_outputs, recipe_);
    }

    const Checkpoint& checkpoint_;
    const models::Plan& plan_;
    Recipe& recipe_;
    std::vector<Artifact> artifacts_;
};

// Relative error of a weight in 4 bit, from rows spread over all of it.
double sampled_error(const graph::WeightJob& job, const quant::Scheme& scheme, quant::Search search) {
    constexpr std::uint64_t kRows = 64;
    quant::BlockStatistics total;
    quant::QuantizedBuffers buffers;
    for (const graph::RowSlice& slice : job.sources) {
        const checkpoint::TensorInfo& info = slice.tensor->info;
        const std::uint64_t row_bytes = slice.row_bytes(job.columns);
        const std::uint64_t rows = std::min(slice.rows, std::max<std::uint64_t>(2, kRows / job.sources.size())) / 2 * 2;
        if (rows == 0) {
            continue;
        }
        std::vector<std::byte> source(static_cast<std::size_t>(rows * row_bytes));
        for (std::uint64_t i = 0; i < rows; ++i) {
            const std::uint64_t row = slice.first_row + i * slice.rows / rows;
            slice.tensor->file->read(info.offset + row * row_bytes,
                                     std::span(source).subspan(static_cast<std::size_t>(i * row_bytes),
                                                               static_cast<std::size_t>(row_bytes)));
        }
        total.merge(quant::quantize_rows(scheme, search,
                                         {source.data(), graph::source_type(info.dtype), rows, job.columns}, {},
                                         buffers.resized(scheme, rows, job.columns)));
    }
    return total.relative_error();
}

// --ratio below 1: builds the graph once to see the weights, and measures what 4 bit would do to each.
void measure_sensitivities(const Checkpoint& checkpoint, const models::Plan& plan, Recipe& recipe) {
    std::map<std::string, graph::WeightRequest> candidates;
    Weights weights(checkpoint, plan.table, [&](const graph::WeightRequest& request) -> graph::Storage {
        if (recipe.ratio_candidate(request)) {
            candidates.emplace(request.name, request);
        }
        return {};
    });
    models::build_text_model(plan.config.text, weights, plan.tied_head);
    std::map<std::string, double> errors;
    std::map<std::string, std::uint64_t> sizes;
    for (const graph::WeightJob& job : weights.jobs()) {
        const auto candidate = candidates.find(job.canonical_name);
        if (candidate != candidates.end()) {
            const std::string group = Recipe::ratio_group(candidate->second);
            const std::uint64_t size = job.rows * job.columns;
            const double error = sampled_error(job, *recipe.ratio_candidate(candidate->second), recipe.search());
            const double before = static_cast<double>(sizes[group]);
            sizes[group] += size;
            errors[group] += (error - errors[group]) * static_cast<double>(size) / (before + static_cast<double>(size));
        }
    }
    recipe.set_sensitivities(errors, sizes);
}

void lay_out(Artifact& artifact) {
    static const std::unordered_set<const ov::Node*> kNone;
    const bool streams = artifact.weights != nullptr;
    artifact.layout =
        graph::lay_out_ir(*artifact.model, artifact.runtime_info, streams ? artifact.weights->streamed() : kNone,
                          streams ? artifact.weights->decompressions() : kNone);
}

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

// Writes the .xml and the constants that are in memory; returns the open .bin for the streamed ones.
OutputFile write_artifact(const Artifact& artifact, const std::filesystem::path& directory) {
    write_text_file(directory / (artifact.name + ".xml"), artifact.layout.xml);
    OutputFile bin(directory / (artifact.name + ".bin"));
    bin.reserve(artifact.layout.bin_bytes);
    for (const auto& [offset, constant] : artifact.layout.inline_constants) {
        bin.write(offset,
                  std::span(static_cast<const std::byte*>(constant->get_data_ptr()), constant->get_byte_size()));
    }
    return bin;
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

// The weights of all artifacts; those that two files store alike stand there once.
class WeightList {
public:
    void add(const Artifact& artifact, OutputFile& file) {
        for (const graph::WeightJob& job : artifact.weights->jobs()) {
            const Placement placement{&file, offset(artifact, job, job.values), offset(artifact, job, job.zero_points),
                                      offset(artifact, job, job.scales)};
            const auto same = std::find_if(weights_.begin(), weights_.end(), [&](const StreamedWeight& other) {
                return other.job->makes_same_bytes(job);
            });
            place_.push_back(static_cast<std::size_t>(same - weights_.begin()));
            if (same == weights_.end()) {
                weights_.push_back({&job, {placement}, {}});
            } else {
                same->placements.push_back(placement);
            }
        }
    }

    const std::vector<StreamedWeight>& weights() const { return weights_; }
    // One entry per job, in the order of add().
    std::vector<quant::BlockStatistics> by_job(const std::vector<quant::BlockStatistics>& by_weight) const {
        std::vector<quant::BlockStatistics> statistics;
        for (const std::size_t place : place_) {
            statistics.push_back(by_weight[place]);
        }
        return statistics;
    }

private:
    static std::uint64_t offset(const Artifact& artifact, const graph::WeightJob& job,
                                const std::shared_ptr<ov::op::v0::Constant>& constant) {
        if (constant == nullptr) {
            return 0;
        }
        const auto found = artifact.layout.streamed_offsets.find(constant.get());
        if (found == artifact.layout.streamed_offsets.end()) {
            fail(ErrorKind::Internal, "weight '{}' is not reachable from the outputs of '{}'", job.name, artifact.name);
        }
        return found->second;
    }

    std::vector<StreamedWeight> weights_;
    std::vector<std::size_t> place_;
};

// Returns the error of each weight of each artifact, in their order. `beside`: see stream_weights.
std::vector<quant::BlockStatistics> stream_artifacts(const std::vector<Artifact>& artifacts,
                                                     const std::filesystem::path& directory,
                                                     const StreamOptions& options, ProgressSink& progress,
                                                     const std::function<void()>& beside) {
    std::vector<OutputFile> files;
    files.reserve(artifacts.size());
    WeightList list;
    for (const Artifact& artifact : artifacts) {
        list.add(artifact, files.emplace_back(write_artifact(artifact, directory)));
    }
    const std::vector<quant::BlockStatistics> statistics = stream_weights(list.weights(), options, progress, beside);
    for (OutputFile& file : files) {
        file.close();
    }
    return list.by_job(statistics);
}

// One entry per weight, in the order in which stream_artifacts streamed them.
std::vector<TensorReport> report_tensors(const std::vector<Artifact>& artifacts,
                                         const std::vector<quant::BlockStatistics>& statistics) {
    std::vector<TensorReport> reports;
    for (const Artifact& artifact : artifacts) {
        for (const graph::WeightJob& job : artifact.weights->jobs()) {
            TensorReport report{artifact.name,
                                job.name,
                                std::string(graph::role_name(job.role)),
                                job.storage.text(),
                                job.storage.reason,
                                job.rows,
                                job.columns,
                                0,
                                job.stored_bytes(),
                                0.0};
            for (const graph::RowSlice& slice : job.sources) {
                report.bytes_read += slice.bytes(job.columns);
            }
            report.relative_error = job.storage.scheme ? statistics[reports.size()].relative_error() : 0.0;
            reports.push_back(std::move(report));
        }
    }
    return reports;
}

// Weights of one role and storage in one row; the error of a row is weighed by elements.
std::vector<ExportSummaryRow> summarise(const std::vector<TensorReport>& tensors) {
    std::vector<ExportSummaryRow> rows;
    std::vector<double> elements;
    for (const TensorReport& tensor : tensors) {
        auto row = std::find_if(rows.begin(), rows.end(), [&](const ExportSummaryRow& r) {
            return r.role == tensor.role && r.storage == tensor.storage;
        });
        if (row == rows.end()) {
            rows.push_back({tensor.role, 0, tensor.storage, 0, 0, 0.0});
            elements.push_back(0.0);
            row = std::prev(rows.end());
        }
        const auto size = static_cast<double>(tensor.rows) * static_cast<double>(tensor.columns);
        double& weight = elements[static_cast<std::size_t>(row - rows.begin())];
        row->relative_error = (row->relative_error * weight + tensor.relative_error * size) / (weight + size);
        weight += size;
        row->tensors += 1;
        row->bytes_read += tensor.bytes_read;
        row->bytes_written += tensor.bytes_written;
    }
    return rows;
}

// Before the work rather than after it.
void require_report_folder(const std::filesystem::path& report) {
    std::error_code error;
    if (!report.empty() &&
        !std::filesystem::is_directory(std::filesystem::absolute(report, error).parent_path(), error)) {
        fail(ErrorKind::Output, "cannot write the report '{}': its folder does not exist", report.string());
    }
}

void write_report(const std::filesystem::path& path, const ExportSummary& summary) {
    nlohmann::ordered_json json{{"deltavino", version()},
                                {"model_type", summary.model_type},
                                {"task", summary.task},
                                {"recipe", summary.recipe},
                                {"bytes_read", summary.bytes_read},
                                {"bytes_written", summary.bytes_written},
                                {"tensors", nlohmann::ordered_json::array()}};
    for (const TensorReport& tensor : summary.tensors) {
        json["tensors"].push_back({{"model", tensor.model},
                                   {"name", tensor.name},
                                   {"role", tensor.role},
                                   {"shape", {tensor.rows, tensor.columns}},
                                   {"stored_as", tensor.storage},
                                   {"reason", tensor.reason},
                                   {"bytes_read", tensor.bytes_read},
                                   {"bytes_written", tensor.bytes_written},
                                   {"relative_error", tensor.relative_error}});
    }
    write_text_file(path, json.dump(1) + "\n");
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
    for (const auto& left_out : plan.table.check(checkpoint)) {
        progress.note(
            fmt::format("left out: {}, {} tensors, {}", left_out.why, left_out.tensors, human_bytes(left_out.bytes)));
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
    std::vector<Artifact> artifacts = ArtifactMaker(checkpoint, plan, recipe).make();
    recipe.check_all_used();
    plan.table.check_all_used();
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
