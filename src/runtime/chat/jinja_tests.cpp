// What stands after `is`. Ground truth: jinja2/tests.py.
#include "runtime/chat/jinja_filters.hpp"
#include "runtime/chat/jinja_methods.hpp"
#include "runtime/chat/jinja_operations.hpp"

#include <functional>
#include <map>

namespace deltavino::runtime::jinja {
namespace {

using Unary = bool (*)(Meter&, const Value&);
using Binary = bool (*)(Meter&, const Value&, const Value&);

bool is_integer(const Value& value) {
    return value.integer().has_value() && value.boolean() == nullptr;
}

bool is_iterable(Meter&, const Value& value) {
    return value.is_undefined() || value.generator() != nullptr || length_of(value).has_value() ||
           (value.object() != nullptr && value.object()->type_name() == "LoopContext");
}

bool is_sequence(Meter&, const Value& value) {
    return length_of(value).has_value() && value.view() == nullptr;
}

bool is_callable(Meter&, const Value& value) {
    return value.is_undefined() || value.method() != nullptr ||
           (value.object() != nullptr && value.object()->callable());
}

bool remainder_is(Meter& meter, const Value& value, const Value& divisor, std::int64_t expected) {
    return equal(meter, binary(meter, "%", value, divisor), Value::of(expected));
}

bool is_case(Meter& meter, const Value& value, const char* method) {
    return truth(call_method(meter, {Value::of(to_text(meter, value)), method}, {}));
}

const std::map<std::string_view, Unary>& unary_tests() {
    static const std::map<std::string_view, Unary> table{
        {"defined", [](Meter&, const Value& v) { return !v.is_undefined(); }},
        {"undefined", [](Meter&, const Value& v) { return v.is_undefined(); }},
        {"none", [](Meter&, const Value& v) { return v.is_none(); }},
        {"boolean", [](Meter&, const Value& v) { return v.boolean() != nullptr; }},
        {"true", [](Meter&, const Value& v) { return v.boolean() != nullptr && *v.boolean(); }},
        {"false", [](Meter&, const Value& v) { return v.boolean() != nullptr && !*v.boolean(); }},
        {"string", [](Meter&, const Value& v) { return v.text() != nullptr; }},
        {"number", [](Meter&, const Value& v) { return v.number().has_value(); }},
        {"integer", [](Meter&, const Value& v) { return is_integer(v); }},
        {"float", [](Meter&, const Value& v) { return v.floating() != nullptr; }},
        {"mapping", [](Meter&, const Value& v) { return v.dict() != nullptr; }},
        {"iterable", is_iterable},
        {"sequence", is_sequence},
        {"callable", is_callable},
        {"escaped", [](Meter&, const Value& v) { return v.text() != nullptr && v.text()->markup; }},
        {"odd", [](Meter& m, const Value& v) { return remainder_is(m, v, Value::of(std::int64_t{2}), 1); }},
        {"even", [](Meter& m, const Value& v) { return remainder_is(m, v, Value::of(std::int64_t{2}), 0); }},
        {"lower", [](Meter& m, const Value& v) { return is_case(m, v, "islower"); }},
        {"upper", [](Meter& m, const Value& v) { return is_case(m, v, "isupper"); }},
    };
    return table;
}

const std::map<std::string_view, Binary>& binary_tests() {
    static const Binary equals = equal;
    static const Binary differs = [](Meter& m, const Value& a, const Value& b) {
        return !equal(m, a, b);
    };
    static const Binary less = [](Meter& m, const Value& a, const Value& b) {
        return compare(m, a, b, "<") < 0;
    };
    static const Binary less_or_equal = [](Meter& m, const Value& a, const Value& b) {
        return compare(m, a, b, "<=") <= 0;
    };
    static const Binary greater = [](Meter& m, const Value& a, const Value& b) {
        return compare(m, a, b, ">") > 0;
    };
    static const Binary greater_or_equal = [](Meter& m, const Value& a, const Value& b) {
        return compare(m, a, b, ">=") >= 0;
    };
    static const std::map<std::string_view, Binary> table{
        {"==", equals},
        {"eq", equals},
        {"equalto", equals},
        {"!=", differs},
        {"ne", differs},
        {"<", less},
        {"lt", less},
        {"lessthan", less},
        {"<=", less_or_equal},
        {"le", less_or_equal},
        {">", greater},
        {"gt", greater},
        {"greaterthan", greater},
        {">=", greater_or_equal},
        {"ge", greater_or_equal},
        {"in", [](Meter& m, const Value& a, const Value& b) { return contains(m, b, a); }},
        {"sameas", [](Meter&, const Value& a, const Value& b) { return same_object(a, b); }},
        {"divisibleby", [](Meter& m, const Value& a, const Value& b) { return remainder_is(m, a, b, 0); }},
    };
    return table;
}

}  // namespace

bool Interpreter::apply_test(const std::string& name, const Value& value, Arguments arguments) {
    meter_.step(1 + (value.text() != nullptr ? value.text()->size() / 64 : 0));
    if (const auto found = unary_tests().find(name); found != unary_tests().end()) {
        const Bound none(meter_, name, std::move(arguments), {});
        return found->second(meter_, value);
    }
    if (const auto found = binary_tests().find(name); found != binary_tests().end()) {
        const Bound bound(meter_, name, std::move(arguments), {"other"}, 1);
        return found->second(meter_, value, bound[0]);
    }
    if (name == "filter" || name == "test") {
        const Bound none(meter_, name, std::move(arguments), {});
        if (value.text() == nullptr) {
            if (value.sequence() != nullptr || value.dict() != nullptr) {
                (void)hash_key(meter_, value);
            }
            return false;
        }
        const std::string& wanted = value.text()->bytes();
        return name == "filter" ? value_filters().contains(wanted) || sequence_filters().contains(wanted)
                                : unary_tests().contains(wanted) || binary_tests().contains(wanted);
    }
    meter_.wrong(fmt::format("there is no test '{}'", name));
}

}  // namespace deltavino::runtime::jinja
