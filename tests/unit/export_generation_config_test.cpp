#include "export/directory/generation_config.hpp"

#include "base/file.hpp"
#include "support/golden.hpp"

#include <gtest/gtest.h>

namespace deltavino::exporter {
namespace {

// Takes minutes where each id is looked for in a list.
TEST(ExportGenerationConfig, ManyIdsTakeTimeInProportion) {
    const test::TemporaryDirectory directory;
    std::string config = R"({"eos_token_id": [0)";
    for (int id = 1; id < 400'000; ++id) {
        config += "," + std::to_string(id);
    }
    write_generation_config({directory.path(), config + "]}", 1u << 20, {}}, directory.path());
    EXPECT_NE(read_text_file(directory.path() / "generation_config.json").find("399999"), std::string::npos);
}

}  // namespace
}  // namespace deltavino::exporter
