// Small checkpoints that a test makes up, and models that go through the exporter's file format without
// the rest of the exporter.
#pragma once

#include "graph/weights.hpp"

#include <openvino/core/model.hpp>

#include <cstdint>
#include <filesystem>
#include <memory>
#include <string>
#include <vector>

namespace deltavino::test {

struct NamedTensor {
    std::string name;  // as stored
    std::vector<std::uint64_t> shape;
    std::vector<float> values;
};

// config.json and one float32 model.safetensors.
void write_checkpoint(const std::filesystem::path& directory, const std::string& config_json,
                      const std::vector<NamedTensor>& tensors);

// A tensor of any type, as its bytes.
struct RawTensor {
    std::string name;
    std::string dtype;  // as safetensors writes it, for example "F8_E4M3"
    std::vector<std::uint64_t> shape;
    std::vector<std::byte> bytes;
};

// The bytes of some values, for example of std::vector<std::int32_t>.
template <typename Value>
std::vector<std::byte> bytes_of(const std::vector<Value>& values) {
    const auto* begin = reinterpret_cast<const std::byte*>(values.data());
    return {begin, begin + values.size() * sizeof(Value)};
}

void write_raw_checkpoint(const std::filesystem::path& directory, const std::string& config_json,
                          const std::vector<RawTensor>& tensors);

// All tensors of a checkpoint, widened to float32, by name.
std::vector<NamedTensor> read_tensors(const std::filesystem::path& checkpoint);

// Numbers between -1 and 1 that depend on the seed alone.
std::vector<float> noise(std::uint64_t count, std::uint32_t seed);

// Writes model.xml and model.bin with the weights streamed from the checkpoint, and reads them back.
std::shared_ptr<ov::Model> through_file(const ov::Model& model, const graph::Weights& weights,
                                        const std::filesystem::path& directory);

}  // namespace deltavino::test
