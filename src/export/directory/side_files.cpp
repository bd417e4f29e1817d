#include "export/directory/side_files.hpp"

#include "base/error.hpp"
#include "base/file.hpp"
#include "base/text.hpp"
#include "checkpoint/families.hpp"
#include "json/document.hpp"
#include "json/reader.hpp"
#include "tokenizer/chat_template.hpp"

#include <array>
#include <optional>
#include <set>
#include <string_view>

namespace deltavino::exporter {
namespace {

namespace fs = std::filesystem;

constexpr std::array kTextFiles{
    "tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "added_tokens.json", "vocab.json",
    "merges.txt",     "chat_template.jinja",   "chat_template.json",
};

void copy_if_present(const fs::path& from, const fs::path& to) {
    if (is_there(from)) {
        write_text_file(to, read_text_file(from));
    }
}

Json read_json_object(const fs::path& path) {
    Json json = parse_json(read_text_file(path), path.string());
    if (!json.is_object()) {
        fail(ErrorKind::Input, "cannot read '{}': expected a JSON object", path.string());
    }
    return json;
}

// The chat templates of the output: the same text in every place where consumers look.
class TemplateFiles {
public:
    explicit TemplateFiles(const fs::path& output) : output_(output) {}

    std::vector<std::string> complete() {
        std::error_code error;
        const fs::path jinja = output_ / "chat_template.jinja";
        std::optional<std::string> text;
        if (fs::exists(jinja, error)) {
            const std::string given = read_text_file(jinja);
            if (!is_utf8(given)) {
                fail(ErrorKind::Input, "cannot read 'chat_template.jinja': it is not UTF-8");
            }
            text = portable(given);
            if (*text != given) {
                write_text_file(jinja, *text);
            }
        }
        complete_json("chat_template.json");
        const fs::path config = output_ / "tokenizer_config.json";
        if (!fs::exists(config, error)) {
            return notes();
        }
        const std::optional<std::string> in_config = complete_json("tokenizer_config.json", text);
        if (!text && in_config) {
            write_text_file(jinja, *in_config);
        }
        return notes();
    }

private:
    std::string portable(const std::string& text) {
        tokenizer::PortableTemplate result = tokenizer::portable_chat_template(text);
        rewritten_.insert(result.rewritten.begin(), result.rewritten.end());
        missing_.insert(result.missing.begin(), result.missing.end());
        return std::move(result.text);
    }

    // Rewrites the templates of a JSON file, and puts `missing` in when it has none: transformers 5 keeps the
    // template in chat_template.jinja only, older servers read tokenizer_config.json only. Returns the file's own.
    std::optional<std::string> complete_json(const char* name, const std::optional<std::string>& missing = {}) {
        std::error_code error;
        const fs::path path = output_ / name;
        if (!fs::exists(path, error)) {
            return std::nullopt;
        }
        Json json = read_json_object(path);
        const Json before = json.contains(kKey) ? json[kKey] : Json();
        std::optional<std::string> own;
        if (before.is_string()) {
            own = portable(before.get<std::string>());
            json[kKey] = *own;
        } else if (before.is_array()) {
            for (Json& entry : json[kKey]) {
                if (entry.is_object() && entry.contains("template") && entry["template"].is_string()) {
                    entry["template"] = portable(entry["template"].get<std::string>());
                }
            }
        } else if (!before.is_null()) {
            fail(ErrorKind::Input, "cannot use '{}': {} is {}, expected a text or a list of named templates", name,
                 kKey, shown(before));
        } else if (missing) {
            json[kKey] = *missing;
        }
        if (json.contains(kKey) && json[kKey] != before) {
            write_text_file(path, json.dump(2) + "\n");
        }
        return own;
    }

    std::vector<std::string> notes() const {
        std::vector<std::string> notes;
        if (!rewritten_.empty()) {
            notes.push_back(
                fmt::format("the chat template is spelled so that openvino_genai renders it as transformers "
                            "does: {}",
                            fmt::join(rewritten_, ", ")));
        }
        if (!missing_.empty()) {
            notes.push_back(
                fmt::format("openvino_genai cannot render the chat template as transformers does: its engine "
                            "lacks {}; give it another template, or render prompts with transformers",
                            fmt::join(missing_, ", ")));
        }
        return notes;
    }

    static constexpr const char* kKey = "chat_template";
    fs::path output_;
    std::set<std::string> rewritten_;
    std::set<std::string> missing_;
};

}  // namespace

std::vector<std::string> copy_side_files(const fs::path& checkpoint, const fs::path& output) {
    for (const char* name : kTextFiles) {
        copy_if_present(checkpoint / name, output / name);
    }
    return TemplateFiles(output).complete();
}

void join_pairs(const fs::path& output) {
    const fs::path path = output / "tokenizer_config.json";
    Json json = is_there(path) ? read_json_object(path) : Json::object();
    if (json.contains("add_bos_token") && json["add_bos_token"].is_boolean()) {
        return;
    }
    json["add_bos_token"] = false;
    write_text_file(path, json.dump(2) + "\n");
}

std::string text_config_json(const std::string& config_json, const checkpoint::ModelConfig& config, bool tied,
                             models::Task task) {
    const Json json = parse_json(config_json, "config.json");
    Json text = json.contains("text_config") && json["text_config"].is_object() ? json["text_config"] : json;
    text["model_type"] = config.text.model_type;
    const checkpoint::Family& family = checkpoint::require_family(config.text.model_type);
    text["architectures"] = Json::array({task == models::Task::FeatureExtraction    ? family.base_class
                                         : task == models::Task::TextClassification ? family.classifier_class
                                                                                    : family.text_class});
    text["tie_word_embeddings"] = tied;
    for (const char* key : {"dtype", "torch_dtype", "transformers_version", "bos_token_id", "eos_token_id",
                            "pad_token_id", "id2label", "label2id", "problem_type"}) {
        if ((!text.contains(key) || text[key].is_null()) && json.contains(key)) {
            text[key] = json[key];
        }
    }
    if (config.text.moe && !text.contains("intermediate_size")) {
        // optimum-intel 2.2.0 reads the key of every model that has states; nothing uses its value here.
        text["intermediate_size"] = config.text.moe->moe_intermediate_size;
    }
    text.erase("quantization_config");
    return text.dump(2) + "\n";
}

std::string vision_model_type(const checkpoint::ModelConfig& config) {
    return checkpoint::require_family(config.text.model_type).vision_type;
}

std::string vision_config_json(const std::string& config_json, const checkpoint::ModelConfig& config, bool tied) {
    Json json = parse_json(config_json, "config.json");
    const std::string type = vision_model_type(config);
    json["model_type"] = type;
    json["architectures"] = Json::array({checkpoint::require_family(config.text.model_type).vision_class});
    json["tie_word_embeddings"] = tied;
    json["text_config"]["model_type"] = config.text.model_type;
    json["text_config"]["tie_word_embeddings"] = tied;
    json["vision_config"]["model_type"] = type;
    // GenAI takes other layers of the tower when the key is absent.
    json["vision_config"]["deepstack_visual_indexes"] = Json::array();
    // OVMS looks for the longest context at the top level only.
    json["max_position_embeddings"] = config.text.max_position_embeddings;
    for (Json* part : {&json, &json["text_config"]}) {
        part->erase("quantization_config");
    }
    return json.dump(2) + "\n";
}

}  // namespace deltavino::exporter
