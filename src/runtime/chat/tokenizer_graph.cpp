// Ground truth: openvino_tokenizers 2026.4, the inputs of SpecialTokensSplit, BPETokenizer and CombineSegments.
#include "runtime/chat/tokenizer_graph.hpp"

#include "base/error.hpp"

#include <openvino/core/attribute_visitor.hpp>
#include <openvino/op/broadcast.hpp>
#include <openvino/op/constant.hpp>
#include <openvino/op/result.hpp>
#include <openvino/op/shape_of.hpp>

#include <algorithm>
#include <cstring>
#include <set>

namespace deltavino::runtime {
namespace {

using ov::op::v0::Constant;

constexpr std::size_t kRows = 2;     // inputs before the strings: first and last + 1 piece of every text
constexpr std::size_t kStrings = 3;  // begins, ends, bytes
constexpr std::size_t kVocabulary = kRows + kStrings;
constexpr std::size_t kMerges = kVocabulary + kStrings;
constexpr std::size_t kAddedInputs = kStrings + 1;

std::shared_ptr<Constant> constant_input(const ov::Node& node, std::size_t port) {
    const auto constant = ov::as_type_ptr<Constant>(node.get_input_node_shared_ptr(port));
    if (constant == nullptr) {
        fail(ErrorKind::Unsupported, "cannot use the tokenizer: input {} of its {} is not a constant", port,
             node.get_type_name());
    }
    return constant;
}

// The strings of three constants from `port` on; each lies in the bytes, whatever the file says.
std::vector<std::string_view> strings_of(const ov::Node& node, std::size_t port) {
    const auto begins = constant_input(node, port);
    const auto ends = constant_input(node, port + 1);
    const auto bytes = constant_input(node, port + 2);
    if (bytes->get_element_type() != ov::element::u8) {
        fail(ErrorKind::Unsupported, "cannot use the tokenizer: the strings of its {} are of type {}, expected u8",
             node.get_type_name(), bytes->get_element_type().get_type_name());
    }
    const auto* text = static_cast<const char*>(bytes->get_data_ptr());
    const std::vector<std::int64_t> first = begins->cast_vector<std::int64_t>();
    const std::vector<std::int64_t> last = ends->cast_vector<std::int64_t>();
    std::vector<std::string_view> strings;
    for (std::size_t i = 0; i < first.size(); ++i) {
        const bool inside = i < last.size() && first[i] >= 0 && first[i] <= last[i] &&
                            last[i] <= static_cast<std::int64_t>(bytes->get_byte_size());
        if (!inside) {
            fail(ErrorKind::Input, "cannot use the tokenizer: string {} of its {} lies outside its bytes", i,
                 node.get_type_name());
        }
        strings.emplace_back(text + first[i], static_cast<std::size_t>(last[i] - first[i]));
    }
    return strings;
}

// Reads one text attribute of an operation.
class TextAttribute : public ov::AttributeVisitor {
public:
    explicit TextAttribute(std::string name) : name_(std::move(name)) {}
    using ov::AttributeVisitor::on_adapter;
    void on_adapter(const std::string&, ov::ValueAccessor<void>&) override {}
    void on_adapter(const std::string& name, ov::ValueAccessor<std::string>& adapter) override {
        if (name == name_) {
            value = adapter.get();
        }
    }
    std::string value;

private:
    std::string name_;
};

std::string normalization_of(ov::Node& node) {
    TextAttribute form("normalization_form");
    node.visit_attributes(form);
    std::transform(form.value.begin(), form.value.end(), form.value.begin(),
                   [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
    return form.value;
}

// The added tokens that merges give, too: they stay in the vocabulary.
std::set<std::string_view> made_by_merges(const ov::Node& bpe, bool pairs,
                                          const std::map<std::string, std::int64_t>& added) {
    std::set<std::string_view> made;
    const std::vector<std::string_view> left = strings_of(bpe, kMerges);
    const std::vector<std::string_view> right =
        pairs ? strings_of(bpe, kMerges + kStrings) : std::vector<std::string_view>();
    std::string whole;
    for (std::size_t i = 0; i < left.size(); ++i) {
        whole = left[i];
        if (pairs && i < right.size()) {
            whole += right[i];
        } else if (const std::size_t blank = whole.find(' '); blank != std::string::npos) {
            whole.erase(blank, 1);
        }
        if (const auto token = added.find(whole); token != added.end()) {
            made.insert(token->first);
        }
    }
    return made;
}

// The vocabulary's bytes without the added tokens: the operator would find them wherever their bytes stand.
ov::Output<ov::Node> hidden_vocabulary(const ov::Node& bpe, bool pairs,
                                       const std::map<std::string, std::int64_t>& added) {
    const auto bytes = constant_input(bpe, kVocabulary + 2);
    const std::vector<std::string_view> words = strings_of(bpe, kVocabulary);
    const std::set<std::string_view> made = made_by_merges(bpe, pairs, added);
    const auto* begin = static_cast<const char*>(bytes->get_data_ptr());
    std::vector<char> copy(begin, begin + bytes->get_byte_size());
    for (const auto& [content, id] : added) {
        const auto place = static_cast<std::size_t>(id);
        if (content.size() > 1 && place < words.size() && words[place] == content && !made.contains(content)) {
            copy[static_cast<std::size_t>(words[place].data() - begin)] = '\xFF';  // in no text
        }
    }
    return std::make_shared<Constant>(bytes->get_element_type(), bytes->get_shape(), copy.data());
}

std::map<std::string, std::int64_t> added_tokens(const ov::Node& bpe) {
    const std::size_t port = bpe.get_input_size() - kAddedInputs;
    const std::vector<std::string_view> contents = strings_of(bpe, port);
    const std::vector<std::int64_t> ids = constant_input(bpe, port + kStrings)->cast_vector<std::int64_t>();
    std::map<std::string, std::int64_t> added;
    for (std::size_t i = 0; i < std::min(contents.size(), ids.size()); ++i) {
        if (ids[i] < 0) {
            fail(ErrorKind::Input, "cannot use the tokenizer: added token '{}' has id {}", contents[i], ids[i]);
        }
        added.emplace(contents[i], ids[i]);
    }
    return added;
}

// The fixed ids of CombineSegments: each segment is three inputs, a constant one is fixed.
void read_template(const ov::Node& combine, TokenizerGraph& graph) {
    bool text_seen = false;
    for (std::size_t port = 0; port + kStrings <= combine.get_input_size(); port += kStrings) {
        const auto ids = ov::as_type_ptr<Constant>(combine.get_input_node_shared_ptr(port + 2));
        if (ids == nullptr) {
            text_seen = true;
            continue;
        }
        std::vector<std::int64_t>& side = text_seen ? graph.after : graph.before;
        const std::vector<std::int64_t> values = ids->cast_vector<std::int64_t>();
        side.insert(side.end(), values.begin(), values.end());
    }
}

std::shared_ptr<ov::Model> model_of(const ov::OutputVector& outputs, const std::shared_ptr<ov::Model>& model) {
    ov::ResultVector results;
    for (const ov::Output<ov::Node>& output : outputs) {
        results.push_back(std::make_shared<ov::op::v0::Result>(output));
    }
    return std::make_shared<ov::Model>(results, model->get_parameters());
}

std::shared_ptr<ov::Node> find(const ov::Model& model, std::string_view type) {
    for (const std::shared_ptr<ov::Node>& node : model.get_ordered_ops()) {
        if (node->get_type_name() == type) {
            return node;
        }
    }
    return nullptr;
}

// Every piece is text: the inputs of the split go past it.
void remove_split(const std::shared_ptr<ov::Node>& split) {
    const auto no = std::make_shared<Constant>(ov::element::boolean, ov::Shape{}, false);
    const auto pieces = std::make_shared<ov::op::v3::ShapeOf>(split->input_value(kRows), ov::element::i64);
    const auto none = std::make_shared<ov::op::v3::Broadcast>(no, pieces);
    for (std::size_t port = 0; port < split->get_output_size(); ++port) {
        const bool flags = port + 1 == split->get_output_size();
        split->output(port).replace(flags ? none->output(0) : split->input_value(port));
    }
}

}  // namespace

TokenizerGraph take_apart(const std::shared_ptr<ov::Model>& model) {
    TokenizerGraph graph;
    const std::shared_ptr<ov::Node> bpe = find(*model, "BPETokenizer");
    if (bpe == nullptr) {
        fail(ErrorKind::Unsupported, "cannot use the tokenizer: it has no BPETokenizer");
    }
    const std::size_t inputs = bpe->get_input_size();
    const bool has_added = inputs == 15 || inputs == 18;
    const bool pairs = inputs == 14 || inputs == 18;
    if (!has_added && inputs != 11 && inputs != 14) {
        fail(ErrorKind::Unsupported, "cannot use the tokenizer: its BPETokenizer has {} inputs", inputs);
    }
    for (const std::shared_ptr<ov::Node>& node : model->get_ordered_ops()) {
        const std::string_view type = node->get_type_name();
        if (type == "CharsMapNormalization" || type == "NormalizeUnicode") {
            graph.normalization = normalization_of(*node);
        }
    }
    if (const auto combine = find(*model, "CombineSegments")) {
        read_template(*combine, graph);
    }
    ov::OutputVector arguments = bpe->input_values();
    if (has_added) {
        graph.added = added_tokens(*bpe);
        arguments.resize(inputs - kAddedInputs);
        arguments[kVocabulary + 2] = hidden_vocabulary(*bpe, pairs, graph.added);
    }
    if (const auto split = find(*model, "SpecialTokensSplit")) {
        // A copy, because the original loses the split below.
        const std::shared_ptr<ov::Model> copy = model->clone();
        graph.splitter = model_of(find(*copy, "SpecialTokensSplit")->outputs(), copy);
        const std::shared_ptr<ov::Node> plain = bpe->clone_with_new_inputs(arguments);
        const std::shared_ptr<ov::Model> cut = model_of(plain->outputs(), model);
        remove_split(split);
        cut->validate_nodes_and_infer_types();
        graph.plain = cut;
        return graph;
    }
    graph.plain = model_of(bpe->clone_with_new_inputs(arguments)->outputs(), model);
    return graph;
}

std::set<std::int64_t> special_ids(const ov::Model& detokenizer) {
    const std::shared_ptr<ov::Node> decoder = find(detokenizer, "VocabDecoder");
    constexpr std::size_t kSkipped = 1 + kStrings;
    if (decoder == nullptr || decoder->get_input_size() <= kSkipped) {
        return {};
    }
    const std::vector<std::int64_t> ids = constant_input(*decoder, kSkipped)->cast_vector<std::int64_t>();
    return {ids.begin(), ids.end()};
}

}  // namespace deltavino::runtime
