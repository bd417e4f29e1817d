// A parsed chat template.
#pragma once

#include "runtime/chat/jinja_value.hpp"

#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

namespace deltavino::runtime::jinja {

struct Expression;
struct Statement;
using ExpressionPtr = std::unique_ptr<Expression>;
using Body = std::vector<std::unique_ptr<Statement>>;

// What stands between the parentheses of a call, a filter or a test.
struct CallArguments {
    std::vector<ExpressionPtr> positional;
    std::vector<std::pair<std::string, ExpressionPtr>> named;
    ExpressionPtr star;         // *list
    ExpressionPtr double_star;  // **dict
};

enum class ExpressionKind {
    Constant,   // value
    Name,       // name
    Member,     // NAMESPACE.ATTRIBUTE as the target of a set: name, other
    List,       // children
    Tuple,      // children
    Dict,       // children: key, value, key, value, ...
    Attribute,  // children[0] . name
    Item,       // children[0] [children[1]]
    Slice,      // children: start, stop, step, each of them may be null
    Call,       // children[0] (arguments)
    Filter,     // children[0] | name(arguments); no child inside a filter block
    Test,       // children[0] is name(arguments)
    Condition,  // children[1] if children[0] else children[2], which may be null
    And,
    Or,
    Not,
    Negative,
    Positive,
    Binary,   // name: + - * / // % **
    Concat,   // children, joined by ~
    Compare,  // children[0] operations[0] children[1] operations[1] ...
};

struct Expression {
    ExpressionKind kind = ExpressionKind::Constant;
    std::size_t line = 1;
    std::size_t depth = 1;
    Value value;
    std::string name;
    std::string other;
    std::vector<ExpressionPtr> children;
    std::vector<std::string> operations;
    CallArguments arguments;
};

struct Parameter {
    std::string name;
    ExpressionPtr missing;  // its default, may be null
};

enum class StatementKind {
    Text,       // text
    Print,      // expression
    Set,        // target = expression
    SetBlock,   // target = body, through `expression` (a filter) if there is one
    If,         // branches, otherwise
    For,        // target, expression, condition, body, otherwise
    Macro,      // name, parameters, body
    CallBlock,  // expression (a call), parameters, body
    Filter,     // expression (a filter), body
    With,       // assignments, body
    Scope,      // body: a generation block
    Break,
    Continue,
};

struct Statement {
    StatementKind kind = StatementKind::Text;
    std::size_t line = 1;
    Text text;
    std::string name;
    ExpressionPtr target;
    ExpressionPtr expression;
    ExpressionPtr condition;
    std::vector<std::pair<ExpressionPtr, Body>> branches;
    std::vector<std::pair<ExpressionPtr, ExpressionPtr>> assignments;
    std::vector<Parameter> parameters;
    Body body;
    Body otherwise;
};

// Throws ErrorKind::Unsupported for statements that are not rendered, ErrorKind::Input for what is not Jinja.
Body parse_template(std::string_view source, Meter& meter);

}  // namespace deltavino::runtime::jinja
