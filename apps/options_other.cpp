// What is said of the Hub and of checkpoints that are run; inspect, eval, check and cache.
#include "options.hpp"

#include <fmt/format.h>

namespace deltavino::app {

void hub_options(Command& command, HubOptions& options) {
    command.value("--revision", "NAME", "Branch, tag or commit of a Hub id [main]", text_into(options.revision));
    command.value("--cache-dir,--cache_dir", "DIR",
                  "Folder of downloaded repositories [HF_HUB_CACHE, else HF_HOME/hub]", path_into(options.cache_dir));
}

void recipe_options(Command& command, RunRecipe& recipe) {
    CachedExport& wanted = recipe.wanted;
    wanted.compression.weight_format = "int4";
    const auto noted = [&recipe](const char* name, Take take) {
        return [&recipe, name, take = std::move(take)](const std::string& text) {
            recipe.given.emplace_back(name);
            take(text);
        };
    };
    command.group("Of a checkpoint, which is exported first");
    command.value("--weight-format", "FORMAT",
                  "As in export: fp32, fp16, bf16, int8, int4, nf4 or mxfp4; stored keeps the types of the checkpoint "
                  "[int4]",
                  noted("--weight-format", [&wanted](const std::string& text) {
                      wanted.compression.weight_format = text == "stored" ? "" : text;
                  }));
    command.choices({"fp32", "fp16", "bf16", "int8", "int4", "nf4", "mxfp4", "stored"});
    command.flag("--sym", "As in export: int8, int4 without zero points", [&recipe, &wanted]() {
        recipe.given.emplace_back("--sym");
        wanted.compression.sym = true;
    });
    command.value("--group-size", "N", "As in export: 4 bit, columns that share a scale",
                  noted("--group-size", whole_into(wanted.compression.group_size)));
    command.value("--lora", "DIR", "Merge this PEFT LoRA adapter into the checkpoint",
                  noted("--lora", path_into(wanted.lora)));
    command.value("--task", "TASK", "As in export: text-generation-with-past leaves out a vision tower [auto]",
                  noted("--task", text_into(wanted.task)));
    command.choices({"auto", "text-generation-with-past", "image-text-to-text"});
    hub_options(command, wanted.hub);
}

Command inspect_options(InspectCommand& out) {
    Command command("inspect", "Say what a checkpoint or an exported directory holds, and what is wrong with it");
    one_model(command, "Checkpoint, its Hub id, or exported directory", out.path);
    command.group("Options");
    hub_options(command, out.hub);
    command.value("--device", "NAME", "CPU or GPU: how much memory the model needs there, by length of the context",
                  text_into(out.device));
    command.flag("--json", "Print JSON", [&out]() { out.json = true; });
    command.example("deltavino inspect ./Qwen3.5-0.8B");
    command.example("deltavino inspect ./qwen-int4 --json");
    command.example("deltavino inspect ./qwen-int4 --device GPU");
    command.check([&out]() { require_model(out.path); });
    command.run([&out]() { return run_inspect(out); });
    return command;
}

Command eval_options(EvalCommand& out) {
    EvaluationOptions& options = out.options;
    Command command("eval", "Compare models on a text: perplexity, and distance from a reference");
    command.value("models", "DIR",
                  "Exported directories, whoever wrote them, checkpoints or Hub ids (exported first and kept, see "
                  "cache); without --against the first is the reference",
                  path_into(options.models), Values::Many);
    command.group("Options");
    command.value("--against", "DIR", "The checkpoint, or its Hub id: computed in float32 it is the reference",
                  path_into(options.against));
    command.value("-m,--model", "DIR", "The same, by name; may be repeated", path_into(options.models), Values::Many);
    command.value("--text", "FILE", "UTF-8 text that the model was not trained on (required)", path_into(options.text));
    command.value("--window", "N", "Tokens that are scored together, starting with empty states [256]",
                  count_into(options.window));
    command.value("--windows", "N", "At most this many windows; 0 takes the whole text [0]",
                  count_into(options.windows));
    command.value("--device", "NAME", "OpenVINO device [CPU]", text_into(options.device));
    command.value(
        "--precision", "TYPE",
        "f32 shows what the weights do; bf16 or f16 adds what the device does; '' leaves it to the device [f32]",
        text_into(options.precision));
    command.flag("--as-generate",
                 "Run the models as `generate` does on a CPU, with its own operations; --precision '' is what it takes",
                 [&options]() { options.as_generate = true; });
    command.value("--threads", "N", "Threads of the reference on a checkpoint; 0 takes one per core [0]",
                  count_into(options.threads));
    command.flag("--json", "Print JSON", [&out]() { out.json = true; });
    recipe_options(command, out.recipe);
    command.group("Options");
    command.example("deltavino eval ./qwen-int4 --against ./Qwen3.5-0.8B --text held_out.txt");
    command.example("deltavino eval ./qwen-float ./qwen-int4 --text held_out.txt");
    command.check([&options]() {
        if (options.models.empty() || options.text.empty()) {
            throw Error(ErrorKind::Usage, options.models.empty() ? "a model directory must be given"
                                                                 : "the text (--text FILE) must be given");
        }
    });
    command.run([&out]() { return run_eval(out); });
    return command;
}

Command check_options(CheckCommand& out) {
    CheckOptions& options = out.options;
    Command command(
        "check",
        "Say whether an exported directory is right, and whether weights, graph, precision or runtime are to "
        "blame");
    one_model(command, "Exported directory, whoever wrote it", options.model);
    command.group("Options");
    command.value("--against", "DIR", "The checkpoint that it was made from, or its Hub id",
                  path_into(options.against));
    hub_options(command, out.hub);
    command.value("--lora", "DIR", "With --against: the adapter that export --lora merged into it",
                  path_into(options.lora));
    command.value("--adapter", "FILE",
                  "A LoRA adapter (.safetensors, or its folder) for openvino_genai to apply at run time: whether it "
                  "fits the model",
                  path_into(options.adapter));
    command.value("--text", "FILE", "UTF-8 text to read [a built-in one]", path_into(options.text));
    command.value("--prompt", "TEXT", "Text to read", text_into(options.prompt));
    command.value("--image", "FILE", "Picture to look at, with a vision-language directory [a built-in one]",
                  path_into(options.image));
    command.value("--tokens", "N", "Tokens to read at most [300]", count_into(options.tokens));
    command.value("--device", "NAME", "OpenVINO device [CPU]", text_into(options.device));
    command.value("--threads", "N", "Threads of the reference; 0 takes one per core [0]", count_into(options.threads));
    command.value("--report", "FILE", "Write the report with plots to this HTML file", path_into(out.report));
    command.flag("--json", "Print JSON", [&out]() { out.json = true; });
    command.example("deltavino check ./qwen-int4 --against ./Qwen3.5-0.8B --report check.html");
    command.check([&options]() {
        require_model(options.model);
        if (!options.lora.empty() && options.against.empty()) {
            throw Error(ErrorKind::Usage, "--lora is for the checkpoint of --against");
        }
    });
    command.run([&out]() { return run_check(out); });
    return command;
}

Command cache_options(CacheCommand& out) {
    Command command("cache", "List or remove the exports that generate and eval made of checkpoints and keep");
    command.value("action", "list|clear", "list: what is kept, and its size; clear: remove it",
                  [&out](const std::string& text) {
                      if (text != "list" && text != "clear") {
                          throw Error(ErrorKind::Usage, fmt::format("is '{}', expected list or clear", text));
                      }
                      out.action = text == "list" ? CacheAction::List : CacheAction::Clear;
                  });
    command.choices({"list", "clear"});
    command.value(
        "key", "KEY", "clear: only these, as list names them; * and ? stand for any characters [all]",
        [&out](const std::string& text) { out.keys.push_back(text); }, Values::Many);
    command.group("Options");
    command.value("--older-than", "DAYS", "clear: only those that were not used for so many days",
                  count_into(out.older_than_days));
    command.flag("--json", "Print JSON", [&out]() { out.json = true; });
    command.example("deltavino cache list");
    command.example("deltavino cache clear --older-than 30");
    command.example("deltavino cache clear 'Qwen3.5-0.8B-*'");
    command.check([&out]() {
        if (out.action == CacheAction::None) {
            throw Error(ErrorKind::Usage, "the action must be given: list or clear");
        }
        if (out.action == CacheAction::List && (!out.keys.empty() || out.older_than_days)) {
            throw Error(ErrorKind::Usage, "keys and --older-than are for clear; list shows all");
        }
    });
    command.run([&out]() { return run_cache(out); });
    return command;
}

}  // namespace deltavino::app
