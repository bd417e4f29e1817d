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
    std::vector<std::filesystem::path> models;  // exported directories; without `against` the first is the reference
    std::filesystem::path against;              // a checkpoint to be the reference, computed in float32; may be empty
    std::filesystem::path lora;                 // a LoRA adapter to merge into `against`; empty: none
    std::size_t window = 256;                   // tokens per window; every window starts with empty states
    std::size_t windows = 0;                    // at most this many; 0: all of the text
    std::string device = "CPU";
    std::string precision = "f32";  // of the exported models; empty: the device's own choice
    bool as_generate = false;       // run language models as Runner does on a CPU, not by OpenVINO's plugin alone
    unsigned threads = 0;           // of the reference on a checkpoint; 0: one per core
};

struct Evaluation {
    std::filesystem::path model;
    double perplexity = 0.0;         // exp of the mean negative log likelihood of the next token
    double kl_divergence = 0.0;      // mean over positions of KL(reference || model), in nats
    double top1_agreement = 0.0;     // share of positions with the same most likely token
    std::uint64_t weight_bytes = 0;  // of the .bin files, tokenizer left out; of a checkpoint's language tensors
};

struct EvaluationReport {
    std::size_t windows = 0;
    std::size_t window = 0;
    std::vector<Evaluation> models;  // the reference first, then the others in the order of the options
};

// All models run side by side over the same windows. Throws Error when a model cannot be run, when the
// vocabularies differ, or when logits are not finite.
EvaluationReport evaluate(const EvaluationOptions& options, ProgressSink& progress);

}  // namespace deltavino
