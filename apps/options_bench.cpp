#include "bench_command.hpp"

#include <algorithm>
#include <utility>

namespace deltavino::app {
namespace {

// Whole numbers with commas between them, in place of what the target held.
Take counts_into(std::vector<std::uint64_t>& target) {
    return [&target](const std::string& text) {
        std::vector<std::uint64_t> counts;
        for (std::size_t begin = 0; begin <= text.size();) {
            const std::size_t end = std::min(text.find(',', begin), text.size());
            count_into(counts.emplace_back(), 1)(text.substr(begin, end - begin));
            begin = end + 1;
        }
        target = std::move(counts);
    };
}

}  // namespace

Command bench_options(BenchCommand& out) {
    BenchOptions& options = out.options;
    Command command("bench", "Measure how fast exported directories are here, in alternating fresh processes");
    one_model(command, "Exported directory, whoever wrote it", options.model);
    command.group("Options");
    command.list("--against", "DIR", "Another one, which the ratios compare it with; may be repeated",
                 path_into(options.against));
    command.value("--prompt-tokens", "N,N", "Lengths of the prompts [512,2048]", counts_into(options.prompt_tokens));
    command.value("--new-tokens", "N", "Tokens that are generated after each prompt [64]",
                  count_into(options.new_tokens, 1));
    command.value("--rounds", "N", "Processes for each directory; every second round in the opposite order [4]",
                  count_into(options.rounds, 1));
    command.value("--device", "NAME", "OpenVINO device [CPU]", text_into(options.device));
    command.value("--precision", "TYPE", "f32, bf16 or f16 [what the device prefers]", text_into(options.precision));
    command.choices({"f32", "bf16", "f16"});
    command.value("--threads", "N", "Threads of the inference; 0 leaves it to the device [0]",
                  count_into(options.threads));
    command.flag("--plugin-only",
                 "Leave all of the language models to OpenVINO's plugin, as other programs run them: see `deltavino "
                 "generate --help`",
                 [&options]() { options.plugin_only = true; });
    command.flag("--profile", "CPU: in one more process for each directory, time by kind of operation",
                 [&options]() { options.profile = true; });
    command.flag("--json", "Print JSON", [&out]() { out.json = true; });
    command.hidden("--measure", Values::None, [&out](const std::string&) { out.measure = true; });
    command.example("deltavino bench ./qwen-int4 --against ./qwen-int8 --rounds 6");
    command.example("deltavino bench ./qwen-int4 --prompt-tokens 128,1024 --profile");
    command.check([&options]() { require_model(options.model); });
    command.run([&out]() { return run_bench(out); });
    return command;
}

}  // namespace deltavino::app
