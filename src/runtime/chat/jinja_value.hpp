// What expressions of chat templates compute with: Python's values, as far as templates need them.
#pragma once

#include "runtime/chat/jinja_meter.hpp"
#include "runtime/chat/jinja_text.hpp"

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>
#include <variant>
#include <vector>

namespace deltavino::runtime::jinja {

class Value;
class Interpreter;

// What is missing. `hint`: what a template that uses it is told.
struct Undefined {
    std::shared_ptr<const std::string> hint;
};
struct None {};

// A list or a tuple. Nothing changes one after it was made: the sandbox forbids append() and the like.
struct Sequence {
    std::vector<Value> items;
    std::size_t depth = 1;
    bool tuple = false;
};

// A dict in the order of insertion.
struct Dict {
    std::vector<std::pair<Value, Value>> entries;
    std::unordered_map<std::string, std::size_t> index;  // by hash_key()
    std::size_t depth = 1;

    // Does nothing but replace the value when the key is there.
    void set(std::string key_text, Value key, Value value);
    const Value* find(const std::string& key_text) const;
    const Value* find_text(std::string_view name) const;
};

struct Range {
    std::int64_t start = 0;
    std::int64_t stop = 0;
    std::int64_t step = 1;

    std::int64_t size() const;
};

enum class ViewKind { Keys, Values, Items };
// What dict.keys(), .values() and .items() give.
struct View {
    ViewKind kind = ViewKind::Keys;
    std::shared_ptr<const Dict> dict;
};

// What filters like map() give: items that can be taken once.
struct Generator {
    std::vector<Value> items;
    std::size_t next = 0;
    std::size_t depth = 1;
};

struct Arguments {
    std::vector<Value> positional;
    std::vector<std::pair<std::string, Value>> named;
};

// Anything with a behaviour of its own: namespaces, macros, loops, global functions.
class Object {
public:
    virtual ~Object() = default;
    virtual std::string type_name() const = 0;
    virtual std::optional<Value> attribute(Meter& meter, const std::string& name);
    virtual bool callable() const { return false; }
    virtual Value call(Interpreter& interpreter, Arguments arguments);
};

// A method of a value that was looked up and not called yet.
struct Method;

class Value {
public:
    using Storage = std::variant<Undefined, None, bool, std::int64_t, double, std::shared_ptr<const Text>,
                                 std::shared_ptr<const Sequence>, std::shared_ptr<const Dict>, Range, View,
                                 std::shared_ptr<Generator>, std::shared_ptr<const Method>, std::shared_ptr<Object>>;

    Value() = default;
    Value(Storage storage) : storage_(std::move(storage)) {}

    static Value none() { return Storage(None{}); }
    static Value of(bool value) { return Storage(value); }
    static Value of(std::int64_t value) { return Storage(value); }
    static Value of(double value) { return Storage(value); }
    static Value of(Text text) { return Storage(std::make_shared<const Text>(std::move(text))); }
    static Value of(std::string text, bool untrusted = false) { return of(Text(std::move(text), untrusted)); }
    static Value undefined(std::string hint);

    bool is_undefined() const { return std::holds_alternative<Undefined>(storage_); }
    bool is_none() const { return std::holds_alternative<None>(storage_); }
    const bool* boolean() const { return std::get_if<bool>(&storage_); }
    const double* floating() const { return std::get_if<double>(&storage_); }
    const Text* text() const { return pointee<Text>(); }
    const Sequence* sequence() const { return pointee<Sequence>(); }
    const Dict* dict() const { return pointee<Dict>(); }
    const Range* range() const { return std::get_if<Range>(&storage_); }
    const View* view() const { return std::get_if<View>(&storage_); }
    Generator* generator() const;
    const Method* method() const { return pointee<Method>(); }
    Object* object() const;
    // int or bool, which Python counts as one
    std::optional<std::int64_t> integer() const;
    // int, float or bool
    std::optional<double> number() const;

    std::shared_ptr<const Dict> shared_dict() const;
    const Storage& storage() const { return storage_; }
    std::size_t depth() const;

private:
    template <typename T>
    const T* pointee() const {
        const auto* held = std::get_if<std::shared_ptr<const T>>(&storage_);
        return held == nullptr ? nullptr : held->get();
    }

    Storage storage_;
};

struct Method {
    Value self;
    std::string name;
};

Value make_sequence(Meter& meter, std::vector<Value> items, bool tuple = false);
Value make_generator(Meter& meter, std::vector<Value> items);
Value make_dict(Meter& meter, Dict dict);

// "str", "dict", ... as Python's messages have them.
std::string type_name(const Value& value);
// Throws for what cannot be a key: lists and dicts.
std::string hash_key(Meter& meter, const Value& value);
// Nothing for those.
std::optional<std::string> find_hash_key(Meter& meter, const Value& value);

bool truth(const Value& value);
bool equal(Meter& meter, const Value& a, const Value& b);
bool same_object(const Value& a, const Value& b);
// Less than zero, zero or more; throws for types without an order between them.
int compare(Meter& meter, const Value& a, const Value& b, const char* operation);

// str() and repr().
Text to_text(Meter& meter, const Value& value);
Text to_repr(Meter& meter, const Value& value);
std::string float_repr(double value);

// The items that a loop visits; empty for what is undefined. Throws for what cannot be visited.
std::vector<Value> items_of(Meter& meter, const Value& value);
// len(); nothing for what has none.
std::optional<std::int64_t> length_of(const Value& value);

// json.dumps() as transformers calls it. `indent`: nothing, a number of blanks, or a text.
struct JsonStyle {
    std::optional<std::string> indent;
    std::string item_separator = ", ";
    std::string key_separator = ": ";
    bool ascii = false;
    bool sorted = false;
};
Text to_json(Meter& meter, const Value& value, const JsonStyle& style);
// A value of a JSON text; its strings and keys are untrusted if `untrusted`.
Value from_json(std::string_view json, const std::string& where, bool untrusted);

}  // namespace deltavino::runtime::jinja
