// Ground truth: openvino_genai and optimum-intel stop at the ids of generation_config.json only. Checkpoints and
// fine-tunes spread them over three files.
#include "export/directory/generation_config.hpp"

#include "base/error.hpp"
#include "base/file.hpp"
#include "json/document.hpp"
#include "json/reader.hpp"
#include "tokenizer/settings.hpp"

#include <set>

namespace deltavino::exporter {
namespace {

namespace fs = std::filesystem;

constexpr const char* kFile = "generation_config.json";
constexpr const char* kEos = "eos_token_id";

class EndOfSequenceIds {
public:
    explicit EndOfSequenceIds(std::vector<std::int64_t> given)
        : ids_(std::move(given)), known_(ids_.begin(), ids_.end()) {}

    void add(const std::vector<std::int64_t>& ids, const std::string& where) {
        for (const std::int64_t id : ids) {
            if (known_.insert(id).second) {
                ids_.push_back(id);
                added_.push_back(fmt::format("{} ({})", id, where));
            }
        }
    }
    const std::vector<std::int64_t>& ids() const { return ids_; }
    const std::vector<std::string>& added() const { return added_; }

private:
    std::vector<std::int64_t> ids_;
    std::set<std::int64_t> known_;
    std::vector<std::string> added_;
};

// The tokens at which a chat ends: the tokenizer's own, <|im_end|> where the template closes turns with it, and
// <|endoftext|> where the tokenizer has it as a token.
void add_tokens(EndOfSequenceIds& ids, const EndOfSequence& source, Problems& problems) {
    Problems elsewhere;  // the tokenizer's conversion names what it cannot do
    const tokenizer::TokenizerSettings settings =
        tokenizer::read_tokenizer_settings(source.checkpoint, problems, elsewhere);
    std::map<std::string, std::int64_t> known = source.added;
    for (const auto& [id, token] : settings.added) {
        known.emplace(token.content, id);
    }
    const auto add = [&](const std::string& content) {
        const auto found = known.find(content);
        if (found != known.end() && static_cast<std::uint64_t>(found->second) < source.vocab_size) {
            ids.add({found->second}, fmt::format("'{}' of the tokenizer", content));
        }
    };
    for (const tokenizer::NamedToken& named : settings.named) {
        if (named.role == "eos_token") {
            add(named.token.content);
        }
    }
    if (settings.chat_template.find("<|im_end|>") != std::string::npos) {
        add("<|im_end|>");
    }
    add("<|endoftext|>");
}

}  // namespace

std::vector<std::string> write_generation_config(const EndOfSequence& source, const fs::path& output) {
    std::error_code error;
    const fs::path path = source.checkpoint / kFile;
    const bool present = fs::exists(path, error);
    const std::string text = present ? read_text_file(path) : std::string("{}");
    Json json = parse_json(text, path.string());
    if (!json.is_object()) {
        fail(ErrorKind::Input, "cannot read '{}': expected a JSON object", path.string());
    }
    const Json config = parse_json(source.config_json, (source.checkpoint / "config.json").string());
    Problems problems;
    const JsonReader generation(json, kFile, problems);
    const JsonReader outer(config, "config.json", problems);
    const JsonReader nested(outer.object_or_empty("text_config"), outer.pointer("text_config"), problems);
    const auto most = static_cast<std::int64_t>(source.vocab_size) - 1;
    for (const JsonReader* reader : {&generation, &outer, &nested}) {
        for (const char* key : {"bos_token_id", "pad_token_id"}) {
            reader->token_ids(key, most);
        }
    }
    EndOfSequenceIds ids(generation.token_ids(kEos, most));
    for (const JsonReader* reader : {&outer, &nested}) {
        ids.add(reader->token_ids(kEos, most), reader->pointer(kEos));
    }
    if (problems.empty()) {
        add_tokens(ids, source, problems);
    }
    problems.throw_if_any(ErrorKind::Input, fmt::format("cannot use '{}'", source.checkpoint.string()));
    if (ids.added().empty()) {
        if (present) {
            write_text_file(output / kFile, text);
        }
        return {};
    }
    if (!present) {
        json["_from_model_config"] = true;
        for (const char* key : {"bos_token_id", "pad_token_id"}) {
            const JsonReader& reader = outer.has(key) ? outer : nested;
            if (reader.has(key)) {
                json[key] = *reader.find(key);
            }
        }
    }
    json[kEos] = ids.ids().size() == 1 ? Json(ids.ids().front()) : Json(ids.ids());
    write_text_file(output / kFile, json.dump(2) + "\n");
    return {fmt::format("{} {}: end-of-sequence ids {}", kFile, present ? "gets more" : "is missing and was made",
                        fmt::join(ids.added(), ", "))};
}

}  // namespace deltavino::exporter
