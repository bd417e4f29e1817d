// See json_events.hpp. The document is read by events (SAX), so that the vocabulary never becomes a
// tree; the rest becomes an ordinary tree under the same rules as json/document.cpp.
#include "tokenizer/json_events.hpp"

#include "base/text.hpp"

#include <set>

namespace deltavino::tokenizer {
namespace {

constexpr std::size_t kMaxDepth = 64;

class DocumentEvents : public nlohmann::json_sax<Json> {
public:
    DocumentEvents(TokenizerDocument& document, const std::string& where, Problems& problems)
        : document_(document), where_(where), problems_(problems) {}

    bool null() override { return value(nullptr); }
    bool boolean(bool flag) override { return value(flag); }
    bool number_integer(number_integer_t number) override { return value(number); }
    bool number_unsigned(number_unsigned_t number) override {
        if (part_ == Part::Vocab && skipped_depth_ == 0 && number <= static_cast<number_unsigned_t>(INT64_MAX)) {
            document_.vocab.emplace_back(std::move(token_), static_cast<std::int64_t>(number));
            return true;
        }
        return value(number);
    }
    bool number_float(number_float_t number, const string_t&) override { return value(number); }
    bool binary(binary_t&) override { return value(nullptr); }

    bool string(string_t& text) override {
        if (part_ == Part::Merges && skipped_depth_ == 0) {
            add_merge_text(text);
            return true;
        }
        if (part_ == Part::Pair && skipped_depth_ == 0) {
            pair_.push_back(std::move(text));
            return true;
        }
        return value(std::move(text));
    }

    bool start_object(std::size_t) override {
        if (part_ == Part::Document && path_is_model() && key_ == "vocab") {
            part_ = Part::Vocab;
            document_.has_vocab = true;
            return true;
        }
        return open(Json::object());
    }
    bool key(string_t& name) override {
        if (part_ != Part::Document) {
            if (skipped_depth_ == 0) {
                token_ = std::move(name);
            }
            return true;
        }
        if (!open_.back().keys.insert(name).second) {
            fail(ErrorKind::Input, "cannot read '{}': key '{}' stands twice in one object", where_, name);
        }
        key_ = std::move(name);
        return true;
    }
    bool end_object() override { return close(Part::Vocab); }

    bool start_array(std::size_t) override {
        if (part_ == Part::Document && path_is_model() && key_ == "merges") {
            part_ = Part::Merges;
            document_.has_merges = true;
            return true;
        }
        if (part_ == Part::Merges && skipped_depth_ == 0) {
            part_ = Part::Pair;
            pair_.clear();
            return true;
        }
        return open(Json::array());
    }
    bool end_array() override {
        if (part_ == Part::Pair && skipped_depth_ == 0) {
            part_ = Part::Merges;
            if (pair_.size() == 2) {
                document_.merges.emplace_back(std::move(pair_[0]), std::move(pair_[1]));
            } else {
                bad_merge("it does not have two parts");
            }
            return true;
        }
        return close(Part::Merges);
    }

    bool parse_error(std::size_t, const std::string&, const nlohmann::detail::exception& error) override {
        fail(ErrorKind::Input, "cannot read '{}': {}", where_, as_utf8(error.what()));
    }

private:
    enum class Part { Document, Vocab, Merges, Pair };
    struct Open {
        Json* node;
        std::string name;  // its key in the parent
        std::set<std::string> keys;
    };

    bool path_is_model() const { return open_.size() == 2 && open_[1].name == "model"; }

    // A value where the current part does not take one.
    bool unexpected() {
        if (skipped_depth_ > 0) {
            return true;
        }
        if (part_ == Part::Vocab) {
            problems_.add(fmt::format("/model/vocab: token '{}' has no whole number as its id", token_));
        } else {
            bad_merge("it is neither 'a b' nor ['a', 'b']");
        }
        return true;
    }

    bool value(Json item) {
        if (part_ == Part::Document) {
            insert(std::move(item));
            return true;
        }
        return unexpected();
    }

    Json* insert(Json item) {
        if (open_.empty()) {
            document_.rest = std::move(item);
            return &document_.rest;
        }
        Json& parent = *open_.back().node;
        if (parent.is_array()) {
            parent.push_back(std::move(item));
            return &parent.back();
        }
        auto& members = parent.get_ref<Json::object_t&>();
        members.emplace_back(std::move(key_), std::move(item));  // key() has made sure that it is new
        return &members.back().second;
    }

    bool open(Json item) {
        if (part_ != Part::Document) {
            unexpected();
            ++skipped_depth_;
            return true;
        }
        if (open_.size() >= kMaxDepth) {
            fail(ErrorKind::Input, "cannot read '{}': JSON nested deeper than {} levels", where_, kMaxDepth);
        }
        std::string name = key_;
        Json* node = insert(std::move(item));
        open_.push_back({node, std::move(name), {}});
        return true;
    }

    bool close(Part finished) {
        if (skipped_depth_ > 0) {
            --skipped_depth_;
        } else if (part_ == finished) {
            part_ = Part::Document;
        } else {
            open_.pop_back();
        }
        return true;
    }

    // Files of tokenizers before 0.20: 'a b', after a line that names the format.
    void add_merge_text(const std::string& text) {
        const std::size_t blank = text.find(' ');
        if (text.starts_with("#version")) {
            return;
        }
        if (blank == std::string::npos || text.find(' ', blank + 1) != std::string::npos) {
            bad_merge(fmt::format("'{}' does not have two parts", text));
            return;
        }
        document_.merges.emplace_back(text.substr(0, blank), text.substr(blank + 1));
    }

    void bad_merge(const std::string& what) {
        problems_.add(fmt::format("/model/merges/{}: {}", document_.merges.size(), what));
    }

    TokenizerDocument& document_;
    const std::string& where_;
    Problems& problems_;
    Part part_ = Part::Document;
    std::vector<Open> open_;
    std::string key_;
    std::string token_;
    std::vector<std::string> pair_;
    std::size_t skipped_depth_ = 0;  // inside a value that was reported as a whole
};

}  // namespace

TokenizerDocument parse_tokenizer_document(std::string_view text, const std::string& where, Problems& problems) {
    TokenizerDocument document;
    DocumentEvents events(document, where, problems);
    Json::sax_parse(text.begin(), text.end(), &events);
    if (!document.rest.is_object()) {
        fail(ErrorKind::Input, "cannot read '{}': expected a JSON object", where);
    }
    return document;
}

AddedToken parse_added_token(const Json& value, const std::string& pointer, Problems& problems) {
    AddedToken token;
    if (!value.is_object()) {
        problems.add(fmt::format("{} is {}, expected an object", pointer, shown(value)));
        return token;
    }
    const JsonReader reader(value, pointer, problems);
    token.content = reader.require_text("content");
    token.special = reader.flag("special", false);
    token.lstrip = reader.flag("lstrip", false);
    token.rstrip = reader.flag("rstrip", false);
    token.single_word = reader.flag("single_word", false);
    token.normalized = reader.flag("normalized", !token.special);
    return token;
}

std::string python_json(const Json& value) {
    std::string text;
    if (value.is_object()) {
        for (const auto& [key, item] : value.items()) {
            text += (text.empty() ? "" : ", ") + Json(key).dump(-1, ' ', true) + ": " + python_json(item);
        }
        return "{" + text + "}";
    }
    if (value.is_array()) {
        for (const Json& item : value) {
            text += (text.empty() ? "" : ", ") + python_json(item);
        }
        return "[" + text + "]";
    }
    return value.dump(-1, ' ', true);
}

}  // namespace deltavino::tokenizer
