// `inspect`: the same reading and checking as export, without building or writing anything.
#include <deltavino/inspect.hpp>

#include "base/checked.hpp"
#include "base/error.hpp"
#include "base/file.hpp"
#include "base/guard.hpp"
#include "base/text.hpp"
#include "checkpoint/checkpoint.hpp"
#include "export/directory/contract.hpp"
#include "export/directory/origin.hpp"
#include "graph/names.hpp"
#include "json/document.hpp"
#include "json/reader.hpp"
#include "models/plan.hpp"

#include <openvino/core/model.hpp>
#include <openvino/op/constant.hpp>
#include <openvino/op/topk.hpp>
#include <openvino/op/util/variable.hpp>
#include <openvino/runtime/core.hpp>

#include <algorithm>
#include <map>

namespace deltavino {
namespace {

namespace fs = std::filesystem;
using checkpoint::LayerKind;
using checkpoint::TextConfig;

struct TypeTotal {
    std::size_t tensors = 0;
    std::uint64_t bytes = 0;
};

Json types_json(const std::map<std::string, TypeTotal>& types) {
    Json json = Json::object();
    for (const auto& [type, total] : types) {
        json[type] = {{"tensors", total.tensors}, {"bytes", total.bytes}};
    }
    return json;
}

std::string types_text(const Json& types) {
    std::vector<std::vector<std::string>> rows{{"type", "tensors", "size"}};
    for (const auto& [type, total] : types.items()) {
        rows.push_back({type, std::to_string(total["tensors"].get<std::size_t>()),
                        human_bytes(total["bytes"].get<std::uint64_t>())});
    }
    return format_table(rows);
}

Json geometry_json(const TextConfig& c) {
    Json json{{"vocab_size", c.vocab_size},
              {"hidden_size", c.hidden_size},
              {"num_hidden_layers", c.num_hidden_layers},
              {"linear_attention_layers", c.count(LayerKind::LinearAttention)},
              {"full_attention_layers", c.count(LayerKind::FullAttention)},
              {"num_attention_heads", c.num_attention_heads},
              {"num_key_value_heads", c.num_key_value_heads},
              {"head_dim", c.head_dim},
              {"rotary_dims", c.rope.rotary_dims},
              {"rope_theta", c.rope.rope_theta},
              {"linear_num_key_heads", c.linear_num_key_heads},
              {"linear_num_value_heads", c.linear_num_value_heads},
              {"linear_key_head_dim", c.linear_key_head_dim},
              {"linear_value_head_dim", c.linear_value_head_dim},
              {"linear_conv_kernel_dim", c.linear_conv_kernel_dim},
              {"max_position_embeddings", c.max_position_embeddings}};
    if (c.moe) {
        json["num_experts"] = c.moe->num_experts;
        json["num_experts_per_tok"] = c.moe->num_experts_per_tok;
        json["moe_intermediate_size"] = c.moe->moe_intermediate_size;
        json["shared_expert_intermediate_size"] = c.moe->shared_expert_intermediate_size;
    } else {
        json["intermediate_size"] = c.intermediate_size;
    }
    return json;
}

// Bytes of the states of one sequence, in float32 as the model declares them.
Json states_json(std::uint64_t per_token, std::uint64_t fixed) {
    return {{"bytes_per_token", per_token}, {"bytes_fixed", fixed}};
}

std::string geometry_text(const Json& geometry) {
    std::vector<std::vector<std::string>> rows{{"geometry", ""}};
    for (const auto& [key, value] : geometry.items()) {
        rows.push_back({key, value.dump()});
    }
    return format_table(rows);
}

std::string states_text(const Json& states) {
    return fmt::format("states of one sequence, float32: {} per token, {} fixed\n",
                       human_bytes(states["bytes_per_token"].get<std::uint64_t>()),
                       human_bytes(states["bytes_fixed"].get<std::uint64_t>()));
}

// How much of a model one decoding step of one sequence touches: all weights but those of experts that are
// not chosen, of the embedding's other rows and of the vision tower.
Json weights_json(const models::Plan& plan, const checkpoint::Checkpoint& checkpoint) {
    std::uint64_t parameters = 0;
    std::uint64_t active = 0;
    std::uint64_t bytes = 0;
    for (const graph::TensorRow& row : plan.table.rows()) {
        const std::uint64_t elements = checked_product(row.shape);
        std::uint64_t touched = elements;
        if (row.name.starts_with("visual.")) {
            touched = 0;
        } else if (row.role == graph::Role::Expert) {
            touched = elements / plan.config.text.moe->num_experts * plan.config.text.moe->num_experts_per_tok;
        } else if (row.role == graph::Role::Embedding && !plan.tied_head) {
            touched = row.shape.back();
        }
        parameters = checked_add(parameters, elements);
        active += touched;
        const checkpoint::Tensor* codes = checkpoint::find_codes(checkpoint, row.name);
        if (codes == nullptr) {
            fail(ErrorKind::Internal, "tensor '{}' was not found missing", row.name);
        }
        bytes += touched * (codes->info.bytes * 8 / elements) / 8;
    }
    return {{"parameters", parameters}, {"active_parameters", active}, {"bytes_per_token", bytes}};
}

std::string weights_text(const Json& weights) {
    const auto count = [&](const char* key) {
        const auto value = static_cast<double>(weights[key].get<std::uint64_t>());
        return value >= 1e9 ? fmt::format("{:.1f} billion", value / 1e9) : fmt::format("{:.1f} million", value / 1e6);
    };
    return fmt::format(
        "parameters: {}, of which {} are active per token; decoding reads {} of weights per token, in the types of the "
        "checkpoint\n",
        count("parameters"), count("active_parameters"), human_bytes(weights["bytes_per_token"].get<std::uint64_t>()));
}

std::string list_text(const char* title, const Json& list) {
    if (list.empty()) {
        return {};
    }
    std::string text = fmt::format("\n{}:\n", title);
    for (const Json& item : list) {
        text += "  - " + item.get<std::string>() + "\n";
    }
    return text;
}

Inspection inspect_checkpoint(const fs::path& path) {
    const checkpoint::Checkpoint checkpoint(path);
    std::map<std::string, TypeTotal> types;
    for (const auto& [name, tensor] : checkpoint.tensors()) {
        TypeTotal& total = types[std::string(checkpoint::dtype_name(tensor.info.dtype))];
        total.tensors += 1;
        total.bytes += tensor.info.bytes;
    }
    const checkpoint::ModelConfig config =
        checkpoint::read_config(checkpoint.config_text(), (path / "config.json").string());
    const TextConfig& text = config.text;
    Json json{{"kind", "checkpoint"},
              {"model_type", config.model_type},
              {"vision", config.vision.has_value()},
              {"files", checkpoint.shard_count()},
              {"tensors", checkpoint.tensors().size()},
              {"bytes", checkpoint.tensor_bytes()},
              {"types", types_json(types)},
              {"geometry", geometry_json(text)}};
    const std::uint64_t kv = 4 * 2 * text.count(LayerKind::FullAttention) * text.num_key_value_heads * text.head_dim;
    const std::uint64_t recurrent = text.linear_num_value_heads * text.linear_key_head_dim * text.linear_value_head_dim;
    json["states"] = states_json(kv, 4 * text.count(LayerKind::LinearAttention) *
                                         (recurrent + text.conv_channels() * text.linear_conv_kernel_dim));
    json["notes"] = Json::array();
    json["problems"] = Json::array();
    try {
        const models::Plan plan = models::make_plan(checkpoint, "auto", false);
        for (const std::string& note : plan.notes) {
            json["notes"].push_back(note);
        }
        std::vector<std::string> quantization_notes;
        const auto left_outs = plan.table.check(checkpoint, &quantization_notes);
        for (const std::string& note : quantization_notes) {
            json["notes"].push_back(note);
        }
        for (const auto& left_out : left_outs) {
            json["notes"].push_back(fmt::format("an export leaves out: {}, {} tensors, {}", left_out.why,
                                                left_out.tensors, human_bytes(left_out.bytes)));
        }
        json["tied_head"] = plan.tied_head;
        json["weights"] = weights_json(plan, checkpoint);
    } catch (const Error& error) {
        json["problems"].push_back(error.what());
    }
    Inspection result;
    result.complete = json["problems"].empty();
    result.json = json.dump(2);
    result.text = fmt::format("checkpoint of a '{}' model{}: {} tensors in {} files, {}\n\n{}\n{}\n{}",
                              config.model_type, config.vision ? " with vision" : "", checkpoint.tensors().size(),
                              checkpoint.shard_count(), human_bytes(checkpoint.tensor_bytes()),
                              types_text(json["types"]), geometry_text(json["geometry"]), states_text(json["states"]));
    if (json.contains("weights")) {
        result.text += weights_text(json["weights"]);
    }
    result.text += list_text("notes", json["notes"]) + list_text("problems", json["problems"]);
    return result;
}

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
Json ports_json(const Ports& ports) {
    Json json = Json::array();
    for (const auto& port : ports) {
        json.push_back(fmt::format("{} {} {}", port.get_names().empty() ? std::string("?") : port.get_any_name(),
                                   port.get_element_type().get_type_name(), port.get_partial_shape().to_string()));
    }
    return json;
}

// The operations that read a weight, past those that widen it.
void collect_readers(const ov::Output<const ov::Node>& value, std::vector<const ov::Node*>& readers) {
    for (const auto& input : value.get_target_inputs()) {
        const ov::Node* node = input.get_node();
        const std::string_view type = node->get_type_name();
        const bool widens = type == "Convert" || type == "Subtract" || type == "Multiply" || type == "Reshape";
        if (widens && node->get_output_partial_shape(0).is_static()) {
            collect_readers(node->output(0), readers);
        } else {
            readers.push_back(node);
        }
    }
}

// Bytes of a constant that one decoding step of one sequence reads: one row of a table that is only looked
// up, `chosen` of the experts in a stack of them.
std::uint64_t bytes_per_token(const ov::op::v0::Constant& constant, std::uint64_t chosen) {
    constexpr std::uint64_t kSmall = 1u << 16;
    const std::uint64_t bytes = constant.get_byte_size();
    if (constant.get_shape().size() < 2 || bytes < kSmall) {
        return bytes;
    }
    std::vector<const ov::Node*> readers;
    collect_readers(constant.output(0), readers);
    const auto all = [&](std::string_view type) {
        return std::all_of(readers.begin(), readers.end(),
                           [&](const ov::Node* node) { return node->get_type_name() == type; });
    };
    if (all("Gather")) {
        return bytes / constant.get_shape()[0];
    }
    if (chosen > 0 && all("MatMul") && readers.front()->get_input_partial_shape(1).size() == 3) {
        return bytes / constant.get_shape()[0] * chosen;
    }
    return bytes;
}

Json model_json(const ov::Model& model) {
    std::map<std::string, TypeTotal> types;
    std::uint64_t chosen = 0;
    std::uint64_t per_token_bytes = 0;
    for (const auto& node : model.get_ordered_ops()) {
        if (const auto router = ov::as_type_ptr<ov::op::v11::TopK>(node)) {
            chosen = router->get_k();
        }
    }
    for (const auto& node : model.get_ordered_ops()) {
        if (const auto constant = ov::as_type_ptr<ov::op::v0::Constant>(node)) {
            TypeTotal& total = types[constant->get_element_type().get_type_name()];
            total.tensors += 1;
            total.bytes += constant->get_byte_size();
            per_token_bytes += bytes_per_token(*constant, chosen);
        }
    }
    Json json{
        {"inputs", ports_json(model.inputs())}, {"outputs", ports_json(model.outputs())}, {"types", types_json(types)}};
    if (!model.get_variables().empty()) {
        json["weight_bytes_per_token"] = per_token_bytes;
    }
    std::uint64_t per_token = 0;
    std::uint64_t fixed = 0;
    for (const auto& variable : model.get_variables()) {
        const ov::op::util::VariableInfo& info = variable->get_info();
        bool grows = false;
        const std::uint64_t bytes = state_elements(info, grows) * info.data_type.bitwidth() / 8;
        (grows ? per_token : fixed) += bytes;
    }
    if (!model.get_variables().empty()) {
        json["states"] = states_json(per_token, fixed);
        json["states"]["variables"] = model.get_variables().size();
    }
    return json;
}

// How a directory was made, from openvino_config.json. Directories of other exporters have the file only when
// they are compressed, and lack our part of it.
Json origin_json(const fs::path& path) {
    std::error_code error;
    const fs::path file = path / exporter::kOriginFile;
    Json origin{{"dtype", nullptr}, {"quantization_config", nullptr}, {"deltavino", nullptr}};
    if (fs::exists(file, error)) {
        const Json json = parse_json(read_text_file(file), file.string());
        for (auto& [key, value] : origin.items()) {
            value = json.is_object() && json.contains(key) ? json[key] : Json(nullptr);
        }
    }
    return origin;
}

std::string origin_text(const Json& origin) {
    std::string text;
    const Json& own = origin["deltavino"];
    if (own.is_object()) {
        Problems problems;
        const JsonReader reader(own, "/deltavino", problems);
        const std::string revision = reader.text("source_revision", "");
        text += fmt::format("made by deltavino {} (OpenVINO {}) from '{}'{}, for {}; weights: {}\n",
                            reader.text("version", "?"), reader.text("openvino_version", "?"),
                            reader.text("source", "?"), revision.empty() ? "" : " at " + revision,
                            reader.text("task", "?"), reader.text("weight_format", "?"));
        if (own.contains("recipe") && own["recipe"].is_array()) {
            for (const Json& sentence : own["recipe"]) {
                text += sentence.is_string() ? "  " + sentence.get<std::string>() + "\n" : std::string();
            }
        }
        problems.throw_if_any(ErrorKind::Input, fmt::format("cannot read '{}'", exporter::kOriginFile));
    }
    if (!own.is_object() && !origin["quantization_config"].is_null()) {
        text += fmt::format("quantization_config: {}\n", origin["quantization_config"].dump());
    }
    return text;
}

Inspection inspect_exported(const fs::path& path) {
    ov::Core core;
    Json json{{"kind", "exported"}, {"origin", origin_json(path)}, {"models", Json::object()}};
    std::string text = fmt::format("exported OpenVINO model '{}'\n{}", path.string(), origin_text(json["origin"]));
    std::vector<fs::path> files;
    for (const fs::directory_entry& entry : fs::directory_iterator(path)) {
        if (entry.path().extension() == ".xml") {
            files.push_back(entry.path());
        }
    }
    std::sort(files.begin(), files.end());
    for (const fs::path& file : files) {
        const std::string name = file.stem().string();
        const bool tokenizer = name == graph::names::kTokenizer || name == graph::names::kDetokenizer;
        if (tokenizer) {
            json["models"][name] = Json::object();  // needs the tokenizers extension to be read
            continue;
        }
        if (!is_there(fs::path(file).replace_extension(".bin"))) {
            json["models"][name] = nullptr;  // named below among the missing files
            continue;
        }
        require_readable_model(file);
        try {
            json["models"][name] = model_json(*core.read_model(file));
        } catch (const std::exception& failure) {
            fail(ErrorKind::Input, "cannot read '{}': {}", file.string(), failure.what());
        }
        const Json& model = json["models"][name];
        text += fmt::format("\n{}\n", name);
        for (const char* side : {"inputs", "outputs"}) {
            for (const Json& port : model[side]) {
                text += fmt::format("  {} {}\n", side == std::string_view("inputs") ? "in " : "out",
                                    port.get<std::string>());
            }
        }
        text += types_text(model["types"]) + (model.contains("states") ? states_text(model["states"]) : std::string());
        if (model.contains("weight_bytes_per_token")) {
            text += fmt::format("decoding reads {} of weights per token\n",
                                human_bytes(model["weight_bytes_per_token"].get<std::uint64_t>()));
        }
    }
    const std::vector<exporter::MissingFile> missing = exporter::missing_files(path);
    json["missing"] = Json::array();
    bool required = false;
    for (const exporter::MissingFile& file : missing) {
        json["missing"].push_back(fmt::format("{}: {}", file.name, file.consequence));
        required = required || file.required;
    }
    Inspection result;
    result.complete = !required;
    result.json = json.dump(2);
    result.text = text + list_text("missing", json["missing"]);
    return result;
}

Inspection unguarded(const fs::path& path) {
    std::error_code error;
    if (!fs::is_directory(path, error)) {
        fail(ErrorKind::Input, "cannot inspect '{}': no such folder", path.string());
    }
    for (const char* name : {graph::names::kTextModel, graph::names::kLanguageModel, graph::names::kTextEmbeddings,
                             graph::names::kVisionEmbeddings}) {
        if (fs::exists(path / (std::string(name) + ".xml"), error)) {
            return inspect_exported(path);
        }
    }
    return inspect_checkpoint(path);
}

}  // namespace

Inspection inspect(const fs::path& path) {
    return guarded("cannot inspect", [&]() { return unguarded(path); });
}

}  // namespace deltavino
