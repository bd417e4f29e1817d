// The files of a directory that hold models: built, laid out, and written with their weights streamed.
#pragma once

#include "base/file.hpp"
#include "checkpoint/checkpoint.hpp"
#include "export/directory/origin.hpp"
#include "export/recipe.hpp"
#include "export/weight_stream.hpp"
#include "graph/ir_writer.hpp"
#include "graph/weights.hpp"
#include "models/plan.hpp"

#include <openvino/core/model.hpp>

#include <filesystem>
#include <functional>
#include <memory>
#include <string>
#include <vector>

namespace deltavino::exporter {

// One model file of the output directory.
struct Artifact {
    std::string name;  // without extension
    std::shared_ptr<ov::Model> model;
    graph::RuntimeInfo runtime_info;
    std::unique_ptr<graph::Weights> weights;  // null: every constant is in memory
    graph::IrLayout layout;                   // after lay_out()

    bool compressed() const;  // some of its weights are
};

// The models that the plan's task has (models/products.hpp), each with weights of its own: a tensor that two
// models need is in both files.
std::vector<Artifact> make_artifacts(const checkpoint::Checkpoint& checkpoint, const models::Plan& plan, Recipe& recipe,
                                     const Origin& origin);

// Writes the text of the .xml in memory and gives every constant its place in the .bin.
void lay_out(Artifact& artifact);

// Writes the constants that are in memory to their places in the .bin.
void write_inline_constants(const Artifact& artifact, ByteSink& bin);

// Writes the .xml and the constants that are in memory; returns the open .bin for the streamed ones.
OutputFile write_artifact(const Artifact& artifact, const std::filesystem::path& directory);

// The weights of laid out artifacts, each with its place in the .bin of its artifact.
class WeightList {
public:
    void add(const Artifact& artifact, ByteSink& bin);

    // Those that two files store alike stand there once.
    const std::vector<StreamedWeight>& weights() const { return weights_; }
    std::vector<StreamedWeight>& weights() { return weights_; }
    // One entry per job, in the order of add().
    std::vector<quant::BlockStatistics> by_job(const std::vector<quant::BlockStatistics>& by_weight) const;

private:
    std::vector<StreamedWeight> weights_;
    std::vector<std::size_t> place_;
};

// Writes all artifacts; weights that two files store alike are read and converted once. Returns the error of
// each weight of each artifact, in their order. `beside`: see stream_weights. `before`: may write some of the weights
// when their places are known.
std::vector<quant::BlockStatistics> stream_artifacts(
    const std::vector<Artifact>& artifacts, const std::filesystem::path& directory, const StreamOptions& options,
    ProgressSink& progress, const std::function<void()>& beside,
    const std::function<void(std::vector<StreamedWeight>& weights)>& before = {});

}  // namespace deltavino::exporter
