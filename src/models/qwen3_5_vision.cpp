#include "models/qwen3_5_vision.hpp"

#include "blocks/vision_block.hpp"
#include "graph/names.hpp"

#include <string>

namespace deltavino::models {

using namespace graph;
using checkpoint::VisionConfig;

namespace {

void add_biased(TensorTable& table, const std::string& module, std::vector<std::uint64_t> shape) {
    const std::uint64_t outputs = shape.front();
    table.add(module + ".weight", std::move(shape), Role::VisionProjection);
    table.add(module + ".bias", {outputs}, Role::Vector);
}

void add_norm(TensorTable& table, const std::string& module, std::uint64_t size) {
    table.add(module + ".weight", {size}, Role::Vector);
    table.add(module + ".bias", {size}, Role::Vector);
}

std::string block_prefix(std::uint64_t index) {
    return "visual.blocks." + std::to_string(index) + ".";
}

std::int64_t merged_width(const VisionConfig& config) {
    return static_cast<std::int64_t>(config.hidden_size * config.spatial_merge_size * config.spatial_merge_size);
}

// The merger's second product, its activation and their biases in f32: trained towers are reported to leave the range
// of f16 there, up to 65504, in which GPUs compute. The first product stays in f16 and gives f32. A mark on it would go
// up to the sums of the blocks, which then lose the plugin's own scaling and overflow sooner (docs/gpu.md).
Value merged_patches(const Value& x, const Scope& merger) {
    const Value inner = precise(blocks::gelu(precise(blocks::biased_linear(x, merger, "linear_fc1"))));
    const Value sum = blocks::biased_linear(inner, merger, "linear_fc2");
    precise(sum.get_node()->input_value(0));
    return precise(sum);
}

}  // namespace

void add_vision_tensors(TensorTable& table, const VisionConfig& c) {
    const std::uint64_t width = c.hidden_size;
    const auto merged = static_cast<std::uint64_t>(merged_width(c));
    add_biased(table, "visual.patch_embed.proj",
               {width, c.in_channels, c.temporal_patch_size, c.patch_size, c.patch_size});
    table.add("visual.pos_embed.weight", {c.num_position_embeddings, width}, Role::VisionTable);
    for (std::uint64_t i = 0; i < c.depth; ++i) {
        const std::string p = block_prefix(i);
        add_norm(table, p + "norm1", width);
        add_biased(table, p + "attn.qkv", {3 * width, width});
        add_biased(table, p + "attn.proj", {width, width});
        add_norm(table, p + "norm2", width);
        add_biased(table, p + "mlp.linear_fc1", {c.intermediate_size, width});
        add_biased(table, p + "mlp.linear_fc2", {width, c.intermediate_size});
    }
    add_norm(table, "visual.merger.norm", width);
    add_biased(table, "visual.merger.linear_fc1", {merged, merged});
    add_biased(table, "visual.merger.linear_fc2", {c.out_hidden_size, merged});
}

std::shared_ptr<ov::Model> build_vision_embeddings(const VisionConfig& c, Weights& weights) {
    const auto patch = static_cast<std::int64_t>(c.in_channels * c.temporal_patch_size * c.patch_size * c.patch_size);
    const auto patches = parameter(ov::element::f32, {-1, patch}, names::kHiddenStates);
    // The convolution's kernel covers a whole patch: a matrix product says the same.
    const Value embedded = blocks::biased_linear(patches, Scope(weights, "visual.patch_embed."), "proj");
    return single_output_model(embedded, names::kLastHiddenState, {patches}, "qwen3_5_vision_embeddings");
}

std::shared_ptr<ov::Model> build_vision_positions(Weights& weights) {
    const auto indices = parameter(ov::element::i64, {4, -1}, names::kInput);
    const Scope visual(weights, "visual.");
    const Value rows = gather(visual.matrix("pos_embed.weight"), convert(indices, ov::element::i32), integer32(0));
    return single_output_model(named(rows, visual.path("pos_embed.weight") + "/lookup"), names::kLastHiddenState,
                               {indices}, "qwen3_5_vision_positions");
}

std::shared_ptr<ov::Model> build_vision_merger(const VisionConfig& c, Weights& weights) {
    const auto width = static_cast<std::int64_t>(c.hidden_size);
    const auto heads = static_cast<std::int64_t>(c.num_heads);
    const auto hidden_states = parameter(ov::element::f32, {-1, width}, names::kHiddenStates);
    const auto attention_mask = parameter(ov::element::f32, {1, -1, -1}, names::kAttentionMask);
    const auto angles = parameter(ov::element::f32, {-1, width / heads / 2}, names::kRotary);

    const blocks::VisionRotary rotary = blocks::vision_rotary(angles);
    Value x = hidden_states;
    for (std::uint64_t i = 0; i < c.depth; ++i) {
        x = blocks::vision_block(x, Scope(weights, block_prefix(i)), heads, rotary, attention_mask);
    }
    const Scope merger(weights, "visual.merger.");
    const Value joined = reshape(blocks::layer_norm(x, merger, "norm"), {-1, merged_width(c)});  // [N / m^2, m^2 C]
    return single_output_model(merged_patches(joined, merger), names::kLastHiddenState,
                               {hidden_states, attention_mask, angles}, "qwen3_5_vision_merger");
}

}  // namespace deltavino::models
