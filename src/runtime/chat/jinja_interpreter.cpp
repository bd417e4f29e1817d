// Statements. Ground truth: jinja2/compiler.py and idtracking.py for which scope a name belongs to.
#include "runtime/chat/jinja_interpreter.hpp"

#include "runtime/chat/jinja_functions.hpp"
#include "runtime/chat/jinja_operations.hpp"

#include <algorithm>

namespace deltavino::runtime::jinja {
namespace {

// Counts how deep the interpreter is in itself: macros may call each other.
class Level {
public:
    Level(Meter& meter, std::size_t& depth) : depth_(depth) {
        meter.step();
        if (depth_ >= kMaxEvaluationDepth) {
            meter.unsupported(fmt::format("a template that is more than {} levels deep", kMaxEvaluationDepth));
        }
        depth_ += 1;
    }
    ~Level() { depth_ -= 1; }
    Level(const Level&) = delete;
    Level& operator=(const Level&) = delete;

private:
    std::size_t& depth_;
};

// A loop may hold itself, by loop.changed(loop).
class LoopEnd {
public:
    explicit LoopEnd(Loop& loop) : loop_(loop) {}
    ~LoopEnd() { loop_.end(); }
    LoopEnd(const LoopEnd&) = delete;
    LoopEnd& operator=(const LoopEnd&) = delete;

private:
    Loop& loop_;
};

}  // namespace

const Value* Scope::find(Meter& meter, const std::string& name) const {
    for (const Scope* scope = this; scope != nullptr; scope = scope->parent.get()) {
        meter.step(1 + scope->names.size() / 8);
        for (const auto& [known, value] : scope->names) {
            if (known == name) {
                return &value;
            }
        }
    }
    return nullptr;
}

void Scope::set(Meter& meter, const std::string& name, Value value) {
    meter.step(1 + names.size() / 8);
    const auto place = std::find_if(names.begin(), names.end(), [&](const auto& row) { return row.first == name; });
    if (place == names.end()) {
        meter.allocate(name.size() + sizeof(std::pair<std::string, Value>));
        names.emplace_back(name, std::move(value));
    } else {
        place->second = std::move(value);
    }
}

std::optional<Value> Namespace::attribute(Meter&, const std::string& name) {
    const Value* found = fields.find_text(name);
    return found == nullptr ? std::nullopt : std::optional<Value>(*found);
}

Interpreter::Interpreter(Meter& meter, std::vector<std::pair<std::string, Value>> variables, const std::tm& now)
    : meter_(meter), now_(now), scope_(std::make_shared<Scope>()) {
    scope_->names = global_functions();
    auto given = std::make_shared<Scope>();
    given->names = std::move(variables);
    given->parent = scope_;
    scope_ = std::make_shared<Scope>();
    scope_->parent = given;
}

// Namespaces may hold each other in circles.
Interpreter::~Interpreter() {
    for (const auto& held : namespaces_) {
        held->fields.entries.clear();
    }
}

Text Interpreter::run(const Body& body) {
    Text text;
    out_ = &text;
    execute(body);
    out_ = nullptr;
    return text;
}

Value Interpreter::make_namespace(Dict fields) {
    meter_.allocate(sizeof(Namespace));
    auto made = std::make_shared<Namespace>();
    made->fields = std::move(fields);
    namespaces_.push_back(made);
    return Value::Storage(std::shared_ptr<Object>(made));
}

void Interpreter::write(const Text& text) {
    if (out_->size() + text.size() > kMaxOutputBytes) {
        meter_.unsupported(fmt::format("a text of more than {} bytes", kMaxOutputBytes));
    }
    meter_.allocate(text.size());
    out_->append(text);
}

Text Interpreter::capture(const Body& body, std::shared_ptr<Scope> parent) {
    Text text;
    capture(body, std::move(parent), text);
    return text;
}

Interpreter::Flow Interpreter::capture(const Body& body, std::shared_ptr<Scope> parent, Text& text) {
    auto inner = std::make_shared<Scope>();
    inner->parent = std::move(parent);
    Text* outer_text = std::exchange(out_, &text);
    const std::shared_ptr<Scope> outer = exchange_scope(inner);
    const Flow flow = execute(body);
    exchange_scope(outer);
    out_ = outer_text;
    return flow;
}

Value Interpreter::filtered(const Expression& filters, Text text) {
    auto named = std::make_shared<Scope>();
    named->parent = scope_;
    named->names.emplace_back(kBlockText, Value::of(std::move(text)));
    const std::shared_ptr<Scope> outer = exchange_scope(named);
    Value value = evaluate(filters);
    exchange_scope(outer);
    return value;
}

Interpreter::Flow Interpreter::execute(const Body& body) {
    for (const auto& statement : body) {
        meter_.line = statement->line;
        const Flow flow = execute(*statement);
        if (flow != Flow::Next) {
            return flow;
        }
    }
    return Flow::Next;
}

Interpreter::Flow Interpreter::execute_scoped(const Body& body) {
    auto inner = std::make_shared<Scope>();
    inner->parent = scope_;
    const std::shared_ptr<Scope> outer = exchange_scope(inner);
    const Flow flow = execute(body);
    exchange_scope(outer);
    return flow;
}

Interpreter::Flow Interpreter::execute(const Statement& statement) {
    const Level level(meter_, depth_);
    switch (statement.kind) {
        case StatementKind::Text: write(statement.text); return Flow::Next;
        case StatementKind::Print: write(to_text(meter_, evaluate(*statement.expression))); return Flow::Next;
        case StatementKind::Set: assign(*statement.target, evaluate(*statement.expression)); return Flow::Next;
        case StatementKind::SetBlock: return execute_set_block(statement);
        case StatementKind::If:
            for (const auto& [condition, body] : statement.branches) {
                if (truth(evaluate(*condition))) {
                    return execute(body);
                }
            }
            return execute(statement.otherwise);
        case StatementKind::For: return execute_for(statement);
        case StatementKind::Macro:
            scope_->set(meter_, statement.name, make_macro(statement, scope_));
            return Flow::Next;
        case StatementKind::CallBlock: execute_call_block(statement); return Flow::Next;
        case StatementKind::Scope: write(capture(statement.body, scope_)); return Flow::Next;
        case StatementKind::Filter: return execute_filter(statement);
        case StatementKind::With: {
            auto inner = std::make_shared<Scope>();
            inner->parent = scope_;
            std::vector<Value> values;
            for (const auto& [target, expression] : statement.assignments) {
                values.push_back(evaluate(*expression));
            }
            const std::shared_ptr<Scope> outer = exchange_scope(inner);
            for (std::size_t i = 0; i < values.size(); ++i) {
                assign(*statement.assignments[i].first, values[i]);
            }
            const Flow flow = execute(statement.body);
            exchange_scope(outer);
            return flow;
        }
        case StatementKind::Break: return Flow::Break;
        case StatementKind::Continue: return Flow::Continue;
    }
    fail(ErrorKind::Internal, "unknown statement");
}

Interpreter::Flow Interpreter::execute_for(const Statement& statement) {
    std::vector<Value> items = items_of(meter_, evaluate(*statement.expression));
    const std::shared_ptr<Scope> outer = scope_;
    Loop::Condition condition;
    if (statement.condition) {
        condition = [this, &statement, outer](const Value& item) {
            auto inner = std::make_shared<Scope>();
            inner->parent = outer;
            const std::shared_ptr<Scope> before = exchange_scope(inner);
            assign(*statement.target, item);
            const bool holds = truth(evaluate(*statement.condition));
            exchange_scope(before);
            return holds;
        };
    }
    const std::shared_ptr<Loop> loop = make_loop(std::move(items), std::move(condition));
    const LoopEnd end(*loop);
    Flow flow = Flow::Next;
    bool finished = false;
    while (flow != Flow::Break && loop->advance()) {
        meter_.step();
        meter_.line = statement.line;
        scope_ = std::make_shared<Scope>();
        scope_->parent = outer;
        scope_->names.emplace_back("loop", Value::Storage(std::shared_ptr<Object>(loop)));
        assign(*statement.target, loop->current());
        flow = execute(statement.body);
        finished = finished || flow == Flow::Next;
    }
    scope_ = outer;
    // As jinja2 has it: an iteration that break or continue cut short does not count.
    return finished ? Flow::Next : execute_scoped(statement.otherwise);
}

// A break or continue inside a block leaves nothing of it.
Interpreter::Flow Interpreter::execute_set_block(const Statement& statement) {
    Text text;
    const Flow flow = capture(statement.body, scope_, text);
    if (flow == Flow::Next) {
        assign(*statement.target,
               statement.expression ? filtered(*statement.expression, std::move(text)) : Value::of(std::move(text)));
    }
    return flow;
}

Interpreter::Flow Interpreter::execute_filter(const Statement& statement) {
    Text text;
    const Flow flow = capture(statement.body, scope_, text);
    if (flow == Flow::Next) {
        write(to_text(meter_, filtered(*statement.expression, std::move(text))));
    }
    return flow;
}

void Interpreter::execute_call_block(const Statement& statement) {
    const Expression& call_expression = *statement.expression;
    const Value callee = evaluate(*call_expression.children.front());
    Arguments arguments = evaluate_arguments(call_expression.arguments);
    arguments.named.emplace_back("caller", make_macro(statement, scope_));
    write(to_text(meter_, call(callee, std::move(arguments))));
}

void Interpreter::assign(const Expression& target, Value value) {
    const Level level(meter_, depth_);
    if (target.kind == ExpressionKind::Name) {
        scope_->set(meter_, target.name, std::move(value));
        return;
    }
    if (target.kind == ExpressionKind::Member) {
        const Value holder = evaluate_name(target.name);
        auto* held = dynamic_cast<Namespace*>(holder.object());
        if (held == nullptr) {
            meter_.wrong(
                fmt::format("'{}' is a {}, attributes can only be set on a namespace", target.name, type_name(holder)));
        }
        if (value.depth() >= kMaxValueDepth) {
            meter_.unsupported(fmt::format("a value nested more than {} deep", kMaxValueDepth));
        }
        meter_.allocate(target.other.size() + 2 * sizeof(Value));
        held->fields.set("s" + target.other, Value::of(target.other), std::move(value));
        return;
    }
    const std::vector<Value> items = items_of(meter_, value);
    if (value.is_undefined() || items.size() != target.children.size()) {
        require_defined(meter_, value);
        meter_.wrong(fmt::format("{} values cannot be taken apart into {}", items.size(), target.children.size()));
    }
    for (std::size_t i = 0; i < items.size(); ++i) {
        assign(*target.children[i], items[i]);
    }
}

Value Interpreter::evaluate(const Expression& expression) {
    const Level level(meter_, depth_);
    if (expression.kind == ExpressionKind::Constant) {
        return expression.value;
    }
    meter_.line = expression.line;
    return evaluate_inner(expression);
}

}  // namespace deltavino::runtime::jinja
