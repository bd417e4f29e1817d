#include "runtime/settings.hpp"

#include "base/file.hpp"
#include "support/golden.hpp"

#include <deltavino/error.hpp>

#include <gtest/gtest.h>

namespace deltavino::runtime {
namespace {

class Settings : public testing::Test {
protected:
    void write(const char* name, const std::string& text) { write_text_file(directory_.path() / name, text); }
    const std::filesystem::path& path() const { return directory_.path(); }

    // The message of the error that `read` must throw.
    template <typename Read>
    std::string message(ErrorKind kind, Read read) {
        try {
            read();
        } catch (const Error& error) {
            EXPECT_EQ(error.kind(), kind) << error.what();
            return error.what();
        }
        ADD_FAILURE() << "nothing was thrown";
        return {};
    }

private:
    test::TemporaryDirectory directory_;
};

bool contains(const std::string& text, const std::string& part) {
    return text.find(part) != std::string::npos;
}

TEST_F(Settings, GenerationDefaultsOfAnAbsentFile) {
    const GenerationDefaults defaults = read_generation_defaults(path());
    EXPECT_TRUE(defaults.eos_ids.empty());
    EXPECT_FALSE(defaults.do_sample);
    EXPECT_FALSE(defaults.temperature);
}

TEST_F(Settings, GenerationDefaultsAreRead) {
    write("generation_config.json",
          R"({"eos_token_id": [5, 3], "do_sample": true, "temperature": 0.6, "top_k": 20, "top_p": 0.95,
        "repetition_penalty": 1, "max_new_tokens": 100, "pad_token_id": null, "num_beams": 4, "min_p": 0})");
    const GenerationDefaults defaults = read_generation_defaults(path());
    EXPECT_EQ(defaults.eos_ids, (std::vector<std::int64_t>{5, 3}));
    EXPECT_TRUE(defaults.do_sample);
    EXPECT_EQ(defaults.temperature, 0.6);
    EXPECT_EQ(defaults.top_k, 20u);
    EXPECT_EQ(defaults.top_p, 0.95);
    EXPECT_EQ(defaults.repetition_penalty, 1.0);
    EXPECT_EQ(defaults.max_new_tokens, 100u);
    EXPECT_EQ(defaults.ignored, (std::vector<std::string>{"'num_beams' 4"}));
}

TEST_F(Settings, OneEndOfSequenceIdNeedsNoList) {
    write("generation_config.json", R"({"eos_token_id": 7})");
    EXPECT_EQ(read_generation_defaults(path()).eos_ids, (std::vector<std::int64_t>{7}));
}

TEST_F(Settings, WrongTypesAreErrors) {
    const auto read = [this] {
        read_generation_defaults(path());
    };
    write("generation_config.json", R"({"temperature": "hot"})");
    EXPECT_TRUE(contains(message(ErrorKind::Input, read), "'temperature' is \"hot\", expected a number"));
    write("generation_config.json", R"({"top_k": -1})");
    EXPECT_TRUE(contains(message(ErrorKind::Input, read), "'top_k' is -1, expected a count"));
    write("generation_config.json", R"({"eos_token_id": ["</s>"]})");
    EXPECT_TRUE(contains(message(ErrorKind::Input, read), "'eos_token_id'"));
    write("generation_config.json", "[]");
    EXPECT_TRUE(contains(message(ErrorKind::Input, read), "expected a JSON object"));
    write("generation_config.json", "{");
    EXPECT_TRUE(contains(message(ErrorKind::Input, read), "generation_config.json"));
}

TEST_F(Settings, PictureSettingsComeFromTheProcessorFileFirst) {
    write("preprocessor_config.json", R"({"patch_size": 8, "size": {"shortest_edge": 10, "longest_edge": 20}})");
    EXPECT_EQ(read_picture_settings(path()).patch_size, 8u);
    write(
        "processor_config.json",
        R"({"image_processor": {"patch_size": 16, "merge_size": 4, "temporal_patch_size": 1, "image_mean": [0.1, 0.2, 0.3],
        "size": {"shortest_edge": 65536, "longest_edge": 16777216}}})");
    const PictureSettings settings = read_picture_settings(path());
    EXPECT_EQ(settings.patch_size, 16u);
    EXPECT_EQ(settings.merge_size, 4u);
    EXPECT_EQ(settings.temporal_patch_size, 1u);
    EXPECT_EQ(settings.min_pixels, 65536u);
    EXPECT_EQ(settings.max_pixels, 16777216u);
    EXPECT_EQ(settings.mean, (std::array<float, 3>{0.1f, 0.2f, 0.3f}));
    EXPECT_EQ(settings.deviation, PictureSettings().deviation);
}

TEST_F(Settings, AProcessorFileWithoutPicturesLeavesTheOther) {
    write("processor_config.json", R"({"processor_class": "Qwen3VLProcessor"})");
    write("preprocessor_config.json", R"({"patch_size": 12})");
    EXPECT_EQ(read_picture_settings(path()).patch_size, 12u);
}

TEST_F(Settings, TheOlderNamesOfThePixelLimitsWin) {
    write("preprocessor_config.json",
          R"({"min_pixels": 100, "max_pixels": 200, "size": {"shortest_edge": 10, "longest_edge": 20}})");
    EXPECT_EQ(read_picture_settings(path()).min_pixels, 100u);
    EXPECT_EQ(read_picture_settings(path()).max_pixels, 200u);
}

TEST_F(Settings, OtherWaysOfProcessingAreRefused) {
    const auto read = [this] {
        read_picture_settings(path());
    };
    EXPECT_TRUE(contains(message(ErrorKind::Input, read), "neither processor_config.json"));
    for (const char* text : {R"({"do_resize": false})", R"({"resample": 2})", R"({"rescale_factor": 1.0})"}) {
        write("preprocessor_config.json", text);
        message(ErrorKind::Unsupported, read);
    }
    for (const char* text :
         {R"({"patch_size": 0})", R"({"size": {"shortest_edge": 30, "longest_edge": 20}})", R"({"image_mean": [1, 2]})",
          R"({"size": {"shortest_edge": 1000000000000, "longest_edge": 1000000000000}})"}) {
        write("preprocessor_config.json", text);
        message(ErrorKind::Input, read);
    }
}

TEST_F(Settings, PositionGridIsASquare) {
    write("config.json", R"({"vision_config": {"num_position_embeddings": 64}})");
    EXPECT_EQ(read_position_grid_side(path()), 8u);
    write("config.json", R"({"vision_config": {}})");
    EXPECT_EQ(read_position_grid_side(path()), 48u);
    write("config.json", R"({"vision_config": {"num_position_embeddings": 63}})");
    EXPECT_TRUE(contains(message(ErrorKind::Input, [this] { read_position_grid_side(path()); }), "expected a square"));
}

TEST_F(Settings, ChatTemplateFilesInOrder) {
    EXPECT_FALSE(read_chat_template(path()));
    write("tokenizer_config.json",
          R"({"chat_template": [{"name": "tool", "template": "t"}, {"name": "default", "template": "third"}]})");
    EXPECT_EQ(read_chat_template(path()), "third");
    write("chat_template.json", R"({"chat_template": "second"})");
    EXPECT_EQ(read_chat_template(path()), "second");
    write("chat_template.jinja", "first");
    EXPECT_EQ(read_chat_template(path()), "first");
}

}  // namespace
}  // namespace deltavino::runtime
