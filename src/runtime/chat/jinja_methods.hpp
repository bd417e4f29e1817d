// The methods of strings, lists and dicts.
#pragma once

#include "runtime/chat/jinja_value.hpp"

#include <string>

namespace deltavino::runtime::jinja {

enum class MethodSupport {
    Absent,       // Python's type has no such attribute
    Callable,     // call_method() knows it
    Unsafe,       // the sandbox forbids it
    Unsupported,  // Python has it, this renderer does not
};
MethodSupport method_support(const Value& value, const std::string& name);

Value call_method(Meter& meter, const Method& method, Arguments arguments);

}  // namespace deltavino::runtime::jinja
