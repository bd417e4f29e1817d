// Source of the rules: the sources of openvino_genai 2026.4 (`LoRAWeightGetterDefault`). Its pipelines cut
// 'base_model.model.' off the names of an adapter's tensors and drop those that do not begin so; what is left is looked
// for inside the names of MatMul nodes, as it stands or with underscores for dots, and the first in the order of names
// wins. Nothing is read of adapter_config.json, and what matches nothing is dropped with a warning at most.
#include "evaluate/adapter_check.hpp"

#include "base/error.hpp"
#include "base/file.hpp"
#include "checkpoint/lora/adapter_config.hpp"
#include "checkpoint/safetensors.hpp"

#include <openvino/op/matmul.hpp>

#include <algorithm>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <utility>

namespace deltavino::evaluation {
namespace {

namespace fs = std::filesystem;

constexpr std::string_view kPrefix = "base_model.model.";
constexpr const char* kConfig = "adapter_config.json";
constexpr std::size_t kMostShown = 6;

CheckItem adapter_item(std::string subject, Finding finding, std::string says) {
    return {"adapter", std::move(subject), finding, std::move(says)};
}

struct Product {
    std::string name;
    ov::PartialShape weight;  // [rows, columns], or more dimensions
};

struct Pair {
    std::optional<checkpoint::TensorInfo> a;
    std::optional<checkpoint::TensorInfo> b;
};

// What the names say, in the runtime's reading.
struct Names {
    std::map<std::string, Pair> pairs;      // by module, prefix and all
    std::vector<std::string> replacements;  // of constants: the head, the embedding
    std::vector<std::string> unread;
};

// A name in two: the module, and which of its factors it is.
struct Factor {
    std::string module;
    bool first;
};

// 'x.lora_A.weight', 'x.lora_down.weight', also with '.' for '_' and the reverse.
std::optional<Factor> factor_of(std::string_view name) {
    constexpr std::string_view kWeight = ".weight";
    constexpr std::string_view kLora = "lora";
    const auto separated = [](std::string_view text) {
        return text.ends_with('.') || text.ends_with('_');
    };
    if (!name.ends_with(kWeight)) {
        return std::nullopt;
    }
    name.remove_suffix(kWeight.size());
    for (const auto& [side, first] :
         {std::pair{std::string_view("A"), true}, {"down", true}, {"B", false}, {"up", false}}) {
        std::string_view rest = name;
        if (!rest.ends_with(side)) {
            continue;
        }
        rest.remove_suffix(side.size());
        if (!separated(rest) || !rest.substr(0, rest.size() - 1).ends_with(kLora)) {
            continue;
        }
        rest.remove_suffix(1 + kLora.size());
        if (separated(rest)) {
            return Factor{std::string(rest.substr(0, rest.size() - 1)), first};
        }
    }
    return std::nullopt;
}

Names sort_names(std::vector<checkpoint::TensorInfo> tensors) {
    Names names;
    for (checkpoint::TensorInfo& tensor : tensors) {
        if (const std::optional<Factor> factor = factor_of(tensor.name)) {
            Pair& pair = names.pairs[factor->module];
            (factor->first ? pair.a : pair.b) = std::move(tensor);
        } else if (tensor.name.ends_with(".lm_head.weight") || tensor.name.ends_with(".embed_tokens.weight")) {
            names.replacements.push_back(tensor.name);
        } else if (!tensor.name.ends_with(".alpha")) {
            names.unread.push_back(tensor.name);
        }
    }
    return names;
}

std::vector<Product> products_of(const ov::Model& model) {
    std::vector<Product> found;
    for (const auto& node : model.get_ordered_ops()) {
        if (const auto product = ov::as_type_ptr<ov::op::v0::MatMul>(node)) {
            ov::PartialShape shape = product->get_input_partial_shape(1);
            if (!product->get_transpose_b() && shape.rank().is_static() && shape.size() == 2) {
                std::swap(shape[0], shape[1]);
            }
            found.push_back({product->get_friendly_name(), std::move(shape)});
        }
    }
    return found;
}

bool is_inside(const std::string& module, std::string name) {
    if (name.find(module) != std::string::npos) {
        return true;
    }
    std::replace(name.begin(), name.end(), '.', '_');
    return name.find(module) != std::string::npos;
}

// "layers.3.mlp.up_proj" of "model.language_model.layers.3.mlp.up_proj"; empty without layers.
std::string from_layer(const std::string& module) {
    const std::size_t at = module.find("layers.");
    return at == std::string::npos ? std::string() : module.substr(at);
}

bool is_stacked_expert(const std::string& module) {
    const std::size_t at = module.find(".experts.");
    return at != std::string::npos && at + 9 < module.size() && module[at + 9] >= '0' && module[at + 9] <= '9';
}

// Why a module matches no node of the model.
std::string why_unmatched(const std::string& module, const std::vector<Product>& products) {
    if (!module.starts_with(kPrefix)) {
        return fmt::format("its name does not begin with '{}', which openvino_genai expects", kPrefix);
    }
    if (module.find("visual") != std::string::npos) {
        return "it is of the vision tower, to which no adapter is applied";
    }
    if (is_stacked_expert(module)) {
        return "the model holds the experts of a layer in one weight";
    }
    const std::string layer = from_layer(module);
    const auto near = std::find_if(products.begin(), products.end(), [&](const Product& product) {
        return !layer.empty() && product.name.find(layer) != std::string::npos;
    });
    return near == products.end() ? "no MatMul of the model has such a name"
                                  : fmt::format("the model has it as '{}'", near->name);
}

std::string why_misfit(const Pair& pair, const ov::PartialShape& weight) {
    if (weight.rank().is_dynamic() || weight.size() != 2 || weight.is_dynamic()) {
        return fmt::format("the weight is {}, expected a matrix", weight.to_string());
    }
    const auto rows = static_cast<std::uint64_t>(weight[0].get_length());
    const auto columns = static_cast<std::uint64_t>(weight[1].get_length());
    const std::vector<std::uint64_t>& a = pair.a->shape;
    const std::vector<std::uint64_t>& b = pair.b->shape;
    if (a.size() == 2 && b.size() == 2 && a[1] == columns && b[0] == rows && a[0] == b[1]) {
        return {};
    }
    return fmt::format("factors of shapes {} and {} make no [{}, {}]", shape_text(b), shape_text(a), rows, columns);
}

// The first few, and how many more there are.
std::string listed(const std::vector<std::string>& texts) {
    const std::size_t shown = std::min(texts.size(), kMostShown);
    std::string out =
        fmt::format("{}", fmt::join(texts.begin(), texts.begin() + static_cast<std::ptrdiff_t>(shown), "; "));
    return shown == texts.size() ? out : fmt::format("{}; and {} more", out, texts.size() - shown);
}

class Fit {
public:
    Fit(const Names& names, const std::vector<Product>& products) : names_(names), products_(products) {
        for (const auto& [module, pair] : names.pairs) {
            match(module, pair);
        }
    }

    void report(std::vector<CheckItem>& items) const {
        const std::size_t all = names_.pairs.size();
        const Finding finding = matched_ == all && all > 0 ? Finding::Good : Finding::Bad;
        items.push_back(adapter_item("names", finding,
                                     all == 0 ? "it has no pair of factors that openvino_genai would read"
                                              : fmt::format("{} of {} weights are found in the model", matched_, all)));
        add(items, "not found", unmatched_);
        add(items, "one factor", halves_);
        add(items, "shapes", misfits_);
        add(items, "ambiguous", ambiguous_);
    }

private:
    static void add(std::vector<CheckItem>& items, const char* subject, const std::vector<std::string>& texts) {
        if (!texts.empty()) {
            items.push_back(adapter_item(subject, Finding::Bad, listed(texts)));
        }
    }

    void match(const std::string& module, const Pair& pair) {
        if (!pair.a || !pair.b) {
            halves_.push_back(fmt::format("'{}' has '{}' only", module, (pair.a ? pair.a : pair.b)->name));
            return;
        }
        const std::string wanted = module.starts_with(kPrefix) ? module.substr(kPrefix.size()) : std::string();
        std::vector<const Product*> found;
        for (const Product& product : products_) {
            if (!wanted.empty() && is_inside(wanted, product.name)) {
                found.push_back(&product);
            }
        }
        if (found.empty()) {
            unmatched_.push_back(fmt::format("'{}': {}", module, why_unmatched(module, products_)));
            return;
        }
        ++matched_;
        for (const Product* product : found) {
            if (const std::string why = why_misfit(pair, product->weight); !why.empty()) {
                misfits_.push_back(fmt::format("'{}': {}", product->name, why));
            }
            const auto [first, fresh] = taken_.try_emplace(product->name, module);
            if (!fresh) {
                ambiguous_.push_back(fmt::format("'{}' takes '{}', not '{}'", product->name, first->second, module));
            }
        }
        if (found.size() > 1) {
            ambiguous_.push_back(fmt::format("'{}' goes into {} weights, '{}' and '{}' among them", module,
                                             found.size(), found[0]->name, found[1]->name));
        }
    }

    const Names& names_;
    const std::vector<Product>& products_;
    std::size_t matched_ = 0;
    std::map<std::string, std::string> taken_;  // module by name of the node
    std::vector<std::string> unmatched_;
    std::vector<std::string> halves_;
    std::vector<std::string> misfits_;
    std::vector<std::string> ambiguous_;
};

// The number that the user has to give, because the runtime reads none.
void check_scale(const fs::path& config_path, const Names& names, std::vector<CheckItem>& items) {
    std::error_code error;
    if (!fs::exists(config_path, error)) {
        items.push_back(
            adapter_item("alpha", Finding::Note,
                         fmt::format("there is no '{}' beside the file: the alpha to give to openvino_genai, "
                                     "lora_alpha / r, is not known",
                                     kConfig)));
        return;
    }
    checkpoint::LoraConfig config;
    try {
        config = checkpoint::read_lora_config(read_text_file(config_path, 1u << 24), config_path.string());
    } catch (const Error& refused) {
        items.push_back(adapter_item(kConfig, Finding::Bad, refused.what()));
        return;
    }
    std::set<double> scales;
    for (const auto& [module, pair] : names.pairs) {
        const bool prefixed = module.starts_with(kPrefix);
        scales.insert(config.scale_of(std::string_view(module).substr(prefixed ? kPrefix.size() : 0)));
    }
    if (scales.size() > 1) {
        items.push_back(
            adapter_item("alpha", Finding::Bad,
                         fmt::format("the weights have {} scales, from {:.4g} to {:.4g}, and openvino_genai takes "
                                     "one; `export --lora` merges each with its own",
                                     scales.size(), *scales.begin(), *scales.rbegin())));
    } else if (scales.size() == 1) {
        items.push_back(adapter_item("alpha", Finding::Note,
                                     fmt::format("openvino_genai reads no '{}': give it AdapterConfig(adapter, {:.6g})",
                                                 kConfig, *scales.begin())));
    }
}

}  // namespace

std::vector<CheckItem> check_adapter(const ov::Model& language, const fs::path& adapter) {
    std::error_code error;
    const bool folder = fs::is_directory(adapter, error);
    const fs::path weights = folder ? adapter / "adapter_model.safetensors" : adapter;
    const InputFile file(weights);
    const Names names = sort_names(checkpoint::read_safetensors_table(file).tensors);
    std::vector<CheckItem> items;
    Fit(names, products_of(language)).report(items);
    if (!names.unread.empty()) {
        items.push_back(
            adapter_item("not read", Finding::Bad,
                         fmt::format("openvino_genai knows no tensors of such names: {}", listed(names.unread))));
    }
    if (!names.replacements.empty()) {
        items.push_back(
            adapter_item("whole tensors", Finding::Note,
                         fmt::format("openvino_genai puts them in place of constants, of float models only: {}",
                                     listed(names.replacements))));
    }
    check_scale(weights.parent_path() / kConfig, names, items);
    return items;
}

}  // namespace deltavino::evaluation
