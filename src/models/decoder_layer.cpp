#include "models/decoder_layer.hpp"

#include "blocks/mlp.hpp"
#include "blocks/moe.hpp"
#include "blocks/norm.hpp"
#include "checkpoint/families.hpp"
#include "models/moe_tensors.hpp"
#include "models/qwen3_next_tensors.hpp"

namespace deltavino::models {

using namespace graph;
using checkpoint::LayerKind;
using checkpoint::TextConfig;

namespace {

void add_mixer_tensors(TensorTable& table, const TextConfig& c, const std::string& layer, LayerKind kind) {
    const std::uint64_t hidden = c.hidden_size;
    if (kind == LayerKind::FullAttention) {
        const std::string p = layer + "self_attn.";
        const std::uint64_t queries = c.num_attention_heads * c.head_dim;
        const std::uint64_t keys = c.num_key_value_heads * c.head_dim;
        table.add(p + "q_proj.weight", {2 * queries, hidden},
                  Role::AttentionProjection);  // query and gate of each head
        table.add(p + "k_proj.weight", {keys, hidden}, Role::AttentionProjection);
        table.add(p + "v_proj.weight", {keys, hidden}, Role::AttentionProjection);
        table.add(p + "o_proj.weight", {hidden, queries}, Role::AttentionProjection);
        table.add(p + "q_norm.weight", {c.head_dim}, Role::Vector);
        table.add(p + "k_norm.weight", {c.head_dim}, Role::Vector);
        return;
    }
    const std::string p = layer + "linear_attn.";
    const std::uint64_t heads = c.linear_num_value_heads;
    const std::uint64_t values = heads * c.linear_value_head_dim;
    if (checkpoint::require_family(c.model_type).interleaved_projections) {
        add_interleaved_projections(table, c, p);
    } else {
        table.add(p + "in_proj_qkv.weight", {c.conv_channels(), hidden}, Role::DeltaProjection);
        table.add(p + "in_proj_z.weight", {values, hidden}, Role::DeltaProjection);
        table.add(p + "in_proj_b.weight", {heads, hidden}, Role::DecayProjection);
        table.add(p + "in_proj_a.weight", {heads, hidden}, Role::DecayProjection);
    }
    table.add(p + "conv1d.weight", {c.conv_channels(), 1, c.linear_conv_kernel_dim}, Role::Convolution);
    table.add(p + "dt_bias", {heads}, Role::Vector);
    table.add(p + "A_log", {heads}, Role::Vector);
    table.add(p + "norm.weight", {c.linear_value_head_dim}, Role::Vector);
    table.add(p + "out_proj.weight", {hidden, values}, Role::DeltaProjection);
}

void add_feed_forward_tensors(TensorTable& table, const TextConfig& c, const std::string& layer) {
    const std::string p = layer + "mlp.";
    table.add(p + "gate_proj.weight", {c.intermediate_size, c.hidden_size}, Role::FeedForward);
    table.add(p + "up_proj.weight", {c.intermediate_size, c.hidden_size}, Role::FeedForward);
    table.add(p + "down_proj.weight", {c.hidden_size, c.intermediate_size}, Role::FeedForward);
}

}  // namespace

void add_layer_tensors(TensorTable& table, const TextConfig& config, const std::string& layer, LayerKind kind,
                       const checkpoint::Checkpoint& checkpoint) {
    table.add(layer + "input_layernorm.weight", {config.hidden_size}, Role::Vector);
    add_mixer_tensors(table, config, layer, kind);
    table.add(layer + "post_attention_layernorm.weight", {config.hidden_size}, Role::Vector);
    if (config.moe) {
        add_moe_tensors(table, config, layer, checkpoint);
    } else {
        add_feed_forward_tensors(table, config, layer);
    }
}

Value decoder_layer(const Value& x, const Scope& layer, const TextConfig& config,
                    const std::function<Value(const Value& normed)>& mixer) {
    const std::string name = layer.path("input_layernorm.weight");
    const std::string path = name.substr(0, name.rfind('.'));
    const Value mixed = mixer(blocks::zero_centred_norm(x, layer, "input_layernorm", config.rms_norm_eps, 3));
    const Value half = named(add(x, mixed), path + "/mixer_residual");
    const Value normed = blocks::zero_centred_norm(half, layer, "post_attention_layernorm", config.rms_norm_eps, 3);
    const Value forwarded =
        config.moe ? blocks::mixture_of_experts(normed, layer / "mlp", config) : blocks::swiglu(normed, layer / "mlp");
    return named(add(half, forwarded), path + "/residual");
}

}  // namespace deltavino::models
