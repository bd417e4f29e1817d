#include "support/exports.hpp"

#include "support/engine.hpp"

#include <utility>

namespace deltavino::test {

CompressionOptions compression(std::string format, bool sym, std::optional<std::int64_t> group, bool all_layers) {
    CompressionOptions options;
    options.weight_format = std::move(format);
    options.sym = sym;
    options.group_size = group;
    options.all_layers = all_layers;
    return options;
}

CompressionOptions recipe(std::string name) {
    CompressionOptions options = compression("int4");
    options.recipe = std::move(name);
    return options;
}

std::filesystem::path export_language(const std::filesystem::path& checkpoint, const std::filesystem::path& output,
                                      const CompressionOptions& compression) {
    ExportOptions options;
    options.model = checkpoint;
    options.output = output;
    options.task = "text-generation-with-past";
    options.convert_tokenizer = false;
    options.compression = compression;
    SilentProgress progress;
    export_model(options, progress);
    return output / "openvino_model.xml";
}

}  // namespace deltavino::test
