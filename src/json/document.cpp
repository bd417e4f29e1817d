// Both readers build trees from events (SAX): the tree builder of nlohmann-json searches an ordered object
// for every key that it adds.
#include "json/document.hpp"

#include "base/error.hpp"
#include "base/text.hpp"

#include <set>
#include <utility>

namespace deltavino {
namespace {

constexpr std::size_t kMaxDepth = 64;
constexpr std::size_t kMaxMemberValues = 1u << 20;

class Events final : public nlohmann::json_sax<Json> {
public:
    // Without `visit` the whole text becomes a tree.
    Events(const std::string& where, const MemberVisitor* visit, std::string_view inside)
        : where_(where), visit_(visit), inside_(inside) {}

    Json take_root() { return std::move(root_); }
    bool found() const { return found_; }

    bool null() override { return scalar(nullptr); }
    bool boolean(bool value) override { return scalar(value); }
    bool number_integer(number_integer_t value) override { return scalar(value); }
    bool number_unsigned(number_unsigned_t value) override { return scalar(value); }
    bool number_float(number_float_t value, const string_t&) override { return scalar(value); }
    bool string(string_t& value) override { return scalar(std::move(value)); }
    bool binary(binary_t&) override { return scalar(nullptr); }

    bool key(string_t& name) override {
        if (!open_.back().keys.insert(name).second) {
            fail(ErrorKind::Input, "cannot read '{}': key '{}' stands twice in one object", where_, name);
        }
        key_ = std::move(name);
        return true;
    }
    bool start_object(std::size_t) override { return open(Json::object()); }
    bool start_array(std::size_t) override { return open(Json::array()); }
    bool end_object() override { return close(); }
    bool end_array() override { return close(); }

    bool parse_error(std::size_t, const std::string&, const nlohmann::detail::exception& error) override {
        fail(ErrorKind::Input, "cannot read '{}': {}", where_, as_utf8(error.what()));
    }

private:
    struct Open {
        Json* node = nullptr;  // null when its values are not kept
        bool visited = false;  // its members go to the visitor
        std::set<std::string> keys;
    };

    // Puts a value where it belongs; null when it is not kept.
    Json* place(Json value) {
        if (open_.empty()) {
            root_ = std::move(value);
            return &root_;
        }
        const Open& parent = open_.back();
        if (parent.visited) {
            member_key_ = std::move(key_);
            member_ = std::move(value);
            member_values_ = 0;
            return &member_;
        }
        if (parent.node == nullptr) {
            return nullptr;
        }
        if (visit_ != nullptr && ++member_values_ > kMaxMemberValues) {
            fail(ErrorKind::Input, "cannot read '{}': '{}' holds more than {} values", where_, member_key_,
                 kMaxMemberValues);
        }
        if (parent.node->is_array()) {
            parent.node->push_back(std::move(value));
            return &parent.node->back();
        }
        auto& members = parent.node->get_ref<Json::object_t&>();
        members.emplace_back(std::move(key_), std::move(value));  // key() has made sure that it is new
        return &members.back().second;
    }

    void deliver() {
        if (!open_.empty() && open_.back().visited) {
            (*visit_)(member_key_, member_);
        }
    }

    bool scalar(Json value) {
        place(std::move(value));
        deliver();
        return true;
    }

    bool open(Json container) {
        if (open_.size() >= kMaxDepth) {
            fail(ErrorKind::Input, "cannot read '{}': JSON nested deeper than {} levels", where_, kMaxDepth);
        }
        Open opened;
        const std::size_t level = inside_.empty() ? 0 : 1;  // of the object whose members are visited
        if (visit_ != nullptr && open_.size() <= level) {
            opened.visited = container.is_object() && open_.size() == level && (level == 0 || key_ == inside_);
            found_ |= opened.visited;
        } else {
            opened.node = place(std::move(container));
        }
        open_.push_back(std::move(opened));
        return true;
    }

    bool close() {
        open_.pop_back();
        deliver();
        return true;
    }

    const std::string& where_;
    const MemberVisitor* visit_;
    std::string_view inside_;
    std::vector<Open> open_;
    Json root_;
    std::string key_;
    std::string member_key_;
    Json member_;
    std::size_t member_values_ = 0;
    bool found_ = false;
};

}  // namespace

Json parse_json(std::string_view text, const std::string& where) {
    Events events(where, nullptr, {});
    Json::sax_parse(text.begin(), text.end(), &events);
    return events.take_root();
}

bool visit_members(std::string_view text, const std::string& where, const MemberVisitor& visit,
                   std::string_view inside) {
    Events events(where, &visit, inside);
    Json::sax_parse(text.begin(), text.end(), &events);
    return events.found();
}

}  // namespace deltavino
