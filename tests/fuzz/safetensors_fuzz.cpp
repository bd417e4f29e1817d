#include "checkpoint/safetensors.hpp"
#include "fuzz/harness.hpp"

using namespace deltavino;

void fuzz_one(std::string_view input) {
    const fuzz::Folder& folder = fuzz::input_folder();
    folder.put("model.safetensors", input);
    fuzz::expect_error_at_most([&] {
        const InputFile file(folder.path() / "model.safetensors");
        for (const checkpoint::TensorInfo& tensor : checkpoint::read_safetensors_table(file).tensors) {
            std::vector<std::byte> bytes(tensor.bytes);  // the table promises that they are there
            file.read(tensor.offset, bytes);
        }
    });
}
