#include "checkpoint/checkpoint.hpp"

#include "base/error.hpp"
#include "base/half.hpp"
#include "checkpoint/files.hpp"
#include "checkpoint/rows/row_source.hpp"

#include <algorithm>
#include <cstring>
#include <unordered_set>

namespace deltavino::checkpoint {

namespace fs = std::filesystem;

namespace {

// What to say of an adapter's tensor that belongs to no tensor of the checkpoint.
std::string unmatched(const Checkpoint& checkpoint, const std::string& stored, const std::string& weight) {
    std::string hint;
    const std::size_t experts = weight.find(".mlp.experts.");
    if (weight == "lm_head.weight") {
        hint = " (the head is the embedding, which an adapter of the head would change, too)";
    } else if (experts != std::string::npos && checkpoint.find(weight.substr(0, experts) + ".mlp.experts.down_proj")) {
        hint = " (the checkpoint holds the experts of a layer in one tensor)";
    }
    return fmt::format("tensor '{}' belongs to no tensor of the checkpoint: '{}' is not there{}", stored, weight, hint);
}

}  // namespace

Checkpoint::Checkpoint(const fs::path& directory, const fs::path& adapter)
    : directory_(directory), config_text_(read_config_text(directory)) {
    ShardList shards = find_shards(directory);
    notes_ = std::move(shards.notes);
    open_shards(shards.files, shards.weight_map);
    compare_with_index(shards.weight_map);
    for (const auto& [wrapper, tensors] : taken_off_) {
        notes_.push_back(fmt::format("taken off the names of {} tensors: '{}'", tensors, wrapper));
    }
    if (!adapter.empty()) {
        adapter_ = std::make_unique<Adapter>(adapter);
        merge(*adapter_);
    }
}

void Checkpoint::open_shards(const std::vector<std::string>& files,
                             const std::map<std::string, std::string>& weight_map) {
    std::map<std::string, std::size_t> promised;
    for (const auto& [tensor, file] : weight_map) {
        promised[file] += 1;
    }
    Problems problems;
    for (const std::string& name : files) {
        const fs::path path = directory_ / name;
        if (const std::string why = why_absent(path); !why.empty()) {
            const std::string tensors =
                promised.contains(name) ? fmt::format(", it should hold {} tensors", promised[name]) : std::string();
            problems.add(fmt::format("'{}' {}{} (an incomplete download?)", name, why, tensors));
            continue;
        }
        if (const std::string control = name + ".aria2"; why_absent(directory_ / control).empty()) {
            problems.add(
                fmt::format("'{}' is not complete: '{}' beside it says that its download goes on", name, control));
            continue;
        }
        try {
            files_.push_back(std::make_unique<InputFile>(path));
            add_tensors(*files_.back());
        } catch (const Error& e) {
            problems.add(e.what());
        }
    }
    problems.throw_if_any(ErrorKind::Input,
                          fmt::format("cannot read checkpoint '{}' ({} of {} files usable){}", directory_.string(),
                                      files.size() - problems.size(), files.size(),
                                      problems.empty() ? std::string() : unfinished_hint(directory_)));
}

void Checkpoint::add_tensors(const InputFile& file) {
    SafetensorsTable table = read_safetensors_table(file);
    const auto format = table.metadata.find("format");
    converted_for_mlx_ |= format != table.metadata.end() && format->second == "mlx";
    for (TensorInfo& info : table.tensors) {
        TensorName name = parse_tensor_name(info.name);
        const auto existing = tensors_.find(name.canonical);
        if (existing != tensors_.end()) {
            fail(ErrorKind::Input, "tensor '{}' in '{}' stands a second time as '{}' in '{}'", info.name,
                 file.path().string(), existing->second.info.name, existing->second.file->path().string());
        }
        for (const std::string& wrapper : name.taken_off) {
            taken_off_[wrapper] += 1;
        }
        tensors_[name.canonical] = Tensor{std::move(info), &file, std::move(name.published)};
    }
}

void Checkpoint::compare_with_index(const std::map<std::string, std::string>& weight_map) {
    if (weight_map.empty()) {
        return;
    }
    std::unordered_set<std::string> listed;
    for (const auto& [name, file] : weight_map) {
        std::string canonical = canonical_name(name);
        if (!tensors_.contains(canonical)) {
            promised_but_absent_[canonical] = name;
        }
        listed.insert(std::move(canonical));
    }
    const auto unlisted = static_cast<std::size_t>(std::count_if(
        tensors_.begin(), tensors_.end(), [&](const auto& entry) { return !listed.contains(entry.first); }));
    if (unlisted > 0) {
        notes_.push_back(
            fmt::format("the files hold {} tensors that the index does not list: they are read, too", unlisted));
    }
}

// Factors belong to a weight in any form; whole tensors replace plain ones of their shape.
void Checkpoint::merge(const Adapter& adapter) {
    Problems problems;
    for (const auto& [name, info] : adapter.replacements()) {
        const auto found = tensors_.find(name);
        if (found == tensors_.end()) {
            problems.add(unmatched(*this, info.name, name));
            continue;
        }
        Tensor& tensor = found->second;
        if (info.shape != tensor.info.shape || !is_plain_float(info.dtype) || !is_plain_float(tensor.info.dtype)) {
            problems.add(
                fmt::format("tensor '{}' has type {} and shape {}, and the checkpoint's '{}' {} {}, expected "
                            "plain floats and the same shape",
                            info.name, dtype_name(info.dtype), shape_text(info.shape), tensor.info.name,
                            dtype_name(tensor.info.dtype), shape_text(tensor.info.shape)));
            continue;
        }
        tensor.info = info;
        tensor.file = &adapter.file();
    }
    for (const auto& [name, product] : adapter.products()) {
        const std::vector<std::string> forms = stored_forms(name);
        const auto form = std::find_if(forms.begin(), forms.end(), [&](const auto& f) { return tensors_.contains(f); });
        if (form == forms.end()) {
            problems.add(unmatched(*this, product.a.name, name));
        } else {
            tensors_[*form].added = &product;
        }
    }
    problems.throw_if_any(ErrorKind::Input, fmt::format("cannot merge adapter '{}' into '{}'",
                                                        adapter.directory().string(), directory_.string()));
}

void Checkpoint::require_unchanged() const {
    if (adapter_) {
        adapter_->file().require_unchanged();
    }
    for (const std::unique_ptr<InputFile>& file : files_) {
        file->require_unchanged();
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
