// The program's commands. Each prints its result to standard output and returns the exit code.
#pragma once

#include <deltavino/check.hpp>
#include <deltavino/evaluate.hpp>
#include <deltavino/export.hpp>
#include <deltavino/generate.hpp>
#include <deltavino/hub.hpp>

#include <filesystem>
#include <optional>
#include <string>
#include <vector>

namespace deltavino::app {

struct ExportCommand {
    ExportOptions options;  // `model` may be a Hub id
    HubOptions hub;
    bool verify = false;
    std::vector<std::string> notes;    // on options of optimum-cli that change nothing here
    std::vector<std::string> refused;  // options of optimum-cli that are not done here, and what is instead
};

struct InspectCommand {
    std::filesystem::path path;  // or a Hub id
    HubOptions hub;
    std::string device;  // of which the memory is said; empty: none
    bool json = false;
};

struct EvalCommand {
    EvaluationOptions options;  // `against` may be a Hub id
    HubOptions hub;
    bool json = false;
};

// What `generate` was asked for on the command line.
struct GenerateCommand {
    RunnerOptions runner;
    GenerateOptions options;
    std::optional<std::string> prompt;  // "-": from standard input
    std::filesystem::path file;         // holds the prompt; empty: none
    std::vector<std::filesystem::path> images;
    std::optional<std::string> system;
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

int run_check(const CheckCommand& command);
int run_export(const ExportCommand& command);
int run_inspect(const InspectCommand& command);
int run_generate(GenerateCommand command);
int run_eval(const EvalCommand& command);

}  // namespace deltavino::app
