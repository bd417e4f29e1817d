// What the models of an exported directory are, read from their graphs.
#include "base/checked.hpp"
#include "base/error.hpp"
#include "base/file.hpp"
#include "base/text.hpp"
#include "export/directory/contract.hpp"
#include "export/directory/origin.hpp"
#include "graph/names.hpp"
#include "graph/read_ir.hpp"
#include "inspect/inspections.hpp"
#include "json/document.hpp"
#include "json/reader.hpp"

#include <openvino/core/model.hpp>
#include <openvino/op/constant.hpp>
#include <openvino/op/topk.hpp>
#include <openvino/op/util/variable.hpp>
#include <openvino/runtime/core.hpp>

#include <algorithm>
#include <set>

namespace deltavino::inspection {
namespace {

namespace fs = std::filesystem;

// The dimensions of a state that do not grow, multiplied; true in `grows` when one grows.
std::uint64_t state_elements(const ov::op::util::VariableInfo& info, bool& grows) {
    std::uint64_t elements = 1;
    grows = false;
    for (std::size_t i = 1; i < info.data_shape.size(); ++i) {
        const ov::Dimension& dim = info.data_shape[i];
        grows = grows || dim.is_dynamic();
        elements = checked_multiply(elements, dim.is_static() ? static_cast<std::uint64_t>(dim.get_length()) : 1);
    }
    return elements;
}

template <typename Ports>
std::vector<Port> ports_of(const Ports& ports) {
    std::vector<Port> facts;
    for (const auto& port : ports) {
        facts.push_back({port.get_names().empty() ? std::string("?") : port.get_any_name(),
                         port.get_element_type().get_type_name(), port.get_partial_shape().to_string()});
    }
    return facts;
}

// The operations that read a weight, past those that widen it, each once. A graph may widen a value by itself
// over and over: its paths are more than can be walked.
std::set<const ov::Node*> readers_of(const ov::Node& weight) {
    std::set<const ov::Node*> readers;
    std::set<const ov::Node*> seen;
    std::vector<const ov::Node*> open{&weight};
    while (!open.empty()) {
        const ov::Node* from = open.back();
        open.pop_back();
        for (const auto& input : from->output(0).get_target_inputs()) {
            const ov::Node* node = input.get_node();
            const std::string_view type = node->get_type_name();
            const bool widens = type == "Convert" || type == "Subtract" || type == "Multiply" || type == "Reshape";
            if (!widens || !node->get_output_partial_shape(0).is_static()) {
                readers.insert(node);
            } else if (seen.insert(node).second) {
                open.push_back(node);
            }
        }
    }
    return readers;
}

// What a weight is by the operations that read it.
struct Use {
    bool table = false;   // only looked up
    bool expert = false;  // a stack of experts
};

Use use_of(const ov::op::v0::Constant& constant, std::uint64_t chosen) {
    constexpr std::uint64_t kSmall = 1u << 16;
    if (constant.get_shape().size() < 2 || constant.get_byte_size() < kSmall) {
        return {};
    }
    const std::set<const ov::Node*> readers = readers_of(constant);
    const auto all = [&](std::string_view type) {
        return std::all_of(readers.begin(), readers.end(),
                           [&](const ov::Node* node) { return node->get_type_name() == type; });
    };
    const bool expert = chosen > 0 && all("MatMul") && (*readers.begin())->get_input_partial_shape(1).size() == 3;
    return {all("Gather"), expert};
}

// Bytes of a constant that one decoding step of one sequence reads: one row of a table, `chosen` of the experts.
std::uint64_t bytes_per_token(const ov::op::v0::Constant& constant, const Use& use, std::uint64_t chosen) {
    const std::uint64_t bytes = constant.get_byte_size();
    return use.table ? bytes / constant.get_shape()[0] : use.expert ? bytes / constant.get_shape()[0] * chosen : bytes;
}

// States whose second to last dimension grows are keys and values: [?, heads, ?, width].
void collect_states(const ov::Model& model, Contents& contents) {
    for (const auto& variable : model.get_variables()) {
        const ov::op::util::VariableInfo& info = variable->get_info();
        bool grows = false;
        const std::uint64_t elements = state_elements(info, grows);
        if (!grows) {
            contents.fixed_states += elements;
            continue;
        }
        const ov::PartialShape& shape = info.data_shape;
        const auto width =
            static_cast<std::uint64_t>(shape[shape.size() - 1].is_static() ? shape[shape.size() - 1].get_length() : 1);
        const bool keys = info.variable_id.find(".key") != std::string::npos;
        contents.growing.push_back({keys ? "keys of a layer" : "values of a layer",
                                    elements / std::max<std::uint64_t>(width, 1), width, keys});
    }
}

StateBytes states_of(const ov::Model& model) {
    StateBytes states;
    states.variables = model.get_variables().size();
    for (const auto& variable : model.get_variables()) {
        const ov::op::util::VariableInfo& info = variable->get_info();
        bool grows = false;
        const std::uint64_t bits = checked_multiply(state_elements(info, grows), info.data_type.bitwidth());
        std::uint64_t& total = grows ? states.per_token : states.fixed;
        total = checked_add(total, bits / 8);
    }
    return states;
}

ModelFacts facts_of(const ov::Model& model, Contents& contents) {
    ModelFacts facts{ports_of(model.inputs()), ports_of(model.outputs()), {}, {}, {}};
    std::uint64_t chosen = 0;
    std::uint64_t weight_bytes = 0;
    for (const auto& node : model.get_ordered_ops()) {
        if (const auto router = ov::as_type_ptr<ov::op::v11::TopK>(node)) {
            chosen = router->get_k();
        }
    }
    for (const auto& node : model.get_ordered_ops()) {
        if (const auto constant = ov::as_type_ptr<ov::op::v0::Constant>(node)) {
            TypeTotal& total = facts.types[constant->get_element_type().get_type_name()];
            total.tensors += 1;
            total.bytes += constant->get_byte_size();
            const Use use = use_of(*constant, chosen);
            weight_bytes += bytes_per_token(*constant, use, chosen);
            contents.weights.push_back({constant->get_friendly_name(), constant->get_element_type().get_type_name(),
                                        ov::shape_size(constant->get_shape()), constant->get_byte_size(), use.expert,
                                        use.table});
        }
    }
    if (!model.get_variables().empty()) {
        facts.states = states_of(model);
        facts.bytes_per_token = weight_bytes;
        collect_states(model, contents);
    }
    return facts;
}

OriginFacts origin_of(const fs::path& path) {
    OriginFacts origin;
    std::error_code error;
    const fs::path file = path / exporter::kOriginFile;
    if (!fs::exists(file, error)) {
        return origin;
    }
    origin.config_json = read_text_file(file);
    const Json json = parse_json(origin.config_json, file.string());
    if (!json.is_object() || !json.contains("deltavino") || !json["deltavino"].is_object()) {
        return origin;
    }
    const Json& own = json["deltavino"];
    Problems problems;
    const JsonReader reader(own, "/deltavino", problems);
    origin.own = true;
    origin.version = reader.text("version", "?");
    origin.openvino_version = reader.text("openvino_version", "?");
    origin.source = reader.text("source", "?");
    origin.source_revision = reader.text("source_revision", "");
    origin.task = reader.text("task", "?");
    origin.weight_format = reader.text("weight_format", "?");
    if (own.contains("recipe") && own["recipe"].is_array()) {
        for (const Json& sentence : own["recipe"]) {
            if (sentence.is_string()) {
                origin.recipe.push_back(sentence.get<std::string>());
            }
        }
    }
    problems.throw_if_any(ErrorKind::Input, fmt::format("cannot read '{}'", exporter::kOriginFile));
    return origin;
}

ModelFile model_file(ov::Core& core, const fs::path& file, Contents& contents) {
    ModelFile model{file.stem().string(), ModelFile::Content::Read, {}};
    if (model.name == graph::names::kTokenizer || model.name == graph::names::kDetokenizer) {
        model.content = ModelFile::Content::NeedsTokenizers;
        return model;
    }
    if (!is_there(fs::path(file).replace_extension(".bin"))) {
        model.content = ModelFile::Content::LacksBin;  // named among the missing files
        return model;
    }
    try {
        model.facts = facts_of(*graph::read_ir(core, file), contents);
    } catch (const Error&) {
        throw;
    } catch (const std::exception& failure) {
        fail(ErrorKind::Input, "cannot read '{}': {}", file.string(), one_line(failure.what()));
    }
    return model;
}

}  // namespace

Directory inspect_directory(const fs::path& path) {
    Directory directory;
    directory.facts.path = path.string();
    directory.facts.origin = origin_of(path);
    std::vector<fs::path> files;
    for (const fs::directory_entry& entry : fs::directory_iterator(path)) {
        if (entry.path().extension() == ".xml") {
            files.push_back(entry.path());
        }
    }
    std::sort(files.begin(), files.end());
    ov::Core core;
    for (const fs::path& file : files) {
        directory.facts.models.push_back(model_file(core, file, directory.contents));
    }
    for (const exporter::MissingFile& file : exporter::missing_files(path)) {
        directory.facts.missing.push_back(fmt::format("{}: {}", file.name, file.consequence));
        directory.complete = directory.complete && !file.required;
    }
    return directory;
}

}  // namespace deltavino::inspection
