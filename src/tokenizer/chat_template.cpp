// Ground truth: jinja2 3.1 as transformers sets it up, and the engine inside openvino_genai 2026.4.1, compared
// construct by construct (tests/e2e/test_tokens.py holds the list against both).
#include "tokenizer/chat_template.hpp"

#include "base/error.hpp"
#include "tokenizer/jinja_tokens.hpp"

#include <algorithm>
#include <array>
#include <limits>
#include <optional>
#include <set>

namespace deltavino::tokenizer {
namespace {

using Kind = JinjaToken::Kind;

constexpr std::size_t kNone = std::numeric_limits<std::size_t>::max();

constexpr std::array<std::string_view, 12> kTests{"boolean",  "integer",  "float", "number",  "string", "mapping",
                                                  "iterable", "sequence", "none",  "defined", "true",   "false"};
constexpr std::array<std::string_view, 24> kFilters{"tojson",     "items", "join",   "trim",     "last",       "length",
                                                    "count",      "lower", "upper",  "default",  "list",       "safe",
                                                    "string",     "int",   "unique", "reject",   "rejectattr", "select",
                                                    "selectattr", "map",   "indent", "dictsort", "escape",     "e"};
constexpr std::array<std::string_view, 19> kMethods{
    "strip",   "lstrip", "rstrip", "split", "upper",  "lower",  "title",  "capitalize", "startswith", "endswith",
    "replace", "keys",   "items",  "get",   "update", "append", "insert", "pop",        "cycle"};
constexpr std::array<std::string_view, 8> kStatements{"with", "endwith", "include", "import",
                                                      "from", "extends", "block",   "autoescape"};
constexpr std::array<std::string_view, 3> kFunctions{"dict", "cycler", "lipsum"};

template <typename List>
bool among(std::string_view word, const List& list) {
    return std::find(list.begin(), list.end(), word) != list.end();
}

void append_utf8(std::string& text, unsigned code) {
    if (code < 0x80) {
        text += static_cast<char>(code);
    } else if (code < 0x800) {
        text += static_cast<char>(0xC0 | code >> 6);
        text += static_cast<char>(0x80 | (code & 0x3F));
    } else {
        text += static_cast<char>(0xE0 | code >> 12);
        text += static_cast<char>(0x80 | (code >> 6 & 0x3F));
        text += static_cast<char>(0x80 | (code & 0x3F));
    }
}

std::optional<unsigned> hexadecimal(std::string_view digits) {
    unsigned value = 0;
    for (const char c : digits) {
        const bool decimal = c >= '0' && c <= '9';
        const char low = static_cast<char>(c | 0x20);
        if (!decimal && (low < 'a' || low > 'f')) {
            return std::nullopt;
        }
        value = value * 16 + static_cast<unsigned>(decimal ? c - '0' : low - 'a' + 10);
    }
    return value;
}

class Rewriter {
public:
    explicit Rewriter(std::string_view text) : text_(text) {}

    PortableTemplate run() {
        const JinjaTemplate scanned = scan_jinja(text_);
        if (!scanned.well_formed) {
            return {std::string(text_), {}, {}};
        }
        if (scanned.has_raw_block) {
            lacks("statement 'raw'");
        }
        std::size_t before = 0;
        for (const JinjaTag& tag : scanned.tags) {
            tag_ = &tag;
            match_brackets();
            keep_indentation(before);
            check_delimiters();
            if (tag.statement) {
                check_statement();
            }
            for (std::size_t i = 0; i < tag.tokens.size(); ++i) {
                check_token(i);
            }
            before = tag.end;
        }
        result_.text = edited();
        return std::move(result_);
    }

private:
    struct Edit {
        std::size_t begin;
        std::size_t end;
        std::string text;
    };

    void once(std::vector<std::string>& list, std::string what) {
        if (said_.insert(what).second) {
            list.push_back(std::move(what));
        }
    }
    void lacks(std::string what) { once(result_.missing, std::move(what)); }
    void edit(std::size_t begin, std::size_t end, std::string text, const char* what) {
        edits_.push_back({begin, end, std::move(text)});
        once(result_.rewritten, what);
    }

    std::string edited() {
        std::stable_sort(edits_.begin(), edits_.end(), [](const Edit& a, const Edit& b) { return a.begin < b.begin; });
        std::string text;
        std::size_t at = 0;
        for (const Edit& change : edits_) {
            text += text_.substr(at, change.begin - at);
            text += change.text;
            at = change.end;
        }
        return text + std::string(text_.substr(at));
    }

    // Empty past the end.
    std::string_view word(std::size_t i) const {
        const auto& tokens = tag_->tokens;
        return i < tokens.size() ? text_.substr(tokens[i].begin, tokens[i].end - tokens[i].begin) : std::string_view();
    }
    bool is(std::size_t i, Kind kind) const { return i < tag_->tokens.size() && tag_->tokens[i].kind == kind; }
    const JinjaToken& token(std::size_t i) const { return tag_->tokens[i]; }

    // GenAI drops blanks at the start of a line before an expression, too.
    void keep_indentation(std::size_t before) {
        if (tag_->statement || text_[tag_->begin + 2] == '-') {
            return;
        }
        const std::size_t blanks = text_.substr(0, tag_->begin).find_last_not_of(" \t") + 1;  // npos + 1 is 0
        const bool line_start = blanks == 0 || text_[blanks - 1] == '\n';
        if (blanks == tag_->begin || blanks < before || !line_start) {
            return;
        }
        // After '-%}' and the like the blanks are dropped anyway.
        const std::string_view last = text_.substr(0, text_.substr(0, blanks).find_last_not_of(" \t\r\n") + 1);
        const bool stripped = last.ends_with("-%}") || last.ends_with("-}}") || last.ends_with("-#}");
        if (!stripped) {
            edit(blanks, tag_->begin, fmt::format("{{{{ '{}' }}}}", text_.substr(blanks, tag_->begin - blanks)),
                 "blanks at the start of a line");
        }
    }

    void check_delimiters() {
        if (text_[tag_->begin + 2] == '+' || text_[tag_->end - 3] == '+') {
            lacks("'+' in a delimiter");
        }
    }

    void check_statement() {
        const std::string_view name = word(0);
        if (among(name, kStatements)) {
            lacks(fmt::format("statement '{}'", name.starts_with("end") ? name.substr(3) : name));
        }
        if (name == "filter" && !among(word(1), kFilters)) {
            lacks(fmt::format("filter '{}'", word(1)));
        }
        if (name == "set" && word(2) == ",") {
            lacks("statement 'set' with several names");
        }
    }

    void check_token(std::size_t i) {
        const std::string_view text = word(i);
        if (is(i, Kind::String)) {
            check_escapes(i);
            if (is(i + 1, Kind::String)) {
                join_strings(i);
            }
        } else if (text == "is" && is(i, Kind::Name)) {
            check_test(i);
        } else if (text == "|" && is(i + 1, Kind::Name)) {
            check_filter(i + 1);
        } else if (text == "." && is(i + 1, Kind::Name) && word(i + 2) == "(") {
            check_method(i + 1);
        } else if (text == "," && (word(i + 1) == "]" || word(i + 1) == "}")) {
            edit(token(i).begin, token(i).end, "", "a comma at the end of a list");
        } else if (text == "," && word(i + 1) == ")" && is_tuple(i)) {
            lacks("tuple of one");
        } else if (text == "loop" && word(i + 1) == "." && word(i + 2).starts_with("depth")) {
            lacks("'loop.depth'");
        } else if (is(i, Kind::Number) && text.find_first_of("_xXoObB") != std::string_view::npos) {
            lacks("numbers like 0x10 and 1_000");
        } else if (among(text, kFunctions) && word(i + 1) == "(" && (i == 0 || word(i - 1) != ".")) {
            lacks(fmt::format("function '{}'", text));
        }
    }

    // For every bracket of the tag the one that it belongs to: walking the tokens between them again for each
    // would take a hostile template hours.
    void match_brackets() {
        const std::size_t count = tag_->tokens.size();
        parenthesis_.assign(count, kNone);
        bracket_.assign(count, kNone);
        std::vector<std::size_t> parentheses;
        std::vector<std::size_t> brackets;
        for (std::size_t i = 0; i < count; ++i) {
            const std::string_view text = word(i);
            match(text, "(", ")", i, parentheses, parenthesis_);
            match(text, "([", ")]", i, brackets, bracket_);
        }
    }
    static void match(std::string_view text, std::string_view open, std::string_view close, std::size_t i,
                      std::vector<std::size_t>& stack, std::vector<std::size_t>& partners) {
        if (text.size() == 1 && open.find(text) != std::string_view::npos) {
            stack.push_back(i);
        } else if (text.size() == 1 && close.find(text) != std::string_view::npos && !stack.empty()) {
            partners[i] = stack.back();
            partners[stack.back()] = i;
            stack.pop_back();
        }
    }

    // Whether the bracket that closes after token `i` is not that of a call.
    bool is_tuple(std::size_t i) const {
        const std::size_t open = parenthesis_[i + 1];
        return open != kNone &&
               (open == 0 || !(is(open - 1, Kind::Name) || word(open - 1) == ")" || word(open - 1) == "]"));
    }

    void check_test(std::size_t i) {
        const bool negated = word(i + 1) == "not";
        const std::size_t name = i + (negated ? 2 : 1);
        if (word(name) == "undefined") {
            edit(token(i).begin, token(name).end, negated ? "is defined" : "is not defined", "'is undefined'");
        } else if (is(name, Kind::Name) && !among(word(name), kTests)) {
            lacks(fmt::format("test '{}'", word(name)));
        }
    }

    void check_filter(std::size_t i) {
        const std::string_view name = word(i);
        const bool call = word(i + 1) == "(";
        if (name == "d" || name == "default") {
            const bool bare = !call || word(i + 2) == ")";
            if (name == "d" || bare) {
                const std::size_t end = call && bare ? token(i + 2).end : token(i).end;
                edit(token(i).begin, end, bare ? "default('')" : "default", "filter 'd'");
            }
        } else if (!among(name, kFilters)) {
            lacks(fmt::format("filter '{}'", name));
        } else if (name == "tojson" && call) {
            check_tojson(i + 1);
        } else if (name.starts_with("select") || name.starts_with("reject")) {
            check_selection(i);
        } else if (name == "trim" && call && word(i + 2) != ")") {
            lacks("filter 'trim' with an argument");
        }
    }

    // select('equalto', x), selectattr('key', 'equalto', x) and their opposites.
    void check_selection(std::size_t i) {
        const std::size_t test = i + (word(i).ends_with("attr") ? 4 : 2);
        const std::string_view name = word(test);
        if (name.size() < 3 || !is(test, Kind::String)) {
            lacks(fmt::format("filter '{}' without a test", word(i)));
            return;
        }
        const std::string_view plain = name.substr(1, name.size() - 2);
        if (plain == "eq") {
            edit(token(test).begin + 1, token(test).end - 1, "equalto", "test 'eq'");
        } else if (plain != "equalto" && plain != "==" && plain != "in") {
            lacks(fmt::format("test '{}' in filter '{}'", plain, word(i)));
        }
    }

    // ensure_ascii=false is what transformers does anyway.
    void check_tojson(std::size_t open) {
        if (word(open + 1) != ")" && word(open + 2) != "=") {
            lacks("an argument of filter 'tojson' without its name");
        }
        for (std::size_t i = open + 1; i < parenthesis_[open] && i < tag_->tokens.size(); ++i) {
            if (word(i) == "(") {
                i = std::min(parenthesis_[i], tag_->tokens.size());
            }
            if (!is(i, Kind::Name) || word(i + 1) != "=") {
                continue;
            }
            const bool off = word(i + 2) == "false" || word(i + 2) == "False";
            if (word(i) == "ensure_ascii" && off) {
                const bool first = i == open + 1;
                const bool last = word(i + 3) == ")";
                edit(first ? token(i).begin : token(i - 1).begin, first && !last ? token(i + 3).end : token(i + 2).end,
                     "", "'ensure_ascii=false'");
            } else if (word(i) != "indent") {
                lacks(fmt::format("argument '{}' of filter 'tojson'", word(i)));
            }
        }
    }

    void check_method(std::size_t i) {
        const std::string_view name = word(i);
        if (!among(name, kMethods)) {
            lacks(fmt::format("method '{}'", name));
        } else if (name == "split") {
            const bool one = is(i + 2, Kind::String) && word(i + 3) == ")";
            bool several = false;
            for (std::size_t k = i + 2; k < bracket_[i + 1] && k < tag_->tokens.size(); ++k) {
                several = several || word(k) == ",";
                if (word(k) == "(" || word(k) == "[") {
                    k = std::min(bracket_[k], tag_->tokens.size());
                }
            }
            if (!one && (several || word(i + 2) == ")")) {
                lacks("method 'split' without exactly one argument");
            }
        }
    }

    void join_strings(std::size_t i) {
        if (text_[token(i).begin] == text_[token(i + 1).begin]) {
            edit(token(i).end - 1, token(i + 1).begin + 1, "", "strings side by side");
        } else {
            lacks("strings side by side in different quotes");
        }
    }

    // GenAI knows \n \t \r \b \f, quotes and the backslash; it drops any other backslash.
    void check_escapes(std::size_t i) {
        for (std::size_t at = token(i).begin + 1; at + 1 < token(i).end; ++at) {
            if (text_[at] != '\\') {
                continue;
            }
            const char c = text_[at + 1];
            const std::size_t digits = c == 'x' ? 2 : c == 'u' ? 4 : 0;
            if (digits > 0) {
                const std::optional<unsigned> code = hexadecimal(text_.substr(at + 2, digits));
                if (!code || *code < 0x20 || *code == 0x7F || (*code >= 0xD800 && *code < 0xE000)) {
                    lacks(fmt::format("escape '\\{}' of a special character", c));
                } else {
                    std::string text = *code == '\\' || *code == '\'' || *code == '"' ? "\\" : "";
                    append_utf8(text, *code);
                    edit(at, at + 2 + digits, text, "escapes in strings");
                }
            } else if (std::string_view("avNU01234567\r\n").find(c) != std::string_view::npos) {
                lacks("escapes of control characters");
            } else if (std::string_view("ntrbf'\"\\").find(c) == std::string_view::npos) {
                edit(at, at + 1, "\\\\", "escapes in strings");  // Python keeps such a backslash
            }
            ++at;
        }
    }

    std::string_view text_;
    const JinjaTag* tag_ = nullptr;
    std::vector<std::size_t> parenthesis_;  // of the tag: where '(' and ')' meet
    std::vector<std::size_t> bracket_;      // the same for '(' or '[' and ')' or ']'
    std::vector<Edit> edits_;
    std::set<std::string> said_;
    PortableTemplate result_;
};

}  // namespace

PortableTemplate portable_chat_template(std::string_view text) {
    return Rewriter(text).run();
}

}  // namespace deltavino::tokenizer
