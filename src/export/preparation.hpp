// What exports, dry runs and builds in memory begin with: a checkpoint that was checked, and its models with
// places for their weights.
#pragma once

#include "checkpoint/checkpoint.hpp"
#include "export/artifact.hpp"
#include "export/directory/origin.hpp"
#include "export/recipe.hpp"
#include "models/plan.hpp"

#include <deltavino/export.hpp>

#include <optional>
#include <string>
#include <vector>

namespace deltavino::exporter {

inline void note_all(ProgressSink& progress, const std::vector<std::string>& notes) {
    for (const std::string& note : notes) {
        progress.note(note);
    }
}

class Preparation {
public:
    // Reads the tables of the checkpoint and says what is left out. Throws for whatever the options, the
    // configuration and the tables show to be wrong. Files and directories to write are not looked at.
    Preparation(const ExportOptions& options, ProgressSink& progress);
    Preparation(const Preparation&) = delete;
    Preparation& operator=(const Preparation&) = delete;

    // Makes the artifacts and lays them out; with a ratio, weights are read.
    void build(ProgressSink& progress);

    bool vision() const { return plan_.task == models::Task::ImageTextToText; }
    const std::string& model_type() const { return model_type_; }
    const checkpoint::Checkpoint& checkpoint() const { return checkpoint_; }
    const models::Plan& plan() const { return plan_; }
    const Recipe& recipe() const { return recipe_; }
    const Origin& origin() const { return *origin_; }  // after build()
    const std::vector<Artifact>& artifacts() const { return artifacts_; }

    // Of what the export holds; nothing without --lora.
    const std::optional<MergedAdapter>& adapter() const { return adapter_; }

private:
    void describe_adapter(ProgressSink& progress);

    std::filesystem::path model_;
    Recipe recipe_;
    checkpoint::Checkpoint checkpoint_;
    models::Plan plan_;
    std::string model_type_;
    std::optional<MergedAdapter> adapter_;
    std::optional<Origin> origin_;
    std::vector<Artifact> artifacts_;
};

}  // namespace deltavino::exporter
