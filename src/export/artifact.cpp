#include "export/artifact.hpp"

#include "base/error.hpp"
#include "models/products.hpp"

#include <algorithm>

namespace deltavino::exporter {
namespace {

// `info`: what the origin says already. `compressed`: whether the product has weights that are stored in fewer bits.
void add_runtime_options(const models::Product& product, const Recipe& recipe, bool compressed,
                         graph::RuntimeInfo& info) {
    if (product.wide_activations) {
        info.emplace_back("runtime_options/ACTIVATIONS_SCALE_FACTOR", "8.0");
    }
    const bool keeps = !product.task || models::generates(*product.task);  // a cache
    if (product.part == models::ModelPart::Language && keeps && !recipe.compresses() && !recipe.keeps_codes()) {
        // Whoever keeps the weights whole does not expect an 8-bit cache.
        info.emplace_back("runtime_options/KV_CACHE_PRECISION", "f16");
    }
    if (compressed && recipe.options().dynamic_quantization) {
        info.emplace_back("runtime_options/DYNAMIC_QUANTIZATION_GROUP_SIZE",
                          std::to_string(*recipe.options().dynamic_quantization));
    }
}

std::uint64_t offset_of(const Artifact& artifact, const graph::WeightJob& job,
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

}  // namespace

void WeightList::add(const Artifact& artifact, ByteSink& bin) {
    for (const graph::WeightJob& job : artifact.weights->jobs()) {
        const Placement placement{&bin, offset_of(artifact, job, job.values), offset_of(artifact, job, job.zero_points),
                                  offset_of(artifact, job, job.scales)};
        const auto same = std::find_if(weights_.begin(), weights_.end(),
                                       [&](const StreamedWeight& other) { return other.job->makes_same_bytes(job); });
        place_.push_back(static_cast<std::size_t>(same - weights_.begin()));
        if (same == weights_.end()) {
            weights_.push_back({&job, {placement}, {}});
        } else {
            same->placements.push_back(placement);
        }
    }
}

std::vector<quant::BlockStatistics> WeightList::by_job(const std::vector<quant::BlockStatistics>& by_weight) const {
    std::vector<quant::BlockStatistics> statistics;
    for (const std::size_t place : place_) {
        statistics.push_back(by_weight[place]);
    }
    return statistics;
}

std::vector<Artifact> make_artifacts(const checkpoint::Checkpoint& checkpoint, const models::Plan& plan, Recipe& recipe,
                                     const Origin& origin) {
    std::vector<Artifact> artifacts;
    for (const models::Product& product : models::products()) {
        if (!product.is_for(plan)) {
            continue;
        }
        auto weights = std::make_unique<graph::Weights>(checkpoint, plan.table, recipe.policy(product.part));
        models::BuiltModel built = product.build(plan, *weights);
        Artifact artifact{product.name, std::move(built.model), {}, std::move(weights), {}};
        artifact.runtime_info = origin.runtime_info(product.part, artifact.compressed());
        add_runtime_options(product, recipe, artifact.compressed(), artifact.runtime_info);
        artifact.runtime_info.insert(artifact.runtime_info.end(), built.runtime_info.begin(), built.runtime_info.end());
        artifacts.push_back(std::move(artifact));
    }
    return artifacts;
}

bool Artifact::compressed() const {
    return weights != nullptr && std::any_of(weights->jobs().begin(), weights->jobs().end(),
                                             [](const auto& job) { return job.storage.scheme.has_value(); });
}

void lay_out(Artifact& artifact) {
    static const std::unordered_set<const ov::Node*> kNone;
    const bool streams = artifact.weights != nullptr;
    artifact.layout =
        graph::lay_out_ir(*artifact.model, artifact.runtime_info, streams ? artifact.weights->streamed() : kNone,
                          streams ? artifact.weights->decompressions() : kNone);
}

void write_inline_constants(const Artifact& artifact, ByteSink& bin) {
    for (const auto& [offset, constant] : artifact.layout.inline_constants) {
        bin.write(offset,
                  std::span(static_cast<const std::byte*>(constant->get_data_ptr()), constant->get_byte_size()));
    }
}

OutputFile write_artifact(const Artifact& artifact, const std::filesystem::path& directory) {
    write_text_file(directory / (artifact.name + ".xml"), artifact.layout.xml);
    OutputFile bin(directory / (artifact.name + ".bin"));
    bin.reserve(artifact.layout.bin_bytes);
    write_inline_constants(artifact, bin);
    return bin;
}

std::vector<quant::BlockStatistics> stream_artifacts(
    const std::vector<Artifact>& artifacts, const std::filesystem::path& directory, const StreamOptions& options,
    ProgressSink& progress, const std::function<void()>& beside,
    const std::function<void(std::vector<StreamedWeight>& weights)>& before) {
    std::vector<OutputFile> files;
    files.reserve(artifacts.size());
    WeightList list;
    for (const Artifact& artifact : artifacts) {
        list.add(artifact, files.emplace_back(write_artifact(artifact, directory)));
    }
    if (before) {
        before(list.weights());
    }
    const std::vector<quant::BlockStatistics> statistics = stream_weights(list.weights(), options, progress, beside);
    for (OutputFile& file : files) {
        file.close();
    }
    return list.by_job(statistics);
}

}  // namespace deltavino::exporter
