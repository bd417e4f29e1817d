// The side that starts the measuring processes.
#include <deltavino/bench.hpp>
#include <deltavino/inspect.hpp>
#include <deltavino/version.hpp>

#include "base/child_process.hpp"
#include "base/error.hpp"
#include "base/host.hpp"
#include "base/text.hpp"
#include "benchmark/bandwidth.hpp"
#include "benchmark/measurement_json.hpp"
#include "benchmark/statistics.hpp"
#include "graph/names.hpp"
#include "runtime/language_model.hpp"

#include <algorithm>
#include <csignal>

namespace deltavino {
namespace {

namespace fs = std::filesystem;
namespace names = graph::names;

constexpr std::uint64_t kMostTokens = 1u << 20;
constexpr std::uint64_t kMostProcesses = 10000;

void require_usable(const BenchOptions& options) {
    const std::uint64_t directories = options.against.size() + 1;
    Problems problems;
    for (const std::uint64_t tokens : options.prompt_tokens) {
        if (tokens == 0 || tokens > kMostTokens) {
            problems.add(
                fmt::format("a prompt of {} tokens cannot be measured, expected 1 to {}", tokens, kMostTokens));
        }
    }
    if (options.prompt_tokens.empty()) {
        problems.add("the length of a prompt must be given");
    }
    if (options.new_tokens == 0 || options.new_tokens > kMostTokens) {
        problems.add(
            fmt::format("{} new tokens cannot be measured, expected 1 to {}", options.new_tokens, kMostTokens));
    }
    if (options.rounds == 0 || options.rounds > kMostProcesses / directories) {
        problems.add(fmt::format("{} rounds of {} directories are not 1 to {} processes", options.rounds, directories,
                                 kMostProcesses));
    }
    problems.throw_if_any(ErrorKind::Usage, "cannot use these options");
    if (options.profile && !options.device.starts_with("CPU")) {
        fail(ErrorKind::Unsupported,
             "cannot use --profile with device '{}', expected CPU: what the counters of other devices count was not "
             "looked at",
             options.device);
    }
}

std::optional<std::uint64_t> weight_bytes_per_token(const fs::path& directory) {
    Inspection inspection;
    try {
        inspection = inspect(directory);
    } catch (const Error& error) {
        throw Error(error.kind(), one_line(error.what()));
    }
    for (const ModelFile& model : inspection.directory ? inspection.directory->models : std::vector<ModelFile>()) {
        if (model.facts.bytes_per_token && (model.name == names::kTextModel || model.name == names::kLanguageModel)) {
            return model.facts.bytes_per_token;
        }
    }
    return std::nullopt;
}

std::vector<std::string> words_of(const BenchOptions& options, const fs::path& directory, bool profile) {
    const std::string path = directory.string();
    std::vector<std::string> words{"bench",
                                   path.starts_with('-') ? "./" + path : path,
                                   "--measure",
                                   "--json-errors",
                                   "--quiet",
                                   "--prompt-tokens",
                                   fmt::format("{}", fmt::join(options.prompt_tokens, ",")),
                                   "--new-tokens",
                                   std::to_string(options.new_tokens),
                                   "--device",
                                   options.device,
                                   "--threads",
                                   std::to_string(options.threads)};
    if (options.plugin_only) {
        words.emplace_back("--plugin-only");
    }
    if (!options.precision.empty()) {
        words.insert(words.end(), {"--precision", options.precision});
    }
    if (profile) {
        words.emplace_back("--profile");
    }
    return words;
}

// The error that the process reported on its last line.
[[noreturn]] void relay(const ChildResult& result, const fs::path& directory) {
    const std::string text = result.errors.substr(0, result.errors.find_last_not_of('\n') + 1);
    const std::size_t line = text.find_last_of('\n');
    const auto json =
        nlohmann::ordered_json::parse(line == std::string::npos ? text : text.substr(line + 1), nullptr, false);
    if (json.is_object() && json.contains("error")) {
        const auto& error = json["error"];
        const int code = error.value("exit_code", static_cast<int>(ErrorKind::Internal));
        throw Error(static_cast<ErrorKind>(code), one_line(error.value("message", std::string())));
    }
    if (result.signal == SIGKILL) {
        fail(ErrorKind::Input, "cannot measure '{}': its process was killed; there may not be enough memory",
             directory.string());
    }
    if (result.signal != 0) {
        fail(ErrorKind::Internal, "cannot measure '{}': its process was ended by signal {}", directory.string(),
             result.signal);
    }
    fail(ErrorKind::Internal, "cannot measure '{}': its process ended with code {}", directory.string(),
         result.exit_code);
}

// Starts one process after the other.
class Processes {
public:
    Processes(const BenchOptions& options, std::size_t total, ProgressSink& progress)
        : options_(options),
          program_(options.program.empty() ? running_program() : options.program),
          total_(total),
          progress_(progress) {
        if (program_.empty()) {
            fail(ErrorKind::Unsupported, "cannot start the measuring processes: the system does not name the program");
        }
    }

    Measurement run(const fs::path& directory, bool profile) {
        progress_.update("measured", done_, total_);
        const ChildResult result =
            run_child(program_, words_of(options_, directory, profile), [this]() { return progress_.cancelled(); });
        if (result.exit_code != 0 || result.signal != 0) {
            relay(result, directory);
        }
        Measurement measurement = benchmark::measurement_of(result.output);
        if (measurement.lengths.size() != options_.prompt_tokens.size()) {
            fail(ErrorKind::Internal, "cannot measure '{}': its process measured {} prompts, expected {}",
                 directory.string(), measurement.lengths.size(), options_.prompt_tokens.size());
        }
        progress_.update("measured", ++done_, total_);
        return measurement;
    }

private:
    const BenchOptions& options_;
    fs::path program_;
    std::size_t done_ = 0;
    std::size_t total_;
    ProgressSink& progress_;
};

}  // namespace

BenchReport bench(const BenchOptions& options, ProgressSink& progress) {
    require_usable(options);
    BenchReport report;
    std::vector<fs::path> directories{options.model};
    directories.insert(directories.end(), options.against.begin(), options.against.end());
    for (const fs::path& directory : directories) {
        // Before the first process starts: a wrong name in the last place should not show after an hour.
        runtime::require_language_model(directory, "measure");
        report.results.emplace_back();
        report.results.back().model = directory;
        report.results.back().weight_bytes_per_token = weight_bytes_per_token(directory);
    }
    const Host host = this_host();
    report.openvino = openvino_version();
    report.processor = host.processor;
    report.processors = host.processors;
    report.instruction_sets = host.instruction_sets;
    report.new_tokens = options.new_tokens;
    report.rounds = options.rounds;
    report.order = benchmark::schedule(directories.size(), options.rounds);
    const auto stop = [&]() {
        return progress.cancelled();
    };
    report.read_bandwidth = benchmark::read_bandwidth(host.processors, stop);
    Processes processes(options, report.order.size() + (options.profile ? directories.size() : 0), progress);
    for (const std::size_t index : report.order) {
        report.results[index].measurements.push_back(processes.run(directories[index], false));
    }
    const std::optional<double> again = benchmark::read_bandwidth(host.processors, stop);
    report.read_bandwidth = std::max(report.read_bandwidth, again);  // none is less than any number
    benchmark::summarize(report.results, report.read_bandwidth);
    for (DirectoryResult& result : report.results) {
        if (!options.profile) {
            continue;
        }
        const Measurement profiled = processes.run(result.model, true);
        for (std::size_t i = 0; i < result.lengths.size(); ++i) {
            result.lengths[i].prefill_operations = profiled.lengths[i].prefill_operations;
            result.lengths[i].decode_operations = profiled.lengths[i].decode_operations;
        }
    }
    return report;
}

}  // namespace deltavino
