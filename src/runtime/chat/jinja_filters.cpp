// Filters of single values. Ground truth: jinja2/filters.py, and transformers' own tojson.
#include "runtime/chat/jinja_filters.hpp"

#include "runtime/chat/jinja_operations.hpp"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <set>

namespace deltavino::runtime::jinja {
namespace {

Value trim(Interpreter& interpreter, Value value, Arguments arguments) {
    Meter& meter = interpreter.meter();
    const Bound bound(meter, "trim", std::move(arguments), {"chars"});
    const Text text = to_text(meter, value);
    meter.allocate(text.size());
    std::optional<std::string_view> characters;
    if (const Value* given = bound.find(0); given != nullptr && !given->is_none()) {
        characters = require_text(meter, *given, "a set of characters").view();
        meter.step(characters->size() * text.size() / 64);
    }
    return Value::of(strip(text, Side::Both, characters));
}

template <Text (*kMap)(const Text&)>
Value mapped(Interpreter& interpreter, Value value, Arguments arguments) {
    Meter& meter = interpreter.meter();
    const Bound none(meter, "the filter", std::move(arguments), {});
    const Text text = to_text(meter, value);
    meter.allocate(2 * text.size());
    return Value::of(kMap(text));
}

Value replaced(Interpreter& interpreter, Value value, Arguments arguments) {
    Meter& meter = interpreter.meter();
    const Bound bound(meter, "replace", std::move(arguments), {"old", "new", "count"}, 2);
    const Text text = to_text(meter, value);
    const Text old = to_text(meter, bound[0]);
    const Text replacement = to_text(meter, bound[1]);
    if (text.markup || old.markup || replacement.markup) {
        meter.unsupported("'replace' of a string marked safe");
    }
    const std::uint64_t most = old.empty() ? text.size() + 1 : text.size() / old.size();
    meter.allocate(text.size() + most * replacement.size());
    const bool all = bound.find(2) == nullptr || bound[2].is_none();
    return Value::of(replace(text, old.view(), replacement, all ? -1 : bound.integer_or(2, -1)));
}

Value default_value(Interpreter& interpreter, Value value, Arguments arguments) {
    const Bound bound(interpreter.meter(), "default", std::move(arguments), {"default_value", "boolean"});
    const bool missing = value.is_undefined() || (bound.truth_or(1, false) && !truth(value));
    return missing ? bound.value_or(0, Value::of(std::string())) : value;
}

Value as_string(Interpreter& interpreter, Value value, Arguments arguments) {
    const Bound none(interpreter.meter(), "string", std::move(arguments), {});
    return Value::of(to_text(interpreter.meter(), value));
}

Value marked_safe(Interpreter& interpreter, Value value, Arguments arguments) {
    const Bound none(interpreter.meter(), "safe", std::move(arguments), {});
    Text text = to_text(interpreter.meter(), value);
    text.markup = true;
    return Value::of(std::move(text));
}

Value escaped(Interpreter& interpreter, Value value, Arguments arguments) {
    const Bound none(interpreter.meter(), "escape", std::move(arguments), {});
    return Value::of(escape(interpreter.meter(), value));
}

// Python's int(text, base): sign, one underscore between digits, a prefix that fits the base.
std::optional<std::int64_t> parse_integer(const Meter& meter, std::string_view text, std::int64_t base) {
    const bool minus = text.starts_with('-');
    if (minus || text.starts_with('+')) {
        text.remove_prefix(1);
    }
    const char letter = base == 16 ? 'x' : base == 8 ? 'o' : base == 2 ? 'b' : '\0';
    if (letter != '\0' && text.size() > 2 && text[0] == '0' && (text[1] | 0x20) == letter) {
        text.remove_prefix(text[2] == '_' ? 3 : 2);
    }
    std::string digits = minus ? "-" : "";
    for (std::size_t i = 0; i < text.size(); ++i) {
        const bool between = i > 0 && i + 1 < text.size() && text[i - 1] != '_';
        if (text[i] == '_' ? !between : std::isalnum(static_cast<unsigned char>(text[i])) == 0) {
            return std::nullopt;
        }
        if (text[i] != '_') {
            digits += text[i];
        }
    }
    std::int64_t value = 0;
    const auto result = std::from_chars(digits.data(), digits.data() + digits.size(), value, static_cast<int>(base));
    if (result.ec == std::errc::result_out_of_range) {
        meter.unsupported("a whole number beyond 64 bits");
    }
    const bool whole = result.ec == std::errc() && result.ptr == digits.data() + digits.size();
    return whole ? std::optional<std::int64_t>(value) : std::nullopt;
}

std::optional<double> parse_float(std::string_view text) {
    double sign = 1.0;
    if (text.starts_with('-') || text.starts_with('+')) {
        sign = text.front() == '-' ? -1.0 : 1.0;
        text.remove_prefix(1);
    }
    std::string digits;
    for (std::size_t i = 0; i < text.size(); ++i) {
        const auto digit = [&](std::size_t at) {
            return at < text.size() && std::isdigit(static_cast<unsigned char>(text[at])) != 0;
        };
        if (text[i] == '_') {
            if (i == 0 || !digit(i - 1) || !digit(i + 1)) {
                return std::nullopt;
            }
        } else {
            digits += static_cast<char>(std::tolower(static_cast<unsigned char>(text[i])));
        }
    }
    if (digits == "inf" || digits == "infinity" || digits == "nan") {
        return digits == "nan" ? NAN : sign * INFINITY;
    }
    if (digits.empty() || digits.find_first_not_of("0123456789.e+-") != std::string::npos) {
        return std::nullopt;
    }
    double value = 0.0;
    const auto result = std::from_chars(digits.data(), digits.data() + digits.size(), value);
    if (result.ptr != digits.data() + digits.size() || result.ec == std::errc::invalid_argument) {
        return std::nullopt;
    }
    if (result.ec == std::errc::result_out_of_range) {
        value = std::strtod(digits.c_str(), nullptr);  // infinity or zero, as Python has it
    }
    return sign * value;
}

std::optional<double> float_of(const Value& value) {
    if (value.text() != nullptr) {
        return parse_float(strip(*value.text(), Side::Both).view());
    }
    return value.number();
}

Value as_integer(Interpreter& interpreter, Value value, Arguments arguments) {
    Meter& meter = interpreter.meter();
    const Bound bound(meter, "int", std::move(arguments), {"default", "base"});
    require_defined(meter, value);
    const std::int64_t base = bound.integer_or(1, 10);
    if (base < 2 || base > 36) {
        meter.unsupported(fmt::format("whole numbers of base {}", base));
    }
    if (value.integer()) {
        return Value::of(*value.integer());
    }
    if (value.text() != nullptr) {
        if (const auto whole = parse_integer(meter, strip(*value.text(), Side::Both).view(), base)) {
            return Value::of(*whole);
        }
    }
    const std::optional<double> number = float_of(value);
    if (number && std::isinf(*number) && value.text() == nullptr) {
        meter.wrong("an infinite number has no whole part");
    }
    if (!number || !std::isfinite(*number)) {
        return bound.value_or(0, Value::of(std::int64_t{0}));
    }
    if (!(std::abs(*number) < 9.2e18)) {
        meter.unsupported("a whole number beyond 64 bits");
    }
    return Value::of(static_cast<std::int64_t>(*number));
}

Value as_float(Interpreter& interpreter, Value value, Arguments arguments) {
    const Bound bound(interpreter.meter(), "float", std::move(arguments), {"default"});
    require_defined(interpreter.meter(), value);
    const std::optional<double> number = float_of(value);
    return number ? Value::of(*number) : bound.value_or(0, Value::of(0.0));
}

Value absolute(Interpreter& interpreter, Value value, Arguments arguments) {
    const Bound none(interpreter.meter(), "abs", std::move(arguments), {});
    const std::optional<double> number = value.number();
    if (number && value.floating() != nullptr) {
        return Value::of(std::abs(*number));
    }
    return number && *number < 0 ? negative(interpreter.meter(), value) : positive(interpreter.meter(), value);
}

Value rounded(Interpreter& interpreter, Value value, Arguments arguments) {
    Meter& meter = interpreter.meter();
    const Bound bound(meter, "round", std::move(arguments), {"precision", "method"});
    const std::int64_t precision = bound.integer_or(0, 0);
    const Value method_value = bound.value_or(1, Value::of(std::string("common")));
    const std::string method = require_text(meter, method_value, "a method of rounding").bytes();
    const std::optional<double> number = value.number();
    if (!number) {
        require_defined(meter, value);
        meter.wrong(fmt::format("a {} cannot be rounded", type_name(value)));
    }
    if (method == "common" && value.integer() && precision >= 0) {
        return Value::of(*value.integer());
    }
    if (precision < 0 || precision > 300) {
        meter.unsupported(fmt::format("rounding to {} places", precision));
    }
    if (method == "common") {
        return std::isfinite(*number)
                   ? Value::of(std::strtod(fmt::format("{:.{}f}", *number, precision).c_str(), nullptr))
                   : value;
    }
    if (method != "ceil" && method != "floor") {
        meter.wrong(fmt::format("'{}' is not a method of rounding", method));
    }
    const double power = std::pow(10.0, static_cast<double>(precision));
    const double scaled = *number * power;
    return Value::of((method == "ceil" ? std::ceil(scaled) : std::floor(scaled)) / power);
}

Value json(Interpreter& interpreter, Value value, Arguments arguments) {
    Meter& meter = interpreter.meter();
    const Bound bound(meter, "tojson", std::move(arguments), {"ensure_ascii", "indent", "separators", "sort_keys"});
    JsonStyle style;
    style.ascii = bound.truth_or(0, false);
    style.sorted = bound.truth_or(3, false);
    if (const Value* indent = bound.find(1); indent != nullptr && !indent->is_none()) {
        if (indent->text() != nullptr) {
            style.indent = indent->text()->bytes();
        } else {
            const std::int64_t width = require_integer(meter, *indent, "an indent");
            style.indent = std::string(static_cast<std::size_t>(std::clamp<std::int64_t>(width, 0, 1000)), ' ');
        }
        style.item_separator = ",";
    }
    if (const Value* separators = bound.find(2); separators != nullptr && !separators->is_none()) {
        const std::vector<Value> pair = items_of(meter, *separators);
        if (pair.size() != 2) {
            meter.wrong("'separators' of 'tojson' are not two");
        }
        style.item_separator = require_text(meter, pair[0], "a separator").bytes();
        style.key_separator = require_text(meter, pair[1], "a separator").bytes();
    }
    return Value::of(to_json(meter, value, style));
}

Value indented(Interpreter& interpreter, Value value, Arguments arguments) {
    Meter& meter = interpreter.meter();
    const Bound bound(meter, "indent", std::move(arguments), {"width", "first", "blank"});
    const Text& text = require_text(meter, value, "what 'indent' takes");
    if (text.markup) {
        meter.unsupported("'indent' of a string marked safe");
    }
    Text indent;
    if (bound.find(0) != nullptr && bound[0].text() != nullptr) {
        indent = *bound[0].text();
    } else {
        const std::int64_t width = std::max<std::int64_t>(bound.integer_or(0, 4), 0);
        meter.allocate(static_cast<std::uint64_t>(width));
        indent = Text(std::string(static_cast<std::size_t>(width), ' '));
    }
    Text whole = text;
    whole.append("\n", false);
    Text out;
    if (bound.truth_or(1, false)) {
        out.append(indent);
    }
    bool first = true;
    for (const Text& line : split_lines(whole, false)) {
        meter.allocate(line.size() + indent.size() + sizeof(Text));
        if (!first) {
            out.append("\n", false);
            if (!line.empty() || bound.truth_or(2, false)) {
                out.append(indent);
            }
        }
        first = false;
        out.append(line);
    }
    return Value::of(std::move(out));
}

Value truncated(Interpreter& interpreter, Value value, Arguments arguments) {
    Meter& meter = interpreter.meter();
    const Bound bound(meter, "truncate", std::move(arguments), {"length", "killwords", "end", "leeway"});
    if (value.text() == nullptr && !value.is_undefined()) {
        meter.unsupported(fmt::format("'truncate' of a {}", type_name(value)));
    }
    const Text& text = require_text(meter, value, "what 'truncate' takes");
    const std::int64_t length = bound.integer_or(0, 255);
    const Text end = bound.find(2) != nullptr ? require_text(meter, bound[2], "an end") : Text("...");
    const std::int64_t leeway = bound.find(3) == nullptr || bound[3].is_none() ? 5 : bound.integer_or(3, 5);
    const auto count = [](const Text& t) {
        return static_cast<std::int64_t>(count_code_points(t.view()));
    };
    if (length < count(end) || leeway < 0) {
        meter.wrong("'truncate' has no room for the end");
    }
    meter.allocate(text.size());
    if (leeway > INT64_MAX - length || count(text) <= length + leeway) {
        return value;
    }
    const std::size_t bytes = byte_of_code_point(text.view(), static_cast<std::size_t>(length - count(end)));
    Text out = text.slice(0, bytes);
    const std::size_t blank = out.bytes().rfind(' ');
    if (!bound.truth_or(1, false) && blank != std::string::npos) {
        out = out.slice(0, blank);
    }
    out.append(end);
    return Value::of(std::move(out));
}

Value formatted(Interpreter& interpreter, Value value, Arguments arguments) {
    Meter& meter = interpreter.meter();
    const Text format = to_text(meter, value);
    if (!arguments.positional.empty() && !arguments.named.empty()) {
        meter.wrong("'format' takes values with or without names, not both");
    }
    if (arguments.named.empty()) {
        return Value::of(format_percent(meter, format, make_sequence(meter, std::move(arguments.positional), true)));
    }
    Dict named;
    for (auto& [name, held] : arguments.named) {
        named.set("s" + name, Value::of(name), std::move(held));
    }
    return Value::of(format_percent(meter, format, make_dict(meter, std::move(named))));
}

// What jinja2 has beyond this.
const std::set<std::string_view> kUnsupported{"attr",      "center",   "filesizeformat", "forceescape", "groupby",
                                              "pprint",    "random",   "striptags",      "urlencode",   "urlize",
                                              "wordcount", "wordwrap", "xmlattr"};

}  // namespace

const FilterTable& value_filters() {
    static const FilterTable table{{"trim", trim},
                                   {"upper", mapped<upper>},
                                   {"lower", mapped<lower>},
                                   {"capitalize", mapped<capitalize>},
                                   {"title", mapped<title_filter>},
                                   {"replace", replaced},
                                   {"default", default_value},
                                   {"d", default_value},
                                   {"string", as_string},
                                   {"safe", marked_safe},
                                   {"escape", escaped},
                                   {"e", escaped},
                                   {"int", as_integer},
                                   {"float", as_float},
                                   {"abs", absolute},
                                   {"round", rounded},
                                   {"tojson", json},
                                   {"indent", indented},
                                   {"truncate", truncated},
                                   {"format", formatted}};
    return table;
}

Value Interpreter::apply_filter(const std::string& name, Value value, Arguments arguments) {
    meter_.step(1 + (value.text() != nullptr ? value.text()->size() / 64 : 0));
    for (const FilterTable* table : {&value_filters(), &sequence_filters()}) {
        const auto found = table->find(name);
        if (found != table->end()) {
            return found->second(*this, std::move(value), std::move(arguments));
        }
    }
    if (kUnsupported.contains(name)) {
        meter_.unsupported(fmt::format("the filter '{}'", name));
    }
    meter_.wrong(fmt::format("there is no filter '{}'", name));
}

}  // namespace deltavino::runtime::jinja
