// What a checkpoint holds, from its config.json and the headers of its files.
#include "checkpoint/checkpoint.hpp"
#include "base/checked.hpp"
#include "base/error.hpp"
#include "base/text.hpp"
#include "inspect/inspections.hpp"
#include "models/plan.hpp"

namespace deltavino::inspection {
namespace {

using checkpoint::LayerKind;
using checkpoint::TextConfig;

std::vector<GeometryFact> geometry_of(const TextConfig& c) {
    std::vector<GeometryFact> facts;
    const auto add = [&](const char* name, auto value) {
        facts.push_back({name, static_cast<double>(value), std::is_integral_v<decltype(value)>});
    };
    add("vocab_size", c.vocab_size);
    add("hidden_size", c.hidden_size);
    add("num_hidden_layers", c.num_hidden_layers);
    add("linear_attention_layers", c.count(LayerKind::LinearAttention));
    add("full_attention_layers", c.count(LayerKind::FullAttention));
    add("num_attention_heads", c.num_attention_heads);
    add("num_key_value_heads", c.num_key_value_heads);
    add("head_dim", c.head_dim);
    add("rotary_dims", c.rope.rotary_dims);
    add("rope_theta", c.rope.rope_theta);
    add("linear_num_key_heads", c.linear_num_key_heads);
    add("linear_num_value_heads", c.linear_num_value_heads);
    add("linear_key_head_dim", c.linear_key_head_dim);
    add("linear_value_head_dim", c.linear_value_head_dim);
    add("linear_conv_kernel_dim", c.linear_conv_kernel_dim);
    add("max_position_embeddings", c.max_position_embeddings);
    if (c.moe) {
        add("num_experts", c.moe->num_experts);
        add("num_experts_per_tok", c.moe->num_experts_per_tok);
        add("moe_intermediate_size", c.moe->moe_intermediate_size);
        add("shared_expert_intermediate_size", c.moe->shared_expert_intermediate_size);
    } else {
        add("intermediate_size", c.intermediate_size);
    }
    return facts;
}

StateBytes states_of(const TextConfig& text) {
    const std::uint64_t recurrent = text.linear_num_value_heads * text.linear_key_head_dim * text.linear_value_head_dim;
    const std::uint64_t conv = text.conv_channels() * text.linear_conv_kernel_dim;
    return {4 * 2 * text.count(LayerKind::FullAttention) * text.num_key_value_heads * text.head_dim,
            4 * text.count(LayerKind::LinearAttention) * (recurrent + conv), 0};
}

DecodingWeights weights_of(const models::Plan& plan, const checkpoint::Checkpoint& checkpoint) {
    DecodingWeights weights;
    for (const graph::TensorRow& row : plan.table.rows()) {
        const std::uint64_t elements = checked_product(row.shape);
        std::uint64_t touched = elements;
        if (row.name.starts_with("visual.") || row.name.starts_with("mtp.")) {
            touched = 0;
        } else if (row.role == graph::Role::Expert) {
            touched = elements / plan.config.text.moe->num_experts * plan.config.text.moe->num_experts_per_tok;
        } else if (row.role == graph::Role::Embedding && !plan.tied_head) {
            touched = row.shape.back();
        }
        const checkpoint::Tensor* codes = checkpoint::find_codes(checkpoint, row.name);
        if (codes == nullptr) {
            fail(ErrorKind::Internal, "tensor '{}' was not found missing", row.name);
        }
        weights.parameters = checked_add(weights.parameters, elements);
        weights.active_parameters += touched;
        weights.bytes_per_token += touched * (codes->info.bytes * 8 / elements) / 8;
    }
    return weights;
}

// An export in the checkpoint's own types.
Contents contents_of(const models::Plan& plan, const checkpoint::Checkpoint& checkpoint) {
    Contents contents;
    for (const graph::TensorRow& row : plan.table.rows()) {
        const std::uint64_t elements = checked_product(row.shape);
        const checkpoint::TensorInfo& info = checkpoint::find_codes(checkpoint, row.name)->info;
        // Quantized codes are stored as integers, FP8 is widened.
        const std::uint64_t bits = info.bytes * 8 / elements;
        const bool kept = bits < 16 && !checkpoint::dtype_name(info.dtype).starts_with("F8");
        const std::uint64_t bytes = elements * bits / 8;
        // Two constants of the model.
        const std::uint64_t parts = row.name.ends_with("gate_up_proj") ? 2 : 1;
        for (std::uint64_t part = 0; part < parts; ++part) {
            contents.weights.push_back({row.name, kept ? "u8" : "f16", elements / parts, bytes / parts,
                                        row.role == graph::Role::Expert,
                                        row.role == graph::Role::Embedding && !plan.tied_head});
        }
    }
    const TextConfig& text = plan.config.text;
    for (std::uint64_t i = 0; i < text.count(LayerKind::FullAttention) + (plan.mtp ? 1 : 0); ++i) {
        for (const bool keys : {true, false}) {
            contents.growing.push_back(
                {keys ? "keys of a layer" : "values of a layer", text.num_key_value_heads, text.head_dim, keys});
        }
    }
    contents.fixed_states = states_of(text).fixed / sizeof(float);
    return contents;
}

// What an export would say before it begins.
void plan_export(const checkpoint::Checkpoint& checkpoint, CheckpointFacts& facts, Contents* contents) {
    const models::Plan plan = models::make_plan(checkpoint);
    facts.notes = plan.notes;
    const auto left_outs = plan.table.check(checkpoint, &facts.notes);
    for (const auto& left_out : left_outs) {
        facts.notes.push_back(fmt::format("an export leaves out: {}, {} tensors, {}", left_out.why, left_out.tensors,
                                          human_bytes(left_out.bytes)));
    }
    facts.weights = weights_of(plan, checkpoint);
    facts.tied_head = plan.tied_head;
    if (contents != nullptr) {
        *contents = contents_of(plan, checkpoint);
    }
}

}  // namespace

CheckpointFacts inspect_checkpoint(const std::filesystem::path& path, Contents* contents) {
    const checkpoint::Checkpoint checkpoint(path);
    const checkpoint::ModelConfig config =
        checkpoint::read_config(checkpoint.config_text(), (path / "config.json").string());
    CheckpointFacts facts;
    facts.model_type = config.model_type;
    facts.vision = config.vision.has_value();
    facts.files = checkpoint.shard_count();
    facts.tensors = checkpoint.tensors().size();
    facts.bytes = checkpoint.tensor_bytes();
    for (const auto& [name, tensor] : checkpoint.tensors()) {
        TypeTotal& total = facts.types[std::string(checkpoint::dtype_name(tensor.info.dtype))];
        total.tensors += 1;
        total.bytes += tensor.info.bytes;
    }
    facts.geometry = geometry_of(config.text);
    facts.states = states_of(config.text);
    try {
        plan_export(checkpoint, facts, contents);
    } catch (const Error& error) {
        facts.problems.push_back(error.what());
    }
    return facts;
}

}  // namespace deltavino::inspection
