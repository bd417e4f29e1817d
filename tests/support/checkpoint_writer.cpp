#include "support/checkpoint_writer.hpp"

#include "checkpoint/checkpoint.hpp"
#include "export/weight_stream.hpp"
#include "graph/ir_writer.hpp"
#include "support/engine.hpp"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <fstream>
#include <random>

namespace deltavino::test {

void write_checkpoint(const std::filesystem::path& directory, const std::string& config_json,
                      const std::vector<NamedTensor>& tensors) {
    std::vector<RawTensor> raw;
    for (const NamedTensor& tensor : tensors) {
        raw.push_back({tensor.name, "F32", tensor.shape, bytes_of(tensor.values)});
    }
    write_raw_checkpoint(directory, config_json, raw);
}

void write_raw_checkpoint(const std::filesystem::path& directory, const std::string& config_json,
                          const std::vector<RawTensor>& tensors) {
    std::filesystem::create_directories(directory);
    write_text_file(directory / "config.json", config_json);
    std::string header;
    std::uint64_t offset = 0;
    for (const RawTensor& tensor : tensors) {
        const std::uint64_t end = offset + tensor.bytes.size();
        header += fmt::format("{}\"{}\":{{\"dtype\":\"{}\",\"shape\":[{}],\"data_offsets\":[{},{}]}}",
                              header.empty() ? "{" : ",", tensor.name, tensor.dtype, fmt::join(tensor.shape, ","),
                              offset, end);
        offset = end;
    }
    header += header.empty() ? "{}" : "}";
    std::ofstream file(directory / "model.safetensors", std::ios::binary);
    const std::uint64_t size = header.size();
    file.write(reinterpret_cast<const char*>(&size), sizeof(size));
    file << header;
    for (const RawTensor& tensor : tensors) {
        file.write(reinterpret_cast<const char*>(tensor.bytes.data()),
                   static_cast<std::streamsize>(tensor.bytes.size()));
    }
}

std::vector<NamedTensor> read_tensors(const std::filesystem::path& directory) {
    const checkpoint::Checkpoint checkpoint(directory);
    std::vector<NamedTensor> tensors;
    for (const auto& [name, tensor] : checkpoint.tensors()) {
        tensors.push_back({tensor.info.name, tensor.info.shape, checkpoint.read_floats(tensor)});
    }
    return tensors;
}

std::vector<float> noise(std::uint64_t count, std::uint32_t seed) {
    std::mt19937 generator(seed);
    std::vector<float> values(count);
    for (float& value : values) {
        value = static_cast<float>(generator() >> 8) / 8388608.0f - 1.0f;
    }
    return values;
}

std::shared_ptr<ov::Model> through_file(const ov::Model& model, const graph::Weights& weights,
                                        const std::filesystem::path& directory) {
    const graph::IrLayout layout = graph::lay_out_ir(model, {}, weights.streamed(), weights.decompressions());
    write_text_file(directory / "model.xml", layout.xml);
    OutputFile bin(directory / "model.bin");
    bin.reserve(layout.bin_bytes);
    for (const auto& [offset, constant] : layout.inline_constants) {
        bin.write(offset,
                  std::span(static_cast<const std::byte*>(constant->get_data_ptr()), constant->get_byte_size()));
    }
    std::vector<exporter::StreamedWeight> streamed;
    const auto offset_of = [&](const std::shared_ptr<ov::op::v0::Constant>& constant) {
        return constant ? layout.streamed_offsets.at(constant.get()) : 0;
    };
    for (const graph::WeightJob& job : weights.jobs()) {
        streamed.push_back(
            {&job, {{&bin, offset_of(job.values), offset_of(job.zero_points), offset_of(job.scales)}}, {}});
    }
    SilentProgress progress;
    exporter::stream_weights(streamed, {}, progress);
    bin.close();
    return read_model(directory / "model.xml");
}

}  // namespace deltavino::test
