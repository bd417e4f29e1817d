// Splits a chat template into text, and the tokens inside {{ }} and {% %}.
#pragma once

#include "runtime/chat/jinja_meter.hpp"

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace deltavino::runtime::jinja {

enum class TokenKind {
    Data,
    VariableBegin,
    VariableEnd,
    BlockBegin,
    BlockEnd,
    Name,
    String,
    Integer,
    Float,
    Operator,  // its text says which
    End,
};

struct Token {
    TokenKind kind = TokenKind::End;
    std::string text;  // of a string: without quotes and escapes
    std::int64_t integer = 0;
    double number = 0.0;
    std::size_t line = 1;
};

// As jinja2 with trim_blocks and lstrip_blocks; comments and raw blocks are resolved. Ends with an End token.
std::vector<Token> tokenize(std::string_view source, Meter& meter);

}  // namespace deltavino::runtime::jinja
