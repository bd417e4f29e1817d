// What a checkpoint is besides plain weights.
#pragma once

#include "checkpoint/checkpoint.hpp"
#include "checkpoint/config.hpp"

#include <string>
#include <vector>

namespace deltavino::models {

// Throws ErrorKind::Unsupported, in one sentence, for a checkpoint whose weights were converted for MLX or
// come with an adapter that is not merged. Adds a note when config.json speaks of a quantization
// and the tensors are plain.
void check_source_format(const checkpoint::Checkpoint& checkpoint, const checkpoint::ModelConfig& config,
                         std::vector<std::string>& notes);

}  // namespace deltavino::models
