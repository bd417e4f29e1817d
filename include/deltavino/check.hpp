// Says whether an exported directory computes what its checkpoint says, and if not, what is to blame: the
// weights, the graph, the device's precision or one of the forms in which runtimes execute it.
#pragma once

#include <deltavino/error.hpp>
#include <deltavino/export.hpp>
#include <deltavino/progress.hpp>

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

namespace deltavino {

struct CheckOptions {
    std::filesystem::path model;    // an exported directory, whoever wrote it
    std::filesystem::path against;  // the checkpoint; empty: structure and forms only
    std::filesystem::path lora;     // an adapter that was merged into the checkpoint; empty: none
    std::filesystem::path adapter;  // a LoRA adapter that openvino_genai is to apply at run time; empty: none
    std::filesystem::path text;     // UTF-8 text to read; empty with an empty prompt: a built-in one
    std::string prompt;
    std::filesystem::path image;  // to look at, with a vision-language directory; empty: a built-in one
    std::size_t tokens = 300;     // of the text, at most
    std::string device = "CPU";
    unsigned threads = 0;  // of the reference; 0: one per core
};

enum class Finding { Good, Note, Bad };

// One thing that was looked at.
struct CheckItem {
    std::string part;     // structure, weights, vision tower, multi-token prediction, forms, tokenizer, adapter
    std::string subject;  // what was looked at, for example "layer 3, mixer"
    Finding finding = Finding::Good;
    std::string says;  // expected and found
};

// How far two sets of logits are apart at one position of the text.
struct PositionDivergence {
    std::size_t position = 0;
    double kl = 0.0;          // KL(truth || judged), in nats
    double difference = 0.0;  // largest difference over the truth's largest logit
    bool same_top = true;
};

// Over all compared positions of one pair.
struct Divergence {
    std::string name;  // "compression", "graph", "precision", "with a picture", ...
    std::string means;
    double mean_kl = 0.0;
    double largest_difference = 0.0;
    double top1_agreement = 1.0;
    std::vector<PositionDivergence> positions;
};

// Hidden states after one half of a layer: runtime in float32 against the reference on the exported weights.
struct LayerDivergence {
    std::string place;   // "layer 3, mixer"
    double error = 0.0;  // norm of the difference over norm of the truth
};

struct WeightDivergence {
    std::string name;
    std::string stored_as;
    double relative_error = 0.0;
    double worst_row_error = 0.0;
    std::uint64_t worst_row = 0;
};

struct CheckReport {
    bool good = true;
    std::string verdict;  // one sentence
    std::vector<CheckItem> items;
    std::vector<Divergence> divergences;
    std::vector<LayerDivergence> layers;
    std::vector<WeightDivergence> weights;
    std::vector<std::string> advice;
    std::string device;      // as OpenVINO names it in full
    std::string openvino;    // its version
    std::string precision;   // that the device takes by itself
    std::string recipe;      // what the directory says of itself
    std::size_t tokens = 0;  // that were read
    std::string command;     // that repeats the check
};

// Throws Error when the directory, the checkpoint or the text cannot be read at all; what is wrong with a model
// that can be read is in the report.
CheckReport check(const CheckOptions& options, ProgressSink& progress);

// For ExportOptions::before_publishing: a short check of the finished `directory` against the checkpoint of the export.
// Returns the verdict; throws ErrorKind::Internal when it is bad, so that the directory does not appear.
std::string verify_export(const std::filesystem::path& directory, const ExportOptions& options, ProgressSink& progress);

// The report for people, for programs, and as one HTML page without scripts or links.
std::string check_text(const CheckReport& report);
std::string check_json(const CheckReport& report);
std::string check_html(const CheckReport& report);

}  // namespace deltavino
