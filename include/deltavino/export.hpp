// Turns a Hugging Face checkpoint directory into an OpenVINO model directory.
#pragma once

#include <deltavino/error.hpp>
#include <deltavino/progress.hpp>

#include <cstdint>
#include <filesystem>
#include <functional>
#include <map>
#include <optional>
#include <string>
#include <vector>

namespace deltavino {

// How weights are stored. Names, meanings and defaults are those of optimum-cli; an empty optional or
// string means that the user did not say.
struct CompressionOptions {
    std::string weight_format;  // fp32, fp16, bf16, int8, int4, nf4, mxfp4; empty keeps each tensor's own type
    std::string recipe;         // int4: balanced, smallest, fastest or best; empty is balanced
    std::string target_size;    // int4: of the models' .bin files at most, "14.5GB"; the storage that costs least in it
    std::optional<double> target_bits;         // int4: the same by bits for each weight that may have 4
    bool sym = false;                          // int8, int4: no zero points
    std::optional<std::int64_t> group_size;    // columns that share a scale, -1: a whole row; 4-bit formats only
    std::string group_size_fallback;           // error, ignore or adjust; empty is adjust
    std::optional<double> ratio;               // share of the 4-bit candidates that get 4 bit, the others the backup
    std::string backup_precision;              // none, int8_sym or int8_asym
    bool all_layers = false;                   // embedding and head in 4 bit too
    std::vector<std::string> keep;             // PATTERN=TYPE, first match wins; PATTERN is a glob on tensor names
    std::string scale_search = "least-error";  // or nncf: the bits that nncf would write
    // int4: a file of text, or "self" for text that the model writes itself. Weights get the codes that change least
    // what their layers put out on it; empty: the codes that are nearest to the weights. Not for models in memory.
    std::filesystem::path calibrate;
    std::uint64_t calibration_tokens = 0;  // at most so many; 0: 16384
    // Columns of an activation that share a scale where a device quantizes activations before products with compressed
    // weights, written into the models that have such; 0: never quantized; empty: as the device likes.
    std::optional<std::uint64_t> dynamic_quantization;
};

// An option of the file by which OpenVINO Model Server runs a directory. Names, meanings and defaults (but for prefix
// caching) are those of `ovms --pull` where it has the option, else of the server's own configuration.
struct ServerOption {
    const char* name;  // "max_num_seqs"
    const char* type;  // of the value: "N", "BOOL", ...
    const char* help;
    std::vector<std::string> choices;  // all values that are taken; empty: others
};

const std::vector<ServerOption>& server_options();

struct ExportOptions {
    std::filesystem::path model;   // the checkpoint directory
    std::filesystem::path output;  // the directory to write
    std::filesystem::path lora;    // a folder with a PEFT LoRA adapter to merge into the weights; empty: none
    std::string task = "auto";     // as --task of the command
    CompressionOptions compression;
    std::filesystem::path report;   // JSON file with one entry per tensor; empty: none
    bool force = false;             // replace `output` when it exists and an export wrote it
    bool sync = true;               // wait until the files are on the disk before they appear
    bool convert_tokenizer = true;  // write the tokenizer and detokenizer models
    bool mtp = true;                // write the multi-token-prediction model when the checkpoint has its layer
    bool assume_tied_head = false;  // use the embedding when config.json says untied and there is no head
    bool allow_nonfinite = false;   // export weights that hold NaN or infinity
    unsigned threads = 0;           // 0: one per core
    // Write graph.pbtxt for OpenVINO Model Server, with values of server_options() by name; empty: do not.
    std::optional<std::map<std::string, std::string>> ovms;
    bool dry_run = false;  // say what would be written, and write nothing
    // Called with the folder that holds the finished files, before they stand at `output`; what it throws ends
    // the export, and nothing is changed there.
    std::function<void(const std::filesystem::path& directory)> before_publishing;
};

struct ExportSummaryRow {
    std::string role;
    std::uint64_t tensors = 0;
    std::string storage;
    std::uint64_t bytes_read = 0;
    std::uint64_t bytes_written = 0;
    double relative_error = 0.0;
};

// What became of one weight.
struct TensorReport {
    std::string model;  // the file without extension, for example "openvino_model"
    std::string name;
    std::string role;
    std::string storage;  // "u4 in groups of 128"
    std::string reason;
    std::uint64_t rows = 0;
    std::uint64_t columns = 0;
    std::uint64_t bytes_read = 0;
    std::uint64_t bytes_written = 0;
    std::string adapter;          // what was merged into it: "rank 8, scale 2", "replaced"; empty: nothing
    double relative_error = 0.0;  // root of the mean squared error over that of the weight; 0 when nothing is lost
};

struct ExportedFile {
    std::string name;
    std::uint64_t bytes = 0;
};

struct ExportSummary {
    std::string model_type;
    std::string task;
    std::vector<ExportSummaryRow> rows;
    std::vector<TensorReport> tensors;
    std::vector<std::string> recipe;  // what is stored how, and why: one sentence each
    std::uint64_t bytes_read = 0;
    std::uint64_t bytes_written = 0;  // of the models
    double seconds = 0.0;             // of a dry run: estimated from some of the weights, without the time of writing
    std::vector<ExportedFile> files;  // by name
};

// Either the whole directory stands at `options.output` afterwards, or an Error is thrown and nothing
// is changed there. A dry run throws for whatever is wrong before weights are converted, and for values of the
// weights that it tried; it knows no errors of weights.
ExportSummary export_model(const ExportOptions& options, ProgressSink& progress);

}  // namespace deltavino
