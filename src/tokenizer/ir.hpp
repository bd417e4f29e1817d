// Builds the tokenizer and detokenizer models that openvino_genai and OpenVINO Model Server load.
//
// The operators are those of openvino_tokenizers; this program writes them without having the library.
// GenAI edits the graphs when it loads them, so their shape is part of the contract: see ir.cpp.
#pragma once

#include "graph/ir_writer.hpp"

#include <openvino/core/model.hpp>

#include <cstdint>
#include <filesystem>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

namespace deltavino::tokenizer {

// Where shorter texts of a batch are filled up.
enum class Padding { Left, Right };

struct TokenizerModels {
    // texts [batch] -> input_ids, attention_mask [batch, tokens], i64, padded on one side.
    std::shared_ptr<ov::Model> tokenizer;
    // ids [batch, tokens] -> string_output [batch].
    std::shared_ptr<ov::Model> detokenizer;
    graph::RuntimeInfo tokenizer_info;
    graph::RuntimeInfo detokenizer_info;
    std::map<std::string, std::int64_t> added;  // ids of the added tokens
    std::vector<std::string> notes;             // one sentence each
};

// Reads tokenizer.json, tokenizer_config.json, the chat template and the token ids of a checkpoint.
// Throws ErrorKind::Input or ErrorKind::Unsupported with everything that is wrong. `embedding_rows`: how many
// ids the model can take; ids beyond it are an error where every prompt uses them, else a note. Empty: unknown.
TokenizerModels build_tokenizer_models(const std::filesystem::path& checkpoint_directory,
                                       std::optional<std::uint64_t> embedding_rows = std::nullopt,
                                       Padding padding = Padding::Left);

}  // namespace deltavino::tokenizer
