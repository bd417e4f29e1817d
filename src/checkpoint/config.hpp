// The geometry of a model, read from config.json.
//
// Source of truth: transformers 5.2 `Qwen3_5TextConfig`, `Qwen3_5MoeTextConfig`, `Qwen3_5VisionConfig`,
// `Qwen3NextConfig`. Field names are the keys of config.json. The text fields are looked up in
// `text_config` first and at the top level when there is none, because every training stack nests
// them differently.
#pragma once

#include <deltavino/error.hpp>

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace deltavino::checkpoint {

enum class LayerKind { LinearAttention, FullAttention };

// YaRN: frequencies that turn less than beta_slow times within the original length are divided by `factor`,
// those that turn more than beta_fast times are kept, between them the change is gradual.
struct YarnConfig {
    double factor = 1.0;
    double attention_factor = 1.0;  // of cos and sin
    double original_max_position_embeddings = 0.0;
    double beta_fast = 32.0;
    double beta_slow = 1.0;
    bool truncate = true;  // the ends of the change are whole frequencies
};

struct RopeConfig {
    double rope_theta = 0.0;
    std::uint64_t rotary_dims = 0;             // head_dim * partial_rotary_factor: even, the rest is not rotated
    std::vector<std::uint64_t> mrope_section;  // temporal, height, width: counts of frequencies; may be empty
    bool mrope_interleaved = true;
    std::optional<YarnConfig> yarn;
};

// The activation of the gate in the norm after the delta rule (output_gate_type).
enum class GateActivation { Silu, Sigmoid };

struct MoeConfig {
    std::uint64_t num_experts = 0;
    std::uint64_t num_experts_per_tok = 0;
    std::uint64_t moe_intermediate_size = 0;
    std::uint64_t shared_expert_intermediate_size = 0;
    bool norm_topk_prob = true;
};

struct TextConfig {
    std::string model_type;  // the text_type of a row of families.hpp
    std::uint64_t vocab_size = 0;
    std::uint64_t hidden_size = 0;
    std::uint64_t num_hidden_layers = 0;
    std::uint64_t intermediate_size = 0;  // dense layers only
    std::uint64_t num_attention_heads = 0;
    std::uint64_t num_key_value_heads = 0;
    std::uint64_t head_dim = 0;
    std::uint64_t linear_num_key_heads = 0;
    std::uint64_t linear_num_value_heads = 0;
    std::uint64_t linear_key_head_dim = 0;
    std::uint64_t linear_value_head_dim = 0;
    std::uint64_t linear_conv_kernel_dim = 0;
    std::uint64_t max_position_embeddings = 0;
    std::uint64_t mtp_num_hidden_layers = 0;
    bool mtp_use_dedicated_embeddings = false;
    double rms_norm_eps = 1e-6;
    bool tie_word_embeddings = false;
    GateActivation output_gate = GateActivation::Silu;
    std::vector<LayerKind> layer_types;
    RopeConfig rope;
    std::optional<MoeConfig> moe;

    std::uint64_t count(LayerKind kind) const;
    // Channels of the short convolution: queries, keys and values of one token.
    std::uint64_t conv_channels() const {
        return 2 * linear_num_key_heads * linear_key_head_dim + linear_num_value_heads * linear_value_head_dim;
    }
};

struct VisionConfig {
    std::uint64_t depth = 0;
    std::uint64_t hidden_size = 0;
    std::uint64_t intermediate_size = 0;
    std::uint64_t num_heads = 0;
    std::uint64_t in_channels = 3;
    std::uint64_t patch_size = 16;
    std::uint64_t spatial_merge_size = 2;
    std::uint64_t temporal_patch_size = 2;
    std::uint64_t out_hidden_size = 0;
    std::uint64_t num_position_embeddings = 0;
};

struct ModelConfig {
    std::string model_type;  // of the top level
    TextConfig text;
    std::optional<VisionConfig> vision;
    // Why the tower of `vision` cannot be built, which matters to tasks with pictures only.
    std::optional<Error> vision_refusal;
    bool tie_flags_differ = false;   // tie_word_embeddings stands at two levels, with two values
    std::string quantization;        // what config.json says, for example "gptq (4 bits, desc_act)"; may be empty
    std::vector<std::string> notes;  // choices that a user may want to know, one sentence each
};

// Throws ErrorKind::Input with every key that is missing, of the wrong type or contradictory (as JSON
// pointers), ErrorKind::Unsupported for a model_type or an option that is not handled.
ModelConfig read_config(std::string_view config_json, const std::string& path);

}  // namespace deltavino::checkpoint
