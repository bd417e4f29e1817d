#include "checkpoint/checkpoint.hpp"

#include "base/error.hpp"
#include "base/half.hpp"
#include "json/document.hpp"

#include <algorithm>
#include <array>
#include <cstring>
#include <set>
#include <utility>

namespace deltavino::checkpoint {
namespace {

namespace fs = std::filesystem;

constexpr const char* kIndexFile = "model.safetensors.index.json";

// Longest prefix first. Seen in checkpoints of: transformers (VL class), text-only saves of VL
// training stacks, stacks that put the head inside the language model, and bare base models.
constexpr std::array kPrefixes{
    std::pair<std::string_view, std::string_view>{"model.language_model.lm_head.", "lm_head."},
    std::pair<std::string_view, std::string_view>{"model.language_model.model.", "model."},
    std::pair<std::string_view, std::string_view>{"model.language_model.", "model."},
    std::pair<std::string_view, std::string_view>{"language_model.lm_head.", "lm_head."},
    std::pair<std::string_view, std::string_view>{"language_model.model.", "model."},
    std::pair<std::string_view, std::string_view>{"language_model.", "model."},
    std::pair<std::string_view, std::string_view>{"model.visual.", "visual."},
    std::pair<std::string_view, std::string_view>{"model.mtp.", "mtp."},
    std::pair<std::string_view, std::string_view>{"model.lm_head.", "lm_head."},
    std::pair<std::string_view, std::string_view>{"layers.", "model.layers."},
    std::pair<std::string_view, std::string_view>{"embed_tokens.", "model.embed_tokens."},
    std::pair<std::string_view, std::string_view>{"norm.", "model.norm."},
};

[[noreturn]] void no_weights(const fs::path& directory) {
    std::error_code error;
    for (const fs::directory_entry& entry : fs::directory_iterator(directory, error)) {
        const std::string name = entry.path().filename().string();
        if (name == "adapter_config.json") {
            fail(ErrorKind::Unsupported, "cannot export '{}': it is a LoRA adapter; merge it into its base model first",
                 directory.string());
        }
        if (name.ends_with(".gguf") || name.ends_with(".bin") || name.ends_with(".pth") || name.ends_with(".pt")) {
            fail(ErrorKind::Unsupported,
                 "cannot export '{}': it holds '{}' and no .safetensors file; use the repository's safetensors version",
                 directory.string(), name);
        }
    }
    fail(ErrorKind::Input, "cannot read checkpoint '{}': no .safetensors file in it", directory.string());
}

bool is_plain_file_name(const std::string& name) {
    return !name.empty() && name.find('/') == std::string::npos && name.find('\\') == std::string::npos &&
           name != ".." && name != ".";
}

}  // namespace

std::string canonical_name(std::string_view stored_name) {
    for (const auto& [stored, canonical] : kPrefixes) {
        if (stored_name.starts_with(stored)) {
            return std::string(canonical) + std::string(stored_name.substr(stored.size()));
        }
    }
    return std::string(stored_name);
}

Checkpoint::Checkpoint(const fs::path& directory) : directory_(directory) {
    std::error_code error;
    if (!fs::exists(directory, error)) {
        fail(ErrorKind::Input, "cannot read checkpoint '{}': no such folder", directory.string());
    }
    if (!fs::is_directory(directory, error)) {
        fail(ErrorKind::Input, "cannot read checkpoint '{}': not a folder (give the folder that has config.json)",
             directory.string());
    }
    if (!fs::exists(directory / "config.json", error)) {
        fail(ErrorKind::Input, "cannot read checkpoint '{}': it has no config.json", directory.string());
    }
    config_text_ = read_text_file(directory / "config.json", 16u << 20);
    open_shards(shard_names());
    for (const auto& [name, file] : weight_map_) {
        if (!tensors_.contains(canonical_name(name))) {
            promised_but_absent_.push_back(name);
        }
    }
}

std::vector<std::string> Checkpoint::shard_names() {
    std::error_code error;
    if (fs::exists(directory_ / kIndexFile, error)) {
        const std::string path = (directory_ / kIndexFile).string();
        const Json index = parse_json(read_text_file(path, 256u << 20), path);
        if (!index.is_object() || !index.contains("weight_map") || !index["weight_map"].is_object()) {
            fail(ErrorKind::Input, "cannot read '{}': it has no weight_map object", path);
        }
        std::set<std::string> names;
        for (const auto& [tensor, file] : index["weight_map"].items()) {
            if (!file.is_string() || !is_plain_file_name(file.get<std::string>())) {
                fail(ErrorKind::Input, "cannot read '{}': tensor '{}' is mapped to {}, expected a file name", path,
                     tensor, file.dump());
            }
            weight_map_[tensor] = file.get<std::string>();
            names.insert(file.get<std::string>());
        }
        return {names.begin(), names.end()};
    }
    if (fs::exists(directory_ / "model.safetensors", error)) {
        return {"model.safetensors"};
    }
    std::vector<std::string> names;
    for (const fs::directory_entry& entry : fs::directory_iterator(directory_, error)) {
        const std::string name = entry.path().filename().string();
        if (name.ends_with(".safetensors") && name != "adapter_model.safetensors") {
            names.push_back(name);
        }
    }
    if (names.empty()) {
        no_weights(directory_);
    }
    std::sort(names.begin(), names.end());
    return names;
}

void Checkpoint::open_shards(const std::vector<std::string>& names) {
    Problems problems;
    for (const std::string& name : names) {
        std::error_code error;
        if (!fs::exists(directory_ / name, error)) {
            std::size_t tensors = 0;
            for (const auto& [tensor, file] : weight_map_) {
                tensors += file == name ? 1 : 0;
            }
            problems.add(
                fmt::format("'{}' is missing, it should hold {} tensors (an incomplete download?)", name, tensors));
            continue;
        }
        try {
            files_.push_back(std::make_unique<InputFile>(directory_ / name));
            add_tensors(*files_.back());
        } catch (const Error& e) {
            problems.add(e.what());
        }
    }
    problems.throw_if_any(ErrorKind::Input,
                          fmt::format("cannot read checkpoint '{}' ({} of {} files usable)", directory_.string(),
                                      names.size() - problems.size(), names.size()));
}

void Checkpoint::add_tensors(const InputFile& file) {
    SafetensorsTable table = read_safetensors_table(file);
    const auto format = table.metadata.find("format");
    converted_for_mlx_ |= format != table.metadata.end() && format->second == "mlx";
    for (TensorInfo& info : table.tensors) {
        const std::string name = canonical_name(info.name);
        const auto existing = tensors_.find(name);
        if (existing != tensors_.end()) {
            fail(ErrorKind::Input, "tensor '{}' in '{}' stands a second time as '{}' in '{}'", info.name,
                 file.path().string(), existing->second.info.name, existing->second.file->path().string());
        }
        tensors_[name] = Tensor{std::move(info), &file};
    }
}

const Tensor* Checkpoint::find(const std::string& name) const {
    const auto found = tensors_.find(name);
    return found == tensors_.end() ? nullptr : &found->second;
}

const Tensor& Checkpoint::require(const std::string& name) const {
    const Tensor* tensor = find(name);
    if (tensor == nullptr) {
        fail(ErrorKind::Input, "cannot read checkpoint '{}': tensor '{}' is missing", directory_.string(), name);
    }
    return *tensor;
}

std::uint64_t Checkpoint::tensor_bytes() const {
    std::uint64_t bytes = 0;
    for (const auto& [name, tensor] : tensors_) {
        bytes += tensor.info.bytes;
    }
    return bytes;
}

std::vector<float> Checkpoint::read_floats(const Tensor& tensor) const {
    const TensorInfo& info = tensor.info;
    if (!is_plain_float(info.dtype)) {
        fail(ErrorKind::Unsupported, "cannot read tensor '{}' in '{}': its type is {}, expected F32, F16 or BF16",
             info.name, tensor.file->path().string(), dtype_name(info.dtype));
    }
    std::vector<std::byte> bytes(static_cast<std::size_t>(info.bytes));
    tensor.file->read(info.offset, bytes);
    const std::size_t width = static_cast<std::size_t>(dtype_bits(info.dtype) / 8);
    std::vector<float> values(bytes.size() / width);
    for (std::size_t i = 0; i < values.size(); ++i) {
        if (info.dtype == DType::F32) {
            std::memcpy(&values[i], &bytes[i * 4], 4);
            continue;
        }
        std::uint16_t bits = 0;
        std::memcpy(&bits, &bytes[i * 2], 2);
        values[i] = info.dtype == DType::BF16 ? half::from_bf16(bits) : half::from_f16(bits);
    }
    return values;
}

}  // namespace deltavino::checkpoint
