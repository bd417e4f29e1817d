// A LoRA adapter as PEFT saves it: adapter_config.json and adapter_model.safetensors in one folder.
#pragma once

#include "base/file.hpp"
#include "checkpoint/lora/low_rank.hpp"

#include <cstddef>
#include <filesystem>
#include <map>
#include <string>
#include <vector>

namespace deltavino::checkpoint {

class Adapter {
public:
    // Reads the configuration and the table of tensors. Throws ErrorKind::Unsupported for what cannot be merged
    // (another method than LoRA, DoRA, trained biases, pickles, ...) and ErrorKind::Input for what is broken, with
    // everything that is wrong.
    explicit Adapter(const std::filesystem::path& directory);
    Adapter(const Adapter&) = delete;
    Adapter& operator=(const Adapter&) = delete;

    const std::filesystem::path& directory() const { return directory_; }
    const InputFile& file() const { return file_; }

    // By the canonical name of the weight: "model.layers.0.self_attn.q_proj.weight".
    const std::map<std::string, LowRank>& products() const { return products_; }
    // Whole tensors in place of the checkpoint's (modules_to_save), by canonical name.
    const std::map<std::string, TensorInfo>& replacements() const { return replacements_; }
    // Whether an adapted embedding was trained as the head, too (ensure_weight_tying).
    bool keeps_tying() const { return keeps_tying_; }

    // "rank 8, scale 2", or "ranks 4 to 16"; empty without products.
    std::string text() const;

private:
    struct Pair;
    std::map<std::string, Pair> sort_tensors(std::vector<std::string>& unsupported);

    std::filesystem::path directory_;
    InputFile file_;
    std::map<std::string, LowRank> products_;
    std::map<std::string, TensorInfo> replacements_;
    bool keeps_tying_ = false;
};

}  // namespace deltavino::checkpoint
