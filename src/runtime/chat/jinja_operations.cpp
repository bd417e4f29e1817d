// Ground truth: CPython's operators, jinja2's sandboxed getattr and getitem.
#include "runtime/chat/jinja_operations.hpp"

#include "runtime/chat/jinja_methods.hpp"

#include <algorithm>
#include <cmath>

namespace deltavino::runtime::jinja {
namespace {

[[noreturn]] void no_operation(const Meter& meter, const std::string& operation, const Value& a, const Value& b) {
    require_defined(meter, a);
    require_defined(meter, b);
    meter.wrong(fmt::format("'{}' has no meaning between {} and {}", operation, type_name(a), type_name(b)));
}

[[noreturn]] void too_large(const Meter& meter) {
    meter.unsupported("a whole number beyond 64 bits");
}

std::int64_t floor_division(std::int64_t a, std::int64_t b) {
    const std::int64_t quotient = a / b;
    return quotient - ((a % b != 0) && ((a < 0) != (b < 0)) ? 1 : 0);
}

Value power(Meter& meter, std::int64_t base, std::int64_t exponent) {
    std::int64_t result = 1;
    while (exponent > 0) {
        if ((exponent & 1) != 0 && __builtin_mul_overflow(result, base, &result)) {
            too_large(meter);
        }
        exponent >>= 1;
        if (exponent > 0 && __builtin_mul_overflow(base, base, &base)) {
            too_large(meter);
        }
    }
    return Value::of(result);
}

Value integer_binary(Meter& meter, const std::string& operation, std::int64_t a, std::int64_t b) {
    std::int64_t result = 0;
    bool overflow = false;
    if (operation == "+") {
        overflow = __builtin_add_overflow(a, b, &result);
    } else if (operation == "-") {
        overflow = __builtin_sub_overflow(a, b, &result);
    } else if (operation == "*") {
        overflow = __builtin_mul_overflow(a, b, &result);
    } else if (operation == "**") {
        return b >= 0 ? power(meter, a, b) : binary(meter, operation, Value::of(static_cast<double>(a)), Value::of(b));
    } else if (b == 0) {
        meter.wrong("a division by zero");
    } else if (operation == "/") {
        return Value::of(static_cast<double>(a) / static_cast<double>(b));
    } else if (b == -1) {
        overflow = operation == "//" && a == INT64_MIN;
        result = operation == "//" && !overflow ? -a : 0;
    } else {
        result = operation == "//" ? floor_division(a, b) : a - floor_division(a, b) * b;
    }
    if (overflow) {
        too_large(meter);
    }
    return Value::of(result);
}

// Python's remainder has the sign of the divisor.
double float_remainder(double a, double b) {
    double remainder = std::fmod(a, b);
    if (remainder != 0.0 && (remainder < 0) != (b < 0)) {
        remainder += b;
    }
    return remainder == 0.0 ? std::copysign(0.0, b) : remainder;
}

double float_floor_division(double a, double b) {
    double quotient = (a - std::fmod(a, b)) / b;
    const double remainder = std::fmod(a, b);
    if (remainder != 0.0 && (remainder < 0) != (b < 0)) {
        quotient -= 1.0;
    }
    if (quotient == 0.0) {
        return std::copysign(0.0, a / b);
    }
    const double floored = std::floor(quotient);
    return quotient - floored > 0.5 ? floored + 1.0 : floored;
}

Value float_binary(Meter& meter, const std::string& operation, double a, double b) {
    if (operation == "+") {
        return Value::of(a + b);
    }
    if (operation == "-") {
        return Value::of(a - b);
    }
    if (operation == "*") {
        return Value::of(a * b);
    }
    if (operation == "**") {
        if (a < 0 && std::trunc(b) != b) {
            meter.unsupported("a root of a negative number");
        }
        const double result = std::pow(a, b);
        if ((a == 0.0 && b < 0) || (std::isinf(result) && std::isfinite(a) && std::isfinite(b))) {
            meter.wrong("the result of '**' is too large");
        }
        return Value::of(result);
    }
    if (b == 0.0) {
        meter.wrong("a division by zero");
    }
    return Value::of(operation == "/" ? a / b : operation == "//" ? float_floor_division(a, b) : float_remainder(a, b));
}

Value repeated(Meter& meter, const Value& value, std::int64_t count) {
    const std::uint64_t times = static_cast<std::uint64_t>(std::max<std::int64_t>(count, 0));
    const std::uint64_t size = value.text() != nullptr ? value.text()->size() : value.sequence()->items.size();
    if (times > 0 && size > kMaxAllocatedBytes / times) {
        meter.unsupported(fmt::format("more than {} bytes of values", kMaxAllocatedBytes));
    }
    if (const Text* text = value.text()) {
        meter.allocate(size * times);
        Text result;
        for (std::uint64_t i = 0; size > 0 && i < times; ++i) {
            result.append(*text);
        }
        result.markup = text->markup;
        return Value::of(std::move(result));
    }
    meter.allocate(size * times * sizeof(Value));
    std::vector<Value> items;
    for (std::uint64_t i = 0; size > 0 && i < times; ++i) {
        items.insert(items.end(), value.sequence()->items.begin(), value.sequence()->items.end());
    }
    return make_sequence(meter, std::move(items), value.sequence()->tuple);
}

Value add_texts(Meter& meter, const Text& a, const Text& b) {
    meter.allocate(a.size() + b.size());
    if (a.markup != b.markup) {
        Text result = a.markup ? a : escape(meter, Value::of(a));
        result.append(b.markup ? b : escape(meter, Value::of(b)));
        result.markup = true;
        return Value::of(std::move(result));
    }
    Text result = a;
    result.append(b);
    return Value::of(std::move(result));
}

// Where an index or a bound of a slice stands: negative ones count from the end.
std::int64_t clamped(std::int64_t bound, std::int64_t length, bool backwards) {
    if (bound < 0) {
        bound = bound < -length ? -1 : bound + length;
        return bound < 0 ? (backwards ? -1 : 0) : bound;
    }
    return bound >= length ? (backwards ? length - 1 : length) : bound;
}

std::optional<std::int64_t> bound_of(const Meter& meter, const Value& bound) {
    if (bound.is_none()) {
        return std::nullopt;
    }
    return require_integer(meter, bound, "a bound of a slice");
}

}  // namespace

void require_defined(const Meter& meter, const Value& value) {
    if (value.is_undefined()) {
        const auto& hint = std::get<Undefined>(value.storage()).hint;
        meter.wrong(hint ? *hint : "a value is undefined");
    }
}

const Text& require_text(const Meter& meter, const Value& value, std::string_view what) {
    if (value.text() == nullptr) {
        require_defined(meter, value);
        meter.wrong(fmt::format("{} is a {}, expected a str", what, type_name(value)));
    }
    return *value.text();
}

std::int64_t require_integer(const Meter& meter, const Value& value, std::string_view what) {
    const std::optional<std::int64_t> integer = value.integer();
    if (!integer) {
        require_defined(meter, value);
        meter.wrong(fmt::format("{} is a {}, expected an int", what, type_name(value)));
    }
    return *integer;
}

Value binary(Meter& meter, const std::string& operation, const Value& a, const Value& b) {
    const std::optional<double> x = a.number();
    const std::optional<double> y = b.number();
    if (x && y) {
        return a.integer() && b.integer() ? integer_binary(meter, operation, *a.integer(), *b.integer())
                                          : float_binary(meter, operation, *x, *y);
    }
    if (operation == "+") {
        if (a.text() != nullptr && b.text() != nullptr) {
            return add_texts(meter, *a.text(), *b.text());
        }
        if (a.sequence() != nullptr && b.sequence() != nullptr && a.sequence()->tuple == b.sequence()->tuple) {
            std::vector<Value> items = a.sequence()->items;
            items.insert(items.end(), b.sequence()->items.begin(), b.sequence()->items.end());
            return make_sequence(meter, std::move(items), a.sequence()->tuple);
        }
    }
    if (operation == "*") {
        const auto repeats = [](const Value& v) {
            return v.text() != nullptr || v.sequence() != nullptr;
        };
        if ((repeats(a) && b.integer()) || (repeats(b) && a.integer())) {
            return repeats(a) ? repeated(meter, a, *b.integer()) : repeated(meter, b, *a.integer());
        }
    }
    if (operation == "%" && a.text() != nullptr) {
        return Value::of(format_percent(meter, *a.text(), b));
    }
    no_operation(meter, operation, a, b);
}

Value negative(Meter& meter, const Value& value) {
    if (value.integer()) {
        return binary(meter, "-", Value::of(std::int64_t{0}), value);
    }
    if (value.floating() == nullptr) {
        no_operation(meter, "-", Value::of(std::int64_t{0}), value);
    }
    return Value::of(-*value.floating());
}

Value positive(Meter& meter, const Value& value) {
    if (!value.number()) {
        no_operation(meter, "+", Value::of(std::int64_t{0}), value);
    }
    return value.integer() ? Value::of(*value.integer()) : value;
}

bool contains(Meter& meter, const Value& container, const Value& item) {
    if (const Text* text = container.text()) {
        meter.step(text->size() / 16);
        return find_bytes(text->view(), require_text(meter, item, "the left side of 'in'").view()) !=
               std::string_view::npos;
    }
    if (const Dict* dict = container.dict()) {
        return dict->find(hash_key(meter, item)) != nullptr;
    }
    const std::vector<Value> items = items_of(meter, container);
    return std::any_of(items.begin(), items.end(),
                       [&](const Value& other) { return same_object(other, item) || equal(meter, other, item); });
}

Value attribute_of(Meter& meter, const Value& value, const std::string& name) {
    require_defined(meter, value);
    switch (method_support(value, name)) {
        case MethodSupport::Callable: return Value::Storage(std::make_shared<const Method>(Method{value, name}));
        case MethodSupport::Unsafe:
            return Value::undefined(fmt::format("'{}' of a {} is not allowed in a template", name, type_name(value)));
        case MethodSupport::Unsupported: meter.unsupported(fmt::format("'{}' of a {}", name, type_name(value)));
        case MethodSupport::Absent: break;
    }
    if (const Dict* dict = value.dict()) {
        if (const Value* found = dict->find_text(name)) {
            return *found;
        }
    }
    if (Object* object = value.object()) {
        if (std::optional<Value> found = object->attribute(meter, name)) {
            return *found;
        }
    }
    return Value::undefined(fmt::format("a {} has no attribute '{}'", type_name(value), name));
}

Value item_of(Meter& meter, const Value& value, const Value& key) {
    require_defined(meter, value);
    const std::optional<std::int64_t> length = length_of(value);
    if (const Dict* dict = value.dict()) {
        const std::optional<std::string> text = find_hash_key(meter, key);
        if (const Value* found = text ? dict->find(*text) : nullptr) {
            return *found;
        }
    } else if (key.integer() && length && value.view() == nullptr) {
        const std::int64_t index = *key.integer() + (*key.integer() < 0 ? *length : 0);
        if (index >= 0 && index < *length) {
            if (const Text* text = value.text()) {
                meter.step(text->size() / 64);
                const std::size_t begin = byte_of_code_point(text->view(), static_cast<std::size_t>(index));
                return Value::of(text->slice(begin, begin + code_point_bytes(text->bytes()[begin])));
            }
            return value.range() != nullptr ? Value::of(value.range()->start + index * value.range()->step)
                                            : value.sequence()->items[static_cast<std::size_t>(index)];
        }
    }
    if (key.text() != nullptr) {
        return attribute_of(meter, value, key.text()->bytes());
    }
    return Value::undefined(fmt::format("a {} has no element {}", type_name(value),
                                        key.integer() ? std::to_string(*key.integer()) : "of this kind"));
}

Value slice_of(Meter& meter, const Value& value, const Value& start, const Value& stop, const Value& step) {
    require_defined(meter, value);
    const Text* text = value.text();
    if (text == nullptr && value.sequence() == nullptr && value.range() == nullptr) {
        meter.wrong(fmt::format("a {} has no slices", type_name(value)));
    }
    const std::int64_t by = bound_of(meter, step).value_or(1);
    if (by == 0) {
        meter.wrong("the step of a slice is 0");
    }
    const std::int64_t length = *length_of(value);
    const bool backwards = by < 0;
    const std::int64_t begin = clamped(bound_of(meter, start).value_or(backwards ? INT64_MAX : 0), length, backwards);
    const std::optional<std::int64_t> given_end = bound_of(meter, stop);
    const std::int64_t end = given_end ? clamped(*given_end, length, backwards) : backwards ? -1 : length;
    if (text != nullptr && by == 1) {
        meter.allocate(text->size());
        const std::size_t first = byte_of_code_point(text->view(), static_cast<std::size_t>(begin));
        const std::size_t last = end <= begin ? first
                                              : first + byte_of_code_point(text->view().substr(first),
                                                                           static_cast<std::size_t>(end - begin));
        return Value::of(text->slice(first, last));
    }
    if (const Range* range = value.range()) {
        std::int64_t stride = 0;
        if (__builtin_mul_overflow(range->step, by, &stride) || std::abs(stride) > kMaxRange * kMaxRange) {
            meter.unsupported("a step beyond 64 bits");
        }
        return Value::Storage(Range{range->start + begin * range->step, range->start + end * range->step, stride});
    }
    const std::vector<Value> all = items_of(meter, value);
    std::vector<Value> items;
    std::int64_t i = begin;
    while (backwards ? i > end : i < end) {
        items.push_back(all[static_cast<std::size_t>(i)]);
        if (__builtin_add_overflow(i, by, &i)) {
            break;
        }
    }
    if (text == nullptr) {
        return make_sequence(meter, std::move(items), value.sequence()->tuple);
    }
    Text joined;
    for (const Value& item : items) {
        joined.append(*item.text());
    }
    return Value::of(std::move(joined));
}

Text escape(Meter& meter, const Value& value) {
    Text text = to_text(meter, value);
    if (text.markup) {
        return text;
    }
    meter.allocate(text.size());
    text = text.mapped([](std::string_view run) {
        std::string out;
        for (const char c : run) {
            switch (c) {
                case '&': out += "&amp;"; break;
                case '<': out += "&lt;"; break;
                case '>': out += "&gt;"; break;
                case '"': out += "&#34;"; break;
                case '\'': out += "&#39;"; break;
                default: out += c;
            }
        }
        return out;
    });
    text.markup = true;
    return text;
}

Bound::Bound(const Meter& meter, std::string_view callee, Arguments arguments,
             std::initializer_list<std::string_view> names, std::size_t required)
    : meter_(meter), callee_(callee), values_(names.size()) {
    if (arguments.positional.size() > names.size()) {
        meter.wrong(fmt::format("'{}' takes at most {} arguments, {} were given", callee, names.size(),
                                arguments.positional.size()));
    }
    for (std::size_t i = 0; i < arguments.positional.size(); ++i) {
        values_[i] = std::move(arguments.positional[i]);
    }
    for (auto& [name, value] : arguments.named) {
        const auto place = std::find(names.begin(), names.end(), std::string_view(name));
        const auto i = static_cast<std::size_t>(place - names.begin());
        if (place == names.end() || values_[i]) {
            meter.wrong(fmt::format("'{}' takes no further argument '{}'", callee, name));
        }
        values_[i] = std::move(value);
    }
    for (std::size_t i = 0; i < required; ++i) {
        if (!values_[i]) {
            meter.wrong(fmt::format("'{}' needs the argument '{}'", callee, *(names.begin() + i)));
        }
    }
}

std::int64_t Bound::integer_or(std::size_t i, std::int64_t otherwise) const {
    return values_[i] ? require_integer(meter_, *values_[i], fmt::format("an argument of '{}'", callee_)) : otherwise;
}

bool Bound::truth_or(std::size_t i, bool otherwise) const {
    return values_[i] ? truth(*values_[i]) : otherwise;
}

}  // namespace deltavino::runtime::jinja
