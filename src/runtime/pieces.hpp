// How many tokens of a prompt are read at once.
#pragma once

#include <openvino/core/model.hpp>

#include <cstddef>

namespace deltavino::runtime {

// The first piece and those after it. Each token of the first takes memory for what the layers compute, and for its row
// of the mask; of the others also for scores of all heads. docs/generate.md says what was measured.
struct PieceSizes {
    std::size_t first = 512;
    std::size_t next = 512;
};

// `long_first`: the first piece is as long as the model's width lets it be. The CPU plugin has a fast attention for tokens
// with nothing before them and a slow one for all others; the plugin's own products take twice the memory for it.
PieceSizes piece_sizes(const ov::Model& model, bool long_first);

// Tokens of the next piece after `past` ones. Pieces after the first become shorter as the context grows, so that their
// scores take the same memory.
std::size_t tokens_of_piece(const PieceSizes& sizes, std::size_t past);

}  // namespace deltavino::runtime
