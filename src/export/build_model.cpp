// Models in memory are what an export writes, byte for byte, read by the same reader: there is no second way
// for a weight into a graph.
#include <deltavino/build_model.hpp>

#include "base/byte_sink.hpp"
#include "base/error.hpp"
#include "base/file.hpp"
#include "base/guard.hpp"
#include "export/artifact.hpp"
#include "export/preparation.hpp"

#include <openvino/runtime/allocator.hpp>
#include <openvino/runtime/core.hpp>
#include <openvino/runtime/tensor.hpp>

#include <fmt/ranges.h>

#include <algorithm>

namespace deltavino {
namespace {

using namespace exporter;

ExportOptions as_export(const BuildOptions& options) {
    if (!options.compression.calibrate.empty()) {
        fail(ErrorKind::Usage, "cannot calibrate a model in memory: its tokenizer is written by an export only");
    }
    ExportOptions out;
    out.model = options.model;
    out.lora = options.lora;
    out.task = options.task;
    out.compression = options.compression;
    out.mtp = options.mtp;
    out.assume_tied_head = options.assume_tied_head;
    out.allow_nonfinite = options.allow_nonfinite;
    out.threads = options.threads;
    return out;
}

std::vector<SerializedModel> serialize(const BuildOptions& options, ProgressSink& progress) {
    Preparation prepared(as_export(options), progress);
    prepared.build(progress);
    std::vector<SerializedModel> models;
    std::vector<MemorySink> sinks;
    sinks.reserve(prepared.artifacts().size());
    WeightList list;
    for (const Artifact& artifact : prepared.artifacts()) {
        const std::uint64_t bytes = artifact.layout.bin_bytes;
        const std::shared_ptr<std::byte[]> memory =
            options.memory ? options.memory(artifact.name, bytes) : zeroed_memory(bytes);
        MemorySink& sink = sinks.emplace_back(memory, bytes);
        write_inline_constants(artifact, sink);
        list.add(artifact, sink);
        models.push_back({artifact.name, artifact.layout.xml, memory, bytes});
    }
    stream_weights(list.weights(), {options.threads, options.allow_nonfinite, prepared.recipe().search()}, progress);
    prepared.checkpoint().require_unchanged();
    return models;
}

// Hands out memory that is there already; the tensor, and whatever shares it, keeps it alive.
class Existing {
public:
    explicit Existing(std::shared_ptr<const std::byte[]> memory) : memory_(std::move(memory)) {}
    // OpenVINO reads weights only.
    void* allocate(std::size_t, std::size_t) { return const_cast<std::byte*>(memory_.get()); }
    void deallocate(void*, std::size_t, std::size_t) noexcept {}
    bool is_equal(const Existing& other) const { return memory_ == other.memory_; }

private:
    std::shared_ptr<const std::byte[]> memory_;
};

std::shared_ptr<ov::Model> read(SerializedModel serialized) {
    const ov::Tensor weights(ov::element::u8, ov::Shape{static_cast<std::size_t>(serialized.weight_bytes)},
                             ov::Allocator(Existing(std::move(serialized.weights))));
    return ov::Core().read_model(serialized.xml, weights);
}

}  // namespace

std::vector<SerializedModel> serialize_models(const BuildOptions& options, ProgressSink& progress) {
    return guarded("cannot build", [&]() { return serialize(options, progress); });
}

std::shared_ptr<ov::Model> build_model(const BuildOptions& options, ProgressSink& progress, const std::string& name) {
    return guarded("cannot build", [&]() {
        std::vector<SerializedModel> models = serialize(options, progress);
        const auto found = std::find_if(models.begin(), models.end(),
                                        [&](const SerializedModel& model) { return model.name == name; });
        if (found == models.end()) {
            std::vector<std::string> names;
            std::transform(models.begin(), models.end(), std::back_inserter(names),
                           [](const SerializedModel& model) { return model.name; });
            fail(ErrorKind::Usage, "'{}' is not a model of the task {}, which has {}", name, options.task,
                 fmt::join(names, ", "));
        }
        return read(std::move(*found));
    });
}

}  // namespace deltavino
