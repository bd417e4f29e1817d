// Source of the names: peft 0.21 `peft.utils.save_and_load.get_peft_model_state_dict`. A state that was saved by other
// means has the adapter's own name in them, too: 'lora_A.default.weight'.
#include "checkpoint/lora/adapter.hpp"

#include "base/error.hpp"
#include "base/text.hpp"
#include "checkpoint/files.hpp"
#include "checkpoint/lora/adapter_config.hpp"
#include "checkpoint/names.hpp"

#include <algorithm>
#include <array>
#include <optional>
#include <utility>

namespace deltavino::checkpoint {

namespace fs = std::filesystem;

namespace {

constexpr const char* kConfig = "adapter_config.json";
constexpr const char* kWeights = "adapter_model.safetensors";

enum class Part { A, B, EmbeddingA, EmbeddingB };

struct PartName {
    std::string_view segment;
    Part part;
};
constexpr std::array kParts{PartName{"lora_A", Part::A}, PartName{"lora_B", Part::B},
                            PartName{"lora_embedding_A", Part::EmbeddingA},
                            PartName{"lora_embedding_B", Part::EmbeddingB}};

// A tensor's name in three: "model.layers.0.mlp.up_proj", "lora_A", "weight".
struct SplitName {
    std::string module;
    std::string segment;
    std::string end;
};

// Nothing for a name without a segment that a tuner added.
std::optional<SplitName> split_tuned(const std::string& name) {
    for (std::size_t at = 0; at < name.size();) {
        const std::size_t end = std::min(name.find('.', at), name.size());
        const std::string segment = name.substr(at, end - at);
        if (at > 0 && (segment.starts_with("lora_") || segment.starts_with("trainable_tokens_"))) {
            return SplitName{name.substr(0, at - 1), segment, end < name.size() ? name.substr(end + 1) : ""};
        }
        at = end + 1;
    }
    return std::nullopt;
}

// 'x.modules_to_save.default.weight' and 'x.base_layer.weight' are 'x.weight'.
std::string without_wrappers(std::string name) {
    for (const std::string wrapper : {".modules_to_save.default.", ".modules_to_save.", ".base_layer."}) {
        if (const std::size_t at = name.find(wrapper); at != std::string::npos) {
            name.replace(at, wrapper.size(), ".");
        }
    }
    return name;
}

fs::path weights_of(const fs::path& directory) {
    std::error_code error;
    if (!fs::is_directory(directory, error)) {
        fail(ErrorKind::Input, "cannot read adapter '{}': it is not a directory", directory.string());
    }
    if (!is_there(directory / kConfig)) {
        fail(ErrorKind::Input, "cannot read adapter '{}': '{}' is missing{}", directory.string(), kConfig,
             is_there(directory / "config.json") ? " (this is a checkpoint, not an adapter)" : "");
    }
    if (!is_there(directory / kWeights) && is_there(directory / "adapter_model.bin")) {
        fail(ErrorKind::Unsupported,
             "cannot read adapter '{}': 'adapter_model.bin' is a pickle, which can run any program when it is read; "
             "PEFT's save_pretrained writes '{}'",
             directory.string(), kWeights);
    }
    if (const std::string why = why_absent(directory / kWeights); !why.empty()) {
        fail(ErrorKind::Input, "cannot read adapter '{}': '{}' {}", directory.string(), kWeights, why);
    }
    return directory / kWeights;
}

}  // namespace

// The two factors of a weight as they are found.
struct Adapter::Pair {
    std::string module;  // as the adapter spells it
    bool of_embedding = false;
    std::optional<TensorInfo> a;
    std::optional<TensorInfo> b;

    // What is wrong with them; empty when nothing is.
    std::string problem(std::uint64_t expected_rank) const {
        if (!a || !b) {
            return fmt::format("'{}' has one of its two factors only, '{}'", module, (a ? a : b)->name);
        }
        for (const TensorInfo* info : {&*a, &*b}) {
            if (!is_plain_float(info->dtype)) {
                return fmt::format("tensor '{}' has type {}, expected F32, F16 or BF16", info->name,
                                   dtype_name(info->dtype));
            }
            if (info->shape.size() != 2 || info->bytes == 0) {
                return fmt::format(
                    "tensor '{}' has shape {}, expected a matrix: factors of convolutions are not "
                    "merged",
                    info->name, shape_text(info->shape));
            }
        }
        const std::uint64_t rank = of_embedding ? a->shape[1] : a->shape[0];
        const std::uint64_t other = of_embedding ? b->shape[0] : b->shape[1];
        if (rank != other || rank != expected_rank) {
            return fmt::format("the factors of '{}' have shapes {} and {}, which is not rank {} as '{}' says", module,
                               shape_text(a->shape), shape_text(b->shape), expected_rank, kConfig);
        }
        return {};
    }

    LowRank product(const InputFile& file, double scale) const {
        const std::uint64_t rows = of_embedding ? b->shape[1] : b->shape[0];
        const std::uint64_t columns = of_embedding ? a->shape[0] : a->shape[1];
        return {*a,
                *b,
                &file,
                of_embedding,
                rows,
                columns,
                of_embedding ? a->shape[1] : a->shape[0],
                static_cast<float>(scale)};
    }
};

Adapter::Adapter(const fs::path& directory) : directory_(directory), file_(weights_of(directory)) {
    const fs::path config_path = directory / kConfig;
    const LoraConfig config = read_lora_config(read_text_file(config_path, 1u << 24), config_path.string());
    keeps_tying_ = config.keeps_tying;
    const std::string what = fmt::format("cannot merge adapter '{}'", directory.string());
    std::vector<std::string> unsupported;
    const std::map<std::string, Pair> pairs = sort_tensors(unsupported);
    Problems refused;
    std::for_each(unsupported.begin(), unsupported.end(), [&](const auto& text) { refused.add(text); });
    refused.throw_if_any(ErrorKind::Unsupported, what);
    Problems problems;
    for (const auto& [name, pair] : pairs) {
        if (std::string problem = pair.problem(config.rank_of(pair.module)); !problem.empty()) {
            problems.add(std::move(problem));
        } else {
            products_.emplace(name, pair.product(file_, config.scale_of(pair.module)));
        }
    }
    problems.throw_if_any(ErrorKind::Input, what);
    if (products_.empty() && replacements_.empty()) {
        fail(ErrorKind::Input, "{}: '{}' holds no tensors", what, kWeights);
    }
}

std::map<std::string, Adapter::Pair> Adapter::sort_tensors(std::vector<std::string>& unsupported) {
    std::map<std::string, Pair> pairs;
    SafetensorsTable table = read_safetensors_table(file_);
    for (TensorInfo& info : table.tensors) {
        const TensorName name = parse_tensor_name(info.name);
        const std::optional<SplitName> split = split_tuned(name.canonical);
        const auto twice = [&](const std::string& first) {
            fail(ErrorKind::Input, "cannot merge adapter '{}': tensor '{}' stands a second time as '{}'",
                 directory_.string(), info.name, first);
        };
        if (!split) {
            const std::string canonical = without_wrappers(name.canonical);
            const auto [place, fresh] = replacements_.try_emplace(canonical, info);
            if (!fresh) {
                twice(place->second.name);
            }
            continue;
        }
        const auto part = std::find_if(kParts.begin(), kParts.end(),
                                       [&](const PartName& row) { return row.segment == split->segment; });
        if (part == kParts.end() || split->end.ends_with("bias")) {
            unsupported.push_back(fmt::format("tensor '{}' is no factor of a product", info.name));
            continue;
        }
        const bool embedding = part->part == Part::EmbeddingA || part->part == Part::EmbeddingB;
        Pair& pair = pairs[split->module + ".weight"];
        pair.module = split_tuned(name.published).value_or(*split).module;
        pair.of_embedding = pair.of_embedding || embedding;
        // Of an embedding B has the columns.
        std::optional<TensorInfo>& factor = part->part == Part::A || part->part == Part::EmbeddingB ? pair.a : pair.b;
        if (factor) {
            twice(factor->name);
        }
        factor = std::move(info);
    }
    return pairs;
}

std::string Adapter::text() const {
    if (products_.empty()) {
        return {};
    }
    const auto [least, most] = std::minmax_element(
        products_.begin(), products_.end(), [](const auto& x, const auto& y) { return x.second.rank < y.second.rank; });
    const std::string first = products_.begin()->second.text();
    const bool alike = std::all_of(products_.begin(), products_.end(),
                                   [&](const auto& entry) { return entry.second.text() == first; });
    return alike ? first
           : least->second.rank == most->second.rank
               ? fmt::format("rank {}", least->second.rank)
               : fmt::format("ranks {} to {}", least->second.rank, most->second.rank);
}

}  // namespace deltavino::checkpoint
