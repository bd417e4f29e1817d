// The rotary positions of a text model, read as transformers 5.2 reads them
// (`RotaryEmbeddingConfigMixin`, `_compute_yarn_parameters`).
#pragma once

#include "checkpoint/config.hpp"
#include "json/reader.hpp"

#include <string>
#include <vector>

namespace deltavino::checkpoint {

// `reader`: the text config; `text.head_dim` and `text.max_position_embeddings` are read already. Problems
// are added to the reader's; throws ErrorKind::Unsupported for a scaling that is not handled.
//
//   - a rope_scaling that is not empty takes the place of rope_parameters as a whole;
//   - rope_theta: of that object, else of the text config, else 10000;
//   - partial_rotary_factor: of that object, else of the text config, else 0.25; with YaRN that of the
//     text config goes first;
//   - original_max_position_embeddings: of the text config, else of that object, else max_position_embeddings.
void read_rope(const JsonReader& reader, TextConfig& text, std::vector<std::string>& notes);

}  // namespace deltavino::checkpoint
