// Models made in memory are what the directory of an export holds: the same bytes, and the same logits.
#include "support/engine.hpp"
#include "support/golden.hpp"

#include "base/file.hpp"

#include <deltavino/build_model.hpp>

#include <gtest/gtest.h>

#include <cstring>

namespace deltavino::test {
namespace {

const std::filesystem::path kCheckpoint = std::filesystem::path(DELTAVINO_SOURCE_DIR) / "examples" / "kjv-tiny";

std::string content(const std::filesystem::path& path) {
    return read_text_file(path);
}

std::filesystem::path exported(const TemporaryDirectory& directory, const BuildOptions& options) {
    ExportOptions wanted;
    wanted.model = options.model;
    wanted.output = directory.path() / "model";
    wanted.task = options.task;
    wanted.compression = options.compression;
    wanted.convert_tokenizer = false;
    SilentProgress progress;
    export_model(wanted, progress);
    return wanted.output;
}

BuildOptions build_options(const std::string& format, const std::string& task) {
    BuildOptions options;
    options.model = kCheckpoint;
    options.task = task;
    options.compression.weight_format = format;
    return options;
}

std::vector<float> logits_of(const std::shared_ptr<ov::Model>& model) {
    Ids ids;
    for (std::int64_t i = 0; i < 60; ++i) {
        ids.push_back(100 + (i * 37) % 3000);
    }
    return StatefulEngine(compile_f32(model)).step({ids})[0];
}

class BuildModel : public testing::TestWithParam<const char*> {};

TEST_P(BuildModel, GivesTheLogitsOfTheDirectory) {
    const TemporaryDirectory directory;
    const BuildOptions options = build_options(GetParam(), "text-generation-with-past");
    const std::filesystem::path written = exported(directory, options);
    SilentProgress progress;
    const std::shared_ptr<ov::Model> model = build_model(options, progress);
    EXPECT_EQ(logits_of(model), logits_of(read_model(written / "openvino_model.xml")));
}

INSTANTIATE_TEST_SUITE_P(Formats, BuildModel, testing::Values("", "int8", "int4", "nf4"));

TEST(BuildModels, AreTheFilesOfTheDirectory) {
    const TemporaryDirectory directory;
    const BuildOptions options = build_options("int4", "image-text-to-text");
    const std::filesystem::path written = exported(directory, options);
    SilentProgress progress;
    const std::vector<SerializedModel> models = serialize_models(options, progress);
    EXPECT_EQ(models.size(), 5u);
    for (const SerializedModel& model : models) {
        EXPECT_EQ(model.xml, content(written / (model.name + ".xml"))) << model.name;
        const std::string bin = content(written / (model.name + ".bin"));
        ASSERT_EQ(model.weight_bytes, bin.size()) << model.name;
        EXPECT_EQ(std::memcmp(model.weights.get(), bin.data(), bin.size()), 0) << model.name;
    }
}

TEST(BuildModels, NamesTheModelsThereAre) {
    SilentProgress progress;
    try {
        build_model(build_options("", "image-text-to-text"), progress);
        FAIL() << "a vision-language directory has no openvino_model";
    } catch (const Error& error) {
        EXPECT_EQ(error.kind(), ErrorKind::Usage);
        EXPECT_NE(std::string(error.what()).find("openvino_language_model"), std::string::npos) << error.what();
    }
}

}  // namespace
}  // namespace deltavino::test
