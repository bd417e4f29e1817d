// Says what a checkpoint or an exported directory holds, and what is wrong with it.
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <map>
#include <optional>
#include <string>
#include <vector>

namespace deltavino {

// Tensors that are stored in one type.
struct TypeTotal {
    std::size_t tensors = 0;
    std::uint64_t bytes = 0;
};
using TypeTotals = std::map<std::string, TypeTotal>;  // by the type's name in the file: "BF16", "u4"

// What one sequence keeps between tokens: keys and values grow with its length, the states of the delta rule
// and of the convolutions do not. In the type that the model declares.
struct StateBytes {
    std::uint64_t per_token = 0;
    std::uint64_t fixed = 0;
    std::size_t variables = 0;  // of an exported model; 0 for a checkpoint
};

// One fact of the architecture under its key of config.json, or under a name of ours where it is counted.
struct GeometryFact {
    std::string name;
    double value = 0;
    bool integral = true;
};

// What one decoding step of one sequence touches: all weights but those of experts that are not chosen, of the
// embedding's other rows and of the vision tower.
struct DecodingWeights {
    std::uint64_t parameters = 0;
    std::uint64_t active_parameters = 0;
    std::uint64_t bytes_per_token = 0;  // in the types of the checkpoint
};

struct CheckpointFacts {
    std::string model_type;
    bool vision = false;
    std::size_t files = 0;
    std::size_t tensors = 0;
    std::uint64_t bytes = 0;
    TypeTotals types;
    std::vector<GeometryFact> geometry;
    StateBytes states;              // in float32
    std::optional<bool> tied_head;  // this and the next are absent when there are problems
    std::optional<DecodingWeights> weights;
    std::vector<std::string> notes;
    std::vector<std::string> problems;  // why it cannot be exported
};

struct Port {
    std::string name;  // "?" when it has none
    std::string type;
    std::string shape;  // "[?,?,64]"
};

struct ModelFacts {
    std::vector<Port> inputs;
    std::vector<Port> outputs;
    TypeTotals types;
    std::optional<StateBytes> states;              // absent without states
    std::optional<std::uint64_t> bytes_per_token;  // of weights, that decoding reads; absent without states
};

// A model file of a directory: its facts, or why there are none.
struct ModelFile {
    std::string name;  // "openvino_language_model"
    enum class Content { Read, NeedsTokenizers, LacksBin } content = Content::Read;
    ModelFacts facts;  // when it was read
};

// openvino_config.json. Directories of other exporters have the file only when they are compressed.
struct OriginFacts {
    std::string config_json = "{}";  // the file's text
    bool own = false;                // deltavino made the directory; else the rest is empty
    std::string version;
    std::string openvino_version;
    std::string source;
    std::string source_revision;
    std::string task;
    std::string weight_format;
    std::vector<std::string> recipe;
};

struct DirectoryFacts {
    std::string path;
    OriginFacts origin;
    std::vector<ModelFile> models;     // by name
    std::vector<std::string> missing;  // "name: what does not work without it"
};

// Memory of one sequence of this many tokens, in bytes: keys and values in two types.
struct ContextBytes {
    std::uint64_t tokens = 0;
    std::uint64_t f16 = 0;
    std::uint64_t u8 = 0;  // with its scales and zero points
};

// What a model needs on a kind of device. Weights as the plugin keeps them, which is not always as they are stored.
struct DeviceMemory {
    std::string device;  // "CPU" or "GPU"
    std::uint64_t weights_in_files = 0;
    std::uint64_t weights = 0;          // on GPUs: with a matrix engine
    std::uint64_t widened_experts = 0;  // on GPUs without one: what compressed experts take in addition
    std::uint64_t fixed_states = 0;     // of one sequence
    std::vector<ContextBytes> contexts;
    std::string largest_buffer;  // what it holds
    std::uint64_t largest_bytes = 0;
    std::uint64_t buffer_limit = 0;  // of one buffer on older GPU drivers; 0: none
};

struct Inspection {
    std::optional<CheckpointFacts> checkpoint;  // exactly one of the two is there
    std::optional<DirectoryFacts> directory;
    std::optional<DeviceMemory> memory;  // when a device was named
    bool complete = true;                // nothing that a consumer needs is missing

    std::string text() const;  // for people
    std::string json() const;  // the same facts
};

// `path`: a directory with config.json and *.safetensors, or one with openvino_*.xml. Reads no weights.
// `device`: "CPU" or "GPU" for the memory that the model needs there; empty for none. A checkpoint is counted as an
// export in its own types.
// Throws Error when it is neither or cannot be read.
Inspection inspect(const std::filesystem::path& path, const std::string& device = {});

}  // namespace deltavino
