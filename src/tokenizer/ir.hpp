// Builds the tokenizer and detokenizer models that openvino_genai and OpenVINO Model Server load.
//
// The operators are those of openvino_tokenizers; this program writes them without having the library.
// GenAI edits the graphs when it loads them, so their shape is part of the contract: see ir.cpp.
#pragma once

#include "graph/ir_writer.hpp"

#include <openvino/core/model.hpp>

#include <filesystem>
#include <memory>

namespace deltavino::tokenizer {

struct TokenizerModels {
    // texts [batch] -> input_ids, attention_mask [batch, tokens], i64, padded on the left.
    std::shared_ptr<ov::Model> tokenizer;
    // ids [batch, tokens] -> string_output [batch].
    std::shared_ptr<ov::Model> detokenizer;
    graph::RuntimeInfo tokenizer_info;
    graph::RuntimeInfo detokenizer_info;
};

// Reads tokenizer.json, tokenizer_config.json, the chat template and the token ids of a checkpoint.
// Throws ErrorKind::Input or ErrorKind::Unsupported with everything that is wrong.
TokenizerModels build_tokenizer_models(const std::filesystem::path& checkpoint_directory);

}  // namespace deltavino::tokenizer
