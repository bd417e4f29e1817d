// What templates can call: macros, the methods of a loop, and the global functions.
#pragma once

#include "runtime/chat/jinja_interpreter.hpp"

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

namespace deltavino::runtime::jinja {

// A macro, or the `caller` of a call block. It must not outlive `scope`.
Value make_macro(const Statement& definition, const std::shared_ptr<Scope>& scope);

// The variable `loop`. The items are asked for one after the other: the condition of a loop may depend on what
// its body did before.
class Loop : public Object, public std::enable_shared_from_this<Loop> {
public:
    using Condition = std::function<bool(const Value&)>;
    // `condition`: of the items that count; may be empty.
    Loop(std::vector<Value> source, Condition condition)
        : source_(std::move(source)), condition_(std::move(condition)) {}

    std::string type_name() const override { return "LoopContext"; }
    std::optional<Value> attribute(Meter& meter, const std::string& name) override;

    bool advance();
    const Value& current() const { return items_[index_]; }
    // Frees the items: a template that kept the loop cannot use it any more.
    void end();
    std::size_t index() const { return index_; }

    std::optional<std::vector<Value>> last_changed;

private:
    // Whether there are more than `count` items.
    bool has_more_than(std::size_t count);

    std::vector<Value> source_;
    Condition condition_;
    std::size_t taken_ = 0;     // of the source
    std::vector<Value> items_;  // those that count, as far as they are known
    std::size_t index_ = 0;
    bool started_ = false;
    bool ended_ = false;
};

std::shared_ptr<Loop> make_loop(std::vector<Value> source, Loop::Condition condition);

}  // namespace deltavino::runtime::jinja
