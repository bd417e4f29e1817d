// Expressions. Ground truth: jinja2/compiler.py.
#include "runtime/chat/jinja_interpreter.hpp"
#include "runtime/chat/jinja_methods.hpp"
#include "runtime/chat/jinja_operations.hpp"

#include <algorithm>

namespace deltavino::runtime::jinja {

Value Interpreter::evaluate_inner(const Expression& expression) {
    const auto child = [&](std::size_t i) {
        return expression.children[i] ? evaluate(*expression.children[i]) : Value::none();
    };
    switch (expression.kind) {
        case ExpressionKind::Constant: return expression.value;
        case ExpressionKind::Name: return evaluate_name(expression.name);
        case ExpressionKind::Member: break;
        case ExpressionKind::List:
        case ExpressionKind::Tuple:
            return make_sequence(meter_, evaluate_all(expression.children), expression.kind == ExpressionKind::Tuple);
        case ExpressionKind::Dict: return evaluate_dict(expression);
        case ExpressionKind::Attribute: return attribute_of(meter_, child(0), expression.name);
        case ExpressionKind::Item: return evaluate_item(expression);
        case ExpressionKind::Slice: break;
        case ExpressionKind::Call: {
            const Value callee = child(0);
            return call(callee, evaluate_arguments(expression.arguments));
        }
        case ExpressionKind::Filter: {
            // Inside a filter block the text of the block stands where the operand would.
            Value operand = expression.children[0] ? child(0) : evaluate_name(kBlockText);
            return apply_filter(expression.name, std::move(operand), evaluate_arguments(expression.arguments));
        }
        case ExpressionKind::Test: {
            const Value operand = child(0);
            return Value::of(apply_test(expression.name, operand, evaluate_arguments(expression.arguments)));
        }
        case ExpressionKind::Condition:
            if (truth(child(0))) {
                return child(1);
            }
            return expression.children[2]
                       ? child(2)
                       : Value::undefined("an inline 'if' without 'else' was false and has no value");
        case ExpressionKind::And: {
            Value left = child(0);
            return truth(left) ? child(1) : left;
        }
        case ExpressionKind::Or: {
            Value left = child(0);
            return truth(left) ? left : child(1);
        }
        case ExpressionKind::Not: return Value::of(!truth(child(0)));
        case ExpressionKind::Negative: return negative(meter_, child(0));
        case ExpressionKind::Positive: return positive(meter_, child(0));
        case ExpressionKind::Binary: {
            const Value left = child(0);
            const Value right = child(1);
            return binary(meter_, expression.name, left, right);
        }
        case ExpressionKind::Concat: return evaluate_concat(expression);
        case ExpressionKind::Compare: return evaluate_compare(expression);
    }
    fail(ErrorKind::Internal, "an expression in a place where it cannot stand");
}

Value Interpreter::evaluate_name(const std::string& name) {
    const Value* found = scope_->find(meter_, name);
    return found != nullptr ? *found : Value::undefined(fmt::format("'{}' is undefined", name));
}

Value Interpreter::evaluate_item(const Expression& expression) {
    const Value value = evaluate(*expression.children[0]);
    const Expression& key = *expression.children[1];
    if (key.kind != ExpressionKind::Slice) {
        return item_of(meter_, value, evaluate(key));
    }
    const auto part = [&](std::size_t i) {
        return key.children[i] ? evaluate(*key.children[i]) : Value::none();
    };
    const Value start = part(0);
    const Value stop = part(1);
    return slice_of(meter_, value, start, stop, part(2));
}

Value Interpreter::evaluate_dict(const Expression& expression) {
    Dict dict;
    for (std::size_t i = 0; i + 1 < expression.children.size(); i += 2) {
        Value key = evaluate(*expression.children[i]);
        Value value = evaluate(*expression.children[i + 1]);
        std::string text = hash_key(meter_, key);
        dict.set(std::move(text), std::move(key), std::move(value));
    }
    return make_dict(meter_, std::move(dict));
}

Value Interpreter::evaluate_compare(const Expression& expression) {
    Value left = evaluate(*expression.children[0]);
    for (std::size_t i = 0; i < expression.operations.size(); ++i) {
        Value right = evaluate(*expression.children[i + 1]);
        const std::string& operation = expression.operations[i];
        bool holds = false;
        if (operation == "==" || operation == "!=") {
            holds = equal(meter_, left, right) == (operation == "==");
        } else if (operation == "in" || operation == "not in") {
            holds = contains(meter_, right, left) == (operation == "in");
        } else {
            const int order = compare(meter_, left, right, operation.c_str());
            holds = operation == "<"    ? order < 0
                    : operation == "<=" ? order <= 0
                    : operation == ">"  ? order > 0
                                        : order >= 0;
        }
        if (!holds) {
            return Value::of(false);
        }
        left = std::move(right);
    }
    return Value::of(true);
}

Value Interpreter::evaluate_concat(const Expression& expression) {
    Text text;
    for (const ExpressionPtr& child : expression.children) {
        const Text part = to_text(meter_, evaluate(*child));
        meter_.allocate(text.size() + part.size());
        text.append(part);
    }
    return Value::of(std::move(text));
}

std::vector<Value> Interpreter::evaluate_all(const std::vector<ExpressionPtr>& expressions) {
    std::vector<Value> values;
    values.reserve(expressions.size());
    for (const ExpressionPtr& expression : expressions) {
        values.push_back(evaluate(*expression));
    }
    return values;
}

Arguments Interpreter::evaluate_arguments(const CallArguments& arguments) {
    Arguments values;
    values.positional = evaluate_all(arguments.positional);
    for (const auto& [name, expression] : arguments.named) {
        values.named.emplace_back(name, evaluate(*expression));
    }
    if (arguments.star) {
        for (Value& item : items_of(meter_, evaluate(*arguments.star))) {
            values.positional.push_back(std::move(item));
        }
    }
    if (arguments.double_star) {
        const Value held = evaluate(*arguments.double_star);
        if (held.dict() == nullptr) {
            meter_.wrong(fmt::format("'**' takes a dict, found a {}", type_name(held)));
        }
        for (const auto& [key, value] : held.dict()->entries) {
            values.named.emplace_back(require_text(meter_, key, "the name of an argument").bytes(), value);
        }
    }
    return values;
}

Value Interpreter::call(const Value& callee, Arguments arguments) {
    require_defined(meter_, callee);
    if (const Method* method = callee.method()) {
        return call_method(meter_, *method, std::move(arguments));
    }
    if (callee.object() == nullptr || !callee.object()->callable()) {
        meter_.wrong(fmt::format("a {} cannot be called", type_name(callee)));
    }
    const Value kept = callee;  // the name that holds it may be set anew meanwhile
    return kept.object()->call(*this, std::move(arguments));
}

}  // namespace deltavino::runtime::jinja
