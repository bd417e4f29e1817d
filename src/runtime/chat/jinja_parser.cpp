#include "runtime/chat/jinja_parser.hpp"

#include <algorithm>
#include <array>

namespace deltavino::runtime::jinja {
namespace {

std::unique_ptr<Statement> statement_of(StatementKind kind, std::size_t line) {
    auto statement = std::make_unique<Statement>();
    statement->kind = kind;
    statement->line = line;
    return statement;
}

constexpr std::array<std::string_view, 8> kRefused{"include", "import", "from",       "extends",
                                                   "block",   "trans",  "autoescape", "debug"};

}  // namespace

Body TemplateParser::parse() {
    return parse_until({});
}

Body TemplateParser::parse_until(std::initializer_list<std::string_view> ends) {
    const Level level(*this);
    Body body;
    while (current().kind != TokenKind::End) {
        const std::size_t line = current().line;
        if (current().kind == TokenKind::Data) {
            body.push_back(statement_of(StatementKind::Text, line));
            body.back()->text = Text(next().text);
        } else if (current().kind == TokenKind::VariableBegin) {
            next();
            body.push_back(statement_of(StatementKind::Print, line));
            body.back()->expression = parse_tuple();
            if (current().kind != TokenKind::VariableEnd) {
                unexpected("'}}'");
            }
            next();
        } else {
            next();
            if (std::any_of(ends.begin(), ends.end(), [this](std::string_view end) { return at_name(end); })) {
                return body;
            }
            body.push_back(parse_statement());
            if (current().kind != TokenKind::BlockEnd) {
                unexpected("'%}'");
            }
            next();
        }
    }
    if (ends.size() > 0) {
        meter_.wrong(fmt::format("the template ends where '{}' is expected", *(ends.end() - 1)));
    }
    return body;
}

Body TemplateParser::parse_block(std::initializer_list<std::string_view> ends) {
    skip_operator(":");
    if (current().kind != TokenKind::BlockEnd) {
        unexpected("'%}'");
    }
    next();
    Body body = parse_until(ends);
    last_end_ = next().text;
    return body;
}

std::unique_ptr<Statement> TemplateParser::parse_statement() {
    const std::size_t line = current().line;
    const std::string name = expect_name();
    if (name == "set") {
        return parse_set(line);
    }
    if (name == "if") {
        return parse_if(line);
    }
    if (name == "for") {
        return parse_for(line);
    }
    if (name == "with") {
        return parse_with(line);
    }
    if (name == "break" || name == "continue") {
        if (loops_ == 0) {
            meter_.wrong(fmt::format("'{}' outside of a loop", name));
        }
        return statement_of(name == "break" ? StatementKind::Break : StatementKind::Continue, line);
    }
    if (name == "generation") {
        auto statement = statement_of(StatementKind::Scope, line);
        const std::size_t loops = std::exchange(loops_, 0);
        statement->body = parse_block({"endgeneration"});
        loops_ = loops;
        return statement;
    }
    if (name == "filter") {
        auto statement = statement_of(StatementKind::Filter, line);
        statement->expression = parse_filters(nullptr, true);
        statement->body = parse_block({"endfilter"});
        return statement;
    }
    if (name == "macro" || name == "call") {
        auto statement = statement_of(name == "macro" ? StatementKind::Macro : StatementKind::CallBlock, line);
        if (name == "macro") {
            statement->name = expect_name();
            parse_parameters(*statement);
        } else {
            if (at_operator("(")) {
                parse_parameters(*statement);
            }
            statement->expression = parse_expression();
            if (statement->expression->kind != ExpressionKind::Call) {
                meter_.wrong("a call block without a call");
            }
        }
        const std::size_t loops = std::exchange(loops_, 0);
        statement->body = parse_block({name == "macro" ? "endmacro" : "endcall"});
        loops_ = loops;
        return statement;
    }
    if (std::find(kRefused.begin(), kRefused.end(), name) != kRefused.end()) {
        meter_.unsupported(fmt::format("the statement '{}'", name));
    }
    meter_.wrong(fmt::format("'{}' is not a statement", name));
}

std::unique_ptr<Statement> TemplateParser::parse_set(std::size_t line) {
    auto statement = statement_of(StatementKind::Set, line);
    statement->target = parse_target(true);
    if (skip_operator("=")) {
        statement->expression = parse_tuple();
        return statement;
    }
    statement->kind = StatementKind::SetBlock;
    statement->expression = parse_filters(nullptr, false);
    statement->body = parse_block({"endset"});
    return statement;
}

std::unique_ptr<Statement> TemplateParser::parse_for(std::size_t line) {
    auto statement = statement_of(StatementKind::For, line);
    statement->target = parse_target(false, "in");
    if (!skip_name("in")) {
        unexpected("'in'");
    }
    statement->expression = parse_tuple(false, "recursive");
    if (skip_name("if")) {
        statement->condition = parse_expression();
    }
    if (at_name("recursive")) {
        meter_.unsupported("a recursive loop");
    }
    loops_ += 1;
    statement->body = parse_block({"else", "endfor"});
    loops_ -= 1;
    if (last_end_ == "else") {
        statement->otherwise = parse_block({"endfor"});
    }
    return statement;
}

std::unique_ptr<Statement> TemplateParser::parse_if(std::size_t line) {
    auto statement = statement_of(StatementKind::If, line);
    do {
        ExpressionPtr condition = parse_tuple(false);
        Body body = parse_block({"elif", "else", "endif"});
        statement->branches.emplace_back(std::move(condition), std::move(body));
    } while (last_end_ == "elif");
    if (last_end_ == "else") {
        statement->otherwise = parse_block({"endif"});
    }
    return statement;
}

std::unique_ptr<Statement> TemplateParser::parse_with(std::size_t line) {
    auto statement = statement_of(StatementKind::With, line);
    while (current().kind != TokenKind::BlockEnd) {
        if (!statement->assignments.empty()) {
            expect_operator(",");
        }
        ExpressionPtr target = parse_target(false);
        expect_operator("=");
        statement->assignments.emplace_back(std::move(target), parse_expression());
    }
    statement->body = parse_block({"endwith"});
    return statement;
}

void TemplateParser::parse_parameters(Statement& owner) {
    expect_operator("(");
    while (!at_operator(")")) {
        if (!owner.parameters.empty()) {
            expect_operator(",");
        }
        Parameter parameter;
        parameter.name = expect_name();
        if (skip_operator("=")) {
            parameter.missing = parse_expression();
        } else if (!owner.parameters.empty() && owner.parameters.back().missing) {
            meter_.wrong("a parameter without a default follows one with it");
        }
        owner.parameters.push_back(std::move(parameter));
    }
    expect_operator(")");
}

Body parse_template(std::string_view source, Meter& meter) {
    if (source.size() > kMaxTemplateBytes) {
        meter.unsupported(fmt::format("a template of more than {} bytes", kMaxTemplateBytes));
    }
    return TemplateParser(tokenize(source, meter), meter).parse();
}

}  // namespace deltavino::runtime::jinja
