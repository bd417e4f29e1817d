// Ground truth: jinja2/parser.py for precedence, down to its odd places (filters bind tighter than a
// sign's operand, `is` takes one argument without parentheses).
#include "runtime/chat/jinja_parser.hpp"

#include <algorithm>
#include <array>

namespace deltavino::runtime::jinja {

ExpressionParser::Level::Level(ExpressionParser& parser) : parser_(parser) {
    parser_.depth_ += 1;
    if (parser_.depth_ > kMaxParseDepth) {
        parser_.meter_.unsupported(fmt::format("nesting more than {} deep", kMaxParseDepth));
    }
}

const Token& ExpressionParser::next() {
    const Token& token = tokens_[at_];
    at_ = std::min(at_ + 1, tokens_.size() - 1);
    meter_.line = tokens_[at_].line;
    return token;
}

bool ExpressionParser::at_name(std::string_view name) const {
    return current().kind == TokenKind::Name && current().text == name;
}

bool ExpressionParser::at_operator(std::string_view text) const {
    return current().kind == TokenKind::Operator && current().text == text;
}

bool ExpressionParser::skip_name(std::string_view name) {
    const bool found = at_name(name);
    if (found) {
        next();
    }
    return found;
}

bool ExpressionParser::skip_operator(std::string_view text) {
    const bool found = at_operator(text);
    if (found) {
        next();
    }
    return found;
}

void ExpressionParser::expect_operator(std::string_view text) {
    if (!skip_operator(text)) {
        unexpected(fmt::format("'{}'", text));
    }
}

std::string ExpressionParser::expect_name() {
    if (current().kind != TokenKind::Name) {
        unexpected("a name");
    }
    return next().text;
}

void ExpressionParser::unexpected(std::string_view wanted) const {
    static constexpr std::array<std::string_view, 11> kNames{
        "text", "'{{'", "'}}'", "'{%'", "'%}'", "name", "a string", "a number", "a number", "", "the end"};
    const std::string_view kind = kNames[static_cast<std::size_t>(current().kind)];
    const bool named = current().kind == TokenKind::Name || current().kind == TokenKind::Operator;
    meter_.wrong(
        fmt::format("expected {}, found {}", wanted, named ? fmt::format("'{}'", current().text) : std::string(kind)));
}

ExpressionPtr ExpressionParser::make(ExpressionKind kind, std::size_t line, std::string name) {
    auto expression = std::make_unique<Expression>();
    expression->kind = kind;
    expression->line = line;
    expression->name = std::move(name);
    return expression;
}

void ExpressionParser::deepen(Expression& parent, const Expression* child) const {
    if (child != nullptr) {
        parent.depth = std::max(parent.depth, child->depth + 1);
        if (parent.depth > kMaxParseDepth) {
            meter_.unsupported(fmt::format("an expression of more than {} operations in a row", kMaxParseDepth));
        }
    }
}

ExpressionPtr ExpressionParser::joined(ExpressionPtr parent, std::initializer_list<ExpressionPtr*> children) {
    for (ExpressionPtr* child : children) {
        deepen(*parent, child->get());
        parent->children.push_back(std::move(*child));
    }
    return parent;
}

ExpressionPtr ExpressionParser::parse_tuple(bool conditions, std::string_view end, bool parenthesized) {
    const Level level(*this);
    const std::size_t line = current().line;
    ExpressionPtr tuple = make(ExpressionKind::Tuple, line);
    bool is_tuple = false;
    while (true) {
        if (!tuple->children.empty()) {
            expect_operator(",");
        }
        const bool ends = current().kind == TokenKind::VariableEnd || current().kind == TokenKind::BlockEnd ||
                          at_operator(")") || (!end.empty() && at_name(end));
        if (ends) {
            break;
        }
        ExpressionPtr item = conditions ? parse_expression() : parse_or();
        tuple = joined(std::move(tuple), {&item});
        if (!at_operator(",")) {
            break;
        }
        is_tuple = true;
    }
    if (!is_tuple && !tuple->children.empty()) {
        return std::move(tuple->children.front());
    }
    if (!is_tuple && !parenthesized) {
        unexpected("an expression");
    }
    return tuple;
}

ExpressionPtr ExpressionParser::parse_target(bool members, std::string_view end) {
    const std::size_t line = current().line;
    ExpressionPtr tuple = make(ExpressionKind::Tuple, line);
    bool is_tuple = false;
    while (!(is_tuple && (current().kind == TokenKind::BlockEnd || at_operator(")") || at_operator("=") ||
                          (!end.empty() && at_name(end))))) {
        ExpressionPtr item = parse_primary(members);
        tuple = joined(std::move(tuple), {&item});
        if (!skip_operator(",")) {
            break;
        }
        is_tuple = true;
    }
    ExpressionPtr target = is_tuple ? std::move(tuple) : std::move(tuple->children.front());
    const std::function<void(const Expression&)> require = [&](const Expression& e) {
        if (e.kind == ExpressionKind::Tuple) {
            for (const ExpressionPtr& child : e.children) {
                require(*child);
            }
        } else if (e.kind != ExpressionKind::Name && e.kind != ExpressionKind::Member) {
            meter_.wrong("something that is not a name cannot be set");
        }
    };
    require(*target);
    return target;
}

ExpressionPtr ExpressionParser::parse_expression() {
    const Level level(*this);
    std::size_t line = current().line;
    ExpressionPtr result = parse_or();
    while (skip_name("if")) {
        ExpressionPtr condition = parse_or();
        ExpressionPtr otherwise;
        if (skip_name("else")) {
            otherwise = parse_expression();
        }
        result = joined(make(ExpressionKind::Condition, line), {&condition, &result, &otherwise});
        line = current().line;
    }
    return result;
}

ExpressionPtr ExpressionParser::parse_or() {
    const std::size_t line = current().line;
    ExpressionPtr left = parse_and();
    while (skip_name("or")) {
        ExpressionPtr right = parse_and();
        left = joined(make(ExpressionKind::Or, line), {&left, &right});
    }
    return left;
}

ExpressionPtr ExpressionParser::parse_and() {
    const std::size_t line = current().line;
    ExpressionPtr left = parse_not();
    while (skip_name("and")) {
        ExpressionPtr right = parse_not();
        left = joined(make(ExpressionKind::And, line), {&left, &right});
    }
    return left;
}

ExpressionPtr ExpressionParser::parse_not() {
    const Level level(*this);
    const std::size_t line = current().line;
    if (skip_name("not")) {
        ExpressionPtr operand = parse_not();
        return joined(make(ExpressionKind::Not, line), {&operand});
    }
    return parse_comparison();
}

ExpressionPtr ExpressionParser::parse_comparison() {
    const std::size_t line = current().line;
    ExpressionPtr left = parse_sum();
    ExpressionPtr result = make(ExpressionKind::Compare, line);
    while (true) {
        std::string operation;
        for (const std::string_view known : {"==", "!=", "<", "<=", ">", ">="}) {
            if (at_operator(known)) {
                operation = known;
            }
        }
        if (!operation.empty()) {
            next();
        } else if (skip_name("in")) {
            operation = "in";
        } else if (at_name("not") && ahead().kind == TokenKind::Name && ahead().text == "in") {
            next();
            next();
            operation = "not in";
        } else {
            break;
        }
        if (result->children.empty()) {
            result = joined(std::move(result), {&left});
        }
        ExpressionPtr right = parse_sum();
        result = joined(std::move(result), {&right});
        result->operations.push_back(operation);
    }
    return result->children.empty() ? std::move(left) : std::move(result);
}

ExpressionPtr ExpressionParser::parse_sum() {
    ExpressionPtr left = parse_concat();
    while (at_operator("+") || at_operator("-")) {
        ExpressionPtr parent = make(ExpressionKind::Binary, current().line, current().text);
        next();
        ExpressionPtr right = parse_concat();
        left = joined(std::move(parent), {&left, &right});
    }
    return left;
}

ExpressionPtr ExpressionParser::parse_concat() {
    const std::size_t line = current().line;
    ExpressionPtr left = parse_product();
    if (!at_operator("~")) {
        return left;
    }
    ExpressionPtr result = joined(make(ExpressionKind::Concat, line), {&left});
    while (skip_operator("~")) {
        ExpressionPtr right = parse_product();
        result = joined(std::move(result), {&right});
    }
    return result;
}

ExpressionPtr ExpressionParser::parse_product() {
    ExpressionPtr left = parse_power();
    while (at_operator("*") || at_operator("/") || at_operator("//") || at_operator("%")) {
        ExpressionPtr parent = make(ExpressionKind::Binary, current().line, current().text);
        next();
        ExpressionPtr right = parse_power();
        left = joined(std::move(parent), {&left, &right});
    }
    return left;
}

ExpressionPtr ExpressionParser::parse_power() {
    ExpressionPtr left = parse_unary(true);
    while (at_operator("**")) {
        ExpressionPtr parent = make(ExpressionKind::Binary, current().line, current().text);
        next();
        ExpressionPtr right = parse_unary(true);
        left = joined(std::move(parent), {&left, &right});
    }
    return left;
}

ExpressionPtr ExpressionParser::parse_unary(bool filters) {
    const Level level(*this);
    const std::size_t line = current().line;
    ExpressionPtr result;
    if (skip_operator("-")) {
        ExpressionPtr operand = parse_unary(false);
        result = joined(make(ExpressionKind::Negative, line), {&operand});
    } else if (skip_operator("+")) {
        ExpressionPtr operand = parse_unary(false);
        result = joined(make(ExpressionKind::Positive, line), {&operand});
    } else {
        result = parse_primary();
    }
    result = parse_postfix(std::move(result));
    return filters ? parse_after_postfix(std::move(result)) : std::move(result);
}

ExpressionPtr ExpressionParser::parse_primary(bool members) {
    const Token& token = current();
    ExpressionPtr result = make(ExpressionKind::Constant, token.line);
    switch (token.kind) {
        case TokenKind::Name: {
            const std::string& name = next().text;
            if (name == "true" || name == "True" || name == "false" || name == "False") {
                result->value = Value::of(name == "true" || name == "True");
            } else if (name == "none" || name == "None") {
                result->value = Value::none();
            } else {
                result->kind = ExpressionKind::Name;
                result->name = name;
                if (members && skip_operator(".")) {
                    result->kind = ExpressionKind::Member;
                    result->other = expect_name();
                }
            }
            return result;
        }
        case TokenKind::String: {
            std::string text;
            while (current().kind == TokenKind::String) {
                text += next().text;
            }
            result->value = Value::of(std::move(text));
            return result;
        }
        case TokenKind::Integer: result->value = Value::of(next().integer); return result;
        case TokenKind::Float: result->value = Value::of(next().number); return result;
        default: break;
    }
    if (skip_operator("(")) {
        result = parse_tuple(true, {}, true);
        expect_operator(")");
        return result;
    }
    if (at_operator("[")) {
        return parse_list();
    }
    if (at_operator("{")) {
        return parse_dict();
    }
    unexpected("an expression");
}

ExpressionPtr ExpressionParser::parse_list() {
    ExpressionPtr result = make(ExpressionKind::List, current().line);
    expect_operator("[");
    while (!at_operator("]")) {
        if (!result->children.empty()) {
            expect_operator(",");
            if (at_operator("]")) {
                break;
            }
        }
        ExpressionPtr item = parse_expression();
        result = joined(std::move(result), {&item});
    }
    expect_operator("]");
    return result;
}

ExpressionPtr ExpressionParser::parse_dict() {
    ExpressionPtr result = make(ExpressionKind::Dict, current().line);
    expect_operator("{");
    while (!at_operator("}")) {
        if (!result->children.empty()) {
            expect_operator(",");
            if (at_operator("}")) {
                break;
            }
        }
        ExpressionPtr key = parse_expression();
        expect_operator(":");
        ExpressionPtr item = parse_expression();
        result = joined(std::move(result), {&key, &item});
    }
    expect_operator("}");
    return result;
}

ExpressionPtr ExpressionParser::parse_postfix(ExpressionPtr operand) {
    while (true) {
        if (at_operator(".") || at_operator("[")) {
            operand = parse_subscript(std::move(operand));
        } else if (at_operator("(")) {
            operand = parse_call(std::move(operand));
        } else {
            return operand;
        }
    }
}

ExpressionPtr ExpressionParser::parse_after_postfix(ExpressionPtr operand) {
    while (true) {
        if (at_operator("|")) {
            operand = parse_filters(std::move(operand), false);
        } else if (at_name("is")) {
            operand = parse_test(std::move(operand));
        } else if (at_operator("(")) {
            operand = parse_call(std::move(operand));
        } else {
            return operand;
        }
    }
}

ExpressionPtr ExpressionParser::parse_subscript(ExpressionPtr operand) {
    const std::size_t line = current().line;
    if (skip_operator(".")) {
        if (current().kind == TokenKind::Integer) {
            ExpressionPtr index = make(ExpressionKind::Constant, line);
            index->value = Value::of(next().integer);
            return joined(make(ExpressionKind::Item, line), {&operand, &index});
        }
        ExpressionPtr result = make(ExpressionKind::Attribute, line, expect_name());
        return joined(std::move(result), {&operand});
    }
    expect_operator("[");
    if (at_operator("]")) {
        unexpected("an index");
    }
    ExpressionPtr index = parse_subscribed();
    if (at_operator(",")) {
        meter_.unsupported("an index of several parts");
    }
    expect_operator("]");
    return joined(make(ExpressionKind::Item, line), {&operand, &index});
}

ExpressionPtr ExpressionParser::parse_subscribed() {
    const std::size_t line = current().line;
    ExpressionPtr start;
    if (!at_operator(":")) {
        start = parse_expression();
        if (!at_operator(":")) {
            return start;
        }
    }
    expect_operator(":");
    const auto part = [this]() {
        const bool none = at_operator(":") || at_operator("]") || at_operator(",");
        return none ? nullptr : parse_expression();
    };
    ExpressionPtr stop = part();
    ExpressionPtr step;
    if (skip_operator(":")) {
        step = part();
    }
    return joined(make(ExpressionKind::Slice, line), {&start, &stop, &step});
}

ExpressionPtr ExpressionParser::parse_call(ExpressionPtr operand) {
    ExpressionPtr result = make(ExpressionKind::Call, current().line);
    result = joined(std::move(result), {&operand});
    parse_arguments(*result);
    return result;
}

void ExpressionParser::parse_arguments(Expression& owner) {
    CallArguments& arguments = owner.arguments;
    expect_operator("(");
    bool first = true;
    const auto ensure = [this](bool holds) {
        if (!holds) {
            meter_.wrong("the arguments of a call are in a wrong order");
        }
    };
    while (!at_operator(")")) {
        if (!first) {
            expect_operator(",");
            if (at_operator(")")) {
                break;
            }
        }
        first = false;
        if (skip_operator("*")) {
            ensure(!arguments.star && !arguments.double_star);
            arguments.star = parse_expression();
            deepen(owner, arguments.star.get());
        } else if (skip_operator("**")) {
            ensure(!arguments.double_star);
            arguments.double_star = parse_expression();
            deepen(owner, arguments.double_star.get());
        } else if (current().kind == TokenKind::Name && ahead().kind == TokenKind::Operator && ahead().text == "=") {
            ensure(!arguments.double_star);
            std::string name = expect_name();
            next();
            arguments.named.emplace_back(std::move(name), parse_expression());
            deepen(owner, arguments.named.back().second.get());
        } else {
            ensure(!arguments.star && !arguments.double_star && arguments.named.empty());
            arguments.positional.push_back(parse_expression());
            deepen(owner, arguments.positional.back().get());
        }
    }
    expect_operator(")");
}

std::string ExpressionParser::dotted_name() {
    std::string name = expect_name();
    while (skip_operator(".")) {
        name += "." + expect_name();
    }
    return name;
}

ExpressionPtr ExpressionParser::parse_filters(ExpressionPtr operand, bool begins_with_name) {
    while (begins_with_name || at_operator("|")) {
        if (!begins_with_name) {
            next();
        }
        begins_with_name = false;
        ExpressionPtr result = make(ExpressionKind::Filter, current().line);
        result->name = dotted_name();
        result = joined(std::move(result), {&operand});
        if (at_operator("(")) {
            parse_arguments(*result);
        }
        operand = std::move(result);
    }
    return operand;
}

ExpressionPtr ExpressionParser::parse_test(ExpressionPtr operand) {
    ExpressionPtr result = make(ExpressionKind::Test, current().line);
    next();
    const bool negated = skip_name("not");
    result->name = dotted_name();
    result = joined(std::move(result), {&operand});
    const TokenKind kind = current().kind;
    const bool value = kind == TokenKind::Name || kind == TokenKind::String || kind == TokenKind::Integer ||
                       kind == TokenKind::Float || at_operator("[") || at_operator("{");
    if (at_operator("(")) {
        parse_arguments(*result);
    } else if (value && !at_name("else") && !at_name("or") && !at_name("and")) {
        if (at_name("is")) {
            meter_.wrong("two tests with 'is' in a row");
        }
        result->arguments.positional.push_back(parse_postfix(parse_primary()));
        deepen(*result, result->arguments.positional.back().get());
    }
    if (!negated) {
        return result;
    }
    return joined(make(ExpressionKind::Not, result->line), {&result});
}

}  // namespace deltavino::runtime::jinja
