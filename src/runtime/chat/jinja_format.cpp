// printf-like and brace formats. Only what templates use: texts, numbers, places and names.
#include "runtime/chat/jinja_operations.hpp"

#include <algorithm>
#include <cmath>

namespace deltavino::runtime::jinja {
namespace {

class PercentFormatter {
public:
    PercentFormatter(Meter& meter, const Text& format, const Value& arguments)
        : meter_(meter), format_(format), arguments_(arguments) {}

    Text run() {
        const std::string_view all = format_.view();
        while (at_ < all.size()) {
            const std::size_t percent = std::min(all.find('%', at_), all.size());
            out_.append(format_, at_, percent);
            at_ = percent;
            if (at_ < all.size()) {
                at_ += 1;
                convert(all);
            }
        }
        // Python forgives what is left over when it could have been looked up by a key.
        const bool by_key = arguments_.dict() != nullptr || arguments_.range() != nullptr ||
                            (arguments_.sequence() != nullptr && !is_tuple());
        const bool all_taken = by_key || next_ >= count();
        if (!all_taken) {
            meter_.wrong("a format with '%' takes fewer values than were given");
        }
        meter_.allocate(out_.size());
        return std::move(out_);
    }

private:
    bool is_tuple() const { return arguments_.sequence() != nullptr && arguments_.sequence()->tuple; }
    std::size_t count() const { return is_tuple() ? arguments_.sequence()->items.size() : 1; }

    const Value& take() {
        if (next_ >= count()) {
            meter_.wrong("a format with '%' takes more values than were given");
        }
        next_ += 1;
        return is_tuple() ? arguments_.sequence()->items[next_ - 1] : arguments_;
    }

    const Value& by_name(std::string_view all) {
        const std::size_t end = all.find(')', at_);
        const Dict* dict = arguments_.dict();
        const Value* found = dict == nullptr || end == std::string_view::npos
                                 ? nullptr
                                 : dict->find_text(all.substr(at_ + 1, end - at_ - 1));
        if (found == nullptr) {
            meter_.wrong("a name in a format with '%' has no value");
        }
        at_ = end + 1;
        return *found;
    }

    void convert(std::string_view all) {
        if (all.substr(at_).starts_with('%')) {
            out_.append("%", false);
            at_ += 1;
            return;
        }
        const Value value = all.substr(at_).starts_with('(') ? by_name(all) : Value::none();
        const bool named = at_ > 0 && all[at_ - 1] == ')';
        int precision = -1;
        if (all.substr(at_).starts_with('.')) {
            precision = 0;
            for (at_ += 1; at_ < all.size() && all[at_] >= '0' && all[at_] <= '9' && precision < 100; ++at_) {
                precision = precision * 10 + (all[at_] - '0');
            }
        }
        if (at_ >= all.size()) {
            meter_.wrong("a format with '%' is not complete");
        }
        const char kind = all[at_++];
        const Value& shown = named ? value : take();
        if ((kind == 's' || kind == 'r') && precision < 0) {
            out_.append(kind == 's' ? to_text(meter_, shown) : to_repr(meter_, shown));
        } else if ((kind == 'd' || kind == 'i') && precision < 0 && shown.number()) {
            const double number = std::trunc(*shown.number());
            if (!shown.integer() && !(std::abs(number) < 9e18)) {
                meter_.unsupported("a whole number beyond 64 bits");
            }
            out_.append(std::to_string(shown.integer() ? *shown.integer() : static_cast<std::int64_t>(number)), false);
        } else if (kind == 'f' && shown.number() && std::isfinite(*shown.number()) && precision < 100) {
            out_.append(fmt::format("{:.{}f}", *shown.number(), precision < 0 ? 6 : precision), false);
        } else {
            meter_.unsupported(fmt::format("the conversion '%{}' of a {}", kind, type_name(shown)));
        }
    }

    Meter& meter_;
    const Text& format_;
    const Value& arguments_;
    Text out_;
    std::size_t at_ = 0;
    std::size_t next_ = 0;
};

}  // namespace

Text format_percent(Meter& meter, const Text& format, const Value& arguments) {
    return PercentFormatter(meter, format, arguments).run();
}

Text format_braces(Meter& meter, const Text& format, const Arguments& arguments) {
    Text out;
    const std::string_view all = format.view();
    std::size_t next = 0;
    for (std::size_t at = 0; at < all.size();) {
        const std::size_t brace = std::min(all.find_first_of("{}", at), all.size());
        out.append(format, at, brace);
        at = brace;
        if (at == all.size()) {
            break;
        }
        if (at + 1 < all.size() && all[at + 1] == all[at]) {
            out.append(format, at, at + 1);
            at += 2;
            continue;
        }
        const std::size_t end = all.find('}', at);
        if (all[at] == '}' || end == std::string_view::npos) {
            meter.wrong("a format with braces is not complete");
        }
        const std::string field(all.substr(at + 1, end - at - 1));
        const bool digits =
            !field.empty() && field.size() < 5 && field.find_first_not_of("0123456789") == std::string::npos;
        if (field.find_first_of("!:.[{") != std::string::npos) {
            meter.unsupported(fmt::format("the format '{{{}}}'", field));
        }
        const Value* value = nullptr;
        if (field.empty() || digits) {
            const std::size_t i = digits ? static_cast<std::size_t>(std::stoi(field)) : next++;
            value = i < arguments.positional.size() ? &arguments.positional[i] : nullptr;
        } else {
            const auto named = std::find_if(arguments.named.begin(), arguments.named.end(),
                                            [&](const auto& row) { return row.first == field; });
            value = named == arguments.named.end() ? nullptr : &named->second;
        }
        if (value == nullptr) {
            meter.wrong(fmt::format("the format '{{{}}}' has no value", field));
        }
        out.append(to_text(meter, *value));
        at = end + 1;
    }
    meter.allocate(out.size());
    return out;
}

}  // namespace deltavino::runtime::jinja
