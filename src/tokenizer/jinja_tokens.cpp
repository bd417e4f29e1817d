// Ground truth: jinja2 3.1's lexer with its usual delimiters.
#include "tokenizer/jinja_tokens.hpp"

#include <algorithm>
#include <array>

namespace deltavino::tokenizer {
namespace {

constexpr std::string_view kBlank = " \t\r\n\f\v";

bool is_name_start(char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_' || static_cast<unsigned char>(c) >= 0x80;
}
bool is_digit(char c) {
    return c >= '0' && c <= '9';
}

class Scanner {
public:
    explicit Scanner(std::string_view text) : text_(text) {}

    JinjaTemplate run() {
        while (result_.well_formed) {
            at_ = text_.find('{', at_);
            if (at_ == std::string_view::npos || at_ + 1 >= text_.size()) {
                break;
            }
            const char second = text_[at_ + 1];
            if (second == '#') {
                skip_past("#}", at_ + 2);
            } else if (second == '{' || second == '%') {
                scan_tag(second == '%');
            } else {
                ++at_;
            }
        }
        return std::move(result_);
    }

private:
    void skip_past(std::string_view what, std::size_t from) {
        const std::size_t found = text_.find(what, from);
        result_.well_formed = found != std::string_view::npos;
        at_ = result_.well_formed ? found + what.size() : text_.size();
    }

    // '%}', '}}', or either of them after a sign that controls white space.
    std::size_t closing_length(bool statement) const {
        const std::string_view rest = text_.substr(at_);
        const std::size_t sign = !rest.empty() && (rest[0] == '-' || rest[0] == '+') ? 1 : 0;
        return rest.substr(sign).starts_with(statement ? "%}" : "}}") ? sign + 2 : 0;
    }

    void scan_tag(bool statement) {
        JinjaTag tag{statement, at_, 0, {}};
        at_ += 2;
        if (at_ < text_.size() && (text_[at_] == '-' || text_[at_] == '+')) {
            ++at_;
        }
        int open = 0;  // brackets
        while (at_ < text_.size()) {
            if (kBlank.find(text_[at_]) != std::string_view::npos) {
                ++at_;
                continue;
            }
            const std::size_t closing = open == 0 ? closing_length(statement) : 0;
            if (closing > 0) {
                at_ += closing;
                finish(std::move(tag));
                return;
            }
            if (!take_token(tag, open)) {
                break;
            }
        }
        result_.well_formed = false;
    }

    void finish(JinjaTag tag) {
        tag.end = at_;
        const bool raw = tag.statement && tag.tokens.size() == 1 && word(tag.tokens[0]) == "raw";
        if (!raw) {
            result_.tags.push_back(std::move(tag));
            return;
        }
        result_.has_raw_block = true;
        while (result_.well_formed) {
            skip_past("{%", at_);
            std::size_t name = text_.find_first_not_of("-+ \t\r\n", at_);
            name = std::min(name, text_.size());
            if (text_.substr(name).starts_with("endraw")) {
                skip_past("%}", name);
                return;
            }
        }
    }

    std::string_view word(const JinjaToken& token) const { return text_.substr(token.begin, token.end - token.begin); }

    bool take_token(JinjaTag& tag, int& open) {
        const std::size_t begin = at_;
        const char c = text_[at_];
        JinjaToken::Kind kind = JinjaToken::Kind::Symbol;
        if (c == '\'' || c == '"') {
            kind = JinjaToken::Kind::String;
            for (++at_; at_ < text_.size() && text_[at_] != c; ++at_) {
                at_ += text_[at_] == '\\' ? 1 : 0;
            }
            if (at_ >= text_.size()) {
                return false;
            }
            ++at_;
        } else if (is_name_start(c) || is_digit(c)) {
            kind = is_digit(c) ? JinjaToken::Kind::Number : JinjaToken::Kind::Name;
            const auto inside = [&](char d) {
                return is_name_start(d) || is_digit(d);
            };
            while (at_ < text_.size() &&
                   (inside(text_[at_]) || (kind == JinjaToken::Kind::Number && text_[at_] == '.'))) {
                ++at_;
            }
        } else {
            constexpr std::array<std::string_view, 6> kPairs{"==", "!=", "<=", ">=", "//", "**"};
            const std::string_view pair = text_.substr(at_, 2);
            at_ += std::find(kPairs.begin(), kPairs.end(), pair) != kPairs.end() ? 2 : 1;
            open += std::string_view("([{").find(c) != std::string_view::npos ? 1 : 0;
            open -= std::string_view(")]}").find(c) != std::string_view::npos ? 1 : 0;
        }
        tag.tokens.push_back({kind, begin, at_});
        return open >= 0;
    }

    std::string_view text_;
    std::size_t at_ = 0;
    JinjaTemplate result_;
};

}  // namespace

JinjaTemplate scan_jinja(std::string_view text) {
    return Scanner(text).run();
}

}  // namespace deltavino::tokenizer
