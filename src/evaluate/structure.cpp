#include "evaluate/structure.hpp"

#include "base/error.hpp"
#include "export/directory/contract.hpp"
#include "graph/names.hpp"

#include <openvino/op/matmul.hpp>
#include <openvino/op/read_value.hpp>
#include <openvino/op/util/variable.hpp>

#include <regex>
#include <set>

namespace deltavino::evaluation {
namespace {

namespace fs = std::filesystem;
namespace names = graph::names;

CheckItem item(std::string subject, bool good, std::string says, Finding otherwise = Finding::Bad) {
    return {"structure", std::move(subject), good ? Finding::Good : otherwise, std::move(says)};
}

const std::regex& state_name() {
    // The spelling that the NPU plugin matches, too.
    static const std::regex kName(
        R"(^cache_params\.past\.(conv|ssm|key|value)\.(\d+)cache_params\.present\.(conv|ssm|key|value)\.(\d+)$)");
    return kName;
}

// Whether `id` is the name of a state, in parts. std::regex recurses for each character: long names are none.
bool match_state(const std::string& id, std::smatch& match) {
    constexpr std::size_t kMostBytes = 200;
    return id.size() <= kMostBytes && std::regex_match(id, match, state_name());
}

std::string shape_of(const ov::PartialShape& shape) {
    return shape.to_string();
}

void check_ports(const ov::Model& model, bool embeddings, std::vector<CheckItem>& items) {
    std::set<std::string> expected{names::kAttentionMask, names::kBeamIdx};
    expected.insert(embeddings ? names::kInputsEmbeds : names::kInputIds);
    if (embeddings) {
        expected.insert(names::kPositionIds);
    }
    std::set<std::string> found;
    for (const auto& input : model.inputs()) {
        found.insert(input.get_names().empty() ? std::string("?") : input.get_any_name());
    }
    const bool extra_positions = !embeddings && found.contains(names::kPositionIds);
    std::set<std::string> without = found;
    without.erase(extra_positions ? names::kPositionIds : "");
    items.push_back(item("inputs", without == expected,
                         fmt::format("{}; expected {}", fmt::join(found, ", "), fmt::join(expected, ", "))));
    if (extra_positions) {
        const auto readers = model.input(names::kPositionIds).get_target_inputs().size();
        items.push_back(item("inputs", readers > 0,
                             readers > 0
                                 ? "position_ids is read"
                                 : "position_ids is an input that nothing reads: positions given to it are ignored",
                             Finding::Note));
    }
    if (embeddings) {
        const ov::PartialShape shape = model.input(names::kPositionIds).get_partial_shape();
        items.push_back(item("position_ids", shape.size() == 3 && shape[0].is_static() && shape[0].get_length() == 4,
                             fmt::format("{}, expected [4,?,?]", shape_of(shape))));
    }
    bool product = false;
    for (const auto& result : model.get_results()) {
        if (result->input_value(0).get_names().contains(names::kLogits)) {
            product = ov::is_type<ov::op::v0::MatMul>(result->get_input_node_ptr(0));
        }
    }
    items.push_back(item("logits", product,
                         product ? "the output of a MatMul"
                                 : "expected an output 'logits' straight from a MatMul: "
                                   "GenAI cuts the head to the last token there"));
}

bool gathers_by_beam(const ov::Node& read) {
    const auto readers = read.output(0).get_target_inputs();
    for (const auto& reader : readers) {
        if (std::string_view(reader.get_node()->get_type_name()) != "Gather") {
            return false;
        }
    }
    return !readers.empty();
}

// Initialisers tell GenAI what a state is: one dynamic and one zero dimension for keys and values, one dynamic and
// no zero dimension for the others.
bool initialises(const ov::Node& read, const std::string& kind) {
    if (read.get_input_size() == 0) {
        return false;
    }
    const ov::PartialShape shape = read.get_input_partial_shape(0);
    std::size_t dynamic = 0;
    std::size_t zero = 0;
    for (const ov::Dimension& dim : shape) {
        dynamic += dim.is_dynamic() ? 1 : 0;
        zero += dim.is_static() && dim.get_length() == 0 ? 1 : 0;
    }
    const bool grows = kind == names::kKeyState || kind == names::kValueState;
    return shape.size() == (kind == names::kConvState ? 3 : 4) && dynamic == 1 && zero == (grows ? 1 : 0);
}

void check_states(const ov::Model& model, std::vector<CheckItem>& items) {
    std::vector<std::string> misnamed;
    std::vector<std::string> unordered;
    std::vector<std::string> uninitialised;
    std::vector<std::string> narrow;
    std::size_t states = 0;
    for (const auto& node : model.get_ordered_ops()) {
        const auto read = ov::as_type_ptr<ov::op::util::ReadValueBase>(node);
        if (read == nullptr) {
            continue;
        }
        ++states;
        const std::string id = read->get_variable_id();
        std::smatch match;
        if (!match_state(id, match) || match[1] != match[3] || match[2] != match[4]) {
            misnamed.push_back(id);
            continue;
        }
        if (!gathers_by_beam(*read)) {
            unordered.push_back(id);
        }
        if (!initialises(*read, match[1])) {
            uninitialised.push_back(id);
        }
        if (read->get_output_element_type(0) != ov::element::f32) {
            narrow.push_back(fmt::format("{} is {}", id, read->get_output_element_type(0).get_type_name()));
        }
    }
    const auto list = [](const std::vector<std::string>& bad, const char* good) {
        return bad.empty() ? std::string(good) : fmt::format("{}", fmt::join(bad, ", "));
    };
    items.push_back(item("states", states > 0, fmt::format("{} states", states)));
    items.push_back(item("names of states", misnamed.empty(),
                         list(misnamed, "as optimum-intel, GenAI and the NPU plugin look them up")));
    items.push_back(item("beam search", unordered.empty(), list(unordered, "every state is gathered by beam_idx")));
    items.push_back(item("initialisers of states", uninitialised.empty(),
                         list(uninitialised, "shaped as GenAI tells states apart")));
    items.push_back(item("precision of states", narrow.empty(), list(narrow, "float32 in the file")));
}

}  // namespace

std::vector<CheckItem> check_files(const fs::path& directory) {
    std::vector<CheckItem> items;
    for (const exporter::MissingFile& file : exporter::missing_files(directory)) {
        items.push_back(
            item(file.name, false, "is missing: " + file.consequence, file.required ? Finding::Bad : Finding::Note));
    }
    if (items.empty()) {
        items.push_back(item("files", true, "all that consumers look for are there"));
    }
    return items;
}

std::vector<CheckItem> check_graph(const DirectoryModel& model) {
    std::vector<CheckItem> items;
    check_ports(*model.language(), model.takes_embeddings(), items);
    check_states(*model.language(), items);
    return items;
}

}  // namespace deltavino::evaluation
