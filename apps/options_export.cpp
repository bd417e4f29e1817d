#include "options.hpp"

#include <fmt/format.h>

namespace deltavino::app {
namespace {

void add_compression(Command& command, CompressionOptions& options) {
    command.group("Compression");
    command.value("--weight-format", "FORMAT",
                  "fp32, fp16, bf16, int8, int4, nf4 or mxfp4 [every tensor keeps its own type]",
                  text_into(options.weight_format));
    command.choices({"fp32", "fp16", "bf16", "int8", "int4", "nf4", "mxfp4"});
    command.value(
        "--recipe", "NAME",
        "int4: what is stored how; balanced, smallest, fastest, best or npu, see docs/quantization.md [balanced]",
        text_into(options.recipe));
    command.choices({"balanced", "smallest", "fastest", "best", "npu"});
    command.value("--target-size", "SIZE",
                  "int4: choose bits and groups of each weight so that the models' .bin files take at most SIZE, for "
                  "example 14.5GB, and the model changes least",
                  text_into(options.target_size));
    command.value("--target-bits", "X", "int4: the same by bits for each weight that can have 4, for example 4.3",
                  real_into(options.target_bits));
    command.flag("--sym", "int8, int4: symmetric, without zero points", [&options]() { options.sym = true; });
    command.value("--group-size", "N",
                  "4 bit: columns that share a scale; -1 is a whole row [128; mixtures of experts 64; mxfp4 32]",
                  whole_into(options.group_size));
    command.value(
        "--group-size-fallback", "RULE",
        "When the group size does not divide a weight: error; ignore (leave it as it is); adjust (the largest "
        "smaller one from 32 up, else 8 bit) [adjust]",
        text_into(options.group_size_fallback));
    command.choices({"error", "ignore", "adjust"});
    command.value("--ratio", "X",
                  "Share of the 4-bit weights that stay 4 bit; the most sensitive others get the backup precision [1]",
                  real_into(options.ratio));
    command.value("--backup-precision", "TYPE",
                  "For weights that are not 4 bit: none, int8_sym or int8_asym [embedding and head int8_sym, others "
                  "int8_asym]",
                  text_into(options.backup_precision));
    command.choices({"none", "int8_sym", "int8_asym"});
    command.flag("--all-layers", "4 bit for the embedding and the head too",
                 [&options]() { options.all_layers = true; });
    command.list("--keep", "GLOB=TYPE",
                 "Store weights whose name matches the glob as TYPE: stored, fp32, fp16, bf16, int8_sym, int8_asym, "
                 "int4_sym, int4_asym (of another group size: int4_asym_g64); may be repeated",
                 [&options](const std::string& text) { options.keep.push_back(text); });
    command.value("--scale-search", "WAY",
                  "least-error: search scales and zero points for the least squared error; nncf: the bits that nncf "
                  "writes [least-error]",
                  text_into(options.scale_search));
    command.choices({"least-error", "nncf"});
    command.value("--calibrate", "FILE",
                  "int4: choose the codes that change least what the layers put out on this text; self: on text that "
                  "the model writes itself [by the weights alone]",
                  path_into(options.calibrate));
    command.value("--calibration-tokens", "N", "Tokens that --calibrate runs at most [16384]",
                  count_into(options.calibration_tokens, 1));
    command.value("--dynamic-quantization", "N",
                  "Write into the models that activations are quantized in groups of N columns before products with "
                  "compressed weights: larger is faster on CPUs without AMX; off: never [as the device likes]",
                  [&options](const std::string& text) {
                      if (text == "off") {
                          options.dynamic_quantization = 0;
                      } else {
                          count_into(options.dynamic_quantization, 1)(text);
                      }
                  });
}

void add_server(Command& command, ExportCommand& out) {
    command.group("OpenVINO Model Server (with --ovms; as `ovms --pull` has them)");
    for (const ServerOption& option : server_options()) {
        command.value(fmt::format("--{}", option.name), option.type, option.help,
                      [&out, &option](const std::string& text) { out.ovms[option.name] = text; });
        command.choices(option.choices);
    }
}

// Options of optimum-cli that change nothing here. `only`: the one value that is taken; empty: any.
struct Noted {
    const char* name;
    Values values;
    const char* only;
    const char* why;
};
constexpr Noted kNoted[] = {
    {"--framework", Values::One, "pt", "weights are read from safetensors without a framework"},
    {"--library", Values::One, "transformers", "checkpoints of transformers are the only ones it reads"},
    {"--trust-remote-code", Values::None, "", "code of a checkpoint is never run"},
    {"--pad-token-id", Values::One, "", "the export does not depend on it"},
    {"--model-kwargs", Values::One, "{}", "no model code is called"},
    {"--sensitivity-metric", Values::One, "weight_quantization_error", "--ratio measures the error of the weights"},
};

// Options of optimum-cli that ask for something that is not done here, and what to use instead.
struct Refused {
    const char* name;
    Values values;
    const char* why;
};
constexpr const char* kNoData =
    "is one of optimum-intel's ways with sample data; --calibrate FILE, or self, does the same work here";
constexpr const char* kNoActivations = "quantizes activations; --weight-format compresses weights";
constexpr Refused kRefused[] = {
    {"--dataset", Values::One, kNoData},
    {"--num-samples", Values::One, kNoData},
    {"--awq", Values::None, kNoData},
    {"--scale-estimation", Values::None, kNoData},
    {"--gptq", Values::None, kNoData},
    {"--lora-correction", Values::None, kNoData},
    {"--quantization-statistics-path", Values::One, kNoData},
    {"--quant-mode", Values::One, kNoActivations},
    {"--smooth-quant-alpha", Values::One, kNoActivations},
    {"--disable-stateful", Values::None,
     "models with their states as inputs are not written; the stateful one runs in "
     "openvino_genai and optimum-intel"},
    {"--variant", Values::One, "give a folder that holds only the weights of that variant"},
};

void add_optimum(Command& command, ExportCommand& out) {
    for (const Noted& noted : kNoted) {
        command.hidden(noted.name, noted.values, [&out, &noted](const std::string& text) {
            const std::string only = noted.only;
            if (!only.empty() && text != only) {
                out.refused.push_back(fmt::format("{} {}: only '{}' is supported", noted.name, text, only));
            } else {
                out.notes.push_back(fmt::format("{} changes nothing here: {}", noted.name, noted.why));
            }
        });
    }
    for (const Refused& refused : kRefused) {
        command.hidden(refused.name, refused.values, [&out, &refused](const std::string&) {
            out.refused.push_back(fmt::format("{} {}", refused.name, refused.why));
        });
    }
}

void check(ExportCommand& command) {
    std::string missing;
    for (const auto& [name, path] : {std::pair{"the checkpoint (-m DIR)", &command.options.model},
                                     std::pair{"the directory to write (OUTPUT)", &command.options.output}}) {
        missing += path->empty() ? fmt::format("{}{}", missing.empty() ? "" : " and ", name) : "";
    }
    if (!missing.empty()) {
        throw Error(ErrorKind::Usage, fmt::format("{} must be given", missing));
    }
    if (command.options.dry_run && (command.verify || !command.options.report.empty())) {
        throw Error(ErrorKind::Usage, "--dry-run writes nothing: --verify and --report do not go with it");
    }
    if (!command.ovms.empty() && !command.options.ovms) {
        throw Error(ErrorKind::Usage,
                    fmt::format("--{} is for OpenVINO Model Server: give --ovms, too", command.ovms.begin()->first));
    }
    if (command.options.ovms) {
        command.options.ovms = command.ovms;
    }
}

}  // namespace

Command export_options(ExportCommand& out) {
    ExportOptions& options = out.options;
    Command command("export", "Write an OpenVINO model directory from a Hugging Face checkpoint directory");
    command.value("output", "DIR", "Directory to write; it appears only when everything is done",
                  path_into(options.output));
    command.group("Options");
    command.value("-m,--model", "DIR", "Checkpoint directory, or its Hub id: OWNER/NAME[@REVISION] (required)",
                  path_into(options.model));
    hub_options(command, out.hub);
    command.value("--lora", "DIR", "Merge this PEFT LoRA adapter into the weights while they are written",
                  path_into(options.lora));
    command.value("--task", "TASK",
                  "What the model is for: auto, text-generation-with-past, image-text-to-text, feature-extraction "
                  "(embeddings) or text-classification (classifiers, rerankers) [auto]",
                  text_into(options.task));
    command.choices(
        {"auto", "text-generation-with-past", "image-text-to-text", "feature-extraction", "text-classification"});
    command.value("--report", "FILE", "Write what became of each tensor to this JSON file", path_into(options.report));
    command.flag("--dry-run",
                 "Say which files would be written, how large they are and about how long it takes; write nothing",
                 [&options]() { options.dry_run = true; });
    command.flag("--force", "Replace the output directory when it holds an export",
                 [&options]() { options.force = true; });
    command.flag("--verify",
                 "Check the finished export against the checkpoint (see check) before it appears; a wrong one does not",
                 [&out]() { out.verify = true; });
    command.flag("--no-sync", "Do not wait until the files are on the disk; a power cut soon after can damage them",
                 [&options]() { options.sync = false; });
    command.flag("--disable-convert-tokenizer", "Do not write the tokenizer and detokenizer models",
                 [&options]() { options.convert_tokenizer = false; });
    command.flag("--no-mtp", "Leave out the multi-token-prediction model, which drafts tokens",
                 [&options]() { options.mtp = false; });
    command.flag("--ovms", "Write graph.pbtxt, too, with which OpenVINO Model Server serves the directory",
                 [&options]() { options.ovms.emplace(); });
    command.flag("--assume-tied-head",
                 "Use the embedding as the head when config.json says untied but no head is there",
                 [&options]() { options.assume_tied_head = true; });
    command.flag("--allow-nonfinite", "Export weights that hold NaN or infinity",
                 [&options]() { options.allow_nonfinite = true; });
    command.value("--threads", "N", "Threads that convert weights; 0 takes one per core [0]",
                  count_into(options.threads));
    add_compression(command, options.compression);
    add_server(command, out);
    add_optimum(command, out);
    command.group("Options");
    command.example("deltavino export -m ./Qwen3.5-0.8B ./qwen-int4 --weight-format int4");
    command.example("deltavino export -m ./Qwen3.5-0.8B ./qwen-text --task text-generation-with-past");
    command.example("deltavino export -m ./Qwen3.5-0.8B ./qwen-mixed --weight-format int4 --ratio 0.8 --group-size 64");
    command.example(
        "deltavino export -m ./Qwen3.5-0.8B ./qwen-kept --weight-format int4 --keep '*.o_proj.*=int8_asym'");
    command.example("deltavino export -m ./Qwen3.5-0.8B --lora ./my-adapter ./qwen-tuned --weight-format int4");
    command.check([&out]() { check(out); });
    command.run([&out]() { return run_export(out); });
    return command;
}

}  // namespace deltavino::app
