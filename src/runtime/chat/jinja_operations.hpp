// What operators and subscripts do.
#pragma once

#include "runtime/chat/jinja_value.hpp"

#include <initializer_list>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace deltavino::runtime::jinja {

// a + b and the like; `operation`: + - * / // % **
Value binary(Meter& meter, const std::string& operation, const Value& a, const Value& b);
Value negative(Meter& meter, const Value& value);
Value positive(Meter& meter, const Value& value);
bool contains(Meter& meter, const Value& container, const Value& item);

// value.name and value[key], undefined when there is none; throw when `value` itself is undefined.
Value attribute_of(Meter& meter, const Value& value, const std::string& name);
Value item_of(Meter& meter, const Value& value, const Value& key);
// value[start:stop:step]; what is none is the end of that side. Throws for what has no slices.
Value slice_of(Meter& meter, const Value& value, const Value& start, const Value& stop, const Value& step);

// text % arguments
Text format_percent(Meter& meter, const Text& format, const Value& arguments);
// text.format(...)
Text format_braces(Meter& meter, const Text& format, const Arguments& arguments);
// HTML's five characters escaped; what is marked safe stays.
Text escape(Meter& meter, const Value& value);

// Throws the error of an undefined value that is used.
void require_defined(const Meter& meter, const Value& value);
const Text& require_text(const Meter& meter, const Value& value, std::string_view what);
std::int64_t require_integer(const Meter& meter, const Value& value, std::string_view what);

// Arguments by the names of their parameters; the first `required` must be there.
class Bound {
public:
    Bound(const Meter& meter, std::string_view callee, Arguments arguments,
          std::initializer_list<std::string_view> names, std::size_t required = 0);

    // Null when it was not given.
    const Value* find(std::size_t i) const { return values_[i] ? &*values_[i] : nullptr; }
    const Value& operator[](std::size_t i) const { return *values_[i]; }
    Value value_or(std::size_t i, const Value& otherwise) const { return values_[i] ? *values_[i] : otherwise; }
    std::int64_t integer_or(std::size_t i, std::int64_t otherwise) const;
    bool truth_or(std::size_t i, bool otherwise) const;

private:
    const Meter& meter_;
    std::string callee_;
    std::vector<std::optional<Value>> values_;
};

}  // namespace deltavino::runtime::jinja
