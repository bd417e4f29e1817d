#include "export/directory/generation_config.hpp"
#include "fuzz/harness.hpp"
#include "runtime/generation_config.hpp"

using namespace deltavino;

void fuzz_one(std::string_view input) {
    const fuzz::Folder& folder = fuzz::input_folder();
    fuzz::unpack(folder, input, "generation_config.json");
    fuzz::expect_error_at_most([&] { runtime::read_generation_defaults(folder.path()); });
    fuzz::expect_error_at_most([&] {
        exporter::write_generation_config({folder.path(), R"({"eos_token_id": 7})", 300, {{"<|im_end|>", 5}}},
                                          fuzz::output_folder().path());
    });
}
