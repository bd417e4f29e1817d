#include "checkpoint/config.hpp"
#include "export/directory/side_files.hpp"
#include "fuzz/harness.hpp"

using namespace deltavino;

void fuzz_one(std::string_view input) {
    fuzz::expect_error_at_most([&] {
        const checkpoint::ModelConfig config = checkpoint::read_config(input, "config.json");
        const std::string text(input);
        exporter::text_config_json(text, config, true);
        if (config.vision) {
            exporter::vision_config_json(text, config, false);
        }
    });
}
