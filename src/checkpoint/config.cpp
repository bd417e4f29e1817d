#include "checkpoint/config.hpp"

#include "base/error.hpp"
#include "base/text.hpp"
#include "checkpoint/families.hpp"
#include "checkpoint/rope_config.hpp"
#include "checkpoint/unbuilt_families.hpp"
#include "json/reader.hpp"

#include <algorithm>
#include <cmath>
#include <map>

namespace deltavino::checkpoint {
namespace {

// Far above every published model: 96 layers, 512 experts, 128 heads.
constexpr std::uint64_t kMaxLayers = 4096;
constexpr std::uint64_t kMaxParts = 1u << 20;  // experts, or heads of linear attention, of all layers together

void read_layer_types(const JsonReader& reader, TextConfig& text, std::vector<std::string>& notes) {
    const Json* types = reader.find("layer_types");
    const std::string pointer = reader.pointer() + "/layer_types";
    if (types == nullptr) {
        const std::uint64_t interval = reader.size("full_attention_interval", 4);
        if (reader.find("full_attention_interval") == nullptr) {
            notes.push_back(
                "config.json has neither layer_types nor full_attention_interval: every 4th layer is taken as full "
                "attention");
        }
        for (std::uint64_t i = 0; i < text.num_hidden_layers; ++i) {
            text.layer_types.push_back((i + 1) % interval == 0 ? LayerKind::FullAttention : LayerKind::LinearAttention);
        }
        return;
    }
    if (!types->is_array() || types->size() != text.num_hidden_layers) {
        reader.problems().add(fmt::format("{} has {} entries, expected num_hidden_layers = {}", pointer,
                                          types->is_array() ? types->size() : 0, text.num_hidden_layers));
        return;
    }
    std::map<std::string, std::pair<std::size_t, std::size_t>> unknown;  // first index and count
    for (std::size_t i = 0; i < types->size(); ++i) {
        const Json& type = (*types)[i];
        if (type == "linear_attention") {
            text.layer_types.push_back(LayerKind::LinearAttention);
        } else if (type == "full_attention") {
            text.layer_types.push_back(LayerKind::FullAttention);
        } else {
            unknown.try_emplace(shown(type), i, 0).first->second.second += 1;
        }
    }
    for (const auto& [type, where] : unknown) {
        reader.problems().add(
            fmt::format("{}/{} is {} ({} layers in all), expected \"linear_attention\" or "
                        "\"full_attention\"",
                        pointer, where.first, type, where.second));
    }
}

void check_multiple(const JsonReader& reader, const char* a_key, std::uint64_t a, const char* b_key, std::uint64_t b) {
    if (b == 0 || a % b != 0) {
        reader.problems().add(
            fmt::format("{}/{} is {}, expected a multiple of {} = {}", reader.pointer(), a_key, a, b_key, b));
    }
}

void check_handled(const JsonReader& reader) {
    const std::string activation = reader.text("hidden_act", "silu");
    if (activation != "silu" && activation != "swish") {
        fail(ErrorKind::Unsupported, "cannot export this model: {}/hidden_act is '{}', expected 'silu'",
             reader.pointer(), activation);
    }
    if (reader.flag("attention_bias", false)) {
        fail(ErrorKind::Unsupported,
             "cannot export this model: {}/attention_bias is true, biases in attention are not handled",
             reader.pointer());
    }
    if (reader.find("attn_output_gate") != nullptr && !reader.flag("attn_output_gate", true)) {
        fail(ErrorKind::Unsupported,
             "cannot export this model: {}/attn_output_gate is false, only gated attention is handled",
             reader.pointer());
    }
}

GateActivation read_output_gate(const JsonReader& reader) {
    const std::string type = reader.text("output_gate_type", "silu");
    if (type == "silu" || type == "swish") {
        return GateActivation::Silu;
    }
    if (type == "sigmoid") {
        return GateActivation::Sigmoid;
    }
    fail(ErrorKind::Unsupported, "cannot export this model: {} is '{}', expected 'silu', 'swish' or 'sigmoid'",
         reader.pointer("output_gate_type"), type);
}

// What the tensor table will need memory for.
void check_parts(const JsonReader& reader, const TextConfig& text) {
    const std::uint64_t experts = text.moe ? text.moe->num_experts : 0;
    if (text.num_hidden_layers * std::max(experts, text.linear_num_value_heads) > kMaxParts) {
        reader.problems().add(
            fmt::format("{} x the larger of num_experts = {} and linear_num_value_heads = {} is "
                        "more than {}",
                        reader.pointer("num_hidden_layers"), experts, text.linear_num_value_heads, kMaxParts));
    }
}

// Short words for what config.json says about a quantized source.
std::string read_quantization(const JsonReader& top, const JsonReader& text) {
    const Json* object = nullptr;
    for (const JsonReader* reader : {&top, &text}) {
        for (const char* key : {"quantization_config", "compression_config", "quantization"}) {
            const Json* found = reader->find(key);
            object = object == nullptr && found != nullptr && found->is_object() ? found : object;
        }
    }
    if (object == nullptr) {
        return {};
    }
    const auto word = [&](const char* key) {
        const auto found = object->find(key);
        return found != object->end() && found->is_string() ? found->get<std::string>() : std::string();
    };
    const auto is = [&](const char* key) {
        const auto found = object->find(key);
        return found != object->end() && found->is_boolean() && found->get<bool>();
    };
    std::vector<std::string> details;
    for (const char* key : {"fmt", "format", "quant_algo", "packing_format"}) {
        if (const std::string value = word(key); !value.empty()) {
            details.push_back(value);
        }
    }
    if (const auto bits = object->find("bits"); bits != object->end() && bits->is_number_unsigned()) {
        details.push_back(shown(*bits) + " bits");
    }
    for (const char* key : {"desc_act", "load_in_4bit", "load_in_8bit"}) {
        if (is(key)) {
            details.emplace_back(key);
        }
    }
    std::string method = word("quant_method");
    if (method.empty()) {
        method = top.find("quantization") == object ? "mlx" : "no quant_method";
    }
    return details.empty() ? method : fmt::format("{} ({})", method, fmt::join(details, ", "));
}

MoeConfig read_moe(const JsonReader& reader, const Family& family) {
    MoeConfig moe;
    moe.num_experts = reader.size("num_experts");
    moe.num_experts_per_tok = reader.size("num_experts_per_tok");
    moe.moe_intermediate_size = reader.size("moe_intermediate_size");
    moe.shared_expert_intermediate_size = reader.size("shared_expert_intermediate_size");
    moe.norm_topk_prob = family.always_normalises_top_k || reader.flag("norm_topk_prob", true);
    if (moe.num_experts_per_tok > moe.num_experts) {
        reader.problems().add(fmt::format("{}/num_experts_per_tok is {}, expected at most num_experts = {}",
                                          reader.pointer(), moe.num_experts_per_tok, moe.num_experts));
    }
    return moe;
}

TextConfig read_text(const JsonReader& reader, const Family& family, std::vector<std::string>& notes) {
    check_handled(reader);
    TextConfig text;
    text.model_type = family.text_type;
    text.vocab_size = reader.size("vocab_size");
    text.hidden_size = reader.size("hidden_size");
    text.num_hidden_layers = reader.size("num_hidden_layers", std::nullopt, 1, kMaxLayers);
    text.num_attention_heads = reader.size("num_attention_heads");
    text.num_key_value_heads = reader.size("num_key_value_heads");
    text.head_dim = reader.size("head_dim", text.hidden_size / text.num_attention_heads);
    text.linear_num_key_heads = reader.size("linear_num_key_heads");
    text.linear_num_value_heads = reader.size("linear_num_value_heads");
    text.linear_key_head_dim = reader.size("linear_key_head_dim");
    text.linear_value_head_dim = reader.size("linear_value_head_dim");
    text.linear_conv_kernel_dim = reader.size("linear_conv_kernel_dim", 4);
    text.max_position_embeddings = reader.size("max_position_embeddings", 32768);
    text.mtp_num_hidden_layers = reader.size("mtp_num_hidden_layers", 0, 0);
    text.mtp_use_dedicated_embeddings = reader.flag("mtp_use_dedicated_embeddings", false);
    text.rms_norm_eps = reader.number("rms_norm_eps", 1e-6);
    check_multiple(reader, "linear_num_value_heads", text.linear_num_value_heads, "linear_num_key_heads",
                   text.linear_num_key_heads);
    check_multiple(reader, "num_attention_heads", text.num_attention_heads, "num_key_value_heads",
                   text.num_key_value_heads);
    if (!family.experts) {
        text.intermediate_size = reader.size("intermediate_size");
    } else {
        text.moe = read_moe(reader, family);
        if (const Json* dense = reader.find("mlp_only_layers"); dense != nullptr && !dense->empty()) {
            fail(ErrorKind::Unsupported,
                 "cannot export this model: {}/mlp_only_layers is {}, dense layers among mixture-of-experts layers are "
                 "not handled",
                 reader.pointer(), shown(*dense));
        }
        if (reader.size("decoder_sparse_step", 1) != 1) {
            fail(ErrorKind::Unsupported, "cannot export this model: {}/decoder_sparse_step is not 1", reader.pointer());
        }
    }
    text.output_gate = read_output_gate(reader);
    check_parts(reader, text);
    read_layer_types(reader, text, notes);
    read_rope(reader, text, notes);
    return text;
}

VisionConfig read_vision(const JsonReader& reader) {
    const std::string activation = reader.text("hidden_act", "gelu_pytorch_tanh");
    if (activation != "gelu_pytorch_tanh") {
        fail(ErrorKind::Unsupported, "cannot export this model: {}/hidden_act is '{}', expected 'gelu_pytorch_tanh'",
             reader.pointer(), activation);
    }
    VisionConfig vision;
    vision.depth = reader.size("depth", std::nullopt, 1, kMaxLayers);
    vision.hidden_size = reader.size("hidden_size");
    vision.intermediate_size = reader.size("intermediate_size");
    vision.num_heads = reader.size("num_heads");
    vision.in_channels = reader.size("in_channels", 3);
    vision.patch_size = reader.size("patch_size", 16);
    vision.spatial_merge_size = reader.size("spatial_merge_size", 2);
    vision.temporal_patch_size = reader.size("temporal_patch_size", 2);
    vision.out_hidden_size = reader.size("out_hidden_size");
    vision.num_position_embeddings = reader.size("num_position_embeddings");
    check_multiple(reader, "hidden_size", vision.hidden_size, "4 * num_heads", 4 * vision.num_heads);
    const auto side =
        static_cast<std::uint64_t>(std::llround(std::sqrt(static_cast<double>(vision.num_position_embeddings))));
    if (side * side != vision.num_position_embeddings) {
        reader.problems().add(fmt::format("{}/num_position_embeddings is {}, expected a square", reader.pointer(),
                                          vision.num_position_embeddings));
    }
    if (const Json* deepstack = reader.find("deepstack_visual_indexes"); deepstack != nullptr && !deepstack->empty()) {
        fail(ErrorKind::Unsupported, "cannot export this model: {}/deepstack_visual_indexes is {}, expected none",
             reader.pointer(), shown(*deepstack));
    }
    return vision;
}

void refuse_unbuilt_families(const JsonReader& top) {
    const Json* nested = top.find("text_config");
    const bool has_nested = nested != nullptr && nested->is_object() && nested->contains("model_type") &&
                            (*nested)["model_type"].is_string();
    for (const std::string& type :
         {top.text("model_type", ""), has_nested ? (*nested)["model_type"].get<std::string>() : std::string()}) {
        if (const std::string_view why = why_not_built(type); !why.empty()) {
            fail(ErrorKind::Unsupported, "cannot export this model: '{}' is not built: it has {}", type, why);
        }
    }
}

// The vision tower's part of config.json is judged on its own: text exports do not read it.
void read_vision_part(const Json& vision, const std::string& path, ModelConfig& config) {
    Problems problems;
    config.vision = VisionConfig{};
    try {
        config.vision = read_vision(JsonReader(vision, "/vision_config", problems));
        if (problems.empty() && config.vision->out_hidden_size != config.text.hidden_size) {
            problems.add(
                fmt::format("/vision_config/out_hidden_size is {}, expected the hidden_size {} of the text model",
                            config.vision->out_hidden_size, config.text.hidden_size));
        }
        problems.throw_if_any(ErrorKind::Input, fmt::format("cannot use '{}'", path));
    } catch (const Error& error) {
        config.vision_refusal = error;
    }
}

// The flag of the text model goes before the outer one; models/plan.cpp decides where they differ.
void read_tie_flags(const JsonReader& top, const JsonReader& text, ModelConfig& config) {
    const bool outer = top.flag("tie_word_embeddings", false);
    config.text.tie_word_embeddings = text.flag("tie_word_embeddings", outer);
    config.tie_flags_differ = top.has("tie_word_embeddings") && config.text.tie_word_embeddings != outer;
}

}  // namespace

std::uint64_t TextConfig::count(LayerKind kind) const {
    return static_cast<std::uint64_t>(std::count(layer_types.begin(), layer_types.end(), kind));
}

ModelConfig read_config(std::string_view config_json, const std::string& path) {
    const Json json = parse_json(config_json, path);
    if (!json.is_object()) {
        fail(ErrorKind::Input, "cannot read '{}': expected a JSON object", path);
    }
    Problems problems;
    ModelConfig config;
    const JsonReader top(json, "", problems);
    config.model_type = top.text("model_type", "");
    refuse_unbuilt_families(top);
    const Json* nested = top.find("text_config");
    if (nested != nullptr && !nested->is_object()) {
        problems.add(fmt::format("/text_config is {}, expected an object", shown(*nested)));
        nested = nullptr;
    }
    const JsonReader text = nested != nullptr ? JsonReader(*nested, "/text_config", problems) : top;
    const Family* family = find_family(text.text("model_type", config.model_type));
    if (family == nullptr) {
        family = find_family(config.model_type);
    }
    if (family == nullptr) {
        const std::string hint = closest(config.model_type, known_model_types());
        fail(ErrorKind::Unsupported, "cannot export this model: model_type in '{}' is '{}', expected one of: {}{}",
             path, config.model_type, fmt::join(known_model_types(), ", "),
             hint.empty() ? std::string() : fmt::format(" (did you mean '{}'?)", hint));
    }
    config.text = read_text(text, *family, config.notes);
    read_tie_flags(top, text, config);
    config.quantization = read_quantization(top, text);
    if (const Json* vision = top.find("vision_config");
        vision != nullptr && vision->is_object() && nested != nullptr && family->vision_type != nullptr) {
        read_vision_part(*vision, path, config);
    }
    problems.throw_if_any(ErrorKind::Input, fmt::format("cannot use '{}'", path));
    return config;
}

}  // namespace deltavino::checkpoint
