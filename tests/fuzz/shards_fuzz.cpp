// The index, the names of shards, and what a folder holds beside them.
#include "checkpoint/checkpoint.hpp"
#include "checkpoint/files.hpp"
#include "fuzz/harness.hpp"

using namespace deltavino;

void fuzz_one(std::string_view input) {
    const fuzz::Folder& folder = fuzz::input_folder();
    fuzz::unpack(folder, input, "model.safetensors.index.json");
    fuzz::expect_error_at_most([&] { checkpoint::find_shards(folder.path()); });
    folder.put("config.json", "{}");
    fuzz::expect_error_at_most([&] {
        const checkpoint::Checkpoint checkpoint(folder.path());
        for (const auto& [name, tensor] : checkpoint.tensors()) {
            if (tensor.file == nullptr || checkpoint.find(name) != &tensor) {
                fail(ErrorKind::Internal, "tensor '{}' is not found again", name);
            }
        }
        checkpoint.tensor_bytes();
        checkpoint.require_unchanged();
    });
}
