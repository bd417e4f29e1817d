// Ground truth: jinja2/lexer.py, the white-space rules above all.
#include "runtime/chat/jinja_lexer.hpp"

#include "runtime/chat/jinja_text.hpp"

#include <algorithm>
#include <array>
#include <charconv>

namespace deltavino::runtime::jinja {
namespace {

bool is_digit(char c) {
    return c >= '0' && c <= '9';
}

// Letters beyond ASCII are taken without a closer look.
bool is_word(char c) {
    return is_digit(c) || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_' || (c & 0x80) != 0;
}

std::string unified_newlines(std::string_view text) {
    std::string out;
    for (std::size_t i = 0; i < text.size(); ++i) {
        if (text[i] == '\r') {
            out += '\n';
            i += i + 1 < text.size() && text[i + 1] == '\n' ? 1 : 0;
        } else {
            out += text[i];
        }
    }
    return out;
}

class Lexer {
public:
    Lexer(std::string_view source, Meter& meter) : source_(unified_newlines(source)), meter_(meter) {
        if (!source_.empty() && source_.back() == '\n') {
            source_.pop_back();
        }
    }

    std::vector<Token> run() {
        while (at_ < source_.size()) {
            read_data();
        }
        meter_.line = line_;
        push(TokenKind::End, "");
        return std::move(tokens_);
    }

private:
    void push(TokenKind kind, std::string text) {
        Token token;
        token.kind = kind;
        token.text = std::move(text);
        token.line = line_;
        tokens_.push_back(std::move(token));
    }

    bool here(std::string_view text) const { return std::string_view(source_).substr(at_).starts_with(text); }

    void advance(std::size_t bytes) {
        const auto begin = source_.begin() + static_cast<std::ptrdiff_t>(at_);
        line_ += static_cast<std::size_t>(std::count(begin, begin + static_cast<std::ptrdiff_t>(bytes), '\n'));
        at_ += bytes;
        meter_.line = line_;
        line_starting_ = at_ > 0 && source_[at_ - 1] == '\n';
    }

    void skip_spaces() {
        std::size_t end = at_;
        while (const std::size_t bytes = space_at_begin(std::string_view(source_).substr(end))) {
            end += bytes;
        }
        advance(end - at_);
    }

    // The text before a tag whose sign is `sign`; `strips`: lstrip_blocks holds for it.
    std::string before_tag(std::string_view text, char sign, bool strips) const {
        if (sign == '-') {
            while (const std::size_t bytes = space_at_end(text)) {
                text.remove_suffix(bytes);
            }
        } else if (sign != '+' && strips) {
            const std::size_t newline = text.rfind('\n');
            const std::size_t begin = newline == std::string_view::npos ? 0 : newline + 1;
            std::string_view tail = text.substr(begin);
            while (const std::size_t bytes = space_at_begin(tail)) {
                tail.remove_prefix(bytes);
            }
            if (tail.empty() && (begin > 0 || line_starting_)) {
                text = text.substr(0, begin);
            }
        }
        return std::string(text);
    }

    char sign_at(std::size_t at) const {
        return at < source_.size() && (source_[at] == '-' || source_[at] == '+') ? source_[at] : '\0';
    }

    // The next {{, {% or {# at or after `from`.
    std::size_t next_tag(std::size_t from) const {
        while (true) {
            from = source_.find('{', from);
            if (from == std::string::npos || from + 1 >= source_.size()) {
                return source_.size();
            }
            const char c = source_[from + 1];
            if (c == '{' || c == '%' || c == '#') {
                return from;
            }
            from += 1;
        }
    }

    void read_data() {
        const std::size_t tag = next_tag(at_);
        const std::string_view text = std::string_view(source_).substr(at_, tag - at_);
        if (tag == source_.size()) {
            push(TokenKind::Data, std::string(text));
            advance(text.size());
            return;
        }
        const char kind = source_[tag + 1];
        const char sign = sign_at(tag + 2);
        std::string data = before_tag(text, sign, kind != '{');
        if (!data.empty()) {
            push(TokenKind::Data, std::move(data));
        }
        advance(text.size());
        if (kind == '#') {
            read_comment(sign != '\0' ? 3 : 2);
        } else if (kind == '%' && raw_begin_bytes() > 0) {
            advance(raw_begin_bytes());
            read_raw();
        } else {
            advance(sign != '\0' ? 3 : 2);
            push(kind == '{' ? TokenKind::VariableBegin : TokenKind::BlockBegin, "");
            read_tag(kind == '{');
        }
    }

    // What follows `%}` or `#}`: white space after '-', one newline without a sign.
    void end_block(std::size_t bytes, char sign) {
        advance(bytes);
        if (sign == '-') {
            skip_spaces();
        } else if (sign != '+' && here("\n")) {
            advance(1);
        }
    }

    void read_comment(std::size_t opening) {
        const std::size_t end = source_.find("#}", at_ + opening);
        if (end == std::string::npos) {
            meter_.wrong("a comment is not closed");
        }
        const char sign = end > at_ + opening ? sign_at(end - 1) : '\0';
        end_block(end + 2 - at_, sign);
    }

    // Bytes of `{% word %}` at `at`, 0 when it is not there. `sign`: of its end.
    std::size_t word_tag(std::size_t at, std::string_view word, char& opening, char& closing) const {
        const auto skip = [&](std::size_t from) {
            while (const std::size_t bytes = space_at_begin(std::string_view(source_).substr(from))) {
                from += bytes;
            }
            return from;
        };
        const std::string_view all(source_);
        std::size_t end = at + 2;
        opening = sign_at(end);
        end = skip(end + (opening != '\0' ? 1 : 0));
        if (!all.substr(std::min(end, all.size())).starts_with(word)) {
            return 0;
        }
        end = skip(end + word.size());
        closing = sign_at(end);
        end += closing != '\0' ? 1 : 0;
        return all.substr(std::min(end, all.size())).starts_with("%}") ? end + 2 - at : 0;
    }

    std::size_t raw_begin_bytes() const {
        char opening = '\0';
        char closing = '\0';
        const std::size_t bytes = word_tag(at_, "raw", opening, closing);
        return closing == '+' ? 0 : bytes;  // jinja2 knows no {% raw +%}
    }

    void read_raw() {
        if (source_[at_ - 3] == '-') {
            skip_spaces();
        }
        for (std::size_t from = source_.find("{%", at_); from != std::string::npos;
             from = source_.find("{%", from + 1)) {
            char opening = '\0';
            char closing = '\0';
            const std::size_t bytes = word_tag(from, "endraw", opening, closing);
            if (bytes > 0) {
                std::string data = before_tag(std::string_view(source_).substr(at_, from - at_), opening, true);
                push(TokenKind::Data, std::move(data));
                advance(from - at_);
                end_block(bytes, closing);
                return;
            }
        }
        meter_.wrong("a raw block is not closed");
    }

    void read_tag(bool variable) {
        const std::string_view end = variable ? "}}" : "%}";
        std::string open;  // the brackets that wait to be closed
        while (true) {
            skip_spaces();
            if (at_ >= source_.size()) {
                meter_.wrong(fmt::format("'{}' is missing", end));
            }
            if (open.empty() && read_tag_end(variable, end)) {
                return;
            }
            const char c = source_[at_];
            if (is_digit(c)) {
                read_number();
            } else if (is_word(c)) {
                std::size_t stop = at_;
                while (stop < source_.size() && is_word(source_[stop])) {
                    stop += 1;
                }
                push(TokenKind::Name, source_.substr(at_, stop - at_));
                advance(stop - at_);
            } else if (c == '\'' || c == '"') {
                read_string(c);
            } else {
                read_operator(open);
            }
        }
    }

    bool read_tag_end(bool variable, std::string_view end) {
        const char sign = sign_at(at_);
        if (sign != '\0' && std::string_view(source_).substr(at_ + 1).starts_with(end) && !(variable && sign == '+')) {
            push(variable ? TokenKind::VariableEnd : TokenKind::BlockEnd, "");
            if (variable) {
                advance(3);
                skip_spaces();
            } else {
                end_block(3, sign);
            }
            return true;
        }
        if (!here(end)) {
            return false;
        }
        push(variable ? TokenKind::VariableEnd : TokenKind::BlockEnd, "");
        if (variable) {
            advance(2);
        } else {
            end_block(2, '\0');
        }
        return true;
    }

    void read_operator(std::string& open) {
        static constexpr std::array<std::string_view, 25> kOperators{
            "//", "**", "==", "!=", ">=", "<=", "+", "-", "/", "*", "%", "~", "[",
            "]",  "(",  ")",  "{",  "}",  ">",  "<", "=", ".", ":", "|", ",",
        };
        const auto found = std::find_if(kOperators.begin(), kOperators.end(), [this](auto text) { return here(text); });
        if (found == kOperators.end()) {
            meter_.wrong(fmt::format("unexpected character '{}'", source_.substr(at_, code_point_bytes(source_[at_]))));
        }
        const char c = found->front();
        if (c == '(' || c == '[' || c == '{') {
            open += c == '(' ? ')' : c == '[' ? ']' : '}';
        } else if (c == ')' || c == ']' || c == '}') {
            if (open.empty() || open.back() != c) {
                meter_.wrong(fmt::format("unexpected '{}'", c));
            }
            open.pop_back();
        }
        push(TokenKind::Operator, std::string(*found));
        advance(found->size());
    }

    // Digits with single underscores between them.
    std::size_t digits_end(std::size_t at, bool hexadecimal = false) const {
        const auto fits = [&](std::size_t i) {
            return i < source_.size() && (is_digit(source_[i]) ||
                                          (hexadecimal && std::isxdigit(static_cast<unsigned char>(source_[i])) != 0));
        };
        while (fits(at) || (at < source_.size() && source_[at] == '_' && fits(at + 1))) {
            at += 1;
        }
        return at;
    }

    void read_number() {
        const bool after_dot = at_ > 0 && source_[at_ - 1] == '.';
        std::size_t end = digits_end(at_);
        bool floating = false;
        if (!after_dot) {
            if (end + 1 < source_.size() && source_[end] == '.' && is_digit(source_[end + 1])) {
                floating = true;
                end = digits_end(end + 1);
            }
            if (end < source_.size() && (source_[end] == 'e' || source_[end] == 'E')) {
                const std::size_t first = end + 1 + (sign_at(end + 1) != '\0' ? 1 : 0);
                if (first < source_.size() && is_digit(source_[first])) {
                    floating = true;
                    end = digits_end(first);
                }
            }
        }
        int base = 10;
        std::size_t begin = at_;
        if (!floating && source_[at_] == '0' && end == at_ + 1 && end < source_.size()) {
            const char c = static_cast<char>(source_[end] | 0x20);
            base = c == 'x' ? 16 : c == 'o' ? 8 : c == 'b' ? 2 : 10;
            if (base != 10) {
                begin = end + 1;
                end = digits_end(begin, base == 16);
            }
        }
        std::string text = source_.substr(begin, end - begin);
        std::erase(text, '_');
        push(floating ? TokenKind::Float : TokenKind::Integer, text);
        Token& token = tokens_.back();
        const char* first = text.data();
        const char* last = first + text.size();
        const std::from_chars_result result =
            floating ? std::from_chars(first, last, token.number) : std::from_chars(first, last, token.integer, base);
        if (result.ec == std::errc::result_out_of_range) {
            meter_.unsupported(fmt::format("the number {}", text));
        }
        const bool leading_zero = !floating && base == 10 && text.size() > 1 && text.front() == '0' &&
                                  text.find_first_not_of('0') != std::string::npos;
        if (result.ec != std::errc() || result.ptr != last || leading_zero) {
            meter_.wrong(fmt::format("'{}' is not a number", source_.substr(at_, end - at_)));
        }
        advance(end - at_);
    }

    void read_string(char quote) {
        const std::size_t begin = at_ + 1;
        std::size_t end = begin;
        while (end < source_.size() && source_[end] != quote) {
            end += source_[end] == '\\' ? 2 : 1;
        }
        if (end >= source_.size()) {
            meter_.wrong("a string is not closed");
        }
        push(TokenKind::String, unescaped(std::string_view(source_).substr(begin, end - begin)));
        advance(end + 1 - at_);
    }

    std::string unescaped(std::string_view body) const {
        std::string out;
        for (std::size_t i = 0; i < body.size(); ++i) {
            if (body[i] != '\\') {
                out += body[i];
                continue;
            }
            i += 1;
            static constexpr std::string_view kLetters = "\\'\"abfnrtv";
            static constexpr std::string_view kValues = "\\'\"\a\b\f\n\r\t\v";
            const std::size_t simple = kLetters.find(body[i]);
            if (simple != std::string_view::npos) {
                out += kValues[simple];
            } else if (body[i] == 'x' || body[i] == 'u' || body[i] == 'U') {
                const std::size_t count = body[i] == 'x' ? 2 : body[i] == 'u' ? 4 : 8;
                append_number(out, body.substr(i + 1, count), count, 16);
                i += count;
            } else if (body[i] >= '0' && body[i] <= '7') {
                std::size_t count = 1;
                while (count < 3 && i + count < body.size() && body[i + count] >= '0' && body[i + count] <= '7') {
                    count += 1;
                }
                append_number(out, body.substr(i, count), count, 8);
                i += count - 1;
            } else if (body[i] == 'N') {
                meter_.unsupported("a character by its name, \\N{...},");
            } else if (body[i] != '\n') {
                out += '\\';
                out += body[i];
            }
        }
        return out;
    }

    void append_number(std::string& out, std::string_view digits, std::size_t count, int base) const {
        std::uint32_t point = 0;
        const auto result = std::from_chars(digits.data(), digits.data() + digits.size(), point, base);
        if (digits.size() != count || result.ptr != digits.data() + count || point > 0x10ffff ||
            (point >= 0xd800 && point < 0xe000)) {
            meter_.wrong(fmt::format("'{}' is not the number of a character", digits));
        }
        append_code_point(out, point);
    }

    std::string source_;
    Meter& meter_;
    std::size_t at_ = 0;
    std::size_t line_ = 1;
    bool line_starting_ = true;
    std::vector<Token> tokens_;
};

}  // namespace

std::vector<Token> tokenize(std::string_view source, Meter& meter) {
    return Lexer(source, meter).run();
}

}  // namespace deltavino::runtime::jinja
