// JSON in and out of values. Ground truth: Python's json.dumps with ensure_ascii off, as transformers'
// tojson filter calls it.
#include "json/document.hpp"
#include "runtime/chat/jinja_value.hpp"

#include <algorithm>
#include <cmath>

namespace deltavino::runtime::jinja {
namespace {

// One code point, as json.dumps writes it inside quotes.
void append_escaped(std::string& out, std::string_view point, bool ascii) {
    const std::uint32_t c = decode_code_point(point);
    switch (c) {
        case '"': out += "\\\""; return;
        case '\\': out += "\\\\"; return;
        case '\n': out += "\\n"; return;
        case '\r': out += "\\r"; return;
        case '\t': out += "\\t"; return;
        case '\b': out += "\\b"; return;
        case '\f': out += "\\f"; return;
        default: break;
    }
    if (c < 0x20 || (ascii && c > 0x7e && c < 0x10000)) {
        out += c == 0x7f ? "\x7f" : fmt::format("\\u{:04x}", c);
    } else if (ascii && c >= 0x10000) {
        out += fmt::format("\\u{:04x}\\u{:04x}", 0xd800 + ((c - 0x10000) >> 10), 0xdc00 + ((c - 0x10000) & 0x3ff));
    } else {
        out += point;
    }
}

class Writer {
public:
    Writer(Meter& meter, const JsonStyle& style) : meter_(meter), style_(style) {}

    void write(const Value& value, std::size_t level) {
        meter_.step();
        if (const Text* text = value.text()) {
            quote(*text);
        } else if (value.is_none()) {
            out.append("null", false);
        } else if (const bool* flag = value.boolean()) {
            out.append(*flag ? "true" : "false", false);
        } else if (value.number()) {
            out.append(number(value), false);
        } else if (value.sequence() != nullptr) {
            write_list(*value.sequence(), level);
        } else if (value.dict() != nullptr) {
            write_dict(*value.dict(), level);
        } else {
            meter_.wrong(fmt::format("a {} has no JSON form", type_name(value)));
        }
    }

    Text out;

private:
    static std::string number(const Value& value) {
        if (const double* floating = value.floating()) {
            return std::isnan(*floating)   ? "NaN"
                   : std::isinf(*floating) ? (*floating < 0 ? "-Infinity" : "Infinity")
                                           : float_repr(*floating);
        }
        return std::to_string(*value.integer());
    }

    void quote(const Text& text) {
        meter_.allocate(text.size() * 2);
        out.append("\"", false);
        out.append(text.mapped([this](std::string_view run) {
            std::string escaped;
            for (const std::string_view point : code_points(run)) {
                append_escaped(escaped, point, style_.ascii);
            }
            return escaped;
        }));
        out.append("\"", false);
    }

    void line(std::size_t level) {
        if (style_.indent) {
            meter_.allocate(level * style_.indent->size() + 1);
            out.append("\n", false);
            for (std::size_t i = 0; i < level; ++i) {
                out.append(*style_.indent, false);
            }
        }
    }

    void write_list(const Sequence& list, std::size_t level) {
        if (list.items.empty()) {
            out.append("[]", false);
            return;
        }
        out.append("[", false);
        for (std::size_t i = 0; i < list.items.size(); ++i) {
            out.append(i == 0 ? "" : style_.item_separator, false);
            line(level + 1);
            write(list.items[i], level + 1);
        }
        line(level);
        out.append("]", false);
    }

    Text key_text(const Value& key) const {
        if (const Text* text = key.text()) {
            return *text;
        }
        if (key.is_none()) {
            return Text("null");
        }
        if (const bool* flag = key.boolean()) {
            return Text(*flag ? "true" : "false");
        }
        if (key.number()) {
            return Text(number(key));
        }
        meter_.wrong(fmt::format("a {} cannot be a key in JSON", type_name(key)));
    }

    void write_dict(const Dict& dict, std::size_t level) {
        if (dict.entries.empty()) {
            out.append("{}", false);
            return;
        }
        std::vector<const std::pair<Value, Value>*> entries;
        for (const auto& entry : dict.entries) {
            entries.push_back(&entry);
        }
        if (style_.sorted) {
            std::stable_sort(entries.begin(), entries.end(), [this](const auto* a, const auto* b) {
                return compare(meter_, a->first, b->first, "<") < 0;
            });
        }
        out.append("{", false);
        for (std::size_t i = 0; i < entries.size(); ++i) {
            out.append(i == 0 ? "" : style_.item_separator, false);
            line(level + 1);
            quote(key_text(entries[i]->first));
            out.append(style_.key_separator, false);
            write(entries[i]->second, level + 1);
        }
        line(level);
        out.append("}", false);
    }

    Meter& meter_;
    const JsonStyle& style_;
};

Value value_of(Meter& meter, const Json& json, bool untrusted) {
    switch (json.type()) {
        case Json::value_t::null: return Value::none();
        case Json::value_t::boolean: return Value::of(json.get<bool>());
        case Json::value_t::number_integer: return Value::of(json.get<std::int64_t>());
        case Json::value_t::number_unsigned:
            if (json.get<std::uint64_t>() > static_cast<std::uint64_t>(INT64_MAX)) {
                meter.unsupported("a whole number beyond 64 bits");
            }
            return Value::of(json.get<std::int64_t>());
        case Json::value_t::number_float: return Value::of(json.get<double>());
        case Json::value_t::string: return Value::of(json.get_ref<const std::string&>(), untrusted);
        case Json::value_t::array: {
            std::vector<Value> items;
            for (const Json& item : json) {
                items.push_back(value_of(meter, item, untrusted));
            }
            return make_sequence(meter, std::move(items));
        }
        case Json::value_t::object: {
            Dict dict;
            for (const auto& [key, item] : json.items()) {
                dict.set("s" + key, Value::of(key, untrusted), value_of(meter, item, untrusted));
            }
            return make_dict(meter, std::move(dict));
        }
        default: fail(ErrorKind::Internal, "a JSON value of an unknown type");
    }
}

}  // namespace

Text to_json(Meter& meter, const Value& value, const JsonStyle& style) {
    Writer writer(meter, style);
    writer.write(value, 0);
    return std::move(writer.out);
}

Value from_json(std::string_view json, const std::string& where, bool untrusted) {
    Meter meter(where);
    return value_of(meter, parse_json(json, where), untrusted);
}

}  // namespace deltavino::runtime::jinja
