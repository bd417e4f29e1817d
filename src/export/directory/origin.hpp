// How an exported directory was made, written into the directory itself: openvino_config.json, which
// optimum-intel's OVConfig reads, and the rt_info of each model. No date and no path of the machine, so that
// two exports of one checkpoint are equal byte for byte.
#pragma once

#include "export/recipe.hpp"
#include "graph/ir_writer.hpp"

#include <cstddef>
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

namespace deltavino::exporter {

inline constexpr const char* kOriginFile = "openvino_config.json";

// What a checkpoint is called: "Qwen/Qwen3.5-0.8B" and a commit for a snapshot in the cache of the Hugging
// Face Hub, else the name of its folder. Always UTF-8 without control characters.
struct Source {
    std::string name;
    std::string revision;  // empty when it is not known
};

// Of any folder, also of an adapter's.
Source source_of(const std::filesystem::path& checkpoint);

// The LoRA adapter that was merged into the weights.
struct MergedAdapter {
    Source source;
    std::string text;          // "rank 8, scale 2"; empty when it holds whole tensors only
    std::size_t weights = 0;   // of the exported ones, to which it added something
    std::size_t replaced = 0;  // and which it replaced
};

class Origin {
public:
    // `recipe` must have seen the architecture and outlive this.
    Origin(Source source, std::optional<MergedAdapter> adapter, std::string model_type, std::string task,
           const Recipe& recipe);

    // Entries of a model. `compressed`: some of its weights are; then nncf's own keys are there, too, which the
    // NPU plugin (a group size of -1) and optimum-intel (which refuses to compress twice) look at.
    graph::RuntimeInfo runtime_info(ModelPart part, bool compressed) const;
    // The text of openvino_config.json. `compressed`: names of the models that hold compressed weights.
    std::string config_json(const std::vector<std::string>& compressed) const;

private:
    Source source_;
    std::optional<MergedAdapter> adapter_;
    std::string model_type_;
    std::string task_;
    const Recipe& recipe_;
};

}  // namespace deltavino::exporter
