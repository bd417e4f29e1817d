// Every name in an exported directory that other programs look up. Changing one breaks a consumer.
#pragma once

namespace deltavino::graph::names {

// Files (openvino_genai, optimum-intel, OVMS).
inline constexpr const char* kTextModel = "openvino_model";
inline constexpr const char* kLanguageModel = "openvino_language_model";
inline constexpr const char* kTextEmbeddings = "openvino_text_embeddings_model";
inline constexpr const char* kVisionEmbeddings = "openvino_vision_embeddings_model";
inline constexpr const char* kVisionPositions = "openvino_vision_embeddings_pos_model";
inline constexpr const char* kVisionMerger = "openvino_vision_embeddings_merger_model";
inline constexpr const char* kPredictionModel = "openvino_mtp_model";
inline constexpr const char* kTokenizer = "openvino_tokenizer";
inline constexpr const char* kDetokenizer = "openvino_detokenizer";

// Inputs and outputs: tensor name and friendly name alike.
inline constexpr const char* kInputIds = "input_ids";
inline constexpr const char* kInputsEmbeds = "inputs_embeds";
inline constexpr const char* kAttentionMask = "attention_mask";
inline constexpr const char* kPositionIds = "position_ids";
inline constexpr const char* kBeamIdx = "beam_idx";
inline constexpr const char* kLogits = "logits";
// Of the models around the language model, and of the prediction model.
inline constexpr const char* kInput = "input";
inline constexpr const char* kHiddenStates = "hidden_states";
inline constexpr const char* kRotary = "rotary_pos_emb";
inline constexpr const char* kLastHiddenState = "last_hidden_state";

// States: optimum-intel and the NPU plugin match the spelling 'cache_params.past.<kind>.<i>' +
// 'cache_params.present.<kind>.<i>', GenAI the shape of the initialiser. A model of full attention alone has
// 'past_key_values.<i>.<kind>' + 'present_key_values.<i>.<kind>'.
inline constexpr const char* kConvState = "conv";
inline constexpr const char* kRecurrentState = "ssm";
inline constexpr const char* kKeyState = "key";
inline constexpr const char* kValueState = "value";

}  // namespace deltavino::graph::names
