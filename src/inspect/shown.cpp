// An inspection as text and as JSON.
#include "base/guard.hpp"
#include "base/text.hpp"
#include "inspect/inspections.hpp"
#include "json/document.hpp"

#include <fmt/format.h>

namespace deltavino {
namespace {

// --- JSON

Json types_json(const TypeTotals& types) {
    Json json = Json::object();
    for (const auto& [type, total] : types) {
        json[type] = {{"tensors", total.tensors}, {"bytes", total.bytes}};
    }
    return json;
}

Json number_json(const GeometryFact& fact) {
    return fact.integral ? Json(static_cast<std::uint64_t>(fact.value)) : Json(fact.value);
}

Json states_json(const StateBytes& states) {
    Json json{{"bytes_per_token", states.per_token}, {"bytes_fixed", states.fixed}};
    if (states.variables > 0) {
        json["variables"] = states.variables;
    }
    return json;
}

Json checkpoint_json(const CheckpointFacts& facts) {
    Json geometry = Json::object();
    for (const GeometryFact& fact : facts.geometry) {
        geometry[fact.name] = number_json(fact);
    }
    Json json{{"kind", "checkpoint"},
              {"model_type", facts.model_type},
              {"vision", facts.vision},
              {"files", facts.files},
              {"tensors", facts.tensors},
              {"bytes", facts.bytes},
              {"types", types_json(facts.types)},
              {"geometry", std::move(geometry)},
              {"states", states_json(facts.states)},
              {"notes", facts.notes},
              {"problems", facts.problems}};
    if (facts.tied_head) {
        json["tied_head"] = *facts.tied_head;
    }
    if (facts.weights) {
        json["weights"] = {{"parameters", facts.weights->parameters},
                           {"active_parameters", facts.weights->active_parameters},
                           {"bytes_per_token", facts.weights->bytes_per_token}};
    }
    return json;
}

std::string port_text(const Port& port) {
    return fmt::format("{} {} {}", port.name, port.type, port.shape);
}

Json ports_json(const std::vector<Port>& ports) {
    Json json = Json::array();
    for (const Port& port : ports) {
        json.push_back(port_text(port));
    }
    return json;
}

Json model_json(const ModelFile& model) {
    switch (model.content) {
        case ModelFile::Content::LacksBin: return nullptr;
        case ModelFile::Content::NeedsTokenizers: return Json::object();
        case ModelFile::Content::Read: break;
    }
    const ModelFacts& facts = model.facts;
    Json json{{"inputs", ports_json(facts.inputs)},
              {"outputs", ports_json(facts.outputs)},
              {"types", types_json(facts.types)}};
    if (facts.states) {
        json["states"] = states_json(*facts.states);
    }
    if (facts.bytes_per_token) {
        json["weight_bytes_per_token"] = *facts.bytes_per_token;
    }
    return json;
}

Json directory_json(const DirectoryFacts& facts) {
    Json origin{{"dtype", nullptr}, {"quantization_config", nullptr}, {"deltavino", nullptr}};
    const Json config = parse_json(facts.origin.config_json, "openvino_config.json");
    for (auto& [key, value] : origin.items()) {
        value = config.is_object() && config.contains(key) ? config[key] : Json(nullptr);
    }
    Json models = Json::object();
    for (const ModelFile& model : facts.models) {
        models[model.name] = model_json(model);
    }
    return {{"kind", "exported"}, {"origin", origin}, {"models", models}, {"missing", facts.missing}};
}

Json memory_json(const DeviceMemory& memory) {
    Json contexts = Json::array();
    for (const ContextBytes& context : memory.contexts) {
        contexts.push_back({{"tokens", context.tokens}, {"f16", context.f16}, {"u8", context.u8}});
    }
    return {{"device", memory.device},
            {"weights_in_files", memory.weights_in_files},
            {"weights", memory.weights},
            {"widened_experts", memory.widened_experts},
            {"fixed_states", memory.fixed_states},
            {"contexts", std::move(contexts)},
            {"largest_buffer", {{"what", memory.largest_buffer}, {"bytes", memory.largest_bytes}}},
            {"buffer_limit", memory.buffer_limit == 0 ? Json(nullptr) : Json(memory.buffer_limit)}};
}

// --- text

std::string types_text(const TypeTotals& types) {
    std::vector<std::vector<std::string>> rows{{"type", "tensors", "size"}};
    for (const auto& [type, total] : types) {
        rows.push_back({type, std::to_string(total.tensors), human_bytes(total.bytes)});
    }
    return format_table(rows);
}

std::string geometry_text(const std::vector<GeometryFact>& geometry) {
    std::vector<std::vector<std::string>> rows{{"geometry", ""}};
    for (const GeometryFact& fact : geometry) {
        rows.push_back({fact.name, number_json(fact).dump()});
    }
    return format_table(rows);
}

std::string states_text(const StateBytes& states) {
    return fmt::format("states of one sequence, float32: {} per token, {} fixed\n", human_bytes(states.per_token),
                       human_bytes(states.fixed));
}

std::string count_text(std::uint64_t count) {
    const auto value = static_cast<double>(count);
    return value >= 1e9 ? fmt::format("{:.1f} billion", value / 1e9) : fmt::format("{:.1f} million", value / 1e6);
}

std::string list_text(const char* title, const std::vector<std::string>& list) {
    std::string text = list.empty() ? std::string() : fmt::format("\n{}:\n", title);
    for (const std::string& item : list) {
        text += "  - " + item + "\n";
    }
    return text;
}

std::string checkpoint_text(const CheckpointFacts& facts) {
    std::string text =
        fmt::format("checkpoint of a '{}' model{}: {} tensors in {} files, {}\n\n{}\n{}\n{}", facts.model_type,
                    facts.vision ? " with vision" : "", facts.tensors, facts.files, human_bytes(facts.bytes),
                    types_text(facts.types), geometry_text(facts.geometry), states_text(facts.states));
    if (facts.weights) {
        text += fmt::format(
            "parameters: {}, of which {} are active per token; decoding reads {} of weights per token, "
            "in the types of the checkpoint\n",
            count_text(facts.weights->parameters), count_text(facts.weights->active_parameters),
            human_bytes(facts.weights->bytes_per_token));
    }
    return text + list_text("notes", facts.notes) + list_text("problems", facts.problems);
}

std::string origin_text(const OriginFacts& origin) {
    if (origin.own) {
        std::string text = fmt::format("made by deltavino {} (OpenVINO {}) from '{}'{}, for {}; weights: {}\n",
                                       origin.version, origin.openvino_version, origin.source,
                                       origin.source_revision.empty() ? "" : " at " + origin.source_revision,
                                       origin.task, origin.weight_format);
        for (const std::string& sentence : origin.recipe) {
            text += "  " + sentence + "\n";
        }
        return text;
    }
    const Json config = parse_json(origin.config_json, "openvino_config.json");
    const bool quantized = config.is_object() && config.contains("quantization_config");
    return quantized && !config["quantization_config"].is_null()
               ? fmt::format("quantization_config: {}\n", config["quantization_config"].dump())
               : std::string();
}

std::string model_text(const ModelFile& model) {
    const ModelFacts& facts = model.facts;
    std::string text = fmt::format("\n{}\n", model.name);
    for (const Port& port : facts.inputs) {
        text += fmt::format("  in  {}\n", port_text(port));
    }
    for (const Port& port : facts.outputs) {
        text += fmt::format("  out {}\n", port_text(port));
    }
    text += types_text(facts.types) + (facts.states ? states_text(*facts.states) : std::string());
    if (facts.bytes_per_token) {
        text += fmt::format("decoding reads {} of weights per token\n", human_bytes(*facts.bytes_per_token));
    }
    return text;
}

std::string memory_text(const DeviceMemory& memory) {
    std::string text = fmt::format("\nmemory on a {}: weights {} (in files {}), states {} for each sequence\n",
                                   memory.device, human_bytes(memory.weights), human_bytes(memory.weights_in_files),
                                   human_bytes(memory.fixed_states));
    if (memory.widened_experts > 0) {
        text += fmt::format("GPUs without a matrix engine widen the experts to f16: {} more\n",
                            human_bytes(memory.widened_experts));
    }
    std::vector<std::vector<std::string>> rows{{"tokens", "keys and values, f16", "u8", "in all, f16", "u8"}};
    const std::uint64_t rest = memory.weights + memory.fixed_states;
    for (const ContextBytes& context : memory.contexts) {
        rows.push_back({std::to_string(context.tokens), human_bytes(context.f16), human_bytes(context.u8),
                        human_bytes(rest + context.f16), human_bytes(rest + context.u8)});
    }
    text += format_table(rows);
    text += fmt::format("largest buffer: {}, {}", human_bytes(memory.largest_bytes), memory.largest_buffer);
    if (memory.buffer_limit > 0) {
        const bool over = memory.largest_bytes >= memory.buffer_limit;
        text += fmt::format("; {} that older drivers allow in one buffer is {}",
                            over ? "TOO MUCH, the most" : "the most", human_bytes(memory.buffer_limit));
    }
    return text + "\n";
}

std::string directory_text(const DirectoryFacts& facts) {
    std::string text = fmt::format("exported OpenVINO model '{}'\n{}", facts.path, origin_text(facts.origin));
    for (const ModelFile& model : facts.models) {
        text += model.content == ModelFile::Content::Read ? model_text(model) : std::string();
    }
    return text + list_text("missing", facts.missing);
}

}  // namespace

std::string Inspection::text() const {
    return guarded("cannot show the inspection", [&]() {
        const std::string text = checkpoint  ? checkpoint_text(*checkpoint)
                                 : directory ? directory_text(*directory)
                                             : std::string();
        return memory ? text + memory_text(*memory) : text;
    });
}

std::string Inspection::json() const {
    return guarded("cannot show the inspection", [&]() {
        Json json = checkpoint ? checkpoint_json(*checkpoint) : directory ? directory_json(*directory) : Json::object();
        if (memory) {
            json["memory"] = memory_json(*memory);
        }
        return json.dump(2);
    });
}

}  // namespace deltavino
