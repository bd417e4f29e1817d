// The small files beside the models: configuration, tokenizer, chat template.
#pragma once

#include "checkpoint/config.hpp"
#include "models/registry.hpp"

#include <filesystem>
#include <string>
#include <vector>

namespace deltavino::exporter {

// Copies what consumers read, when the checkpoint has it, and makes the chat template available in
// both places where they look (chat_template.jinja and tokenizer_config.json), spelled so that it renders in
// openvino_genai as in transformers. Returns notes about the template. generation_config.json is not among them.
std::vector<std::string> copy_side_files(const std::filesystem::path& checkpoint, const std::filesystem::path& output);

// tokenizer_config.json as OVMS reads it of rerankers: a query and a document are one text, without special tokens of
// other families between them.
void join_pairs(const std::filesystem::path& output);

// config.json of a text-only export: the text part as a valid top-level config of the class that `task` has in
// families.hpp.
std::string text_config_json(const std::string& config_json, const checkpoint::ModelConfig& config, bool tied,
                             models::Task task = models::Task::TextGeneration);

// qwen3_5 or qwen3_5_moe: the names by which GenAI and optimum-intel choose their classes, whatever
// generation the checkpoint calls itself.
std::string vision_model_type(const checkpoint::ModelConfig& config);

// config.json of a vision-language export: the checkpoint's own, with the names and flags that belong
// to the exported model.
std::string vision_config_json(const std::string& config_json, const checkpoint::ModelConfig& config, bool tied);

}  // namespace deltavino::exporter
