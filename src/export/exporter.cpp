// The pipeline: read the tables, check them, build the graphs, lay the files out, stream the weights,
// write the rest, make it visible. Nothing is at the target before the last step.
#include <deltavino/export.hpp>
#include <deltavino/version.hpp>

#include "base/checked.hpp"
#include "base/error.hpp"
#include "base/file.hpp"
#include "base/text.hpp"
#include "checkpoint/checkpoint.hpp"
#include "export/ir_writer.hpp"
#include "export/side_files.hpp"
#include "export/tokenizer_ir.hpp"
#include "export/weight_stream.hpp"
#include "graph/names.hpp"
#include "graph/weights.hpp"
#include "models/plan.hpp"
#include "models/qwen3_5_text.hpp"

#include <nlohmann/json.hpp>

#include <algorithm>
#include <array>
#include <chrono>
#include <memory>

namespace deltavino {
namespace {

using namespace exporter;
using checkpoint::Checkpoint;
using checkpoint::DType;
using graph::Role;
using graph::Weights;

// One model file of the output directory.
struct Artifact {
    std::string name;  // without extension
    std::shared_ptr<ov::Model> model;
    RuntimeInfo runtime_info;
    std::unique_ptr<Weights> weights;  // none: every constant is in memory
    IrLayout layout;
};

// A weight keeps its own type unless the user asked for another; what is small and delicate stays float32.
graph::StoragePolicy storage_policy(const std::string& weight_format) {
    static const std::array kFormats{std::pair{"fp32", ov::element::f32}, std::pair{"fp16", ov::element::f16}, std::pair{"bf16", ov::element::bf16}};
    const auto format = std::find_if(kFormats.begin(), kFormats.end(), [&](const auto& f) { return weight_format == f.first; });
    if (!weight_format.empty() && format == kFormats.end()) {
        fail(ErrorKind::Usage, "unknown --weight-format '{}', expected fp32, fp16 or bf16", weight_format);
    }
    const bool keep = weight_format.empty();
    const ov::element::Type wanted = keep ? ov::element::f32 : ov::element::Type(format->second);
    return [keep, wanted](const graph::WeightRequest& request) -> graph::Storage {
        if (request.role == Role::Convolution || request.role == Role::Vector) {
            return {ov::element::f32, {}, "small, always float32"};
        }
        if (!keep) {
            return {wanted, {}, "--weight-format"};
        }
        return {request.stored == DType::F32 ? ov::element::f32 : request.stored == DType::F16 ? ov::element::f16 : ov::element::bf16, {}, "as stored"};
    };
}

RuntimeInfo language_runtime_info(const std::vector<std::string>& layer_outputs, const ExportOptions& options) {
    nlohmann::ordered_json layers = nlohmann::ordered_json::object();
    for (std::size_t i = 0; i < layer_outputs.size(); ++i) {
        layers[std::to_string(i)] = {{"producer", layer_outputs[i]}, {"output_index", 0}};
    }
    return {
        {"deltavino/version", version()},
        {"deltavino/weight_format", options.weight_format.empty() ? "as stored" : options.weight_format},
        // Without the factor, float16 plugins can overflow; without the cache type they may take 8 bit.
        {"runtime_options/ACTIVATIONS_SCALE_FACTOR", "8.0"},
        {"runtime_options/KV_CACHE_PRECISION", "f16"},
        {"hidden_states_decoder_layers", nlohmann::ordered_json{{"layers", layers}}.dump()},
    };
}

Artifact make_text_artifact(const Checkpoint& checkpoint, const models::Plan& plan, const ExportOptions& options) {
    Artifact artifact;
    artifact.name = graph::names::kTextModel;
    artifact.weights = std::make_unique<Weights>(checkpoint, plan.table, storage_policy(options.weight_format));
    models::TextModel text = models::build_text_model(plan.config.text, *artifact.weights, plan.tied_head);
    artifact.model = std::move(text.model);
    artifact.runtime_info = language_runtime_info(text.layer_outputs, options);
    return artifact;
}

void add_tokenizer_artifacts(const std::filesystem::path& checkpoint, std::vector<Artifact>& artifacts) {
    TokenizerModels models = build_tokenizer_models(checkpoint);
    artifacts.push_back({graph::names::kTokenizer, std::move(models.tokenizer), std::move(models.tokenizer_info), nullptr, {}});
    artifacts.push_back({graph::names::kDetokenizer, std::move(models.detokenizer), std::move(models.detokenizer_info), nullptr, {}});
}

void lay_out(Artifact& artifact) {
    static const std::unordered_set<const ov::Node*> kNone;
    const bool streams = artifact.weights != nullptr;
    artifact.layout = lay_out_ir(*artifact.model, artifact.runtime_info, streams ? artifact.weights->streamed() : kNone,
                                 streams ? artifact.weights->decompressions() : kNone);
}

void require_space(const std::vector<Artifact>& artifacts, const std::filesystem::path& output) {
    std::uint64_t needed = 64u << 20;  // side files
    for (const Artifact& artifact : artifacts) {
        needed = checked_add(needed, checked_add(artifact.layout.bin_bytes, artifact.layout.xml.size()));
    }
    const std::uint64_t free = free_disk_bytes(output);
    if (free < needed) {
        fail(ErrorKind::Output, "cannot write '{}': {} ({} bytes) are needed on its disk, {} are free", output.string(), human_bytes(needed), needed, human_bytes(free));
    }
}

// Writes the .xml and the constants that are in memory; returns the open .bin for the streamed ones.
OutputFile write_artifact(const Artifact& artifact, const std::filesystem::path& directory) {
    write_text_file(directory / (artifact.name + ".xml"), artifact.layout.xml);
    OutputFile bin(directory / (artifact.name + ".bin"));
    bin.reserve(artifact.layout.bin_bytes);
    for (const auto& [offset, constant] : artifact.layout.inline_constants) {
        bin.write(offset, std::span(static_cast<const std::byte*>(constant->get_data_ptr()), constant->get_byte_size()));
    }
    return bin;
}

void stream_artifacts(const std::vector<Artifact>& artifacts, const std::filesystem::path& directory, const ExportOptions& options, ProgressSink& progress) {
    std::vector<OutputFile> files;
    files.reserve(artifacts.size());
    std::vector<StreamedWeight> streamed;
    for (const Artifact& artifact : artifacts) {
        files.push_back(write_artifact(artifact, directory));
        if (artifact.weights == nullptr) {
            continue;
        }
        for (const graph::WeightJob& job : artifact.weights->jobs()) {
            const auto offset = [&](const std::shared_ptr<ov::op::v0::Constant>& constant) -> std::uint64_t {
                if (constant == nullptr) {
                    return 0;
                }
                const auto found = artifact.layout.streamed_offsets.find(constant.get());
                if (found == artifact.layout.streamed_offsets.end()) {
                    fail(ErrorKind::Internal, "weight '{}' is not reachable from the outputs of '{}'", job.name, artifact.name);
                }
                return found->second;
            };
            streamed.push_back({&job, &files.back(), offset(job.values), offset(job.zero_points), offset(job.scales), {}});
        }
    }
    stream_weights(streamed, {options.threads, options.allow_nonfinite}, progress);
    for (OutputFile& file : files) {
        file.close();
    }
}

void summarise(const std::vector<Artifact>& artifacts, ExportSummary& summary) {
    for (const Artifact& artifact : artifacts) {
        summary.bytes_written += artifact.layout.bin_bytes + artifact.layout.xml.size();
        if (artifact.weights == nullptr) {
            continue;
        }
        for (const graph::WeightJob& job : artifact.weights->jobs()) {
            const std::string role(graph::role_name(job.role));
            const std::string storage = job.storage.text();
            auto row = std::find_if(summary.rows.begin(), summary.rows.end(), [&](const ExportSummaryRow& r) { return r.role == role && r.storage == storage; });
            if (row == summary.rows.end()) {
                summary.rows.push_back({role, 0, storage, 0, 0});
                row = std::prev(summary.rows.end());
            }
            row->tensors += 1;
            for (const graph::RowSlice& slice : job.sources) {
                const std::uint64_t bytes = slice.rows * job.columns * checkpoint::dtype_bits(slice.tensor->info.dtype) / 8;
                row->bytes_read += bytes;
                summary.bytes_read += bytes;
            }
            row->bytes_written += job.stored_bytes();
        }
    }
}

}  // namespace

ExportSummary export_model(const ExportOptions& options, ProgressSink& progress) {
    const auto start = std::chrono::steady_clock::now();
    storage_policy(options.weight_format);  // a wrong option shows before any file is read
    const Checkpoint checkpoint(options.model);
    const models::Plan plan = models::make_plan(checkpoint, options.task, options.assume_tied_head);
    for (const std::string& note : plan.notes) {
        progress.note(note);
    }
    for (const auto& left_out : plan.table.check(checkpoint)) {
        progress.note(fmt::format("left out: {}, {} tensors, {}", left_out.why, left_out.tensors, human_bytes(left_out.bytes)));
    }

    StagedDirectory directory(options.output, options.force);
    std::vector<Artifact> artifacts;
    artifacts.push_back(make_text_artifact(checkpoint, plan, options));
    if (options.convert_tokenizer) {
        add_tokenizer_artifacts(options.model, artifacts);
    }
    std::for_each(artifacts.begin(), artifacts.end(), lay_out);
    require_space(artifacts, options.output);
    copy_side_files(options.model, directory.path(), false);
    write_text_file(directory.path() / "config.json", text_config_json(checkpoint.config_text(), plan.config, plan.tied_head));
    stream_artifacts(artifacts, directory.path(), options, progress);
    if (progress.cancelled()) {
        fail(ErrorKind::Cancelled, "stopped");
    }
    directory.commit();

    ExportSummary summary{plan.config.text.model_type, models::task_name(plan.task), {}, 0, 0, 0.0};
    summarise(artifacts, summary);
    summary.seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
    return summary;
}

}  // namespace deltavino
