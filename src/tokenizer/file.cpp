// See file.hpp.
//
// Which operator form stands for which part follows openvino_tokenizers 2026.4; where its converter
// departs from `tokenizers` (a Split on a plain text, several Splits in a row, the blank before a line
// break) the form that gives the ids of `tokenizers` is taken.
#include "tokenizer/file.hpp"

#include "base/file.hpp"
#include "tokenizer/json_events.hpp"

#include <cctype>

namespace deltavino::tokenizer {
namespace {

// The split that the ByteLevel pre-tokenizer does itself with use_regex (GPT-2).
constexpr const char* kByteLevelPattern =
    R"('s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+)";

class FileParser {
public:
    FileParser(const TokenizerDocument& document, TokenizerFile& file, Problems& input, Problems& unsupported)
        : document_(document), root_(document.rest, "", input), file_(file), input_(input), unsupported_(unsupported) {}

    void run() {
        parse_model();
        parse_added_tokens();
        parse_normalizer();
        parse_pre_tokenizer();
        parse_post_processor();
        parse_decoder();
        parse_padding();
    }

private:
    static std::string type_of(const Json& part, const std::string& pointer, Problems& problems) {
        return part.is_object() ? JsonReader(part, pointer, problems).require_text("type") : std::string("?");
    }
    void refuse(const std::string& pointer, const std::string& what) {
        unsupported_.add(fmt::format("{}: {}", pointer, what));
    }

    void parse_model() {
        const Json* model = root_.object("model");
        if (model == nullptr) {
            if (!root_.has("model")) {
                input_.add("/model is missing");
            }
            return;
        }
        const JsonReader reader(*model, "/model", input_);
        const std::string type = reader.text("type", "BPE");
        if (type != "BPE") {
            refuse("/model/type", fmt::format("model '{}', expected 'BPE'", type));
            return;
        }
        if (!document_.has_vocab || !document_.has_merges) {
            input_.add(fmt::format("/model/{} is missing", document_.has_vocab ? "merges" : "vocab"));
        }
        file_.unk_token = reader.text("unk_token");
        file_.fuse_unk = reader.flag("fuse_unk", false);
        file_.byte_fallback = reader.flag("byte_fallback", false);
        for (const char* key : {"continuing_subword_prefix", "end_of_word_suffix"}) {
            if (!reader.text(key).empty()) {
                refuse(reader.pointer(key), fmt::format("'{}', expected none", reader.text(key)));
            }
        }
        if (reader.flag("ignore_merges", false)) {
            refuse(reader.pointer("ignore_merges"), "the BPETokenizer operator always merges");
        }
        if (const Json* dropout = reader.find("dropout"); dropout != nullptr && *dropout != 0) {
            refuse(reader.pointer("dropout"), "random merges, expected none");
        }
    }

    void parse_added_tokens() {
        const Json& tokens = root_.array_or_empty("added_tokens");
        for (std::size_t i = 0; i < tokens.size(); ++i) {
            const std::string pointer = fmt::format("/added_tokens/{}", i);
            AddedToken token = parse_added_token(tokens[i], pointer, input_);
            if (!tokens[i].is_object()) {
                continue;
            }
            const JsonReader reader(tokens[i], pointer, input_);
            const Json* value = reader.find("id");
            const std::optional<std::int64_t> id = value == nullptr ? std::nullopt : token_id(*value);
            if (!id) {
                reader.wrong("id", fmt::format("a token id from 0 to {}", JsonReader::kMaxTokenId));
                continue;
            }
            token.id = *id;
            file_.added_tokens.push_back(std::move(token));
        }
    }

    // The parts of a Sequence, or the part itself, with their places.
    static std::vector<std::pair<const Json*, std::string>> parts_of(const Json& part, const std::string& pointer,
                                                                     const char* list) {
        std::vector<std::pair<const Json*, std::string>> parts;
        const auto items = part.is_object() ? part.find(list) : part.end();
        if (part.is_object() && part.value("type", Json()) == "Sequence" && items != part.end() && items->is_array()) {
            for (std::size_t i = 0; i < items->size(); ++i) {
                parts.emplace_back(&(*items)[i], fmt::format("{}/{}/{}", pointer, list, i));
            }
        } else {
            parts.emplace_back(&part, pointer);
        }
        return parts;
    }

    void parse_normalizer() {
        const Json* normalizer = root_.find("normalizer");
        if (normalizer == nullptr) {
            return;
        }
        for (const auto& [part, pointer] : parts_of(*normalizer, "/normalizer", "normalizers")) {
            const std::string type = type_of(*part, pointer, input_);
            const bool known = type == "NFC" || type == "NFD" || type == "NFKC" || type == "NFKD";
            std::string form = type;
            for (char& c : form) {
                c = static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
            }
            if (!known) {
                refuse(pointer, fmt::format("normalizer '{}', expected NFC, NFD, NFKC or NFKD", type));
            } else if (file_.normalization_form && *file_.normalization_form != form) {
                refuse(pointer, fmt::format("normalizer '{}' after another form", type));
            } else {
                file_.normalization_form = form;
            }
        }
    }

    void parse_pre_tokenizer() {
        const Json* pre_tokenizer = root_.find("pre_tokenizer");
        bool byte_level = false;
        if (pre_tokenizer != nullptr) {
            const auto parts = parts_of(*pre_tokenizer, "/pre_tokenizer", "pretokenizers");
            for (std::size_t i = 0; i < parts.size(); ++i) {
                const auto& [part, pointer] = parts[i];
                const std::string type = type_of(*part, pointer, input_);
                if (byte_level) {
                    refuse(pointer, fmt::format("pre-tokenizer '{}' after ByteLevel", type));
                } else if (type == "Split") {
                    parse_split(*part, pointer);
                } else if (type == "ByteLevel") {
                    byte_level = true;
                    parse_byte_level(*part, pointer, i == 0);
                } else {
                    refuse(pointer, fmt::format("pre-tokenizer '{}', expected Split or ByteLevel", type));
                }
            }
        }
        if (!byte_level) {
            refuse("/pre_tokenizer", "no ByteLevel; only byte-level vocabularies can be converted");
        }
    }

    void parse_split(const Json& part, const std::string& pointer) {
        const JsonReader reader(part, pointer, input_);
        SplitStep step;
        step.invert = reader.flag("invert", false);
        const std::string behavior = reader.require_text("behavior");
        if (behavior == "Isolated") {
            step.behaviour = "isolate";
        } else if (behavior == "Removed") {
            step.behaviour = "remove";
        } else {
            refuse(reader.pointer("behavior"), fmt::format("'{}', expected Isolated or Removed", behavior));
        }
        const JsonReader pattern(reader.object_or_empty("pattern"), reader.pointer("pattern"), input_);
        if (pattern.find("Regex") != nullptr) {
            step.pattern = pattern.text("Regex");
        } else {
            step.pattern = quoted_pattern(pattern.text("String"));
        }
        if (step.pattern.empty()) {
            input_.add(fmt::format("{} is missing or empty", reader.pointer("pattern")));
        }
        file_.splits.push_back(std::move(step));
    }

    void parse_byte_level(const Json& part, const std::string& pointer, bool first) {
        const JsonReader reader(part, pointer, input_);
        file_.add_prefix_space = reader.flag("add_prefix_space", true);
        if (file_.add_prefix_space && !first) {
            refuse(reader.pointer("add_prefix_space"), "a blank before every piece of a Split");
        }
        if (reader.flag("use_regex", true)) {
            file_.splits.push_back({kByteLevelPattern, "isolate", false});
        }
    }

    static Json sequence_element(const char* text, std::uint64_t type_id) {
        Json element;
        element["Sequence"]["id"] = text;
        element["Sequence"]["type_id"] = type_id;
        return element;
    }

    // ByteLevel only moves offsets, which the operators do not have; a template adds tokens.
    void parse_post_processor() {
        const Json* processor = root_.find("post_processor");
        Json single = Json::array({sequence_element("A", 0)});
        Json pair = Json::array({sequence_element("A", 0), sequence_element("B", processor == nullptr ? 1u : 0u)});
        std::string pointer = "/post_processor";
        Json special = Json::object();
        if (processor != nullptr) {
            file_.post_processor_json = python_json(*processor);
            for (const auto& [part, place] : parts_of(*processor, pointer, "processors")) {
                const std::string type = type_of(*part, place, input_);
                if (type == "TemplateProcessing") {
                    const JsonReader reader(*part, place, input_);
                    single = reader.array_or_empty("single");
                    pair = reader.array_or_empty("pair");
                    special = reader.object_or_empty("special_tokens");
                    pointer = place;
                } else if (type != "ByteLevel") {
                    refuse(place, fmt::format("post-processor '{}', expected ByteLevel or TemplateProcessing", type));
                }
            }
        }
        file_.post_processor = parse_template(single, special, pointer + "/single", "A");
        const std::vector<TemplateElement> both = parse_template(pair, special, pointer + "/pair", "AB");
        Json ids;
        ids["single"] = template_ids(file_.post_processor);
        ids["pair"] = template_ids(both);
        file_.post_processor_ids_json = python_json(ids);
    }

    // `texts`: the letters of the texts that the template must hold, once each and in this order.
    std::vector<TemplateElement> parse_template(const Json& elements, const Json& special, const std::string& pointer,
                                                const std::string& texts) {
        // Every element may name all tokens: more would multiply to any number.
        constexpr std::size_t kMost = 4096;
        std::vector<TemplateElement> result;
        std::string seen;
        for (std::size_t i = 0; i < elements.size(); ++i) {
            if (elements.size() > kMost || special.size() > kMost || result.size() > kMost) {
                input_.add(fmt::format("{}: more than {} elements", pointer, kMost));
                return {};
            }
            const std::string place = fmt::format("{}/{}", pointer, i);
            const bool sequence = elements[i].is_object() && elements[i].contains("Sequence");
            if (!sequence && !(elements[i].is_object() && elements[i].contains("SpecialToken"))) {
                input_.add(fmt::format("{} is neither a Sequence nor a SpecialToken", place));
                continue;
            }
            const char* kind = sequence ? "Sequence" : "SpecialToken";
            const JsonReader reader(JsonReader(elements[i], place, input_).object_or_empty(kind), place + "/" + kind,
                                    input_);
            TemplateElement element;
            constexpr std::uint64_t kMostTypes = 1u << 16;
            element.type_id = static_cast<std::int32_t>(reader.size("type_id", 0, 0, kMostTypes));
            const std::string id = reader.require_text("id");
            if (sequence) {
                seen += id;
                result.push_back(element);
                continue;
            }
            for (const std::int32_t token : template_token_ids(special, id, place)) {
                element.id = token;
                result.push_back(element);
            }
        }
        if (seen != texts) {
            refuse(pointer, fmt::format("the texts '{}', expected '{}'", seen, texts));
        }
        return result;
    }

    std::vector<std::int32_t> template_token_ids(const Json& special, const std::string& name,
                                                 const std::string& place) {
        std::vector<std::int32_t> ids;
        const Json& entry = JsonReader(special, place, input_).object_or_empty(name.c_str());
        const JsonReader reader(entry, fmt::format("{}: special_tokens/{}", place, name), input_);
        for (const std::int64_t id : reader.token_ids("ids")) {
            ids.push_back(static_cast<std::int32_t>(id));
        }
        if (ids.empty() && !reader.has("ids")) {
            reader.wrong("ids", "token ids");
        }
        return ids;
    }

    static Json template_ids(const std::vector<TemplateElement>& elements) {
        Json ids = Json::array();
        Json type_ids = Json::array();
        std::int32_t text = 0;
        for (const TemplateElement& element : elements) {
            ids.push_back(element.id ? *element.id : --text);
            type_ids.push_back(element.type_id);
        }
        Json result;
        result["ids"] = std::move(ids);
        result["type_ids"] = std::move(type_ids);
        return result;
    }

    void parse_decoder() {
        const Json* decoder = root_.find("decoder");
        if (decoder == nullptr) {
            refuse("/decoder", "none, expected ByteLevel");
            return;
        }
        for (const auto& [part, pointer] : parts_of(*decoder, "/decoder", "decoders")) {
            const std::string type = type_of(*part, pointer, input_);
            if (type != "ByteLevel") {
                refuse(pointer, fmt::format("decoder '{}', expected ByteLevel", type));
            }
        }
    }

    void parse_padding() {
        if (const Json* padding = root_.object("padding"); padding != nullptr) {
            file_.padding_token = JsonReader(*padding, "/padding", input_).require_text("pad_token");
        }
    }

    const TokenizerDocument& document_;
    JsonReader root_;
    TokenizerFile& file_;
    Problems& input_;
    Problems& unsupported_;
};

}  // namespace

std::string quoted_pattern(std::string_view text) {
    std::string pattern;
    for (const char c : text) {
        const bool letter = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_';
        if (!letter && static_cast<unsigned char>(c) < 0x80) {
            pattern += '\\';
        }
        pattern += c;
    }
    return pattern;
}

TokenizerFile read_tokenizer_file(const std::filesystem::path& path, Problems& input, Problems& unsupported) {
    TokenizerDocument document = parse_tokenizer_document(read_text_file(path), path.string(), input);
    TokenizerFile file;
    FileParser(document, file, input, unsupported).run();
    file.vocab = std::move(document.vocab);
    file.merges = std::move(document.merges);
    return file;
}

}  // namespace deltavino::tokenizer
