// Walks a parsed template and writes its text.
#pragma once

#include "runtime/chat/jinja_ast.hpp"
#include "runtime/chat/jinja_value.hpp"

#include <ctime>
#include <memory>
#include <string>
#include <utility>
#include <vector>

namespace deltavino::runtime::jinja {

// Names and what they mean; a loop's body, a macro and the like have one of their own.
struct Scope {
    std::vector<std::pair<std::string, Value>> names;
    std::shared_ptr<Scope> parent;

    const Value* find(Meter& meter, const std::string& name) const;
    void set(Meter& meter, const std::string& name, Value value);
};

// namespace(...), the one thing that a template can change from inside a loop.
class Namespace : public Object {
public:
    std::string type_name() const override { return "Namespace"; }
    std::optional<Value> attribute(Meter& meter, const std::string& name) override;

    Dict fields;
};

// The name of a block's text while its filters run; no template can write it.
inline constexpr const char* kBlockText = " block";

class Interpreter {
public:
    // `now`: the local time that strftime_now() gives.
    Interpreter(Meter& meter, std::vector<std::pair<std::string, Value>> variables, const std::tm& now);
    ~Interpreter();
    Interpreter(const Interpreter&) = delete;
    Interpreter& operator=(const Interpreter&) = delete;

    Text run(const Body& body);

    Meter& meter() { return meter_; }
    const std::tm& now() const { return now_; }
    Value call(const Value& callee, Arguments arguments);
    Value apply_filter(const std::string& name, Value value, Arguments arguments);
    bool apply_test(const std::string& name, const Value& value, Arguments arguments);
    // Runs `body` in a scope below `parent` and gives the text that it writes.
    Text capture(const Body& body, std::shared_ptr<Scope> parent);
    Value evaluate(const Expression& expression);
    std::shared_ptr<Scope> exchange_scope(std::shared_ptr<Scope> scope) {
        return std::exchange(scope_, std::move(scope));
    }
    Value make_namespace(Dict fields);

private:
    enum class Flow { Next, Break, Continue };

    Flow execute(const Body& body);
    Flow execute(const Statement& statement);
    Flow execute_for(const Statement& statement);
    Flow execute_scoped(const Body& body);
    Flow execute_set_block(const Statement& statement);
    Flow execute_filter(const Statement& statement);
    Flow capture(const Body& body, std::shared_ptr<Scope> parent, Text& text);
    // The value of a chain of filters that begins with `text`.
    Value filtered(const Expression& filters, Text text);
    void execute_call_block(const Statement& statement);
    void assign(const Expression& target, Value value);
    void write(const Text& text);

    Value evaluate_inner(const Expression& expression);
    Value evaluate_name(const std::string& name);
    Value evaluate_item(const Expression& expression);
    Value evaluate_dict(const Expression& expression);
    Value evaluate_compare(const Expression& expression);
    Value evaluate_concat(const Expression& expression);
    std::vector<Value> evaluate_all(const std::vector<ExpressionPtr>& expressions);
    Arguments evaluate_arguments(const CallArguments& arguments);

    Meter& meter_;
    std::tm now_;
    std::shared_ptr<Scope> scope_;
    Text* out_ = nullptr;
    std::size_t depth_ = 0;
    std::vector<std::shared_ptr<Namespace>> namespaces_;
};

// The functions that every template has: range, dict, namespace, raise_exception, strftime_now.
std::vector<std::pair<std::string, Value>> global_functions();

}  // namespace deltavino::runtime::jinja
