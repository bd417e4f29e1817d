// quantization_config in config.json, or hf_quant_config.json beside it.
#include "base/file.hpp"
#include "checkpoint/quantization.hpp"
#include "fuzz/harness.hpp"

using namespace deltavino;

void fuzz_one(std::string_view input) {
    const fuzz::Folder& folder = fuzz::input_folder();
    fuzz::unpack(folder, input, "config.json");
    const std::filesystem::path config = folder.path() / "config.json";
    fuzz::expect_error_at_most(
        [&] { checkpoint::read_quantization(is_there(config) ? read_text_file(config) : "{}", folder.path()); });
}
