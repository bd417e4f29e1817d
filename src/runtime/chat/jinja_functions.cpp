// Ground truth: jinja2/runtime.py (Macro, LoopContext) and the globals that transformers adds.
#include "runtime/chat/jinja_functions.hpp"

#include "runtime/chat/jinja_operations.hpp"

#include <algorithm>
#include <array>
#include <cstdlib>
#include <functional>

namespace deltavino::runtime::jinja {
namespace {

class Macro : public Object {
public:
    Macro(const Statement& definition, const std::shared_ptr<Scope>& scope) : definition_(definition), scope_(scope) {}

    std::string type_name() const override { return "Macro"; }
    bool callable() const override { return true; }

    std::optional<Value> attribute(Meter&, const std::string& name) override {
        if (name == "name") {
            return Value::of(definition_.name);
        }
        return std::nullopt;
    }

    Value call(Interpreter& interpreter, Arguments arguments) override {
        Meter& meter = interpreter.meter();
        const std::shared_ptr<Scope> scope = scope_.lock();
        if (!scope) {
            meter.unsupported("calling a macro after the block that made it");
        }
        auto own = std::make_shared<Scope>();
        own->parent = scope;
        bind(interpreter, std::move(arguments), own);
        // capture() makes a scope below `own`: what the body sets is gone afterwards either way.
        return Value::of(interpreter.capture(definition_.body, own));
    }

private:
    const std::string& title() const { return definition_.name.empty() ? kCaller : definition_.name; }

    void bind(Interpreter& interpreter, Arguments arguments, const std::shared_ptr<Scope>& own) const {
        Meter& meter = interpreter.meter();
        const std::vector<Parameter>& parameters = definition_.parameters;
        std::vector<std::optional<Value>> values(parameters.size());
        std::vector<Value> more;
        for (std::size_t i = 0; i < arguments.positional.size(); ++i) {
            if (i < values.size()) {
                values[i] = std::move(arguments.positional[i]);
            } else {
                more.push_back(std::move(arguments.positional[i]));
            }
        }
        Dict named;
        for (auto& [name, value] : arguments.named) {
            const auto place = std::find_if(parameters.begin(), parameters.end(),
                                            [&](const Parameter& parameter) { return parameter.name == name; });
            if (place != parameters.end()) {
                values[static_cast<std::size_t>(place - parameters.begin())] = std::move(value);
            } else if (name == "caller" && mentions(definition_.body, name)) {
                own->set(meter, name, std::move(value));
            } else {
                named.set("s" + name, Value::of(name), std::move(value));
            }
        }
        require_used(meter, more.empty(), "varargs");
        require_used(meter, named.entries.empty(), "kwargs");
        own->set(meter, "varargs", make_sequence(meter, std::move(more), true));
        own->set(meter, "kwargs", make_dict(meter, std::move(named)));
        const std::shared_ptr<Scope> outer = interpreter.exchange_scope(own);
        for (std::size_t i = 0; i < parameters.size(); ++i) {
            Value value = values[i] ? std::move(*values[i])
                          : parameters[i].missing
                              ? interpreter.evaluate(*parameters[i].missing)
                              : Value::undefined(fmt::format("parameter '{}' was not provided", parameters[i].name));
            own->set(meter, parameters[i].name, std::move(value));
        }
        interpreter.exchange_scope(outer);
    }

    // Surplus arguments are an error unless the body looks at them.
    void require_used(const Meter& meter, bool none, const std::string& name) const {
        if (!none && !mentions(definition_.body, name)) {
            meter.wrong(fmt::format("macro '{}' takes at most {} arguments, more or others were given", title(),
                                    definition_.parameters.size()));
        }
    }

    static bool mentions(const Expression* expression, const std::string& name) {
        if (expression == nullptr) {
            return false;
        }
        const auto any = [&](const auto& held) {
            return std::any_of(held.begin(), held.end(), [&](const auto& e) { return mentions(e.get(), name); });
        };
        const CallArguments& arguments = expression->arguments;
        return (expression->kind == ExpressionKind::Name && expression->name == name) || any(expression->children) ||
               any(arguments.positional) || mentions(arguments.star.get(), name) ||
               mentions(arguments.double_star.get(), name) ||
               std::any_of(arguments.named.begin(), arguments.named.end(),
                           [&](const auto& row) { return mentions(row.second.get(), name); });
    }

    static bool mentions(const Body& body, const std::string& name) {
        return std::any_of(body.begin(), body.end(), [&](const auto& s) {
            return mentions(s->target.get(), name) || mentions(s->expression.get(), name) ||
                   mentions(s->condition.get(), name) || mentions(s->body, name) || mentions(s->otherwise, name) ||
                   std::any_of(s->branches.begin(), s->branches.end(),
                               [&](const auto& row) {
                                   return mentions(row.first.get(), name) || mentions(row.second, name);
                               }) ||
                   std::any_of(s->assignments.begin(), s->assignments.end(),
                               [&](const auto& row) { return mentions(row.second.get(), name); });
        });
    }

    inline static const std::string kCaller = "caller";
    const Statement& definition_;
    std::weak_ptr<Scope> scope_;
};

// A function written in C++.
class Function : public Object {
public:
    using Body = std::function<Value(Interpreter&, Arguments)>;
    Function(std::string name, Body body) : name_(std::move(name)), body_(std::move(body)) {}

    std::string type_name() const override { return "function"; }
    bool callable() const override { return true; }
    Value call(Interpreter& interpreter, Arguments arguments) override {
        return body_(interpreter, std::move(arguments));
    }

private:
    std::string name_;
    Body body_;
};

Value function(const char* name, Function::Body body) {
    return Value::Storage(std::shared_ptr<Object>(std::make_shared<Function>(name, std::move(body))));
}

Value make_range(Interpreter& interpreter, Arguments arguments) {
    Meter& meter = interpreter.meter();
    const Bound bound(meter, "range", std::move(arguments), {"start", "stop", "step"}, 1);
    Range range;
    range.stop = bound.integer_or(0, 0);
    if (bound.find(1) != nullptr) {
        range.start = range.stop;
        range.stop = bound.integer_or(1, 0);
        range.step = bound.integer_or(2, 1);
    }
    constexpr std::int64_t kMost = std::int64_t{1} << 60;
    if (range.step == 0 || std::max({std::abs(range.start), std::abs(range.stop), std::abs(range.step)}) > kMost) {
        meter.wrong("a range with these numbers cannot be made");
    }
    if (range.size() > kMaxRange) {
        meter.wrong(fmt::format("a range has {} items, at most {} are allowed", range.size(), kMaxRange));
    }
    return Value::Storage(range);
}

// dict(mapping or pairs, **named), which namespace() takes, too.
Dict dict_of(Interpreter& interpreter, Arguments arguments, const char* name) {
    Meter& meter = interpreter.meter();
    Dict dict;
    if (arguments.positional.size() > 1) {
        meter.wrong(fmt::format("'{}' takes at most 1 argument without a name", name));
    }
    for (const Value& held : arguments.positional) {
        if (held.dict() != nullptr) {
            dict = *held.dict();
            continue;
        }
        require_defined(meter, held);
        for (const Value& row : items_of(meter, held)) {
            const std::vector<Value> pair = items_of(meter, row);
            if (pair.size() != 2) {
                meter.wrong(fmt::format("'{}' takes pairs, found {} values", name, pair.size()));
            }
            dict.set(hash_key(meter, pair[0]), pair[0], pair[1]);
        }
    }
    for (auto& [key, value] : arguments.named) {
        dict.set("s" + key, Value::of(key), std::move(value));
    }
    return dict;
}

Value raise_exception(Interpreter& interpreter, Arguments arguments) {
    Meter& meter = interpreter.meter();
    const Bound bound(meter, "raise_exception", std::move(arguments), {"message"}, 1);
    fail(ErrorKind::Input, "{} refuses this conversation: {}", meter.template_name(), to_text(meter, bound[0]).bytes());
}

Value strftime_now(Interpreter& interpreter, Arguments arguments) {
    Meter& meter = interpreter.meter();
    const Bound bound(meter, "strftime_now", std::move(arguments), {"format"}, 1);
    const std::string& format = require_text(meter, bound[0], "a time format").bytes();
    if (format.size() > 256) {
        meter.unsupported("a time format of more than 256 bytes");
    }
    if (format.empty()) {
        return Value::of(std::string());
    }
    std::array<char, 16384> buffer;
    const std::size_t bytes = std::strftime(buffer.data(), buffer.size(), format.c_str(), &interpreter.now());
    return Value::of(std::string(buffer.data(), bytes));
}

Function::Body refused(const char* name) {
    return [name](Interpreter& interpreter, Arguments) -> Value {
        interpreter.meter().unsupported(fmt::format("the function '{}'", name));
    };
}

}  // namespace

Value make_macro(const Statement& definition, const std::shared_ptr<Scope>& scope) {
    return Value::Storage(std::shared_ptr<Object>(std::make_shared<Macro>(definition, scope)));
}

std::shared_ptr<Loop> make_loop(std::vector<Value> source, Loop::Condition condition) {
    return std::make_shared<Loop>(std::move(source), std::move(condition));
}

bool Loop::has_more_than(std::size_t count) {
    while (items_.size() <= count && taken_ < source_.size()) {
        const Value& item = source_[taken_++];
        if (!condition_ || condition_(item)) {
            items_.push_back(item);
        }
    }
    return items_.size() > count;
}

bool Loop::advance() {
    index_ += started_ ? 1 : 0;
    started_ = true;
    return has_more_than(index_);
}

void Loop::end() {
    ended_ = true;
    items_.clear();
    source_.clear();
    condition_ = {};
    last_changed.reset();
}

std::optional<Value> Loop::attribute(Meter& meter, const std::string& name) {
    if (ended_) {
        meter.unsupported("using a loop after its end");
    }
    const auto index = static_cast<std::int64_t>(index_);
    const auto length = [this]() {
        has_more_than(source_.size());
        return static_cast<std::int64_t>(items_.size());
    };
    if (name == "index" || name == "index0") {
        return Value::of(index + (name == "index" ? 1 : 0));
    }
    if (name == "revindex" || name == "revindex0") {
        return Value::of(length() - index - (name == "revindex" ? 0 : 1));
    }
    if (name == "first" || name == "last") {
        return Value::of(name == "first" ? index == 0 : !has_more_than(index_ + 1));
    }
    if (name == "length") {
        return Value::of(length());
    }
    if (name == "depth" || name == "depth0") {
        return Value::of(std::int64_t{name == "depth" ? 1 : 0});
    }
    if (name == "previtem") {
        return index == 0 ? Value::undefined("there is no previous item") : items_[index_ - 1];
    }
    if (name == "nextitem") {
        return has_more_than(index_ + 1) ? items_[index_ + 1] : Value::undefined("there is no next item");
    }
    if (name == "cycle") {
        return function("cycle", [self = weak_from_this()](Interpreter& interpreter, Arguments arguments) {
            const std::shared_ptr<Loop> loop = self.lock();
            if (!loop || arguments.positional.empty()) {
                interpreter.meter().wrong("'cycle' has no items");
            }
            return arguments.positional[loop->index() % arguments.positional.size()];
        });
    }
    if (name == "changed") {
        return function("changed", [self = weak_from_this()](Interpreter& interpreter, Arguments arguments) {
            Meter& meter_of_call = interpreter.meter();
            const std::shared_ptr<Loop> loop = self.lock();
            if (!loop) {
                meter_of_call.unsupported("using a loop after its end");
            }
            std::vector<Value>& values = arguments.positional;
            const bool same = loop->last_changed && loop->last_changed->size() == values.size() &&
                              std::equal(values.begin(), values.end(), loop->last_changed->begin(),
                                         [&](const Value& a, const Value& b) { return equal(meter_of_call, a, b); });
            loop->last_changed = std::move(values);
            return Value::of(!same);
        });
    }
    return std::nullopt;
}

std::vector<std::pair<std::string, Value>> global_functions() {
    std::vector<std::pair<std::string, Value>> functions;
    functions.emplace_back("range", function("range", make_range));
    functions.emplace_back("dict", function("dict", [](Interpreter& interpreter, Arguments arguments) {
                               return make_dict(interpreter.meter(),
                                                dict_of(interpreter, std::move(arguments), "dict"));
                           }));
    functions.emplace_back(
        "namespace", function("namespace", [](Interpreter& interpreter, Arguments arguments) {
            return interpreter.make_namespace(dict_of(interpreter, std::move(arguments), "namespace"));
        }));
    functions.emplace_back("raise_exception", function("raise_exception", raise_exception));
    functions.emplace_back("strftime_now", function("strftime_now", strftime_now));
    for (const char* name : {"lipsum", "cycler", "joiner"}) {
        functions.emplace_back(name, function(name, refused(name)));
    }
    return functions;
}

}  // namespace deltavino::runtime::jinja
