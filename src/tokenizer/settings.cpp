// See settings.hpp.
#include "tokenizer/settings.hpp"

#include "base/file.hpp"
#include "base/text.hpp"
#include "tokenizer/json_events.hpp"

#include <algorithm>
#include <array>

namespace deltavino::tokenizer {
namespace {

namespace fs = std::filesystem;

constexpr std::array kRoles{"bos_token", "eos_token", "unk_token", "sep_token", "pad_token", "cls_token", "mask_token"};

// An empty object when the file does not exist.
Json read_optional_json(const fs::path& path) {
    if (!is_there(path)) {
        return Json::object();
    }
    Json json = parse_json(read_text_file(path), path.string());
    if (!json.is_object()) {
        fail(ErrorKind::Input, "cannot read '{}': expected a JSON object", path.string());
    }
    return json;
}

class SettingsParser {
public:
    SettingsParser(const fs::path& directory, TokenizerSettings& settings, Problems& input, Problems& unsupported)
        : directory_(directory),
          config_(read_optional_json(directory / "tokenizer_config.json")),
          reader_(config_, "tokenizer_config.json", input),
          settings_(settings),
          input_(input),
          unsupported_(unsupported) {}

    void run() {
        settings_.tokenizer_class = reader_.text("tokenizer_class");
        settings_.clean_up_tokenization_spaces = reader_.flag("clean_up_tokenization_spaces", false);
        if (reader_.flag("split_special_tokens", false)) {
            unsupported_.add(
                "tokenizer_config.json/split_special_tokens: special tokens are always cut out of the text");
        }
        parse_max_length();
        parse_added_tokens();
        parse_named_tokens();
        parse_fallback_ids();
        settings_.chat_template = find_chat_template();
    }

private:
    void parse_max_length() {
        const Json* length = reader_.find("model_max_length");
        if (length == nullptr) {
            return;
        }
        // Unlimited tokenizers say 1e30.
        const double value = length->is_number() ? length->get<double>() : -1.0;
        if (!(value >= 1.0)) {
            input_.add(fmt::format("tokenizer_config.json/model_max_length is {}, expected a positive number",
                                   shown(*length)));
        } else if (value < 0x1p31) {
            settings_.model_max_length = static_cast<std::int64_t>(value);
        }
    }

    void parse_added_tokens() {
        settings_.added_is_complete = reader_.find("added_tokens_decoder") != nullptr;
        const std::string pointer = reader_.pointer("added_tokens_decoder");
        for (const auto& [key, value] : reader_.object_or_empty("added_tokens_decoder").items()) {
            const std::optional<std::int64_t> id = token_id(std::string_view(key));
            if (!id) {
                input_.add(fmt::format("{}: key '{}' is not a token id", pointer, key));
                continue;
            }
            settings_.added[*id] = parse_added_token(value, pointer + "/" + key, input_);
            settings_.added[*id].id = *id;
        }
        if (settings_.added_is_complete) {
            return;
        }
        // Before transformers 4.34: the file only has names and ids.
        const Json ids = read_optional_json(directory_ / "added_tokens.json");
        for (const auto& [content, value] : ids.items()) {
            const std::optional<std::int64_t> id = token_id(value);
            if (!id) {
                input_.add(fmt::format("added_tokens.json: the id of '{}' is {}, expected a whole number from 0 to {}",
                                       content, shown(value), JsonReader::kMaxTokenId));
                continue;
            }
            AddedToken token;
            token.content = content;
            token.id = *id;
            settings_.added[token.id] = token;
        }
    }

    static bool is_token(const Json& value) {
        return value.is_string() || (value.is_object() && value.contains("content"));
    }
    AddedToken token_of(const Json& value, const std::string& pointer) {
        AddedToken token;
        if (value.is_string()) {
            token.content = value.get<std::string>();
        } else {
            token = parse_added_token(value, pointer, input_);
        }
        token.special = true;
        token.normalized = value.is_object() && token.normalized;
        return token;
    }

    void parse_named_tokens() {
        const Json map =
            settings_.added_is_complete ? Json::object() : read_optional_json(directory_ / "special_tokens_map.json");
        for (const char* role : kRoles) {
            const JsonReader from_map(map, "special_tokens_map.json", input_);
            const JsonReader& source = from_map.find(role) != nullptr ? from_map : reader_;
            if (const Json* value = source.find(role); value != nullptr) {
                if (is_token(*value)) {
                    settings_.named.push_back({role, token_of(*value, source.pointer(role))});
                } else {
                    input_.add(fmt::format("{} is neither a text nor a token", source.pointer(role)));
                }
            }
        }
        // The model's own, for example "image_token".
        for (const auto& [key, value] : config_.items()) {
            if (key.ends_with("_token") && std::find(kRoles.begin(), kRoles.end(), key) == kRoles.end() &&
                is_token(value)) {
                settings_.named.push_back({key, token_of(value, reader_.pointer(key.c_str()))});
            }
        }
        for (const char* key : {"model_specific_special_tokens", "extra_special_tokens", "additional_special_tokens"}) {
            const Json* tokens = reader_.find(key);
            const JsonReader from_map(map, "special_tokens_map.json", input_);
            if (tokens == nullptr) {
                tokens = from_map.find(key);
            }
            if (tokens == nullptr) {
                continue;
            }
            if (!tokens->is_structured()) {
                input_.add(fmt::format("{} is {}, expected tokens", reader_.pointer(key), shown(*tokens)));
                continue;
            }
            for (const auto& [name, value] : tokens->items()) {
                if (!is_token(value)) {
                    input_.add(fmt::format("{}/{} is neither a text nor a token", reader_.pointer(key), name));
                } else if (tokens->is_object()) {
                    settings_.named.push_back({name, token_of(value, reader_.pointer(key))});
                } else {
                    settings_.extra.push_back(token_of(value, reader_.pointer(key)));
                }
            }
        }
    }

    void parse_fallback_ids() {
        for (const char* file : {"generation_config.json", "config.json"}) {
            const Json json = read_optional_json(directory_ / file);
            const JsonReader top(json, file, input_);
            const JsonReader text(top.object_or_empty("text_config"), top.pointer("text_config"), input_);
            for (const JsonReader* object : {&top, &text}) {
                take_id(*object, "eos_token_id", settings_.eos);
                take_id(*object, "pad_token_id", settings_.pad);
            }
        }
    }

    // Of a list of stop tokens the first is the tokenizer's.
    static void take_id(const JsonReader& object, const char* key,
                        std::optional<TokenizerSettings::FallbackId>& target) {
        const std::vector<std::int64_t> ids = object.token_ids(key);
        if (!target && !ids.empty()) {
            target = {ids.front(), object.pointer(key)};
        }
    }

    // The later files win, as in transformers and GenAI.
    std::string find_chat_template() {
        const fs::path jinja = directory_ / "chat_template.jinja";
        if (is_there(jinja)) {
            std::string text = read_text_file(jinja);
            if (!is_utf8(text)) {
                fail(ErrorKind::Input, "cannot read '{}': it is not UTF-8", jinja.string());
            }
            text.erase(std::remove(text.begin(), text.end(), '\r'), text.end());  // as Python reads text
            return text;
        }
        for (const char* file : {"chat_template.json", "processor_config.json"}) {
            const Json json = read_optional_json(directory_ / file);
            const std::string text = template_in(JsonReader(json, file, input_));
            if (!text.empty()) {
                return text;
            }
        }
        return template_in(reader_);
    }

    std::string template_in(const JsonReader& object) {
        const Json* value = object.find("chat_template");
        if (value != nullptr && !value->is_array() && !value->is_string()) {
            object.wrong("chat_template", "a text or a list of named templates");
            return {};
        }
        if (value != nullptr && value->is_array()) {
            for (const Json& entry : *value) {
                if (entry.is_object() && entry.value("name", Json()) == "default") {
                    return JsonReader(entry, object.pointer("chat_template"), input_).require_text("template");
                }
            }
            return {};
        }
        return object.text("chat_template");
    }

    fs::path directory_;
    Json config_;
    JsonReader reader_;
    TokenizerSettings& settings_;
    Problems& input_;
    Problems& unsupported_;
};

}  // namespace

TokenizerSettings read_tokenizer_settings(const fs::path& directory, Problems& input, Problems& unsupported) {
    TokenizerSettings settings;
    SettingsParser(directory, settings, input, unsupported).run();
    return settings;
}

}  // namespace deltavino::tokenizer
