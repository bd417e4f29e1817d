// Ground truth: llm_calculator.proto, embeddings_calculator_ov.proto and rerank_calculator_ov.proto of OpenVINO Model
// Server 2026.3, mediapipe's calculator.proto, and the graph that `ovms --pull` writes. Its graph queue is left to
// servers that make the file themselves: the node asks for nothing that releases before it do not know.
#include "export/directory/server_graph.hpp"

#include "base/error.hpp"
#include "base/file.hpp"
#include "base/text.hpp"
#include "json/document.hpp"

#include <algorithm>
#include <charconv>
#include <limits>

namespace deltavino::exporter {
namespace {

namespace fs = std::filesystem;

enum class Kind {
    Whole32,
    Whole64,
    Boolean,
    Name,  // of a protobuf enumeration
    Text,
    Plugin,  // an entry of plugin_config, or all of it
};

// The graphs that an option is for, as bits.
constexpr unsigned kText = 1;
constexpr unsigned kEmbeddings = 2;
constexpr unsigned kRerank = 4;
constexpr unsigned kAll = 7;

struct OptionRow {
    ServerOption option;
    unsigned servables;
    Kind kind;
    const char* field;    // of the calculator's options; of Plugin: the property, null is the whole
    const char* initial;  // what is written when nobody gives a value; null: nothing
};

const std::vector<OptionRow>& rows() {
    static const std::vector<std::string> kBooleans{"true", "false"};
    static const std::vector<OptionRow> kRows{
        {{"target_device", "NAME", "Device of the server, as CPU, GPU.1, NPU or AUTO:GPU,CPU [the server chooses]", {}},
         kAll,
         Kind::Text,
         "device",
         nullptr},
        {{"pipeline_type", "TYPE", "LM, LM_CB, VLM, VLM_CB or AUTO [AUTO]", {"LM", "LM_CB", "VLM", "VLM_CB", "AUTO"}},
         kText,
         Kind::Name,
         "pipeline_type",
         nullptr},
        {{"max_num_seqs", "N", "Sequences that run together at most [256]", {}},
         kText,
         Kind::Whole64,
         "max_num_seqs",
         "256"},
        {{"max_num_batched_tokens", "N", "Tokens of one inference at most [256]", {}},
         kText,
         Kind::Whole64,
         "max_num_batched_tokens",
         nullptr},
        {{"cache_size", "GB", "Size of the key/value cache; 0 grows as it is needed [0]", {}},
         kText,
         Kind::Whole64,
         "cache_size",
         "0"},
        {{"cache_interval_multiplier",
          "N",
          "Blocks between two states that prefix caching keeps [as the server does]",
          {}},
         kText,
         Kind::Whole64,
         "cache_interval_multiplier",
         nullptr},
        // On in `ovms --pull`; openvino_genai 2026.4.1 answers some repeated prompts wrongly with it (docs/genai.md).
        {{"enable_prefix_caching", "BOOL", "Keep what prompts begin with [false; ovms --pull: true]", kBooleans},
         kText,
         Kind::Boolean,
         "enable_prefix_caching",
         "false"},
        {{"dynamic_split_fuse", "BOOL", "Read long prompts in pieces, beside other requests [true]", kBooleans},
         kText,
         Kind::Boolean,
         "dynamic_split_fuse",
         nullptr},
        {{"max_tokens_limit", "N", "The most tokens that a request may ask for [no limit]", {}},
         kText,
         Kind::Whole32,
         "max_tokens_limit",
         nullptr},
        {{"tool_parser",
          "NAME",
          "What reads calls of tools: qwen3coder, hermes3, none, ... [by the chat template]",
          {}},
         kText,
         Kind::Text,
         "tool_parser",
         nullptr},
        {{"reasoning_parser", "NAME", "What reads the thinking: qwen3, none, ... [by the chat template]", {}},
         kText,
         Kind::Text,
         "reasoning_parser",
         nullptr},
        {{"enable_tool_guided_generation", "BOOL", "Hold calls of tools to their schemas [false]", kBooleans},
         kText,
         Kind::Boolean,
         "enable_tool_guided_generation",
         nullptr},
        {{"draft_models_path",
          "DIR",
          "Directory that drafts tokens, relative to the exported one; '.' is its own multi-token prediction [none]",
          {}},
         kText,
         Kind::Text,
         "draft_models_path",
         nullptr},
        {{"pooling", "WAY", "Embeddings: CLS, LAST or MEAN [LAST]", {"CLS", "LAST", "MEAN"}},
         kEmbeddings,
         Kind::Name,
         "pooling",
         "LAST"},
        {{"normalize", "BOOL", "Embeddings of length 1 [true]", kBooleans},
         kEmbeddings,
         Kind::Boolean,
         "normalize_embeddings",
         "true"},
        {{"truncate", "BOOL", "Embeddings: cut texts that are too long [false]", kBooleans},
         kEmbeddings,
         Kind::Boolean,
         "truncate",
         "false"},
        {{"max_allowed_chunks", "N", "Reranking: documents of a request at most, after they are cut [10000]", {}},
         kRerank,
         Kind::Whole64,
         "max_allowed_chunks",
         "10000"},
        {{"num_streams", "N", "Embeddings, reranking: inferences side by side [1]", {}},
         kEmbeddings | kRerank,
         Kind::Plugin,
         "NUM_STREAMS",
         "1"},
        {{"kv_cache_precision", "TYPE", "Type of the key/value cache: u8 [as the device prefers]", {"u8"}},
         kText,
         Kind::Plugin,
         "KV_CACHE_PRECISION",
         nullptr},
        {{"max_prompt_len", "N", "NPU: tokens of a prompt at most [1024]", {}},
         kText,
         Kind::Plugin,
         "MAX_PROMPT_LEN",
         nullptr},
        {{"model_distribution_policy",
          "WAY",
          "TENSOR_PARALLEL or PIPELINE_PARALLEL over several devices [none]",
          {"TENSOR_PARALLEL", "PIPELINE_PARALLEL"}},
         kText,
         Kind::Plugin,
         "MODEL_DISTRIBUTION_POLICY",
         nullptr},
        {{"plugin_config", "JSON", "Properties of the device as one JSON object", {}},
         kAll,
         Kind::Plugin,
         nullptr,
         nullptr},
    };
    return kRows;
}

unsigned bit(Servable servable) {
    return servable == Servable::TextGeneration ? kText : servable == Servable::Embeddings ? kEmbeddings : kRerank;
}

const char* purpose(Servable servable) {
    switch (servable) {
        case Servable::TextGeneration: return "generates text";
        case Servable::Embeddings: return "makes embeddings";
        case Servable::Rerank: return "ranks texts";
    }
    fail(ErrorKind::Internal, "unknown servable");
}

bool is_whole(const std::string& text, std::uint64_t most) {
    std::uint64_t number = 0;
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
    return error == std::errc() && end == text.data() + text.size() && number <= most;
}

bool is_number_of_plugin(const OptionRow& row) {
    return row.kind == Kind::Plugin && std::string_view(row.option.type) == "N";
}

// What is expected in the place of `value`; empty when it will do.
std::string expected(const OptionRow& row, const std::string& value) {
    const std::vector<std::string>& choices = row.option.choices;
    if (!choices.empty()) {
        const bool known = std::find(choices.begin(), choices.end(), value) != choices.end();
        return known ? std::string() : fmt::format("one of {}", fmt::join(choices, ", "));
    }
    const std::uint64_t most = row.kind == Kind::Whole64 ? std::numeric_limits<std::uint64_t>::max()
                                                         : std::numeric_limits<std::uint32_t>::max();
    if ((row.kind == Kind::Whole32 || row.kind == Kind::Whole64 || is_number_of_plugin(row)) &&
        !is_whole(value, most)) {
        return fmt::format("a whole number up to {}", most);
    }
    if (row.kind == Kind::Text && (value.empty() || !is_utf8(value))) {
        return "a text in UTF-8 that is not empty";
    }
    return {};
}

// A text of protobuf's text format.
std::string quoted(const std::string& text) {
    std::string result = "\"";
    for (const char c : text) {
        if (c == '"' || c == '\\') {
            result += '\\';
        }
        if (static_cast<unsigned char>(c) < 0x20 || c == 0x7f) {
            result += fmt::format("\\{:03o}", static_cast<unsigned char>(c));
        } else {
            result += c;
        }
    }
    return result + "\"";
}

const OptionRow* find_row(const std::string& name) {
    const auto found =
        std::find_if(rows().begin(), rows().end(), [&](const OptionRow& row) { return name == row.option.name; });
    return found == rows().end() ? nullptr : &*found;
}

Json given_plugin_config(const std::map<std::string, std::string>& values, Problems& problems) {
    const auto whole = values.find("plugin_config");
    if (whole == values.end()) {
        return Json::object();
    }
    try {
        Json json = parse_json(whole->second, "plugin_config");
        if (json.is_object()) {
            return json;
        }
        problems.add(fmt::format("plugin_config is '{}', expected a JSON object", whole->second));
    } catch (const Error& error) {
        problems.add(error.what());
    }
    return Json::object();
}

// The device properties of the file: `json` and those with options of their own; empty when there are none.
std::string plugin_config(Json json, const std::map<std::string, std::string>& values, Problems& problems) {
    for (const OptionRow& row : rows()) {
        const auto value = values.find(row.option.name);
        if (row.kind != Kind::Plugin || row.field == nullptr || value == values.end()) {
            continue;
        }
        if (json.contains(row.field)) {
            problems.add(fmt::format("{} stands in plugin_config, too", row.option.name));
        } else if (std::string_view(row.field) == "MAX_PROMPT_LEN") {
            json[row.field] = std::stoull(value->second);
        } else {
            json[row.field] = value->second;
        }
    }
    return json.empty() ? std::string() : json.dump(-1, ' ', false, Json::error_handler_t::replace);
}

struct Calculator {
    const char* node;
    const char* calculator;
    const char* options;  // the message
    const char* resources;
    const char* streams;  // prefix of the names of the request and the response
    bool loops;           // an answer comes in steps
};

const Calculator& calculator_of(Servable servable) {
    static constexpr Calculator kGenerates{
        "LLMExecutor", "HttpLLMCalculator", "LLMCalculatorOptions", "LLM_NODE_RESOURCES:llm", "HTTP_", true};
    static constexpr Calculator kEmbeds{"EmbeddingsExecutor",
                                        "EmbeddingsCalculatorOV",
                                        "EmbeddingsCalculatorOVOptions",
                                        "EMBEDDINGS_NODE_RESOURCES:embeddings_servable",
                                        "",
                                        false};
    static constexpr Calculator kRanks{"RerankExecutor",
                                       "RerankCalculatorOV",
                                       "RerankCalculatorOVOptions",
                                       "RERANK_NODE_RESOURCES:rerank_servable",
                                       "",
                                       false};
    return servable == Servable::TextGeneration ? kGenerates : servable == Servable::Embeddings ? kEmbeds : kRanks;
}

constexpr const char* kLoopHandler = R"(  input_stream_handler {
    input_stream_handler: "SyncSetInputStreamHandler"
    options { [mediapipe.SyncSetInputStreamHandlerOptions.ext] { sync_set { tag_index: "LOOPBACK:0" } } }
  }
)";

}  // namespace

ServerGraph::ServerGraph(std::map<std::string, std::string> values, const Served& served)
    : served_(served), values_(std::move(values)) {
    Problems problems;
    for (const auto& [name, value] : values_) {
        const OptionRow* row = find_row(name);
        if (row == nullptr) {
            problems.add(fmt::format("there is no option '{}'", name));
        } else if ((row->servables & bit(served_.servable)) == 0) {
            problems.add(fmt::format("{} is not for a model that {}", name, purpose(served_.servable)));
        } else if (const std::string other = expected(*row, value); !other.empty()) {
            problems.add(fmt::format("{} is '{}', expected {}", name, value, other));
        }
    }
    Json properties = given_plugin_config(values_, problems);
    problems.throw_if_any(ErrorKind::Usage, "cannot use the options of --ovms");
    const auto value_of = [&](const char* name) {
        const auto found = values_.find(name);
        return found == values_.end() ? std::string() : found->second;
    };
    const std::string pipeline = value_of("pipeline_type");
    if (!pipeline.empty() && pipeline != "AUTO" && pipeline.starts_with("VLM") != served_.vision) {
        problems.add(fmt::format("pipeline_type {} is not for {} exports", pipeline,
                                 served_.vision ? "vision-language" : "text-only"));
    }
    const bool own_drafts = value_of("draft_models_path") == ".";
    if (own_drafts && !(served_.vision && served_.drafts)) {
        problems.add(served_.vision ? "draft_models_path is '.', and there is no multi-token-prediction model"
                                    : "draft_models_path is '.', which openvino_genai does in vision-language exports "
                                      "only");
    }
    if (own_drafts && value_of("enable_prefix_caching") == "true") {
        problems.add("enable_prefix_caching is true, which openvino_genai 2026.4.1 refuses with drafts of '.'");
    }
    for (const OptionRow& row : rows()) {
        const bool given = row.kind == Kind::Plugin && row.field != nullptr && properties.contains(row.field);
        if (row.initial != nullptr && (row.servables & bit(served_.servable)) != 0 && !given) {
            values_.emplace(row.option.name, row.initial);
        }
    }
    plugin_config_ = plugin_config(std::move(properties), values_, problems);
    problems.throw_if_any(ErrorKind::Usage, "cannot use the options of --ovms");
}

void ServerGraph::add_parsers(const std::string& chat_template) {
    const auto has = [&](const char* words) {
        return chat_template.find(words) != std::string::npos;
    };
    if (has("<function=") && has("<parameter=")) {
        values_.emplace("tool_parser", "qwen3coder");
    } else if (has("<tool_call>")) {
        values_.emplace("tool_parser", "hermes3");
    }
    if (has("</think>") || has("<think>")) {
        values_.emplace("reasoning_parser", "qwen3");
    }
}

std::string ServerGraph::options_text() const {
    std::string text = "      models_path: \"./\"\n";
    for (const OptionRow& row : rows()) {
        const auto value = values_.find(row.option.name);
        if (row.kind == Kind::Plugin || value == values_.end()) {
            continue;
        }
        const bool device = row.servables == kAll && served_.servable != Servable::TextGeneration;
        text += fmt::format("      {}: {}\n", device ? row.option.name : row.field,
                            row.kind == Kind::Text ? quoted(value->second) : value->second);
    }
    if (!plugin_config_.empty()) {
        text += fmt::format("      plugin_config: {}\n", quoted(plugin_config_));
    }
    return text;
}

std::string ServerGraph::text() const {
    const Calculator& of = calculator_of(served_.servable);
    const std::string input = fmt::format("\"{}REQUEST_PAYLOAD:input\"", of.streams);
    const std::string output = fmt::format("\"{}RESPONSE_PAYLOAD:output\"", of.streams);
    std::string text = fmt::format("input_stream: {}\noutput_stream: {}\nnode {{\n", input, output);
    text += fmt::format("  name: \"{}\"\n  calculator: \"{}\"\n", of.node, of.calculator);
    text += of.loops ? "  input_stream: \"LOOPBACK:loopback\"\n" : "";
    text += fmt::format("  input_stream: {}\n  input_side_packet: \"{}\"\n", input, of.resources);
    text += of.loops ? "  output_stream: \"LOOPBACK:loopback\"\n" : "";
    text += fmt::format("  output_stream: {}\n", output);
    text += of.loops ? "  input_stream_info { tag_index: \"LOOPBACK:0\" back_edge: true }\n" : "";
    text += fmt::format("  node_options {{\n    [type.googleapis.com/mediapipe.{}] {{\n{}    }}\n  }}\n", of.options,
                        options_text());
    text += of.loops ? kLoopHandler : "";
    return text + "}\n";
}

std::vector<std::string> ServerGraph::write(const fs::path& directory) {
    std::vector<std::string> notes;
    if (served_.servable == Servable::TextGeneration) {
        std::error_code error;
        const fs::path jinja = directory / "chat_template.jinja";
        add_parsers(fs::exists(jinja, error) ? read_text_file(jinja) : std::string());
        const auto name_of = [&](const char* parser) {
            const auto found = values_.find(parser);
            return found == values_.end() ? std::string("none") : found->second;
        };
        notes.push_back(fmt::format("{}: tool_parser {}, reasoning_parser {}", kGraphFile, name_of("tool_parser"),
                                    name_of("reasoning_parser")));
        if (name_of("enable_tool_guided_generation") == "true" && name_of("tool_parser") == "none") {
            fail(ErrorKind::Usage,
                 "cannot use the options of --ovms: enable_tool_guided_generation needs a tool_parser, and the chat "
                 "template names none");
        }
    }
    write_text_file(directory / kGraphFile, text());
    return notes;
}

}  // namespace deltavino::exporter

namespace deltavino {

const std::vector<ServerOption>& server_options() {
    static const std::vector<ServerOption> kOptions = [] {
        std::vector<ServerOption> options;
        for (const auto& row : exporter::rows()) {
            options.push_back(row.option);
        }
        return options;
    }();
    return kOptions;
}

}  // namespace deltavino
