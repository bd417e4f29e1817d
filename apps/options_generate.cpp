#include "options.hpp"

#include <fmt/format.h>

#include <system_error>

namespace deltavino::app {
namespace {

void add_sampling(Command& command, GenerateOptions& options) {
    command.group("Choosing tokens (defaults: generation_config.json, else the most likely token)");
    command.value("--max-new-tokens", "N",
                  fmt::format("Tokens to make at most [generation_config.json, else {}]", kDefaultMaxNewTokens),
                  count_into(options.max_new_tokens, 1));
    command.value("--temperature", "T", "Above 0 samples; 0 always takes the most likely token",
                  real_into(options.temperature));
    command.value("--top-k", "K", "Sample among the K most likely tokens; 0: all", count_into(options.top_k));
    command.value("--top-p", "P", "Sample among the most likely tokens that together have probability P",
                  real_into(options.top_p));
    command.value("--min-p", "P", "Sample among tokens with at least P times the probability of the likeliest",
                  real_into(options.min_p));
    command.value("--repetition-penalty", "X", "Above 1 makes tokens of the context less likely",
                  real_into(options.repetition_penalty));
    command.value("--presence-penalty", "X", "Taken off the logit of each token that stands in the answer",
                  real_into(options.presence_penalty));
    command.value("--frequency-penalty", "X", "Likewise, as often as the token stands there",
                  real_into(options.frequency_penalty));
    command.list("--stop", "TEXT", "End the answer with this text; may be repeated",
                 [&options](const std::string& text) { options.stop_strings.push_back(text); });
    command.value("--seed", "N", "The same seed gives the same text [0]", count_into(options.seed));
    command.flag("--ignore-eos", "Do not stop at an end-of-sequence token",
                 [&options]() { options.ignore_eos = true; });
}

void check(GenerateCommand& command) {
    std::error_code error;
    // "--image a.png b.png DIR": the files end where the model begins.
    if (command.runner.model.empty() && command.images.size() > 1 &&
        std::filesystem::is_directory(command.images.back(), error)) {
        command.runner.model = command.images.back();
        command.images.pop_back();
    }
    if (command.runner.model.empty()) {
        throw Error(ErrorKind::Usage, "the model directory must be given");
    }
    if (command.prompt && !command.file.empty()) {
        throw Error(ErrorKind::Usage, "--prompt and --file do not go together");
    }
    if (command.chat && command.prompt == "-") {
        throw Error(ErrorKind::Usage, "--chat reads its questions from standard input: --prompt - does not go with it");
    }
    const bool talks = command.chat || command.system || command.options.thinking || !command.tools.empty() ||
                       !command.messages.empty() || !command.options.chat_template_kwargs.empty();
    if (command.raw && talks) {
        throw Error(ErrorKind::Usage,
                    "--raw continues one prompt as it is: --chat, --system, --think, --no-think, --tools, --messages "
                    "and --chat-template-kwargs do not go with it");
    }
    if (command.system && !command.messages.empty()) {
        throw Error(ErrorKind::Usage,
                    "--system and --messages do not go together: the first message can be the system's");
    }
}

}  // namespace

Command generate_options(GenerateCommand& out) {
    Command command("generate",
                    "Run a model: an exported directory, or a checkpoint, which is exported first and kept (see "
                    "cache). The answer goes to standard output as it is made");
    one_model(command, "Exported directory, checkpoint, or Hub id: OWNER/NAME[@REVISION]", out.runner.model);
    command.group("Options");
    command.value("-p,--prompt", "TEXT",
                  "The question; with --chat the first one; - reads it from standard input, as it is read when that is "
                  "no terminal and no question is given",
                  text_into(out.prompt));
    command.value("-f,--file", "FILE", "Read the question from a file", path_into(out.file));
    command.value("--image", "FILE", "PNG or JPEG pictures that stand before the question; may be repeated",
                  path_into(out.images), Values::Many);
    command.flag("--chat",
                 "Read questions from standard input, line by line, and keep the conversation; '/image FILE' adds a "
                 "picture to the next question, '/reset' forgets, '/exit' ends",
                 [&out]() { out.chat = true; });
    command.value("--system", "TEXT", "System turn before the first question", text_into(out.system));
    command.value("--messages", "FILE",
                  "JSON array of messages that were said before, with calls of tools, their results and thinking; "
                  "without another question the last of them is the question",
                  path_into(out.messages));
    command.value("--tools", "FILE", "JSON array of the functions that the model may call, as chat templates take them",
                  path_into(out.tools));
    command.flag("--think", "Let the model think before it answers [as its chat template does it]",
                 [&out]() { out.options.thinking = true; });
    command.flag("--no-think", "Do not let it", [&out]() { out.options.thinking = false; });
    command.value("--chat-template-kwargs", "JSON",
                  "More variables of the chat template, as '{\"preserve_thinking\": true}'",
                  text_into(out.options.chat_template_kwargs));
    command.flag("--raw", "Continue the prompt as it is, without the chat format", [&out]() { out.raw = true; });
    command.value("--device", "NAME", "OpenVINO device [CPU]", text_into(out.runner.device));
    command.value("--precision", "TYPE",
                  "Compute in f32, bf16 or f16 [as the device prefers]; f32 also keeps the states unquantized",
                  text_into(out.runner.precision));
    command.value("--threads", "N", "Threads of the device; 0 lets it choose [0]", count_into(out.runner.threads));
    command.flag("--plugin-only",
                 "Leave all of the language model to OpenVINO's plugin, as other programs run it: without this "
                 "program's faster linear attention and products with compressed weights on the CPU",
                 [&out]() { out.runner.plugin_only = true; });
    command.value(
        "--compiled-cache", "DIR",
        "Keep the compiled model in this folder, as large as its files, and start faster from the second time",
        path_into(out.runner.compiled_cache));
    command.value("--speculate", "N",
                  "Let the multi-token-prediction model guess N tokens at a time, which the language model checks "
                  "together: the same answer, and sometimes sooner; 0: none [0]",
                  count_into(out.runner.speculate));
    command.flag("--json", "Print one JSON object for each answer instead of the text", [&out]() { out.json = true; });
    add_sampling(command, out.options);
    recipe_options(command, out.recipe);
    command.group("Options");
    command.example("deltavino generate ./qwen-int4 --prompt \"Why is the sky blue?\"");
    command.example("deltavino generate Qwen/Qwen3.5-0.8B --prompt \"Why is the sky blue?\"");
    command.example("deltavino generate ./qwen-int4 --image cat.jpg dog.jpg --prompt \"What is in the pictures?\"");
    command.example("deltavino generate ./qwen-int4 --chat");
    command.example("deltavino generate ./qwen-int4 --no-think < question.txt");
    command.example("deltavino generate ./qwen-int4 --tools tools.json --prompt \"How warm is it in Oslo?\"");
    command.example("deltavino generate ./qwen-int4 --raw -f story.txt --temperature 0.8 --max-new-tokens 200");
    command.check([&out]() { check(out); });
    command.run([&out]() { return run_generate(out); });
    return command;
}

}  // namespace deltavino::app
