// A checkpoint directory: its config.json and every tensor of its shards, by canonical name (names.hpp).
#pragma once

#include "base/file.hpp"
#include "checkpoint/lora/adapter.hpp"
#include "checkpoint/names.hpp"
#include "checkpoint/safetensors.hpp"

#include <filesystem>
#include <map>
#include <memory>
#include <string>
#include <vector>

namespace deltavino::checkpoint {

struct Tensor {
    TensorInfo info;                  // info.name is the name as stored
    const InputFile* file = nullptr;  // owned by the Checkpoint
    std::string published;            // the name without what wrappers of training stacks added to it
    const LowRank* added = nullptr;   // what an adapter adds to the values; owned by the Checkpoint
};

class Checkpoint {
public:
    // Opens every shard and reads its table; throws ErrorKind::Input (missing, truncated or broken
    // shards, all at once) or ErrorKind::Unsupported (other formats).
    // `adapter`: a folder with a LoRA adapter, of which the tensors then tell; empty: none. Throws as Adapter does, and
    // ErrorKind::Input for names of the adapter that match nothing.
    explicit Checkpoint(const std::filesystem::path& directory, const std::filesystem::path& adapter = {});

    const std::filesystem::path& directory() const { return directory_; }
    const std::string& config_text() const { return config_text_; }

    // Canonical name -> tensor.
    const std::map<std::string, Tensor>& tensors() const { return tensors_; }
    const Tensor* find(const std::string& canonical_name) const;
    // Throws ErrorKind::Input when absent.
    const Tensor& require(const std::string& canonical_name) const;

    // Tensors that the index promises and the shards do not hold: canonical -> stored name.
    const std::map<std::string, std::string>& promised_but_absent() const { return promised_but_absent_; }
    // What a user may want to know about the files and names, one sentence each.
    const std::vector<std::string>& notes() const { return notes_; }
    std::size_t shard_count() const { return files_.size(); }
    std::uint64_t tensor_bytes() const;
    // Whether the safetensors metadata says that the file was converted for MLX.
    bool converted_for_mlx() const { return converted_for_mlx_; }

    // Null without one.
    const Adapter* adapter() const { return adapter_.get(); }

    // Values of a small F32, F16 or BF16 tensor.
    std::vector<float> read_floats(const Tensor& tensor) const;

    // Throws ErrorKind::Input when a shard was written to since it was opened.
    void require_unchanged() const;

private:
    void open_shards(const std::vector<std::string>& files, const std::map<std::string, std::string>& weight_map);
    void add_tensors(const InputFile& file);
    void compare_with_index(const std::map<std::string, std::string>& weight_map);
    void merge(const Adapter& adapter);

    std::filesystem::path directory_;
    std::string config_text_;
    std::vector<std::unique_ptr<InputFile>> files_;
    std::map<std::string, Tensor> tensors_;
    std::map<std::string, std::string> promised_but_absent_;
    std::map<std::string, std::size_t> taken_off_;  // from how many names
    std::vector<std::string> notes_;
    std::unique_ptr<Adapter> adapter_;
    bool converted_for_mlx_ = false;
};

}  // namespace deltavino::checkpoint
