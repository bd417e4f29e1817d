// The two halves of the parser: expressions, and statements on top of them.
#pragma once

#include "runtime/chat/jinja_ast.hpp"
#include "runtime/chat/jinja_lexer.hpp"

#include <algorithm>
#include <initializer_list>
#include <string_view>

namespace deltavino::runtime::jinja {

class ExpressionParser {
public:
    ExpressionParser(std::vector<Token> tokens, Meter& meter) : meter_(meter), tokens_(std::move(tokens)) {}

protected:
    // Expressions that commas may join to a tuple. `end`: a name that ends it.
    ExpressionPtr parse_tuple(bool conditions = true, std::string_view end = {}, bool parenthesized = false);
    ExpressionPtr parse_expression();
    ExpressionPtr parse_or();
    ExpressionPtr parse_target(bool members, std::string_view end = {});
    ExpressionPtr parse_filters(ExpressionPtr operand, bool begins_with_name);

    const Token& current() const { return tokens_[at_]; }
    const Token& ahead() const { return tokens_[std::min(at_ + 1, tokens_.size() - 1)]; }
    const Token& next();
    bool at_name(std::string_view name) const;
    bool at_operator(std::string_view text) const;
    bool skip_name(std::string_view name);
    bool skip_operator(std::string_view text);
    void expect_operator(std::string_view text);
    std::string expect_name();
    [[noreturn]] void unexpected(std::string_view wanted) const;

    // Counts how deep the parser is in itself.
    class Level {
    public:
        explicit Level(ExpressionParser& parser);
        ~Level() { parser_.depth_ -= 1; }
        Level(const Level&) = delete;
        Level& operator=(const Level&) = delete;

    private:
        ExpressionParser& parser_;
    };

    Meter& meter_;

private:
    ExpressionPtr make(ExpressionKind kind, std::size_t line, std::string name = {});
    ExpressionPtr joined(ExpressionPtr parent, std::initializer_list<ExpressionPtr*> children);
    void deepen(Expression& parent, const Expression* child) const;
    ExpressionPtr parse_and();
    ExpressionPtr parse_not();
    ExpressionPtr parse_comparison();
    ExpressionPtr parse_sum();
    ExpressionPtr parse_concat();
    ExpressionPtr parse_product();
    ExpressionPtr parse_power();
    ExpressionPtr parse_unary(bool filters);
    ExpressionPtr parse_primary(bool members = false);
    ExpressionPtr parse_list();
    ExpressionPtr parse_dict();
    ExpressionPtr parse_postfix(ExpressionPtr operand);
    ExpressionPtr parse_after_postfix(ExpressionPtr operand);
    ExpressionPtr parse_subscript(ExpressionPtr operand);
    ExpressionPtr parse_subscribed();
    ExpressionPtr parse_call(ExpressionPtr operand);
    ExpressionPtr parse_test(ExpressionPtr operand);
    void parse_arguments(Expression& owner);
    std::string dotted_name();

    std::vector<Token> tokens_;
    std::size_t at_ = 0;
    std::size_t depth_ = 0;
};

class TemplateParser : public ExpressionParser {
public:
    using ExpressionParser::ExpressionParser;

    Body parse();

private:
    // Up to a tag that one of `ends` begins; that name is the current token then.
    Body parse_until(std::initializer_list<std::string_view> ends);
    // The same after the end of the opening tag, and past the name at the end.
    Body parse_block(std::initializer_list<std::string_view> ends);
    std::unique_ptr<Statement> parse_statement();
    std::unique_ptr<Statement> parse_set(std::size_t line);
    std::unique_ptr<Statement> parse_for(std::size_t line);
    std::unique_ptr<Statement> parse_if(std::size_t line);
    std::unique_ptr<Statement> parse_with(std::size_t line);
    void parse_parameters(Statement& owner);
    std::string last_end_;  // the name that ended the last block
    std::size_t loops_ = 0;
};

}  // namespace deltavino::runtime::jinja
