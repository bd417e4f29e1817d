// The Qwen3.5 vision tower, cut into the models that GenAI, optimum-intel and OVMS run:
//
//   patches [N, 3 T P P] --vision embeddings--> [N, C]
//   corner indices [4, M] --vision positions--> [4, M, C]; the caller weighs and adds the four corners
//   sum [N, C], angles, mask --merger--> [N / m^2, out_hidden_size], the rows that replace the placeholders
//
// Source: transformers 5.2 `Qwen3_5VisionModel` (patch_embed, pos_embed, blocks, merger). N patches in
// the processor's order (those of a merged one follow each other), C hidden_size, P patch_size,
// T temporal_patch_size, m spatial_merge_size. The interpolation of positions, the rotary angles and the
// mask come from the caller: they depend on the sizes of the pictures.
#pragma once

#include "checkpoint/config.hpp"
#include "graph/tensor_table.hpp"
#include "graph/weights.hpp"

#include <openvino/core/model.hpp>

#include <memory>

namespace deltavino::models {

void add_vision_tensors(graph::TensorTable& table, const checkpoint::VisionConfig& config);

// hidden_states f32 [N, 3 T P P] -> last_hidden_state f32 [N, C]. Exactly one Parameter: GenAI puts its
// own preprocessing (from bytes to patches) in its place.
std::shared_ptr<ov::Model> build_vision_embeddings(const checkpoint::VisionConfig& config, graph::Weights& weights);

// input i64 [4, M] -> last_hidden_state f32 [4, M, C].
std::shared_ptr<ov::Model> build_vision_positions(graph::Weights& weights);

// hidden_states f32 [N, C], attention_mask f32 [1, N, N] (0 inside a picture or frame, -inf outside),
// rotary_pos_emb f32 [N, C / heads / 2] -> last_hidden_state f32 [N / m^2, out_hidden_size].
std::shared_ptr<ov::Model> build_vision_merger(const checkpoint::VisionConfig& config, graph::Weights& weights);

}  // namespace deltavino::models
