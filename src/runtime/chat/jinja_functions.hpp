// What templates can call: macros, the methods of a loop, and the global functions.
#pragma once

#include "runtime/chat/jinja_interpreter.hpp"

#include <memory>
#include <optional>
#include <string>
#include <vector>

namespace deltavino::runtime::jinja {

// A macro, or the `caller` of a call block. It must not outlive `scope`.
Value make_macro(const Statement& definition, const std::shared_ptr<Scope>& scope);

// The variable `loop`.
class Loop : public Object, public std::enable_shared_from_this<Loop> {
public:
    explicit Loop(std::vector<Value> items) : items_(std::move(items)) {}

    std::string type_name() const override { return "LoopContext"; }
    std::optional<Value> attribute(Meter& meter, const std::string& name) override;

    bool advance();
    const Value& current() const { return items_[index_]; }
    // Frees the items: a template that kept the loop cannot use it any more.
    void end();
    std::size_t index() const { return index_; }

    std::optional<std::vector<Value>> last_changed;

private:
    std::vector<Value> items_;
    std::size_t index_ = 0;
    bool started_ = false;
    bool ended_ = false;
};

std::shared_ptr<Loop> make_loop(std::vector<Value> items);

}  // namespace deltavino::runtime::jinja
