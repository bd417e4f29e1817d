// The small files beside the models: configuration, tokenizer, chat template, processors.
#pragma once

#include "checkpoint/config.hpp"

#include <filesystem>
#include <string>

namespace deltavino::exporter {

// Copies what consumers read, when the checkpoint has it, and makes the chat template available in
// both places where they look (chat_template.jinja and tokenizer_config.json).
void copy_side_files(const std::filesystem::path& checkpoint, const std::filesystem::path& output, bool with_processors);

// config.json of a text-only export: the text part as a valid top-level config of a text class.
std::string text_config_json(const std::string& config_json, const checkpoint::ModelConfig& config, bool tied);

}  // namespace deltavino::exporter
