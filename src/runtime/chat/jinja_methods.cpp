// Ground truth: CPython's str, list, tuple and dict.
#include "runtime/chat/jinja_methods.hpp"

#include "runtime/chat/jinja_case.hpp"
#include "runtime/chat/jinja_operations.hpp"

#include <algorithm>
#include <set>
#include <string_view>

namespace deltavino::runtime::jinja {
namespace {

using Names = std::set<std::string_view>;

const Names kTextMethods{"strip",        "lstrip",    "rstrip",    "split",     "rsplit",  "splitlines",
                         "startswith",   "endswith",  "replace",   "upper",     "lower",   "title",
                         "capitalize",   "join",      "find",      "rfind",     "index",   "rindex",
                         "count",        "format",    "isdigit",   "isalpha",   "isalnum", "isspace",
                         "isupper",      "islower",   "isnumeric", "isdecimal", "zfill",   "removeprefix",
                         "removesuffix", "partition", "rpartition"};
const Names kTextOthers{"casefold",    "center",  "encode", "expandtabs", "format_map", "isascii",  "isidentifier",
                        "isprintable", "istitle", "ljust",  "maketrans",  "rjust",      "swapcase", "translate"};
const Names kListMethods{"index", "count", "copy"};
const Names kListUnsafe{"append", "extend", "insert", "remove", "pop", "clear", "sort", "reverse"};
const Names kRangeOthers{"index", "count", "start", "stop", "step"};
const Names kDictMethods{"get", "keys", "values", "items", "copy"};
const Names kDictUnsafe{"clear", "pop", "popitem", "setdefault", "update"};
const Names kNumberOthers{"real",       "imag",      "numerator",        "denominator", "conjugate",
                          "bit_length", "bit_count", "as_integer_ratio", "is_integer",  "hex",
                          "fromhex",    "to_bytes",  "from_bytes"};

bool is_ascii(const Text& text) {
    return std::none_of(text.bytes().begin(), text.bytes().end(), [](char c) { return (c & 0x80) != 0; });
}

// isdigit() and its kin: true when the text is not empty and all of it fits.
Value check_characters(Meter& meter, const Text& text, const std::string& name) {
    if (name == "isspace") {
        return Value::of(!text.empty() && strip(text, Side::Both).empty());
    }
    if (!is_ascii(text)) {
        meter.unsupported(fmt::format("'{}' of text beyond ASCII", name));
    }
    const auto all = [&](auto fits) {
        return !text.empty() && std::all_of(text.bytes().begin(), text.bytes().end(), fits);
    };
    const auto digit = [](char c) {
        return c >= '0' && c <= '9';
    };
    const auto upper_letter = [](char c) {
        return c >= 'A' && c <= 'Z';
    };
    const auto lower_letter = [](char c) {
        return c >= 'a' && c <= 'z';
    };
    const auto letter = [&](char c) {
        return upper_letter(c) || lower_letter(c);
    };
    if (name == "isalpha") {
        return Value::of(all(letter));
    }
    if (name == "isalnum") {
        return Value::of(all([&](char c) { return letter(c) || digit(c); }));
    }
    if (name == "isupper" || name == "islower") {
        const std::string& bytes = text.bytes();
        const bool has_upper = std::any_of(bytes.begin(), bytes.end(), upper_letter);
        const bool has_lower = std::any_of(bytes.begin(), bytes.end(), lower_letter);
        return Value::of(name == "isupper" ? has_upper && !has_lower : has_lower && !has_upper);
    }
    return Value::of(all(digit));
}

// The part of the text that start and end leave, in bytes.
ByteRange part_of(Meter& meter, const Text& text, const Bound& bound, std::size_t first) {
    const auto length = static_cast<std::int64_t>(count_code_points(text.view()));
    const auto place = [&](std::size_t i, std::int64_t otherwise) {
        const Value* given = bound.find(i);
        std::int64_t at = given == nullptr || given->is_none() ? otherwise : require_integer(meter, *given, "a bound");
        at = at < 0 ? std::max<std::int64_t>(at + length, 0) : at;
        return at;
    };
    const std::int64_t begin = place(first, 0);
    const std::int64_t end = std::min(place(first + 1, length), length);
    if (begin > end) {
        return {1, 0};  // nothing fits there, not even an empty text
    }
    return {byte_of_code_point(text.view(), static_cast<std::size_t>(begin)),
            byte_of_code_point(text.view(), static_cast<std::size_t>(end))};
}

Value search(Meter& meter, const Text& text, const std::string& name, Arguments arguments) {
    const Bound bound(meter, name, std::move(arguments), {"sub", "start", "end"}, 1);
    const Text& needle = require_text(meter, bound[0], "what is looked for");
    const ByteRange part = part_of(meter, text, bound, 1);
    const bool valid = part.begin <= part.end;
    const std::string_view within = valid ? text.view().substr(part.begin, part.end - part.begin) : std::string_view();
    if (name == "count") {
        if (!valid) {
            return Value::of(std::int64_t{0});
        }
        if (needle.empty()) {
            return Value::of(static_cast<std::int64_t>(count_code_points(within)) + 1);
        }
        std::int64_t count = 0;
        for (std::size_t at = find_bytes(within, needle.view()); at != std::string_view::npos;
             at = find_bytes(within, needle.view(), at + needle.size())) {
            count += 1;
        }
        return Value::of(count);
    }
    const bool right = name.front() == 'r';
    const std::size_t found = !valid  ? std::string_view::npos
                              : right ? rfind_bytes(within, needle.view())
                                      : find_bytes(within, needle.view());
    if (found == std::string_view::npos) {
        if (name.ends_with("index")) {
            meter.wrong("a text that 'index' looks for is not there");
        }
        return Value::of(std::int64_t{-1});
    }
    return Value::of(static_cast<std::int64_t>(count_code_points(text.view().substr(0, part.begin + found))));
}

Value affix(Meter& meter, const Text& text, const std::string& name, Arguments arguments) {
    const Bound bound(meter, name, std::move(arguments), {"prefix", "start", "end"}, 1);
    const ByteRange part = part_of(meter, text, bound, 1);
    const bool valid = part.begin <= part.end;
    const std::string_view within = valid ? text.view().substr(part.begin, part.end - part.begin) : std::string_view();
    const auto fits = [&](const Value& affix_value) {
        const std::string_view wanted =
            require_text(meter, affix_value, fmt::format("the argument of '{}'", name)).view();
        return valid && (name == "startswith" ? within.starts_with(wanted) : within.ends_with(wanted));
    };
    if (const Sequence* choices = bound[0].sequence(); choices != nullptr && choices->tuple) {
        return Value::of(std::any_of(choices->items.begin(), choices->items.end(), fits));
    }
    return Value::of(fits(bound[0]));
}

Value list_of(Meter& meter, std::vector<Text> parts, bool tuple = false) {
    std::vector<Value> items;
    meter.allocate(parts.size() * (sizeof(Value) + sizeof(Text)));
    for (Text& part : parts) {
        items.push_back(Value::of(std::move(part)));
    }
    return make_sequence(meter, std::move(items), tuple);
}

Value split_text(Meter& meter, const Text& text, const std::string& name, Arguments arguments) {
    const Bound bound(meter, name, std::move(arguments), {"sep", "maxsplit"});
    std::optional<std::string_view> separator;
    if (const Value* given = bound.find(0); given != nullptr && !given->is_none()) {
        separator = require_text(meter, *given, "a separator").view();
        if (separator->empty()) {
            meter.wrong("an empty separator");
        }
    }
    meter.allocate(text.size());
    const std::int64_t limit = bound.integer_or(1, -1);
    return list_of(meter, name == "split" ? split(text, separator, limit) : split_right(text, separator, limit));
}

Value partition(Meter& meter, const Text& text, const std::string& name, Arguments arguments) {
    const Bound bound(meter, name, std::move(arguments), {"sep"}, 1);
    const Text& separator = require_text(meter, bound[0], "a separator");
    if (separator.empty()) {
        meter.wrong("an empty separator");
    }
    meter.allocate(text.size());
    const bool right = name == "rpartition";
    const std::size_t found =
        right ? rfind_bytes(text.view(), separator.view()) : find_bytes(text.view(), separator.view());
    if (found == std::string_view::npos) {
        return list_of(meter, right ? std::vector<Text>{Text(), Text(), text} : std::vector<Text>{text, Text(), Text()},
                       true);
    }
    return list_of(meter, {text.slice(0, found), separator, text.slice(found + separator.size(), text.size())}, true);
}

Value join(Meter& meter, const Text& separator, Arguments arguments) {
    const Bound bound(meter, "join", std::move(arguments), {"iterable"}, 1);
    require_defined(meter, bound[0]);
    Text out;
    bool first = true;
    for (const Value& item : items_of(meter, bound[0])) {
        if (!first) {
            out.append(separator);
        }
        first = false;
        const Text& part = require_text(meter, item, "an item of 'join'");
        meter.allocate(separator.size() + part.size());
        out.append(part);
    }
    return Value::of(std::move(out));
}

Value replace_text(Meter& meter, const Text& text, Arguments arguments) {
    const Bound bound(meter, "replace", std::move(arguments), {"old", "new", "count"}, 2);
    const Text& old = require_text(meter, bound[0], "what is replaced");
    const Text& replacement = require_text(meter, bound[1], "a replacement");
    const std::uint64_t most = old.empty() ? text.size() + 1 : text.size() / old.size();
    meter.allocate(text.size() + most * replacement.size());
    return Value::of(replace(text, old.view(), replacement, bound.integer_or(2, -1)));
}

Value zero_filled(Meter& meter, const Text& text, Arguments arguments) {
    const Bound bound(meter, "zfill", std::move(arguments), {"width"}, 1);
    const std::int64_t missing =
        require_integer(meter, bound[0], "a width") - static_cast<std::int64_t>(count_code_points(text.view()));
    if (missing <= 0) {
        return Value::of(text);
    }
    meter.allocate(static_cast<std::uint64_t>(missing));
    const std::size_t sign = text.bytes().starts_with('-') || text.bytes().starts_with('+') ? 1 : 0;
    Text out = text.slice(0, sign);
    out.append(std::string(static_cast<std::size_t>(missing), '0'), false);
    out.append(text, sign, text.size());
    return Value::of(std::move(out));
}

Value call_text_method(Meter& meter, const Text& text, const std::string& name, Arguments arguments) {
    const bool takes_arguments = !arguments.positional.empty() || !arguments.named.empty();
    if (text.markup && takes_arguments) {
        meter.unsupported(fmt::format("'{}' of a string marked safe", name));
    }
    meter.allocate(text.size());
    if (name == "strip" || name == "lstrip" || name == "rstrip") {
        const Bound bound(meter, name, std::move(arguments), {"chars"});
        const Value* given = bound.find(0);
        std::optional<std::string_view> characters;
        if (given != nullptr && !given->is_none()) {
            characters = require_text(meter, *given, "a set of characters").view();
        }
        meter.step(characters ? characters->size() * text.size() / 64 : 0);
        return Value::of(strip(text,
                               name == "strip"    ? Side::Both
                               : name == "lstrip" ? Side::Left
                                                  : Side::Right,
                               characters));
    }
    if (name == "split" || name == "rsplit") {
        return split_text(meter, text, name, std::move(arguments));
    }
    if (name == "startswith" || name == "endswith") {
        return affix(meter, text, name, std::move(arguments));
    }
    if (name == "replace") {
        return replace_text(meter, text, std::move(arguments));
    }
    if (name == "join") {
        return join(meter, text, std::move(arguments));
    }
    if (name == "find" || name == "rfind" || name == "index" || name == "rindex" || name == "count") {
        return search(meter, text, name, std::move(arguments));
    }
    if (name == "partition" || name == "rpartition") {
        return partition(meter, text, name, std::move(arguments));
    }
    if (name == "format") {
        return Value::of(format_braces(meter, text, arguments));
    }
    if (name == "zfill") {
        return zero_filled(meter, text, std::move(arguments));
    }
    if (name == "splitlines") {
        const Bound bound(meter, name, std::move(arguments), {"keepends"});
        return list_of(meter, split_lines(text, bound.truth_or(0, false)));
    }
    if (name == "removeprefix" || name == "removesuffix") {
        const Bound bound(meter, name, std::move(arguments), {"affix"}, 1);
        const std::string_view wanted = require_text(meter, bound[0], fmt::format("the argument of '{}'", name)).view();
        const bool front = name == "removeprefix";
        const bool fits = front ? text.view().starts_with(wanted) : text.view().ends_with(wanted);
        const std::size_t bytes = fits ? wanted.size() : 0;
        return Value::of(front ? text.slice(bytes, text.size()) : text.slice(0, text.size() - bytes));
    }
    const Bound none(meter, name, std::move(arguments), {});
    if (name == "upper") {
        return Value::of(upper(text));
    }
    if (name == "lower") {
        return Value::of(lower(text));
    }
    if (name == "title") {
        return Value::of(title(text));
    }
    if (name == "capitalize") {
        return Value::of(capitalize(text));
    }
    return check_characters(meter, text, name);
}

Value call_list_method(Meter& meter, const Value& self, const std::string& name, Arguments arguments) {
    const Sequence& list = *self.sequence();
    if (name == "copy") {
        const Bound none(meter, name, std::move(arguments), {});
        return make_sequence(meter, list.items);
    }
    const Bound bound(meter, name, std::move(arguments), {"value"}, 1);
    std::int64_t count = 0;
    for (std::size_t i = 0; i < list.items.size(); ++i) {
        if (same_object(list.items[i], bound[0]) || equal(meter, list.items[i], bound[0])) {
            if (name == "index") {
                return Value::of(static_cast<std::int64_t>(i));
            }
            count += 1;
        }
    }
    if (name == "index") {
        meter.wrong("an item that 'index' looks for is not there");
    }
    return Value::of(count);
}

Value call_dict_method(Meter& meter, const Value& self, const std::string& name, Arguments arguments) {
    if (name == "get") {
        const Bound bound(meter, name, std::move(arguments), {"key", "default"}, 1);
        const Value* found = self.dict()->find(hash_key(meter, bound[0]));
        return found != nullptr ? *found : bound.value_or(1, Value::none());
    }
    const Bound none(meter, name, std::move(arguments), {});
    if (name == "copy") {
        return self;
    }
    const ViewKind kind = name == "keys" ? ViewKind::Keys : name == "values" ? ViewKind::Values : ViewKind::Items;
    return Value::Storage(View{kind, self.shared_dict()});
}

MethodSupport support(const std::string& name, const Names& callable, const Names& unsafe, const Names& others) {
    return callable.contains(name) ? MethodSupport::Callable
           : unsafe.contains(name) ? MethodSupport::Unsafe
           : others.contains(name) ? MethodSupport::Unsupported
                                   : MethodSupport::Absent;
}

}  // namespace

MethodSupport method_support(const Value& value, const std::string& name) {
    static const Names kNothing;
    static const Names kFromKeys{"fromkeys"};
    if (name.starts_with("__") && name.ends_with("__") && value.dict() == nullptr) {
        return MethodSupport::Unsafe;
    }
    if (value.text() != nullptr) {
        return support(name, kTextMethods, kNothing, kTextOthers);
    }
    if (const Sequence* sequence = value.sequence()) {
        if (sequence->tuple) {
            return name == "copy" ? MethodSupport::Absent : support(name, kListMethods, kNothing, kNothing);
        }
        return support(name, kListMethods, kListUnsafe, kNothing);
    }
    if (value.range() != nullptr) {
        return support(name, kNothing, kNothing, kRangeOthers);
    }
    if (value.dict() != nullptr) {
        return support(name, kDictMethods, kDictUnsafe, kFromKeys);
    }
    return value.number() ? support(name, kNothing, kNothing, kNumberOthers) : MethodSupport::Absent;
}

Value call_method(Meter& meter, const Method& method, Arguments arguments) {
    meter.step();
    const Value& self = method.self;
    if (const Text* text = self.text()) {
        return call_text_method(meter, *text, method.name, std::move(arguments));
    }
    if (self.sequence() != nullptr) {
        return call_list_method(meter, self, method.name, std::move(arguments));
    }
    return call_dict_method(meter, self, method.name, std::move(arguments));
}

}  // namespace deltavino::runtime::jinja
