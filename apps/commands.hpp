// The program's commands. Each prints its result to standard output and returns the exit code.
#pragma once

#include <deltavino/cache.hpp>
#include <deltavino/check.hpp>
#include <deltavino/evaluate.hpp>
#include <deltavino/export.hpp>
#include <deltavino/generate.hpp>
#include <deltavino/hub.hpp>

#include <filesystem>
#include <map>
#include <optional>
#include <string>
#include <vector>

namespace deltavino::app {

struct ExportCommand {
    ExportOptions options;  // `model` may be a Hub id
    HubOptions hub;
    bool verify = false;
    std::map<std::string, std::string> ovms;  // values of the server's options
    std::vector<std::string> notes;           // on options of optimum-cli that change nothing here
    std::vector<std::string> refused;         // options of optimum-cli that are not done here, and what is instead
};

struct InspectCommand {
    std::filesystem::path path;  // or a Hub id
    HubOptions hub;
    std::string device;  // of which the memory is said; empty: none
    bool json = false;
};

// How a checkpoint is exported that is to be run, for the commands that take exported directories.
struct RunRecipe {
    CachedExport wanted;             // without the model
    std::vector<std::string> given;  // options that an exported directory does not take
};

struct EvalCommand {
    EvaluationOptions options;  // `models` may be checkpoints, `against` and they Hub ids
    RunRecipe recipe;           // its Hub options are those of `against`, too
    bool json = false;
};

// What `generate` was asked for on the command line.
struct GenerateCommand {
    RunnerOptions runner;  // `model` may be a checkpoint or a Hub id
    RunRecipe recipe;
    GenerateOptions options;
    std::optional<std::string> prompt;  // "-": from standard input
    std::filesystem::path file;         // holds the prompt; empty: none
    std::vector<std::filesystem::path> images;
    std::optional<std::string> system;
    std::filesystem::path tools;  // JSON files; empty: none
    std::filesystem::path messages;
    bool chat = false;
    bool raw = false;
    bool json = false;
};

struct CheckCommand {
    CheckOptions options;  // `against` may be a Hub id
    HubOptions hub;
    std::filesystem::path report;  // HTML; empty: none
    bool json = false;
};

enum class CacheAction { None, List, Clear };

struct CacheCommand {
    CacheAction action = CacheAction::None;
    std::vector<std::string> keys;
    std::optional<std::uint64_t> older_than_days;
    bool json = false;
};

// The directory to run for each of `models`: an exported one is itself, any other is a checkpoint or a Hub id, whose
// export the cache has or gets, and keeps while the result lives. Throws ErrorKind::Usage for options of an export
// that exports nothing.
std::vector<CachedDirectory> runnable(const std::vector<std::filesystem::path>& models, const RunRecipe& recipe,
                                      unsigned threads = 0);

int run_check(const CheckCommand& command);
int run_export(const ExportCommand& command);
int run_inspect(const InspectCommand& command);
int run_generate(GenerateCommand command);
int run_eval(const EvalCommand& command);
int run_cache(const CacheCommand& command);

}  // namespace deltavino::app
