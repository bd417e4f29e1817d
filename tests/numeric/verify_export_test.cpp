// verify_export: an export that is wrong does not appear.
#include "support/engine.hpp"
#include "support/golden.hpp"

#include <deltavino/check.hpp>

#include <gtest/gtest.h>

#include <fstream>

namespace deltavino::test {
namespace {

ExportOptions options_for(const TemporaryDirectory& directory) {
    ExportOptions options;
    options.model = std::filesystem::path(DELTAVINO_SOURCE_DIR) / "examples" / "kjv-tiny";
    options.output = directory.path() / "model";
    options.task = "text-generation-with-past";
    return options;
}

// Zeros in the middle of the weights.
void damage(const std::filesystem::path& file) {
    constexpr std::streamoff kBytes = 1 << 16;
    std::fstream stream(file, std::ios::in | std::ios::out | std::ios::binary);
    stream.seekp(static_cast<std::streamoff>(std::filesystem::file_size(file) / 2));
    const std::string zeros(kBytes, '\0');
    stream.write(zeros.data(), kBytes);
    ASSERT_TRUE(stream.good());
}

TEST(VerifyExport, AGoodOneAppears) {
    const TemporaryDirectory directory;
    ExportOptions options = options_for(directory);
    SilentProgress progress;
    std::string verdict;
    options.before_publishing = [&](const std::filesystem::path& finished) {
        verdict = verify_export(finished, options, progress);
    };
    export_model(options, progress);
    EXPECT_TRUE(std::filesystem::exists(options.output / "openvino_model.xml"));
    EXPECT_NE(verdict.find("the export is right"), std::string::npos) << verdict;
}

TEST(VerifyExport, ADamagedOneDoesNot) {
    const TemporaryDirectory directory;
    ExportOptions options = options_for(directory);
    SilentProgress progress;
    options.before_publishing = [&](const std::filesystem::path& finished) {
        damage(finished / "openvino_model.bin");
        verify_export(finished, options, progress);
    };
    try {
        export_model(options, progress);
        FAIL() << "nothing was thrown";
    } catch (const Error& error) {
        EXPECT_EQ(error.kind(), ErrorKind::Internal);
        EXPECT_NE(std::string(error.what()).find("found wrong"), std::string::npos) << error.what();
    }
    EXPECT_FALSE(std::filesystem::exists(options.output));
}

}  // namespace
}  // namespace deltavino::test
