// What is said of the Hub; inspect, eval and check.
#include "options.hpp"

namespace deltavino::app {

void hub_options(Command& command, HubOptions& options) {
    command.value("--revision", "NAME", "Branch, tag or commit of a Hub id [main]", text_into(options.revision));
    command.value("--cache-dir,--cache_dir", "DIR",
                  "Folder of downloaded repositories [HF_HUB_CACHE, else HF_HOME/hub]", path_into(options.cache_dir));
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
    command.check([&out]() {
        if (out.path.empty()) {
            throw Error(ErrorKind::Usage, "the directory must be given");
        }
    });
    command.run([&out]() { return run_inspect(out); });
    return command;
}

Command eval_options(EvalCommand& out) {
    EvaluationOptions& options = out.options;
    Command command("eval", "Compare exported directories on a text: perplexity, and distance from a reference");
    command.value("models", "DIR",
                  "Exported directories, whoever wrote them; without --against the first is the reference",
                  path_into(options.models), Values::Many);
    command.group("Options");
    command.value("--against", "DIR", "The checkpoint, or its Hub id: computed in float32 it is the reference",
                  path_into(options.against));
    hub_options(command, out.hub);
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
    command.value("--threads", "N", "Threads of the reference on a checkpoint; 0 takes one per core [0]",
                  count_into(options.threads));
    command.flag("--json", "Print JSON", [&out]() { out.json = true; });
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
    command.value("--text", "FILE", "UTF-8 text to read [a built-in one]", path_into(options.text));
    command.value("--prompt", "TEXT", "Text to read", text_into(options.prompt));
    command.value("--tokens", "N", "Tokens to read at most [300]", count_into(options.tokens));
    command.value("--device", "NAME", "OpenVINO device [CPU]", text_into(options.device));
    command.value("--threads", "N", "Threads of the reference; 0 takes one per core [0]", count_into(options.threads));
    command.value("--report", "FILE", "Write the report with plots to this HTML file", path_into(out.report));
    command.flag("--json", "Print JSON", [&out]() { out.json = true; });
    command.example("deltavino check ./qwen-int4 --against ./Qwen3.5-0.8B --report check.html");
    command.check([&options]() {
        if (options.model.empty()) {
            throw Error(ErrorKind::Usage, "the directory must be given");
        }
    });
    command.run([&out]() { return run_check(out); });
    return command;
}

}  // namespace deltavino::app
