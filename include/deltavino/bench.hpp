// How fast exported directories are on this machine, measured in fresh processes.
//
// One process loads one directory and measures it. With several directories the processes alternate: one round runs
// each directory once, the next round in the opposite order, so that neither a slow minute of the machine nor the
// place in the order favours one of them.
#pragma once

#include <deltavino/error.hpp>
#include <deltavino/progress.hpp>

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <map>
#include <optional>
#include <string>
#include <vector>

namespace deltavino {

struct BenchOptions {
    std::filesystem::path model;                 // an exported directory, whoever wrote it
    std::vector<std::filesystem::path> against;  // others, which the ratios compare it with
    std::vector<std::uint64_t> prompt_tokens{512, 2048};
    std::uint64_t new_tokens = 64;  // after each prompt
    std::uint64_t rounds = 4;       // processes for each directory; an even number balances the order
    std::string device = "CPU";     // as OpenVINO names it
    std::string precision;          // f32, bf16 or f16; empty: what the device prefers
    unsigned threads = 0;           // of the device's inference; 0: the device chooses
    bool plugin_only = false;       // as RunnerOptions::plugin_only
    bool profile = false;           // one more process for each directory: time by kind of operation; CPU only
    // The program `deltavino`, which is started for each process. Empty: the running one, which must be it then.
    std::filesystem::path program;
};

// Microseconds of one kind of operation, as OpenVINO's counters have them.
using OperationTimes = std::map<std::string, double>;

// After one prompt, in one process. Tokens are read as `generate` reads them, in pieces (docs/generate.md).
struct LengthMeasurement {
    std::uint64_t prompt_tokens = 0;
    double first_token_seconds = 0.0;  // the first prompt of this length since the model was loaded
    double prefill_seconds = 0.0;      // the same prompt once more, from empty states
    double decode_seconds = 0.0;       // all new tokens, one by one, after it
    std::uint64_t new_tokens = 0;
    OperationTimes prefill_operations;  // of the second prompt; only when they were asked for
    OperationTimes decode_operations;   // of all new tokens together; likewise
};

// One process. What the device or the system does not tell stays empty.
struct Measurement {
    double load_seconds = 0.0;  // read and compile the models that text needs
    std::optional<std::uint64_t> peak_memory_bytes;
    std::string device;                      // its full name
    std::string precision;                   // of products of activations, as the device chose it: "f32", "bf16", "f16"
    std::string kv_cache;                    // of keys and values: "u8", "f32", ...
    std::string dynamic_quantization_group;  // columns of an activation that share a scale; "0": not quantized
    std::string inference_threads;
    bool random_embeddings = false;  // the directory has no model that makes embeddings of tokens
    std::vector<LengthMeasurement> lengths;
};

// Of numbers that were measured several times.
struct Spread {
    double median = 0.0;
    double least = 0.0;
    double most = 0.0;
};

// At one length, over all rounds.
struct LengthResult {
    std::uint64_t prompt_tokens = 0;
    Spread first_token_seconds;
    Spread prefill_rate;  // tokens per second
    Spread decode_rate;   // tokens per second
    // Weight bytes per token times the rate of decode, over the read bandwidth: 1 is the most that memory allows.
    std::optional<double> bandwidth_share;
    // Rate of BenchOptions::model over that of this directory, in the same round. 2: the model is twice as fast.
    Spread prefill_ratio{1.0, 1.0, 1.0};
    Spread decode_ratio{1.0, 1.0, 1.0};
    Spread first_token_ratio{1.0, 1.0, 1.0};  // time of this directory over the model's: 2 as above
    OperationTimes prefill_operations;        // with BenchOptions::profile
    OperationTimes decode_operations;
};

struct DirectoryResult {
    std::filesystem::path model;
    Spread load_seconds;
    std::optional<Spread> peak_memory_bytes;
    // Stored bytes of the weights that one new token passes, as inspect() counts them.
    std::optional<std::uint64_t> weight_bytes_per_token;
    Measurement first;                      // of its first process; says the precision and so on
    std::vector<LengthResult> lengths;      // in the order of the options
    std::vector<Measurement> measurements;  // one for each round
};

struct BenchReport {
    std::string openvino;                       // its version
    std::string processor;                      // empty: the system does not say
    unsigned processors = 0;                    // that this process may use
    std::vector<std::string> instruction_sets;  // those that matter here, as the system names them
    std::optional<double> read_bandwidth;       // bytes per second, all processors together; the better of two
    std::uint64_t new_tokens = 0;
    std::uint64_t rounds = 0;
    std::vector<std::size_t> order;        // index of the directory that each process measured
    std::vector<DirectoryResult> results;  // `model` first, then `against`
};

// Throws Error when a directory cannot be run, ErrorKind::Unsupported for `profile` on another device than the CPU.
BenchReport bench(const BenchOptions& options, ProgressSink& progress);

// What one process does: measures `options.model` in this process. `against`, `rounds` and `program` are not looked at.
Measurement measure(const BenchOptions& options, ProgressSink& progress);

// The measurement as the process hands it over: one line of JSON.
std::string measurement_json(const Measurement& measurement);

// The report for people and for programs.
std::string bench_text(const BenchReport& report);
std::string bench_json(const BenchReport& report);

}  // namespace deltavino
