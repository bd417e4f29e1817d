#include "checkpoint/config.hpp"

#include "base/error.hpp"
#include "base/text.hpp"
#include "checkpoint/families.hpp"
#include "json/reader.hpp"

#include <algorithm>
#include <cmath>

namespace deltavino::checkpoint {
namespace {

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
    for (std::size_t i = 0; i < types->size(); ++i) {
        const Json& type = (*types)[i];
        if (type == "linear_attention") {
            text.layer_types.push_back(LayerKind::LinearAttention);
        } else if (type == "full_attention") {
            text.layer_types.push_back(LayerKind::FullAttention);
        } else {
            reader.problems().add(fmt::format("{}/{} is {}, expected \"linear_attention\" or \"full_attention\"",
                                              pointer, i, type.dump()));
        }
    }
}

// transformers 5 writes rope_parameters, 4.x wrote rope_theta and rope_scaling at the top; both may stand.
void read_rope(const JsonReader& reader, TextConfig& text, std::vector<std::string>& notes) {
    const Json empty = Json::object();
    const char* key = reader.find("rope_parameters") != nullptr ? "rope_parameters" : "rope_scaling";
    const Json* nested = reader.find(key);
    if (nested != nullptr && !nested->is_object()) {
        reader.problems().add(fmt::format("{}/{} is {}, expected an object", reader.pointer(), key, nested->dump()));
        nested = nullptr;
    }
    const JsonReader rope(nested != nullptr ? *nested : empty, reader.pointer() + "/" + key, reader.problems());

    const std::string type = rope.text("rope_type", rope.text("type", "default"));
    if (type != "default" && type != "mrope") {
        fail(ErrorKind::Unsupported,
             "cannot export this model: {}/rope_type is '{}', expected 'default' (scaled rotary positions are not "
             "handled yet)",
             rope.pointer(), type);
    }
    constexpr double kFamilyTheta = 10'000'000.0;
    double theta = reader.number("rope_theta", 0.0);
    theta = rope.number("rope_theta", theta);
    if (theta == 0.0) {
        theta = kFamilyTheta;
        notes.push_back("config.json has no rope_theta: the family's 10000000 is used");
    }
    text.rope.rope_theta = theta;
    const double factor = rope.number("partial_rotary_factor", reader.number("partial_rotary_factor", 0.25));
    const double rotary_dims = static_cast<double>(text.head_dim) * factor;
    if (factor > 1.0 || rotary_dims < 2.0 || std::fmod(std::floor(rotary_dims), 2.0) != 0.0) {
        reader.problems().add(fmt::format(
            "{}/partial_rotary_factor is {}: of head_dim {} an even number of at least 2 dims must be rotated",
            reader.pointer(), factor, text.head_dim));
        return;
    }
    text.rope.rotary_dims = static_cast<std::uint64_t>(rotary_dims);
    text.rope.mrope_interleaved = rope.flag("mrope_interleaved", true);
    if (const Json* section = rope.find("mrope_section")) {
        std::uint64_t sum = 0;
        bool right = section->is_array() && section->size() == 3;
        for (const Json& part : right ? *section : empty) {
            right = right && part.is_number_unsigned() && part.get<std::uint64_t>() <= JsonReader::kMaxSize;
            text.rope.mrope_section.push_back(right ? part.get<std::uint64_t>() : 0);
            sum += text.rope.mrope_section.back();
        }
        if (!right || sum != text.rope.rotary_dims / 2) {
            reader.problems().add(fmt::format("{}/mrope_section is {}, expected three counts that add up to {}",
                                              rope.pointer(), section->dump(), text.rope.rotary_dims / 2));
        }
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
    text.num_hidden_layers = reader.size("num_hidden_layers");
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
                 reader.pointer(), dense->dump());
        }
        if (reader.size("decoder_sparse_step", 1) != 1) {
            fail(ErrorKind::Unsupported, "cannot export this model: {}/decoder_sparse_step is not 1", reader.pointer());
        }
    }
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
    vision.depth = reader.size("depth");
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
             reader.pointer(), deepstack->dump());
    }
    return vision;
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
    const Json* nested = top.find("text_config");
    if (nested != nullptr && !nested->is_object()) {
        problems.add(fmt::format("/text_config is {}, expected an object", nested->dump()));
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
    // The text model's own flag decides; older files have it at the top level only.
    config.text.tie_word_embeddings = text.flag("tie_word_embeddings", top.flag("tie_word_embeddings", false));
    if (nested != nullptr && top.find("tie_word_embeddings") != nullptr) {
        // transformers ties the vision-language class by the outer flag.
        config.text.tie_word_embeddings = top.flag("tie_word_embeddings", false);
    }
    if (const Json* vision = top.find("vision_config");
        vision != nullptr && vision->is_object() && nested != nullptr && family->vision_type != nullptr) {
        config.vision = read_vision(JsonReader(*vision, "/vision_config", problems));
        if (config.vision->out_hidden_size != config.text.hidden_size) {
            problems.add(
                fmt::format("/vision_config/out_hidden_size is {}, expected the hidden_size {} of the text model",
                            config.vision->out_hidden_size, config.text.hidden_size));
        }
    }
    problems.throw_if_any(ErrorKind::Input, fmt::format("cannot use '{}'", path));
    return config;
}

}  // namespace deltavino::checkpoint
