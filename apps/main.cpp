// Command line of deltavino: options are declared here and nowhere else.
#include "commands.hpp"

#include "base/process.hpp"

#include <deltavino/error.hpp>
#include <deltavino/version.hpp>

#include <fmt/format.h>
#include <CLI/CLI.hpp>

#include <cerrno>
#include <cstdio>
#include <exception>
#include <iostream>
#include <sstream>
#include <system_error>

namespace {

using namespace deltavino;

constexpr const char* kFooter = R"(Examples:
  deltavino export --model ./Qwen3.5-0.8B ./qwen-ov
  deltavino export -m ./Qwen3.5-0.8B ./qwen-fp16 --task text-generation-with-past --weight-format fp16
  deltavino export -m ./Qwen3.5-0.8B ./qwen-int4 --task text-generation-with-past --weight-format int4
  deltavino export -m Qwen/Qwen3.5-0.8B ./qwen-ov
  deltavino inspect ./Qwen3.5-0.8B
  deltavino inspect ./qwen-ov --json
  deltavino generate ./qwen-ov --prompt "Why is the sky blue?"
  deltavino generate ./qwen-vl-ov --image cat.jpg --prompt "What is in the picture?" --no-think
  deltavino generate ./qwen-ov --chat
  deltavino check ./qwen-ov --against ./Qwen3.5-0.8B --report check.html

Exit codes: 0 done, 1 check found something wrong, 2 wrong usage, 3 bad input, 4 not supported, 5 cannot write,
            6 not to be had from the Hub, 70 a bug, 130 stopped.)";

void add_compression(CLI::App& command, CompressionOptions& options) {
    const char* group = "Compression";
    command
        .add_option("--weight-format", options.weight_format,
                    "fp32, fp16, bf16, int8, int4, nf4 or mxfp4; without it every tensor keeps its own type")
        ->type_name("FORMAT")
        ->group(group);
    command.add_flag("--sym", options.sym, "int8, int4: symmetric, without zero points")->group(group);
    command
        .add_option("--group-size", options.group_size,
                    "4 bit: columns that share a scale; -1 is a whole row [128; mixtures of experts 64; mxfp4 32]")
        ->type_name("N")
        ->group(group);
    command
        .add_option("--group-size-fallback", options.group_size_fallback,
                    "When the group size does not divide a weight: error; ignore (leave it as it is); adjust (the "
                    "largest smaller one from 32 up, else 8 bit) [adjust]")
        ->type_name("RULE")
        ->group(group);
    command
        .add_option(
            "--ratio", options.ratio,
            "Share of the 4-bit weights that stay 4 bit; the most sensitive others get the backup precision [1]")
        ->type_name("X")
        ->group(group);
    command
        .add_option("--backup-precision", options.backup_precision,
                    "For weights that are not 4 bit: none, int8_sym or int8_asym [embedding and head int8_sym, others "
                    "int8_asym]")
        ->type_name("TYPE")
        ->group(group);
    command.add_flag("--all-layers", options.all_layers, "4 bit for the embedding and the head too")->group(group);
    command
        .add_option("--keep", options.keep,
                    "Store weights whose name matches the glob as TYPE: stored, fp32, fp16, bf16, int8_sym, int8_asym, "
                    "int4_sym, int4_asym; may be repeated")
        ->type_name("GLOB=TYPE")
        ->allow_extra_args(false)
        ->group(group);
    command
        .add_option(
            "--scale-search", options.scale_search,
            "least-error: search scales and zero points for the least squared error; nncf: the bits that nncf writes")
        ->capture_default_str()
        ->type_name("WAY")
        ->group(group);
}

// For commands that take a checkpoint.
void add_hub(CLI::App& command, HubOptions& options) {
    const char* group = "Hugging Face Hub";
    command.add_option("--revision", options.revision, "Branch, tag or commit of a Hub id [main]")
        ->type_name("NAME")
        ->group(group);
    command
        .add_option("--cache-dir,--cache_dir", options.cache_dir,
                    "Folder of downloaded repositories [HF_HUB_CACHE, else HF_HOME/hub]")
        ->type_name("DIR")
        ->group(group);
}

void add_export(CLI::App& app, ExportOptions& options, HubOptions& hub) {
    CLI::App* command =
        app.add_subcommand("export", "Write an OpenVINO model directory from a Hugging Face checkpoint");
    command
        ->add_option("-m,--model", options.model,
                     "Checkpoint: a directory with config.json and *.safetensors, or a Hub id (owner/name)")
        ->required()
        ->type_name("MODEL");
    add_hub(*command, hub);
    command->add_option("output", options.output, "Directory to write; it appears only when everything is done")
        ->required()
        ->type_name("DIR");
    command
        ->add_option("--task", options.task,
                     "What the model is for: auto, text-generation-with-past or image-text-to-text")
        ->capture_default_str()
        ->type_name("TASK");
    add_compression(*command, options.compression);
    command->add_option("--report", options.report, "Write what became of each tensor to this JSON file")
        ->type_name("FILE");
    command->add_flag("--force", options.force, "Replace the output directory when it holds an export");
    command->add_flag("!--no-sync", options.sync,
                      "Do not wait until the files are on the disk; a power cut soon after can damage them");
    command->add_flag("!--disable-convert-tokenizer", options.convert_tokenizer,
                      "Do not write the tokenizer and detokenizer models");
    command->add_flag("--assume-tied-head", options.assume_tied_head,
                      "Use the embedding as the head when config.json says untied but no head is there");
    command->add_flag("--allow-nonfinite", options.allow_nonfinite, "Export weights that hold NaN or infinity");
    command->add_option("--threads", options.threads, "Threads that convert weights; 0 takes one per core")
        ->capture_default_str()
        ->type_name("N");
}

void add_generate(CLI::App& app, app::GenerateCommand& options) {
    CLI::App* command =
        app.add_subcommand("generate", "Run an exported directory: the answer goes to standard output as it is made");
    command->add_option("model", options.runner.model, "Exported directory, text or vision-language")
        ->required()
        ->type_name("DIR");
    command->add_option("-p,--prompt", options.prompt, "The question; with --chat the first one")->type_name("TEXT");
    command
        ->add_option("--image", options.images,
                     "A PNG or JPEG picture that stands before the question; may be repeated")
        ->type_name("FILE")
        ->allow_extra_args(false);
    command->add_flag("--chat", options.chat,
                      "Read questions from standard input, line by line, and keep the conversation; '/image FILE' adds "
                      "a picture to the next question, '/reset' forgets, '/exit' ends");
    command->add_option("--system", options.system, "System turn before the first question")->type_name("TEXT");
    command->add_flag_function(
        "--think,!--no-think", [&options](std::int64_t count) { options.options.thinking = count > 0; },
        "Let the model think before it answers, or not [as its chat template does it]");
    command->add_flag("--raw", options.raw, "Continue the prompt as it is, without the chat format");
    const char* group = "Sampling (defaults: generation_config.json, else the most likely token)";
    command
        ->add_option("--max-new-tokens", options.options.max_new_tokens,
                     fmt::format("Tokens to make at most [generation_config.json, else {}]", kDefaultMaxNewTokens))
        ->type_name("N")
        ->group(group);
    command
        ->add_option("--temperature", options.options.temperature,
                     "Above 0 samples; 0 always takes the most likely token")
        ->type_name("T")
        ->group(group);
    command->add_option("--top-k", options.options.top_k, "Sample among the K most likely tokens; 0: all")
        ->type_name("K")
        ->group(group);
    command
        ->add_option("--top-p", options.options.top_p,
                     "Sample among the most likely tokens that together have probability P")
        ->type_name("P")
        ->group(group);
    command
        ->add_option("--repetition-penalty", options.options.repetition_penalty,
                     "Above 1 makes tokens of the context less likely")
        ->type_name("X")
        ->group(group);
    command->add_option("--seed", options.options.seed, "The same seed gives the same text")
        ->capture_default_str()
        ->type_name("N")
        ->group(group);
    command->add_flag("--ignore-eos", options.options.ignore_eos, "Do not stop at an end-of-sequence token")
        ->group(group);
    command->add_option("--device", options.runner.device, "OpenVINO device")->capture_default_str()->type_name("NAME");
    command
        ->add_option("--precision", options.runner.precision,
                     "Compute in f32, bf16 or f16 [as the device prefers]; f32 also keeps the states unquantized")
        ->type_name("TYPE");
    command->add_flag("--json", options.json, "Print one JSON object for each answer instead of the text");
}

void add_eval(CLI::App& app, EvaluationOptions& options, bool& json) {
    CLI::App* command = app.add_subcommand(
        "eval", "Compare exported directories on a text: perplexity, and distance from the first one");
    command
        ->add_option("models", options.models,
                     "Exported directories; the first, usually a float export, is the reference")
        ->required()
        ->type_name("DIR...");
    command->add_option("--text", options.text, "UTF-8 text that the model was not trained on")
        ->required()
        ->type_name("FILE");
    command->add_option("--window", options.window, "Tokens that are scored together, starting with empty states")
        ->capture_default_str()
        ->type_name("N");
    command->add_option("--windows", options.windows, "At most this many windows; 0 takes the whole text")
        ->capture_default_str()
        ->type_name("N");
    command->add_option("--device", options.device, "OpenVINO device")->capture_default_str()->type_name("NAME");
    command
        ->add_option("--precision", options.precision,
                     "f32 shows what the weights do; bf16 or f16 adds what the device does; '' leaves it to the device")
        ->capture_default_str()
        ->type_name("TYPE");
    command->add_flag("--json", json, "Print JSON");
}

void add_check(CLI::App& app, app::CheckCommand& command) {
    CLI::App* check = app.add_subcommand(
        "check",
        "Say whether an exported directory is right, and whether weights, graph, precision or runtime are to blame");
    check->add_option("model", command.options.model, "Exported directory, whoever wrote it")
        ->required()
        ->type_name("DIR");
    check->add_option("--against", command.options.against, "The checkpoint that it was made from")->type_name("DIR");
    check->add_option("--text", command.options.text, "UTF-8 text to read [a built-in one]")->type_name("FILE");
    check->add_option("--prompt", command.options.prompt, "Text to read")->type_name("TEXT");
    check->add_option("--tokens", command.options.tokens, "Tokens to read at most")
        ->capture_default_str()
        ->type_name("N");
    check->add_option("--device", command.options.device, "OpenVINO device")->capture_default_str()->type_name("NAME");
    check->add_option("--threads", command.options.threads, "Threads of the reference; 0 takes one per core")
        ->capture_default_str()
        ->type_name("N");
    check->add_option("--report", command.report, "Write the report with plots to this HTML file")->type_name("FILE");
    check->add_flag("--json", command.json, "Print JSON");
}

// Text that standard output did not take is an error, too.
int report_lost_output(const std::string& reason) {
    std::fputs(fmt::format("error: cannot write to standard output: {}\n", reason).c_str(), stderr);
    return static_cast<int>(ErrorKind::Output);
}

int run(int argc, char** argv) {
    CLI::App app{"deltavino turns Qwen3.5-family checkpoints into OpenVINO models, without Python", "deltavino"};
    app.footer(kFooter);
    app.set_version_flag("--version", fmt::format("deltavino {} (OpenVINO {})", version(), openvino_version()));
    app.require_subcommand(1);

    ExportOptions export_options;
    HubOptions hub_options;
    add_export(app, export_options, hub_options);

    std::string inspect_model;
    bool inspect_json = false;
    CLI::App* inspect = app.add_subcommand(
        "inspect", "Say what a checkpoint or an exported directory holds, and what is wrong with it");
    inspect->add_option("path", inspect_model, "Checkpoint or exported directory, or the Hub id of a checkpoint")
        ->required()
        ->type_name("MODEL");
    add_hub(*inspect, hub_options);
    inspect->add_flag("--json", inspect_json, "Print JSON");

    app::GenerateCommand generate_command;
    add_generate(app, generate_command);

    EvaluationOptions eval_options;
    bool eval_json = false;
    add_eval(app, eval_options, eval_json);

    app::CheckCommand check_command;
    add_check(app, check_command);

    try {
        app.parse(argc, argv);
    } catch (const CLI::ParseError& error) {
        std::ostringstream text;
        const int code = app.exit(error, text, std::cerr);
        if (std::fputs(text.str().c_str(), stdout) < 0 || std::fflush(stdout) != 0) {
            return report_lost_output(std::generic_category().message(errno));
        }
        return code == 0 ? 0 : static_cast<int>(ErrorKind::Usage);
    }
    try {
        if (app.got_subcommand("generate")) {
            return app::run_generate(generate_command);
        }
        if (app.got_subcommand("check")) {
            return app::run_check(check_command);
        }
        if (app.got_subcommand("eval")) {
            return app::run_eval(eval_options, eval_json);
        }
        return app.got_subcommand("export") ? app::run_export(export_options, hub_options)
                                            : app::run_inspect(inspect_model, hub_options, inspect_json);
    } catch (const Error& error) {
        std::fputs(fmt::format("error: {}\n", error.what()).c_str(), stderr);
        return error.exit_code();
    } catch (const std::exception& error) {
        const auto* from_system = dynamic_cast<const std::system_error*>(&error);
        if (from_system != nullptr && std::ferror(stdout) != 0) {
            return report_lost_output(from_system->code().message());
        }
        std::fputs(fmt::format("error: internal: {}\n", error.what()).c_str(), stderr);
        return static_cast<int>(ErrorKind::Internal);
    }
}

}  // namespace

int main(int argc, char** argv) {
    prepare_process();
    const int code = run(argc, argv);
    errno = 0;
    const bool lost = std::fflush(stdout) != 0 || std::ferror(stdout) != 0;
    if (lost && code == 0) {
        return report_lost_output(errno != 0 ? std::generic_category().message(errno) : "a write failed");
    }
    return code;
}
