// Ground truth: CPython's rules for truth, equality, order, str() and repr().
#include "runtime/chat/jinja_value.hpp"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <cstring>

namespace deltavino::runtime::jinja {
namespace {

std::size_t deepest(const std::vector<Value>& items) {
    std::size_t depth = 0;
    for (const Value& item : items) {
        depth = std::max(depth, item.depth());
    }
    return depth + 1;
}

void require_depth(const Meter& meter, std::size_t depth) {
    if (depth > kMaxValueDepth) {
        meter.unsupported(fmt::format("a value nested more than {} deep", kMaxValueDepth));
    }
}

// Whether a float is a whole number that an int can be.
std::optional<std::int64_t> whole(double value) {
    if (value >= -9223372036854775808.0 && value < 9223372036854775808.0 && std::trunc(value) == value) {
        return static_cast<std::int64_t>(value);
    }
    return std::nullopt;
}

int order(double a, double b) {
    return a < b ? -1 : a > b ? 1 : 0;
}

int order_numbers(const Value& a, const Value& b) {
    if (a.integer() && b.integer()) {
        return *a.integer() < *b.integer() ? -1 : *a.integer() > *b.integer() ? 1 : 0;
    }
    // A float against an int: by the whole part first, so that large ints are not rounded.
    if (a.integer() || b.integer()) {
        const double f = a.integer() ? *b.floating() : *a.floating();
        const std::int64_t i = a.integer() ? *a.integer() : *b.integer();
        const int sign = a.integer() ? -1 : 1;
        if (const std::optional<std::int64_t> w = whole(std::floor(f)); w && !std::isnan(f)) {
            return sign * (*w < i ? -1 : *w > i ? 1 : f > std::floor(f) ? 1 : 0);
        }
        return sign * order(f, static_cast<double>(i));
    }
    return order(*a.floating(), *b.floating());
}

bool is_nan(const Value& value) {
    return value.floating() != nullptr && std::isnan(*value.floating());
}

Text joined(Meter& meter, const char* open, const std::vector<Value>& items, const char* close) {
    Text out;
    out.append(open, false);
    for (std::size_t i = 0; i < items.size(); ++i) {
        out.append(i == 0 ? "" : ", ", false);
        out.append(to_repr(meter, items[i]));
    }
    out.append(close, false);
    meter.allocate(out.size());
    return out;
}

Text dict_repr(Meter& meter, const Dict& dict) {
    Text out;
    out.append("{", false);
    for (std::size_t i = 0; i < dict.entries.size(); ++i) {
        out.append(i == 0 ? "" : ", ", false);
        out.append(to_repr(meter, dict.entries[i].first));
        out.append(": ", false);
        out.append(to_repr(meter, dict.entries[i].second));
    }
    out.append("}", false);
    meter.allocate(out.size());
    return out;
}

}  // namespace

void Dict::set(std::string key_text, Value key, Value value) {
    depth = std::max({depth, key.depth() + 1, value.depth() + 1});
    const auto [place, added] = index.try_emplace(std::move(key_text), entries.size());
    if (added) {
        entries.emplace_back(std::move(key), std::move(value));
    } else {
        entries[place->second].second = std::move(value);
    }
}

const Value* Dict::find(const std::string& key_text) const {
    const auto found = index.find(key_text);
    return found == index.end() ? nullptr : &entries[found->second].second;
}

const Value* Dict::find_text(std::string_view name) const {
    return find("s" + std::string(name));
}

std::int64_t Range::size() const {
    if (step > 0) {
        return start < stop ? (stop - start - 1) / step + 1 : 0;
    }
    return start > stop ? (start - stop - 1) / -step + 1 : 0;
}

std::optional<Value> Object::attribute(Meter&, const std::string&) {
    return std::nullopt;
}

Value Object::call(Interpreter&, Arguments) {
    fail(ErrorKind::Internal, "an object of type {} was called", type_name());
}

Value Value::undefined(std::string hint) {
    return Storage(Undefined{std::make_shared<const std::string>(std::move(hint))});
}

Generator* Value::generator() const {
    const auto* held = std::get_if<std::shared_ptr<Generator>>(&storage_);
    return held == nullptr ? nullptr : held->get();
}

Object* Value::object() const {
    const auto* held = std::get_if<std::shared_ptr<Object>>(&storage_);
    return held == nullptr ? nullptr : held->get();
}

std::optional<std::int64_t> Value::integer() const {
    if (const auto* number = std::get_if<std::int64_t>(&storage_)) {
        return *number;
    }
    if (const bool* flag = boolean()) {
        return *flag ? 1 : 0;
    }
    return std::nullopt;
}

std::optional<double> Value::number() const {
    if (const double* value = floating()) {
        return *value;
    }
    const std::optional<std::int64_t> value = integer();
    return value ? std::optional<double>(static_cast<double>(*value)) : std::nullopt;
}

std::shared_ptr<const Dict> Value::shared_dict() const {
    return std::get<std::shared_ptr<const Dict>>(storage_);
}

std::size_t Value::depth() const {
    if (sequence() != nullptr) {
        return sequence()->depth;
    }
    if (dict() != nullptr) {
        return dict()->depth;
    }
    if (view() != nullptr) {
        return view()->dict->depth + 1;
    }
    if (generator() != nullptr) {
        return generator()->depth;
    }
    return method() != nullptr ? method()->self.depth() + 1 : 0;
}

Value make_sequence(Meter& meter, std::vector<Value> items, bool tuple) {
    meter.allocate(items.size() * sizeof(Value));
    Sequence sequence{std::move(items), 1, tuple};
    sequence.depth = deepest(sequence.items);
    require_depth(meter, sequence.depth);
    return Value::Storage(std::make_shared<const Sequence>(std::move(sequence)));
}

Value make_generator(Meter& meter, std::vector<Value> items) {
    meter.allocate(items.size() * sizeof(Value));
    Generator generator{std::move(items), 0, 1};
    generator.depth = deepest(generator.items);
    require_depth(meter, generator.depth);
    return Value::Storage(std::make_shared<Generator>(std::move(generator)));
}

Value make_dict(Meter& meter, Dict dict) {
    meter.allocate(dict.entries.size() * 4 * sizeof(Value));
    require_depth(meter, dict.depth);
    return Value::Storage(std::make_shared<const Dict>(std::move(dict)));
}

std::string type_name(const Value& value) {
    struct Namer {
        std::string operator()(const Undefined&) const { return "Undefined"; }
        std::string operator()(const None&) const { return "NoneType"; }
        std::string operator()(bool) const { return "bool"; }
        std::string operator()(std::int64_t) const { return "int"; }
        std::string operator()(double) const { return "float"; }
        std::string operator()(const std::shared_ptr<const Text>&) const { return "str"; }
        std::string operator()(const std::shared_ptr<const Sequence>& s) const { return s->tuple ? "tuple" : "list"; }
        std::string operator()(const std::shared_ptr<const Dict>&) const { return "dict"; }
        std::string operator()(const Range&) const { return "range"; }
        std::string operator()(const View& v) const {
            return v.kind == ViewKind::Keys ? "dict_keys" : v.kind == ViewKind::Values ? "dict_values" : "dict_items";
        }
        std::string operator()(const std::shared_ptr<Generator>&) const { return "generator"; }
        std::string operator()(const std::shared_ptr<const Method>&) const { return "method"; }
        std::string operator()(const std::shared_ptr<Object>& o) const { return o->type_name(); }
    };
    return std::visit(Namer{}, value.storage());
}

std::optional<std::string> find_hash_key(Meter& meter, const Value& value) {
    meter.step();
    if (const Text* text = value.text()) {
        meter.allocate(text->size());
        return "s" + text->bytes();
    }
    if (const std::optional<std::int64_t> integer = value.integer()) {
        return fmt::format("i{}", *integer);
    }
    if (const double* number = value.floating()) {
        const std::optional<std::int64_t> integer = whole(*number);
        return integer ? fmt::format("i{}", *integer) : fmt::format("f{}", float_repr(*number));
    }
    if (value.is_none() || value.is_undefined()) {
        return value.is_none() ? "n" : "u";
    }
    if (value.sequence() != nullptr && value.sequence()->tuple) {
        std::string key = "t";
        for (const Value& item : value.sequence()->items) {
            const std::optional<std::string> part = find_hash_key(meter, item);
            if (!part) {
                return std::nullopt;
            }
            meter.allocate(part->size());  // a tuple of one tuple twice doubles with each level
            key += fmt::format("{}:{}", part->size(), *part);
        }
        return key;
    }
    if (const Range* range = value.range()) {
        return range->size() < 2 ? fmt::format("r{}:{}", range->size(), range->size() == 0 ? 0 : range->start)
                                 : fmt::format("r{}:{}:{}", range->size(), range->start, range->step);
    }
    if (value.object() != nullptr) {
        return fmt::format("o{}", reinterpret_cast<std::uintptr_t>(value.object()));
    }
    return std::nullopt;
}

std::string hash_key(Meter& meter, const Value& value) {
    std::optional<std::string> key = find_hash_key(meter, value);
    if (!key) {
        meter.wrong(fmt::format("a {} cannot be a key", type_name(value)));
    }
    return *key;
}

bool truth(const Value& value) {
    if (value.is_undefined() || value.is_none()) {
        return false;
    }
    if (const std::optional<double> number = value.number()) {
        return *number != 0.0;
    }
    const std::optional<std::int64_t> length = length_of(value);
    return !length || *length > 0;
}

bool same_object(const Value& a, const Value& b) {
    if (a.storage().index() != b.storage().index()) {
        return false;
    }
    if (a.text() != nullptr) {
        return a.text() == b.text();
    }
    if (a.sequence() != nullptr || a.dict() != nullptr) {
        return a.sequence() == b.sequence() && a.dict() == b.dict();
    }
    if (a.integer()) {
        return *a.integer() == *b.integer();
    }
    if (a.method() != nullptr) {
        return a.method()->name == b.method()->name && same_object(a.method()->self, b.method()->self);
    }
    return a.is_none() || (a.object() != nullptr && a.object() == b.object()) ||
           (a.generator() != nullptr && a.generator() == b.generator());
}

bool equal(Meter& meter, const Value& a, const Value& b) {
    meter.step();
    if (a.number() && b.number()) {
        return !is_nan(a) && !is_nan(b) && order_numbers(a, b) == 0;
    }
    if (a.storage().index() != b.storage().index()) {
        return false;
    }
    if (a.is_undefined() || a.is_none()) {
        return true;
    }
    if (a.text() != nullptr) {
        meter.step(std::min(a.text()->size(), b.text()->size()) / 64);
        return a.text()->bytes() == b.text()->bytes();
    }
    if (const Sequence* left = a.sequence()) {
        const Sequence* right = b.sequence();
        meter.step(left->items.size() / 4);  // items that are the same object cost a little, too
        return left->tuple == right->tuple && left->items.size() == right->items.size() &&
               std::equal(left->items.begin(), left->items.end(), right->items.begin(),
                          [&](const Value& x, const Value& y) { return same_object(x, y) || equal(meter, x, y); });
    }
    if (const Dict* left = a.dict()) {
        const Dict* right = b.dict();
        return left->entries.size() == right->entries.size() &&
               std::all_of(left->index.begin(), left->index.end(), [&](const auto& row) {
                   meter.step(row.first.size() / 64);
                   const Value* other = right->find(row.first);
                   return other != nullptr && equal(meter, left->entries[row.second].second, *other);
               });
    }
    if (const Range* left = a.range()) {
        const Range* right = b.range();
        return left->size() == right->size() &&
               (left->size() == 0 || (left->start == right->start && (left->size() == 1 || left->step == right->step)));
    }
    if (a.view() != nullptr) {
        meter.unsupported("comparing views of dicts");
    }
    return same_object(a, b);
}

int compare(Meter& meter, const Value& a, const Value& b, const char* operation) {
    meter.step();
    if (a.number() && b.number()) {
        if (is_nan(a) || is_nan(b)) {
            meter.unsupported("an order between numbers that are not");
        }
        return order_numbers(a, b);
    }
    if (a.text() != nullptr && b.text() != nullptr) {
        meter.step(std::min(a.text()->size(), b.text()->size()) / 64);
        return a.text()->bytes().compare(b.text()->bytes());
    }
    const Sequence* left = a.sequence();
    const Sequence* right = b.sequence();
    if (left != nullptr && right != nullptr && left->tuple == right->tuple) {
        for (std::size_t i = 0; i < std::min(left->items.size(), right->items.size()); ++i) {
            if (!equal(meter, left->items[i], right->items[i])) {
                return compare(meter, left->items[i], right->items[i], operation);
            }
        }
        return left->items.size() < right->items.size() ? -1 : left->items.size() > right->items.size() ? 1 : 0;
    }
    for (const Value* side : {&a, &b}) {
        if (side->is_undefined()) {
            meter.wrong(*std::get<Undefined>(side->storage()).hint);
        }
    }
    meter.wrong(fmt::format("'{}' has no meaning between {} and {}", operation, type_name(a), type_name(b)));
}

std::string float_repr(double value) {
    if (std::isnan(value)) {
        return "nan";
    }
    if (std::isinf(value)) {
        return value < 0 ? "-inf" : "inf";
    }
    char buffer[64];
    const auto end = std::to_chars(buffer, buffer + sizeof buffer, value, std::chars_format::scientific).ptr;
    const std::string shortest(buffer, end);
    const std::size_t e = shortest.find('e');
    int exponent = 0;
    const char* digits = shortest.c_str() + e + 1;
    std::from_chars(*digits == '+' ? digits + 1 : digits, shortest.c_str() + shortest.size(), exponent);
    if (exponent >= -4 && exponent < 16) {
        const auto fixed = std::to_chars(buffer, buffer + sizeof buffer, value, std::chars_format::fixed).ptr;
        const std::string text(buffer, fixed);
        return text.find('.') == std::string::npos ? text + ".0" : text;
    }
    return fmt::format("{}e{}{:02}", shortest.substr(0, e), exponent < 0 ? '-' : '+', std::abs(exponent));
}

Text to_text(Meter& meter, const Value& value) {
    if (const Text* text = value.text()) {
        return *text;
    }
    return value.is_undefined() ? Text() : to_repr(meter, value);
}

Text to_repr(Meter& meter, const Value& value) {
    meter.step();
    if (value.is_undefined()) {
        return Text("Undefined");
    }
    if (value.is_none()) {
        return Text("None");
    }
    if (const bool* flag = value.boolean()) {
        return Text(*flag ? "True" : "False");
    }
    if (const std::optional<std::int64_t> integer = value.integer()) {
        return Text(std::to_string(*integer));
    }
    if (const double* number = value.floating()) {
        return Text(float_repr(*number));
    }
    if (const Text* text = value.text()) {
        if (text->markup) {
            meter.unsupported("a list that shows a string marked safe");
        }
        meter.allocate(text->size());
        return quoted(*text);
    }
    if (const Sequence* sequence = value.sequence()) {
        if (!sequence->tuple) {
            return joined(meter, "[", sequence->items, "]");
        }
        return joined(meter, "(", sequence->items, sequence->items.size() == 1 ? ",)" : ")");
    }
    if (const Dict* dict = value.dict()) {
        return dict_repr(meter, *dict);
    }
    if (const Range* range = value.range()) {
        return Text(range->step == 1 ? fmt::format("range({}, {})", range->start, range->stop)
                                     : fmt::format("range({}, {}, {})", range->start, range->stop, range->step));
    }
    if (const View* view = value.view()) {
        const std::string open = type_name(value) + "([";
        (void)view;
        return joined(meter, open.c_str(), items_of(meter, value), "])");
    }
    meter.unsupported(fmt::format("the text of a {}", type_name(value)));
}

std::vector<Value> items_of(Meter& meter, const Value& value) {
    std::vector<Value> items;
    if (value.is_undefined()) {
        return items;
    }
    if (const Sequence* sequence = value.sequence()) {
        items = sequence->items;
    } else if (const Text* text = value.text()) {
        meter.allocate(text->size() * (sizeof(Value) + sizeof(Text)));
        for (std::size_t at = 0; at < text->size();) {
            const std::size_t end = at + code_point_bytes(text->bytes()[at]);
            items.push_back(Value::of(text->slice(at, end)));
            at = end;
        }
    } else if (const Dict* dict = value.dict()) {
        for (const auto& [key, unused] : dict->entries) {
            items.push_back(key);
        }
    } else if (const View* view = value.view()) {
        for (const auto& [key, held] : view->dict->entries) {
            items.push_back(view->kind == ViewKind::Keys     ? key
                            : view->kind == ViewKind::Values ? held
                                                             : make_sequence(meter, {key, held}, true));
        }
    } else if (const Range* range = value.range()) {
        for (std::int64_t i = 0; i < range->size(); ++i) {
            items.push_back(Value::of(range->start + i * range->step));
        }
    } else if (Generator* generator = value.generator()) {
        items.assign(generator->items.begin() + static_cast<std::ptrdiff_t>(generator->next), generator->items.end());
        generator->next = generator->items.size();
    } else {
        meter.wrong(fmt::format("a {} has no items", type_name(value)));
    }
    meter.allocate(items.size() * sizeof(Value));
    return items;
}

std::optional<std::int64_t> length_of(const Value& value) {
    if (value.is_undefined()) {
        return 0;
    }
    if (const Text* text = value.text()) {
        return static_cast<std::int64_t>(count_code_points(text->view()));
    }
    if (const Sequence* sequence = value.sequence()) {
        return static_cast<std::int64_t>(sequence->items.size());
    }
    if (const Dict* dict = value.dict()) {
        return static_cast<std::int64_t>(dict->entries.size());
    }
    if (const View* view = value.view()) {
        return static_cast<std::int64_t>(view->dict->entries.size());
    }
    if (const Range* range = value.range()) {
        return range->size();
    }
    return std::nullopt;
}

}  // namespace deltavino::runtime::jinja
