// Quantizes the weights of the text model layer after layer, by what goes into each on a text.
//
// Two runs of the reference go side by side: one with the weights of the checkpoint, one with those that are quantized
// so far. A layer is taken in two halves and each half in two steps: the weights that read the norm (in_proj_qkv and
// in_proj_z, or q, k and v; gate and up), then, with these quantized, the one that writes the result (out_proj or
// o_proj; down). Experts are quantized one after the other with the tokens that reach them. The head comes last.
//
// Memory: both hidden states of all tokens, three matrices of a layer's input width, the codes of one layer.
#pragma once

#include "checkpoint/config.hpp"
#include "quant/packed.hpp"
#include "quant/scheme.hpp"
#include "reference/weights.hpp"

#include <deltavino/progress.hpp>

#include <cstdint>
#include <functional>
#include <map>
#include <string>
#include <vector>

namespace deltavino::calibration {

// A weight that is to be quantized: an integer format of 4 bit.
struct Candidate {
    quant::Scheme scheme;
    std::uint64_t rows = 0;
    std::uint64_t columns = 0;
};

using Candidates = std::map<std::string, Candidate>;  // by name, as the reference names weights
using Windows = std::vector<std::vector<std::int64_t>>;

struct Job {
    const reference::WeightSource& weights;
    const checkpoint::TextConfig& config;
    const Candidates& candidates;
    unsigned threads = 0;  // 0: one per core
    ProgressSink& progress;
    // Hears the finished codes of each weight, from the calling thread, blocks of rows in any order, each row once.
    // A block begins at an even row of the weight or of an expert. `error`: sums of squares over these rows.
    std::function<void(const std::string& name, std::uint64_t first_row, const quant::CodeRows& codes,
                       const quant::BlockStatistics& error)>
        store;
    std::string head = {};  // which candidate reads the final norm; empty: none
};

// A weight, or an expert's part of one, that the text says too little about: its codes come from the weight alone.
struct Uncalibrated {
    std::uint64_t weights = 0;
    std::uint64_t experts = 0;       // parts of them that few tokens reach
    std::uint64_t experts_seen = 0;  // the others
};

// What an expert must be reached by.
inline constexpr std::uint64_t kFewestExpertTokens = 64;

// Every candidate is stored. Windows are independent texts. Throws ErrorKind::Input when values on the way are not
// finite, ErrorKind::Cancelled when the sink asks to stop.
Uncalibrated calibrate(const Windows& windows, const Job& job);

}  // namespace deltavino::calibration
