// tokenizer.json, with the files beside it that change what it means.
#include "fuzz/harness.hpp"
#include "tokenizer/ir.hpp"

using namespace deltavino;

void fuzz_one(std::string_view input) {
    const fuzz::Folder& folder = fuzz::input_folder();
    fuzz::unpack(folder, input, "tokenizer.json");
    fuzz::expect_error_at_most([&] { tokenizer::build_tokenizer_models(folder.path(), 300); });
}
