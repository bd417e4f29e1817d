// Filters of lists, dicts and what else has items. Ground truth: jinja2/filters.py.
#include "runtime/chat/jinja_filters.hpp"
#include "runtime/chat/jinja_operations.hpp"

#include <algorithm>
#include <charconv>
#include <functional>
#include <set>

namespace deltavino::runtime::jinja {
namespace {

// "a.b" or 0: where a filter looks in each item.
std::vector<Value> path_of(Meter& meter, const Value& attribute) {
    std::vector<Value> path;
    if (attribute.integer()) {
        path.push_back(attribute);
        return path;
    }
    for (Text& part : split(require_text(meter, attribute, "an attribute"), ".", -1)) {
        std::int64_t index = 0;
        const std::string& bytes = part.bytes();
        const bool digits = !bytes.empty() && bytes.find_first_not_of("0123456789") == std::string::npos;
        if (digits && std::from_chars(bytes.data(), bytes.data() + bytes.size(), index).ec != std::errc()) {
            meter.unsupported("a whole number beyond 64 bits");
        }
        path.push_back(digits ? Value::of(index) : Value::of(std::move(part)));
    }
    return path;
}

Value looked_up(Meter& meter, Value item, const std::vector<Value>& path) {
    for (const Value& part : path) {
        item = item_of(meter, item, part);
    }
    return item;
}

Value without_case(const Value& value) {
    return value.text() != nullptr ? Value::of(lower(*value.text())) : value;
}

// The items that sort, unique, min and max compare by `attribute`, several of them for sort.
struct Keyed {
    Value key;
    Value item;
};

std::vector<Keyed> keyed(Meter& meter, const Value& value, const Value* attribute, bool case_sensitive, bool several) {
    std::vector<std::vector<Value>> paths;
    if (attribute != nullptr && !attribute->is_none()) {
        if (several && attribute->text() != nullptr) {
            for (Text& part : split(*attribute->text(), ",", -1)) {
                paths.push_back(path_of(meter, Value::of(std::move(part))));
            }
        } else {
            paths.push_back(path_of(meter, *attribute));
        }
    } else {
        paths.emplace_back();
    }
    std::vector<Keyed> rows;
    for (Value& item : items_of(meter, value)) {
        std::vector<Value> keys;
        for (const std::vector<Value>& path : paths) {
            const Value key = looked_up(meter, item, path);
            keys.push_back(case_sensitive ? key : without_case(key));
        }
        // sort compares lists of keys: equal ones need no order, undefined ones among them.
        Value key = several ? make_sequence(meter, keys) : keys.front();
        rows.push_back({std::move(key), std::move(item)});
    }
    return rows;
}

void sort_rows(Meter& meter, std::vector<Keyed>& rows, bool reverse) {
    std::stable_sort(rows.begin(), rows.end(), [&](const Keyed& a, const Keyed& b) {
        return (reverse ? compare(meter, b.key, a.key, "<") : compare(meter, a.key, b.key, "<")) < 0;
    });
}

Value items_as_list(Meter& meter, std::vector<Keyed> rows) {
    std::vector<Value> items;
    for (Keyed& row : rows) {
        items.push_back(std::move(row.item));
    }
    return make_sequence(meter, std::move(items));
}

Value length(Interpreter& interpreter, Value value, Arguments arguments) {
    Meter& meter = interpreter.meter();
    const Bound none(meter, "length", std::move(arguments), {});
    meter.step(value.text() != nullptr ? value.text()->size() / 64 : 0);
    const std::optional<std::int64_t> count = length_of(value);
    if (!count) {
        meter.wrong(fmt::format("a {} has no length", type_name(value)));
    }
    return Value::of(*count);
}

Value first(Interpreter& interpreter, Value value, Arguments arguments) {
    Meter& meter = interpreter.meter();
    const Bound none(meter, "first", std::move(arguments), {});
    if (Generator* generator = value.generator(); generator != nullptr && generator->next < generator->items.size()) {
        generator->next += 1;
        return generator->items[generator->next - 1];
    }
    const std::vector<Value> items = items_of(meter, value);
    return items.empty() ? Value::undefined("there is no first item") : items.front();
}

Value last(Interpreter& interpreter, Value value, Arguments arguments) {
    Meter& meter = interpreter.meter();
    const Bound none(meter, "last", std::move(arguments), {});
    if (value.generator() != nullptr) {
        meter.wrong("a generator has no last item: make it a list before");
    }
    const std::vector<Value> items = items_of(meter, value);
    return items.empty() ? Value::undefined("there is no last item") : items.back();
}

Value list(Interpreter& interpreter, Value value, Arguments arguments) {
    const Bound none(interpreter.meter(), "list", std::move(arguments), {});
    return make_sequence(interpreter.meter(), items_of(interpreter.meter(), value));
}

Value items_filter(Interpreter& interpreter, Value value, Arguments arguments) {
    Meter& meter = interpreter.meter();
    const Bound none(meter, "items", std::move(arguments), {});
    if (value.is_undefined()) {
        return make_generator(meter, {});
    }
    if (value.dict() == nullptr) {
        meter.wrong(fmt::format("'items' takes a dict, found a {}", type_name(value)));
    }
    return make_generator(meter, items_of(meter, Value::Storage(View{ViewKind::Items, value.shared_dict()})));
}

Value join(Interpreter& interpreter, Value value, Arguments arguments) {
    Meter& meter = interpreter.meter();
    const Bound bound(meter, "join", std::move(arguments), {"d", "attribute"});
    const Text separator = bound.find(0) != nullptr ? to_text(meter, bound[0]) : Text();
    const bool looks = bound.find(1) != nullptr && !bound[1].is_none();
    const std::vector<Value> path = looks ? path_of(meter, bound[1]) : std::vector<Value>();
    Text out;
    bool begins = true;
    for (const Value& item : items_of(meter, value)) {
        const Text part = to_text(meter, looked_up(meter, item, path));
        meter.allocate(part.size() + separator.size());
        if (!begins) {
            out.append(separator);
        }
        begins = false;
        out.append(part);
    }
    return Value::of(std::move(out));
}

Value reversed(Interpreter& interpreter, Value value, Arguments arguments) {
    Meter& meter = interpreter.meter();
    const Bound none(meter, "reverse", std::move(arguments), {});
    std::vector<Value> items = items_of(meter, value);
    std::reverse(items.begin(), items.end());
    if (value.text() != nullptr) {
        Text out;
        for (const Value& item : items) {
            out.append(*item.text());
        }
        return Value::of(std::move(out));
    }
    return value.generator() != nullptr ? make_sequence(meter, std::move(items))
                                        : make_generator(meter, std::move(items));
}

Value sorted(Interpreter& interpreter, Value value, Arguments arguments) {
    Meter& meter = interpreter.meter();
    const Bound bound(meter, "sort", std::move(arguments), {"reverse", "case_sensitive", "attribute"});
    std::vector<Keyed> rows = keyed(meter, value, bound.find(2), bound.truth_or(1, false), true);
    sort_rows(meter, rows, bound.truth_or(0, false));
    return items_as_list(meter, std::move(rows));
}

Value dict_sorted(Interpreter& interpreter, Value value, Arguments arguments) {
    Meter& meter = interpreter.meter();
    const Bound bound(meter, "dictsort", std::move(arguments), {"case_sensitive", "by", "reverse"});
    require_defined(meter, value);
    if (value.dict() == nullptr) {
        meter.wrong(fmt::format("'dictsort' takes a dict, found a {}", type_name(value)));
    }
    const std::string by = bound.find(1) == nullptr ? "key" : require_text(meter, bound[1], "'by'").bytes();
    if (by != "key" && by != "value") {
        meter.wrong("'dictsort' sorts by 'key' or 'value'");
    }
    std::vector<Keyed> rows;
    for (const auto& [key, held] : value.dict()->entries) {
        const Value& compared = by == "key" ? key : held;
        rows.push_back(
            {bound.truth_or(0, false) ? compared : without_case(compared), make_sequence(meter, {key, held}, true)});
    }
    sort_rows(meter, rows, bound.truth_or(2, false));
    return items_as_list(meter, std::move(rows));
}

Value unique(Interpreter& interpreter, Value value, Arguments arguments) {
    Meter& meter = interpreter.meter();
    const Bound bound(meter, "unique", std::move(arguments), {"case_sensitive", "attribute"});
    std::set<std::string> seen;
    std::vector<Value> items;
    for (Keyed& row : keyed(meter, value, bound.find(1), bound.truth_or(0, false), false)) {
        if (seen.insert(hash_key(meter, row.key)).second) {
            items.push_back(std::move(row.item));
        }
    }
    return make_generator(meter, std::move(items));
}

template <int kSign>
Value extreme(Interpreter& interpreter, Value value, Arguments arguments) {
    Meter& meter = interpreter.meter();
    const Bound bound(meter, kSign < 0 ? "min" : "max", std::move(arguments), {"case_sensitive", "attribute"});
    const std::vector<Keyed> rows = keyed(meter, value, bound.find(1), bound.truth_or(0, false), false);
    const Keyed* best = nullptr;
    for (const Keyed& row : rows) {
        if (best == nullptr || compare(meter, row.key, best->key, kSign < 0 ? "<" : ">") * kSign > 0) {
            best = &row;
        }
    }
    return best == nullptr ? Value::undefined("an empty list has no extreme item") : best->item;
}

Value sum(Interpreter& interpreter, Value value, Arguments arguments) {
    Meter& meter = interpreter.meter();
    const Bound bound(meter, "sum", std::move(arguments), {"attribute", "start"});
    const bool looks = bound.find(0) != nullptr && !bound[0].is_none();
    const std::vector<Value> path = looks ? path_of(meter, bound[0]) : std::vector<Value>();
    Value total = bound.value_or(1, Value::of(std::int64_t{0}));
    if (total.text() != nullptr) {
        meter.wrong("'sum' does not join texts");
    }
    for (const Value& item : items_of(meter, value)) {
        total = binary(meter, "+", total, looked_up(meter, item, path));
    }
    return total;
}

Value mapped(Interpreter& interpreter, Value value, Arguments arguments) {
    Meter& meter = interpreter.meter();
    std::vector<Value> items;
    if (!truth(value)) {
        return make_generator(meter, {});
    }
    if (arguments.positional.empty()) {
        const Bound bound(meter, "map", std::move(arguments), {"attribute", "default"}, 1);
        const std::vector<Value> path = path_of(meter, bound[0]);
        for (const Value& item : items_of(meter, value)) {
            const Value found = looked_up(meter, item, path);
            const bool replaced = found.is_undefined() && bound.find(1) != nullptr && !bound[1].is_none();
            items.push_back(replaced ? bound[1] : found);
        }
    } else {
        const std::string name = require_text(meter, arguments.positional.front(), "a filter's name").bytes();
        arguments.positional.erase(arguments.positional.begin());
        for (Value& item : items_of(meter, value)) {
            items.push_back(interpreter.apply_filter(name, std::move(item), arguments));
        }
    }
    return make_generator(meter, std::move(items));
}

template <bool kKeep, bool kByAttribute>
Value selected(Interpreter& interpreter, Value value, Arguments arguments) {
    Meter& meter = interpreter.meter();
    if (!truth(value)) {
        return make_generator(meter, {});  // whatever else it is, jinja2 does not look
    }
    std::vector<Value>& given = arguments.positional;
    std::vector<Value> path;
    if (kByAttribute) {
        if (given.empty()) {
            meter.wrong("the name of an attribute is missing");
        }
        path = path_of(meter, given.front());
        given.erase(given.begin());
    }
    std::optional<std::string> test;
    if (!given.empty()) {
        test = require_text(meter, given.front(), "a test's name").bytes();
        given.erase(given.begin());
    }
    std::vector<Value> items;
    for (Value& item : items_of(meter, value)) {
        const Value tested = looked_up(meter, item, path);
        if ((test ? interpreter.apply_test(*test, tested, arguments) : truth(tested)) == kKeep) {
            items.push_back(std::move(item));
        }
    }
    return make_generator(meter, std::move(items));
}

Value batched(Interpreter& interpreter, Value value, Arguments arguments) {
    Meter& meter = interpreter.meter();
    const Bound bound(meter, "batch", std::move(arguments), {"linecount", "fill_with"}, 1);
    const std::int64_t count = require_integer(meter, bound[0], "the size of a batch");
    const bool fills = bound.find(1) != nullptr && !bound[1].is_none();
    std::vector<Value> batches;
    std::vector<Value> batch;
    for (Value& item : items_of(meter, value)) {
        if (static_cast<std::int64_t>(batch.size()) == count) {
            batches.push_back(make_sequence(meter, std::exchange(batch, {})));
        }
        batch.push_back(std::move(item));
    }
    if (!batch.empty()) {
        if (fills && static_cast<std::int64_t>(batch.size()) < count) {
            meter.allocate(static_cast<std::uint64_t>(std::min(count, std::int64_t{1} << 40)) * sizeof(Value));
            batch.resize(static_cast<std::size_t>(count), bound[1]);
        }
        batches.push_back(make_sequence(meter, std::move(batch)));
    }
    return make_generator(meter, std::move(batches));
}

Value sliced(Interpreter& interpreter, Value value, Arguments arguments) {
    Meter& meter = interpreter.meter();
    const Bound bound(meter, "slice", std::move(arguments), {"slices", "fill_with"}, 1);
    const std::int64_t slices = require_integer(meter, bound[0], "the number of slices");
    if (slices <= 0) {
        meter.wrong("the number of slices is not above 0");
    }
    meter.allocate(static_cast<std::uint64_t>(std::min(slices, std::int64_t{1} << 40)) * sizeof(Value));
    const bool fills = bound.find(1) != nullptr && !bound[1].is_none();
    const std::vector<Value> items = items_of(meter, value);
    const auto length_of_all = static_cast<std::int64_t>(items.size());
    std::vector<Value> parts;
    auto next = items.begin();
    for (std::int64_t i = 0; i < slices; ++i) {
        const bool longer = i < length_of_all % slices;
        const auto end = next + static_cast<std::ptrdiff_t>(length_of_all / slices + (longer ? 1 : 0));
        std::vector<Value> part(next, end);
        if (fills && !longer) {
            part.push_back(bound[1]);
        }
        parts.push_back(make_sequence(meter, std::move(part)));
        next = end;
    }
    return make_generator(meter, std::move(parts));
}

}  // namespace

const FilterTable& sequence_filters() {
    static const FilterTable table{{"length", length},
                                   {"count", length},
                                   {"first", first},
                                   {"last", last},
                                   {"list", list},
                                   {"items", items_filter},
                                   {"join", join},
                                   {"reverse", reversed},
                                   {"sort", sorted},
                                   {"dictsort", dict_sorted},
                                   {"unique", unique},
                                   {"min", extreme<-1>},
                                   {"max", extreme<1>},
                                   {"sum", sum},
                                   {"map", mapped},
                                   {"select", selected<true, false>},
                                   {"reject", selected<false, false>},
                                   {"selectattr", selected<true, true>},
                                   {"rejectattr", selected<false, true>},
                                   {"batch", batched},
                                   {"slice", sliced}};
    return table;
}

}  // namespace deltavino::runtime::jinja
