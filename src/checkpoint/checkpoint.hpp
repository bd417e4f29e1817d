// A checkpoint directory: its config.json and every tensor of its shards, by canonical name.
//
// Training stacks put different prefixes before the same module path. The canonical names are those
// of the text-only class: 'model.layers.0...', 'model.embed_tokens.weight', 'lm_head.weight',
// 'visual.blocks.0...', 'mtp.layers.0...'.
#pragma once

#include "base/file.hpp"
#include "checkpoint/safetensors.hpp"

#include <filesystem>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

namespace deltavino::checkpoint {

struct Tensor {
    TensorInfo info;                  // info.name is the name as stored
    const InputFile* file = nullptr;  // owned by the Checkpoint
};

class Checkpoint {
public:
    // Opens every shard and reads its table; throws ErrorKind::Input (missing, truncated or broken
    // shards, all at once) or ErrorKind::Unsupported (other formats).
    explicit Checkpoint(const std::filesystem::path& directory);

    const std::filesystem::path& directory() const { return directory_; }
    const std::string& config_text() const { return config_text_; }

    // Canonical name -> tensor.
    const std::map<std::string, Tensor>& tensors() const { return tensors_; }
    const Tensor* find(const std::string& canonical_name) const;
    // Throws ErrorKind::Input when absent.
    const Tensor& require(const std::string& canonical_name) const;

    // Tensors that model.safetensors.index.json promises and the shards do not hold.
    const std::vector<std::string>& promised_but_absent() const { return promised_but_absent_; }
    std::size_t shard_count() const { return files_.size(); }
    std::uint64_t tensor_bytes() const;
    // Whether the safetensors metadata says that the file was converted for MLX.
    bool converted_for_mlx() const { return converted_for_mlx_; }

    // Values of a small F32, F16 or BF16 tensor.
    std::vector<float> read_floats(const Tensor& tensor) const;

    // Throws ErrorKind::Input when a shard was written to since it was opened.
    void require_unchanged() const;

private:
    void open_shards(const std::vector<std::string>& names);
    void add_tensors(const InputFile& file);
    std::vector<std::string> shard_names();

    std::filesystem::path directory_;
    std::string config_text_;
    std::vector<std::unique_ptr<InputFile>> files_;
    std::map<std::string, Tensor> tensors_;
    std::map<std::string, std::string> weight_map_;
    std::vector<std::string> promised_but_absent_;
    bool converted_for_mlx_ = false;
};

// 'model.language_model.norm.weight' -> 'model.norm.weight'; see the top of this file.
std::string canonical_name(std::string_view stored_name);

}  // namespace deltavino::checkpoint
