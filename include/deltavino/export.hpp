// Turns a Hugging Face checkpoint directory into an OpenVINO model directory.
#pragma once

#include <deltavino/error.hpp>
#include <deltavino/progress.hpp>

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

namespace deltavino {

struct ExportOptions {
    std::filesystem::path model;         // the checkpoint directory
    std::filesystem::path output;        // the directory to write
    std::string task = "auto";           // auto or text-generation-with-past
    std::string weight_format;           // fp32, fp16 or bf16; empty keeps each tensor's own type
    bool force = false;                  // replace `output` when it exists
    bool convert_tokenizer = true;       // write the tokenizer and detokenizer models
    bool assume_tied_head = false;       // use the embedding when config.json says untied and there is no head
    bool allow_nonfinite = false;        // export weights that hold NaN or infinity
    unsigned threads = 0;                // 0: one per core
};

struct ExportSummaryRow {
    std::string role;
    std::uint64_t tensors = 0;
    std::string storage;
    std::uint64_t bytes_read = 0;
    std::uint64_t bytes_written = 0;
};

struct ExportSummary {
    std::string model_type;
    std::string task;
    std::vector<ExportSummaryRow> rows;
    std::uint64_t bytes_read = 0;
    std::uint64_t bytes_written = 0;
    double seconds = 0.0;
};

// Either the whole directory stands at `options.output` afterwards, or an Error is thrown and nothing
// is changed there.
ExportSummary export_model(const ExportOptions& options, ProgressSink& progress);

}  // namespace deltavino
