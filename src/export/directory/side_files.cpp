#include "export/directory/side_files.hpp"

#include "base/error.hpp"
#include "base/file.hpp"
#include "checkpoint/families.hpp"
#include "json/document.hpp"

#include <array>
#include <string_view>

namespace deltavino::exporter {
namespace {

namespace fs = std::filesystem;

constexpr std::array kTextFiles{
    "generation_config.json",
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
    "vocab.json",
    "merges.txt",
    "chat_template.jinja",
    "chat_template.json",
};

void copy_if_present(const fs::path& from, const fs::path& to) {
    if (is_there(from)) {
        write_text_file(to, read_text_file(from));
    }
}

// transformers 5 keeps the template in chat_template.jinja only, older servers read tokenizer_config.json only.
void complete_chat_template(const fs::path& output) {
    std::error_code error;
    const fs::path template_file = output / "chat_template.jinja";
    const fs::path config_file = output / "tokenizer_config.json";
    if (!fs::exists(config_file, error)) {
        return;
    }
    Json config = parse_json(read_text_file(config_file), config_file.string());
    if (!config.is_object()) {
        fail(ErrorKind::Input, "cannot use 'tokenizer_config.json': expected a JSON object");
    }
    const bool in_config = config.contains("chat_template") && !config["chat_template"].is_null();
    if (fs::exists(template_file, error) && !in_config) {
        config["chat_template"] = read_text_file(template_file);
        write_text_file(config_file, config.dump(2) + "\n");
    } else if (!fs::exists(template_file, error) && in_config && config["chat_template"].is_string()) {
        write_text_file(template_file, config["chat_template"].get<std::string>());
    }
}

}  // namespace

void copy_side_files(const fs::path& checkpoint, const fs::path& output) {
    for (const char* name : kTextFiles) {
        copy_if_present(checkpoint / name, output / name);
    }
    complete_chat_template(output);
}

std::string text_config_json(const std::string& config_json, const checkpoint::ModelConfig& config, bool tied) {
    const Json json = parse_json(config_json, "config.json");
    Json text = json.contains("text_config") && json["text_config"].is_object() ? json["text_config"] : json;
    text["model_type"] = config.text.model_type;
    text["architectures"] = Json::array({checkpoint::require_family(config.text.model_type).text_class});
    text["tie_word_embeddings"] = tied;
    for (const char* key :
         {"dtype", "torch_dtype", "transformers_version", "bos_token_id", "eos_token_id", "pad_token_id"}) {
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
