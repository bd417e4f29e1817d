// How well exported models predict a text, and how far they are from a reference.
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include <deltavino/progress.hpp>

namespace deltavino {

struct EvaluationOptions {
    std::filesystem::path text;
    std::vector<std::filesystem::path> models;  // the first is the reference
    std::size_t window = 256;                   // tokens per window; every window starts with empty states
    std::size_t windows = 0;                    // at most this many; 0: all of the text
    std::string device = "CPU";
    std::string precision = "f32";  // empty: the device's own choice
};

struct Evaluation {
    std::filesystem::path model;
    double perplexity = 0.0;         // exp of the mean negative log likelihood of the next token
    double kl_divergence = 0.0;      // mean over positions of KL(reference || model), in nats
    double top1_agreement = 0.0;     // share of positions with the same most likely token
    std::uint64_t weight_bytes = 0;  // of the language model's files, tokenizer left out
};

struct EvaluationReport {
    std::size_t windows = 0;
    std::size_t window = 0;
    std::vector<Evaluation> models;  // in the order of the options
};

// All models run side by side over the same windows. Throws Error when a model cannot be run, when the
// vocabularies differ, or when logits are not finite.
EvaluationReport evaluate(const EvaluationOptions& options, ProgressSink& progress);

}  // namespace deltavino
