#include "evaluate/ir_weights.hpp"

#include "base/error.hpp"
#include "graph/names.hpp"
#include "quant/codebook.hpp"
#include "quant/convert.hpp"

#include <algorithm>
#include <cstring>

namespace deltavino::evaluation {
namespace {

ConstantPtr constant_of(const ov::Output<ov::Node>& value) {
    std::shared_ptr<ov::Node> node = value.get_node_shared_ptr();
    while (std::string_view(node->get_type_name()) == "Convert") {
        node = node->get_input_node_shared_ptr(0);
    }
    return ov::as_type_ptr<ov::op::v0::Constant>(node);
}

// The only reader of a value; null when there are several.
std::shared_ptr<ov::Node> only_reader(const std::shared_ptr<ov::Node>& node) {
    const auto readers = node->output(0).get_target_inputs();
    return readers.size() == 1 ? readers.begin()->get_node()->shared_from_this() : nullptr;
}

// Follows the chain that widens a constant and keeps what it finds.
StoredWeight follow(const ConstantPtr& constant) {
    StoredWeight weight;
    weight.codes = constant;
    std::shared_ptr<ov::Node> at = constant;
    for (std::shared_ptr<ov::Node> next = only_reader(at); next != nullptr; next = only_reader(at)) {
        const std::string_view type = next->get_type_name();
        if (type == "Subtract" || type == "Multiply") {
            const std::size_t other = next->get_input_node_shared_ptr(0) == at ? 1 : 0;
            const ConstantPtr factor = constant_of(next->input_value(other));
            if (factor == nullptr || (type == "Multiply" && !weight.scales.empty())) {
                break;
            }
            (type == "Subtract" ? weight.zero_points : weight.scales) = factor->cast_vector<float>();
        } else if (type != "Convert" && type != "Reshape") {
            break;
        }
        at = next;
    }
    return weight;
}

bool is_low(ov::element::Type type) {
    using namespace ov::element;
    return type == u4 || type == i4 || type == u8 || type == i8 || type == nf4 || type == f4e2m1;
}

// Whether every row has the same number of whole groups, each with a scale and, where there are zero points, one of
// them or the only one.
bool fits_groups(const StoredWeight& weight) {
    const std::uint64_t groups = weight.scales.size();
    const bool zero_points_fit = weight.zero_points.size() <= 1 || weight.zero_points.size() == groups;
    return weight.rows > 0 && groups >= weight.rows && groups % weight.rows == 0 &&
           weight.columns % (groups / weight.rows) == 0 && zero_points_fit;
}

float low_value(ov::element::Type type, const std::uint8_t* bytes, std::uint64_t index) {
    using namespace ov::element;
    if (type == u8) {
        return static_cast<float>(bytes[index]);
    }
    if (type == i8) {
        return static_cast<float>(static_cast<std::int8_t>(bytes[index]));
    }
    const unsigned code = (bytes[index / 2] >> (index % 2 * 4)) & 0xfu;
    if (type == u4) {
        return static_cast<float>(code);
    }
    if (type == i4) {
        return static_cast<float>(code < 8 ? static_cast<int>(code) : static_cast<int>(code) - 16);
    }
    return type == nf4 ? quant::kNf4Levels[code] : quant::kF4e2m1Levels[code];
}

void read_plain(const StoredWeight& weight, std::uint64_t first, std::span<float> out) {
    const ov::element::Type type = weight.codes->get_element_type();
    const quant::SourceType source = type == ov::element::f32   ? quant::SourceType::F32
                                     : type == ov::element::f16 ? quant::SourceType::F16
                                                                : quant::SourceType::BF16;
    const auto* bytes = static_cast<const std::byte*>(weight.codes->get_data_ptr());
    const std::size_t size = quant::source_bytes(source);
    quant::widen(source, {bytes + first * size, out.size() * size}, out);
}

constexpr const char* kTable = "model.embed_tokens.weight";
constexpr const char* kHead = "lm_head.weight";

bool has_input(const ov::Model& model, const char* name) {
    const auto inputs = model.inputs();
    return std::any_of(inputs.begin(), inputs.end(),
                       [&](const auto& input) { return input.get_names().contains(name); });
}

}  // namespace

std::string StoredWeight::text() const {
    const std::string type = codes->get_element_type().get_type_name();
    if (scales.empty()) {
        return type;
    }
    const std::uint64_t group = columns / groups_per_row();
    return groups_per_row() == 1 && codes->get_shape().back() == columns
               ? type + " per channel"
               : fmt::format("{} in groups of {}", type, group);
}

std::string reference_name(const std::string& constant_name) {
    std::string name = constant_name.ends_with("/stored")
                           ? constant_name.substr(0, constant_name.size() - std::string_view("/stored").size())
                           : constant_name;
    // torch's tracer names a convolution's kernel after the call.
    if (const std::size_t call = name.find(".linear_attn/aten::_convolution/"); call != std::string::npos) {
        name = name.substr(0, call) + ".linear_attn.conv1d.weight";
    }
    if (!name.ends_with(".weight") || name.find('/') != std::string::npos) {
        return {};
    }
    if (const std::size_t tower = name.find("visual."); tower != std::string::npos) {
        return name.substr(tower);
    }
    for (const auto& [module, canonical] :
         {std::pair("layers.", "model."), std::pair("embed_tokens.", "model."), std::pair("lm_head.", "")}) {
        const std::size_t at = name.find(module);
        if (at != std::string::npos && (at == 0 || name[at - 1] == '.')) {
            return canonical + name.substr(at);
        }
    }
    return {};
}

namespace {

// 'self.layers.0.mlp.up_proj.weight' of a model that drafts tokens -> 'mtp.layers.0.mlp.up_proj.weight'.
std::string prediction_name(const std::string& constant_name) {
    const std::string name = reference_name(constant_name);
    if (name.starts_with("model.layers.")) {
        return "mtp." + name.substr(std::string_view("model.").size());
    }
    const bool projection = constant_name.find("fc.weight") != std::string::npos;
    return projection ? "mtp.fc.weight" : std::string();
}

bool drafts(const ov::Model& model) {
    return has_input(model, graph::names::kInputsEmbeds) && has_input(model, graph::names::kHiddenStates);
}

}  // namespace

IrWeights::IrWeights(const std::vector<std::shared_ptr<ov::Model>>& models, const reference::WeightSource& otherwise)
    : otherwise_(otherwise) {
    for (const auto& model : models) {
        const auto name_of = drafts(*model) ? prediction_name : reference_name;
        const bool looks_up = !has_input(*model, graph::names::kInputsEmbeds);
        for (const auto& node : model->get_ordered_ops()) {
            const auto constant = ov::as_type_ptr<ov::op::v0::Constant>(node);
            const std::string known = constant ? name_of(constant->get_friendly_name()) : std::string();
            // The embedding is looked up in another file: here it is the head.
            const std::string name = known == kTable && !looks_up ? std::string(kHead) : known;
            if (name.empty() || constant->get_shape().size() < 2 || stored_.contains(name)) {
                continue;
            }
            StoredWeight weight = follow(constant);
            const bool kernel = name.ends_with(".conv1d.weight");
            const ov::Shape& shape = constant->get_shape();
            const std::uint64_t values = ov::shape_size(shape);
            // In groups the last two dimensions are the columns of a row, else the last one.
            const bool grouped =
                !weight.scales.empty() && weight.scales.size() * shape.back() == values && shape.size() > 2 && !kernel;
            weight.columns = grouped ? shape[shape.size() - 2] * shape.back() : shape.back();
            weight.rows = values / std::max<std::uint64_t>(1, weight.columns);
            const ov::element::Type type = constant->get_element_type();
            const bool plain = type == ov::element::f32 || type == ov::element::f16 || type == ov::element::bf16;
            if (values > 0 && (plain ? weight.scales.empty() : is_low(type) && fits_groups(weight))) {
                weight.name = known;
                stored_.emplace(name, std::move(weight));
            }
        }
    }
    join_tied_tables();
}

void IrWeights::join_tied_tables() {
    const auto head = stored_.find(kHead);
    if (head == stored_.end() || head->second.name != kTable) {
        return;
    }
    const auto table = stored_.emplace(kTable, head->second).first;
    if (table->second.text() == head->second.text()) {
        stored_.erase(head);
    }
}

bool IrWeights::has_own_head() const {
    return stored_.contains(kHead);
}

void IrWeights::read_rows(const std::string& name, std::uint64_t first, reference::MatrixRef out) const {
    const auto found = stored_.find(name);
    const auto columns = static_cast<std::uint64_t>(out.cols());
    if (found == stored_.end()) {
        otherwise_.read_rows(name, first, out);
        return;
    }
    const StoredWeight& weight = found->second;
    const std::uint64_t values = weight.rows * weight.columns;
    if (columns == 0 || values % columns != 0 || first + static_cast<std::uint64_t>(out.rows()) > values / columns) {
        fail(ErrorKind::Input, "cannot read weight '{}' of the exported model: it is [{}, {}], expected rows of {}",
             name, weight.rows, weight.columns, columns);
    }
    const std::uint64_t group = weight.scales.empty() ? 0 : values / weight.scales.size();
    const ov::element::Type type = weight.codes->get_element_type();
    const auto* bytes = static_cast<const std::uint8_t*>(weight.codes->get_data_ptr());
    for (reference::Index r = 0; r < out.rows(); ++r) {
        const std::uint64_t begin = (first + static_cast<std::uint64_t>(r)) * columns;
        if (weight.scales.empty()) {
            read_plain(weight, begin, {&out(r, 0), static_cast<std::size_t>(columns)});
            continue;
        }
        for (std::uint64_t c = 0; c < columns; ++c) {
            const std::uint64_t g = (begin + c) / group;
            const float zero = weight.zero_points.empty()       ? 0.0f
                               : weight.zero_points.size() == 1 ? weight.zero_points[0]
                                                                : weight.zero_points[g];
            out(r, static_cast<reference::Index>(c)) = (low_value(type, bytes, begin + c) - zero) * weight.scales[g];
        }
    }
}

}  // namespace deltavino::evaluation
