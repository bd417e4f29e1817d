// Makes models of a checkpoint in memory, with their weights, without a directory.
#pragma once

#include <deltavino/export.hpp>

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>
#include <string>
#include <vector>

namespace ov {
class Model;
}

namespace deltavino {

// As for an export. Of the task 'image-text-to-text' all models are made.
struct BuildOptions {
    std::filesystem::path model;  // the checkpoint directory
    std::string task = "text-generation-with-past";
    CompressionOptions compression;
    bool mtp = true;  // make the multi-token-prediction model, too, when the checkpoint has its layer
    bool assume_tied_head = false;
    bool allow_nonfinite = false;
    unsigned threads = 0;
    // Gives zeroed memory for the weights of a model; empty: it is taken from the system.
    std::function<std::shared_ptr<std::byte[]>(const std::string& name, std::uint64_t bytes)> memory;
};

// The files that an export would write, in memory: ov::Core::read_model takes both.
struct SerializedModel {
    std::string name;  // of the files without extension: "openvino_model"
    std::string xml;
    std::shared_ptr<const std::byte[]> weights;  // starts on a page, unless BuildOptions::memory gave it
    std::uint64_t weight_bytes = 0;
};

// Needs as much memory as the files would need disk. Throws Error as export_model does.
std::vector<SerializedModel> serialize_models(const BuildOptions& options, ProgressSink& progress);

// The model named `name`, ready to be compiled; it owns its weights. Throws Error as export_model does, and
// ErrorKind::Usage when the task has no model of that name.
std::shared_ptr<ov::Model> build_model(const BuildOptions& options, ProgressSink& progress,
                                       const std::string& name = "openvino_model");

}  // namespace deltavino
