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

TEST_F(Settings, PatchesThatNoMemoryHoldsAreRefused) {
    for (const char* text : {R"({"patch_size": 4096, "merge_size": 4096})", R"({"patch_size": 256, "merge_size": 256})",
                             R"({"patch_size": 1024, "temporal_patch_size": 4096})"}) {
        write("preprocessor_config.json", text);
        EXPECT_TRUE(contains(message(ErrorKind::Input, [&] { read_picture_settings(path()); }), "too large")) << text;
    }
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
    EXPECT_TRUE(contains(message(ErrorKind::Input, [this] { read_position_grid_side(path()); }),
                         "/vision_config/num_position_embeddings is 63, expected a square"));
}

TEST_F(Settings, PicturesReportEverythingWrongAtOnce) {
    write(
        "preprocessor_config.json",
        R"({"patch_size": "16", "merge_size": 0, "do_resize": 1, "image_mean": [1, 2], "size": {"longest_edge": -1}})");
    const std::string all = message(ErrorKind::Input, [this] { read_picture_settings(path()); });
    for (const char* part : {"preprocessor_config.json'", "5 problems", "/patch_size is \"16\"", "/merge_size is 0",
                             "/do_resize is 1", "/image_mean is [1,2]", "/size/longest_edge is -1"}) {
        EXPECT_TRUE(contains(all, part)) << part << " in " << all;
    }
    write("processor_config.json", R"({"image_processor": [1]})");
    EXPECT_TRUE(contains(message(ErrorKind::Input, [this] { read_picture_settings(path()); }),
                         "/image_processor is [1], expected an object"));
}

TEST_F(Settings, MaxPositionsOfTheTextConfigComeFirst) {
    EXPECT_FALSE(read_max_positions(path()));
    write("config.json", R"({"max_position_embeddings": 64})");
    EXPECT_EQ(read_max_positions(path()), 64u);
    write("config.json", R"({"max_position_embeddings": 64, "text_config": {"max_position_embeddings": 128}})");
    EXPECT_EQ(read_max_positions(path()), 128u);
    write("config.json", R"({"max_position_embeddings": -1})");
    EXPECT_TRUE(
        contains(message(ErrorKind::Input, [this] { read_max_positions(path()); }), "/max_position_embeddings"));
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
