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

// What `generate` was asked for on the command line.
struct GenerateCommand {
    RunnerOptions runner;
    GenerateOptions options;
    std::optional<std::string> prompt;
    std::vector<std::filesystem::path> images;
    std::optional<std::string> system;
    bool chat = false;
    bool raw = false;
    bool json = false;
};

struct CheckCommand {
    CheckOptions options;
    std::filesystem::path report;  // HTML; empty: none
    bool json = false;
};

int run_check(const CheckCommand& command);
int run_export(ExportOptions options, const HubOptions& hub);
int run_inspect(const std::string& model, const HubOptions& hub, bool json);
int run_generate(GenerateCommand command);
int run_eval(const EvaluationOptions& options, bool json);

}  // namespace deltavino::app
