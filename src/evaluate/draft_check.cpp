#include "evaluate/draft_check.hpp"

#include "base/error.hpp"
#include "base/file.hpp"
#include "evaluate/comparison.hpp"
#include "graph/names.hpp"
#include "reference/multi_token_prediction.hpp"
#include "runtime/language_model.hpp"
#include "runtime/openvino_call.hpp"

#include <openvino/op/read_value.hpp>

#include <algorithm>
#include <cstring>
#include <map>
#include <numeric>
#include <set>

namespace deltavino::evaluation {
namespace {

namespace names = graph::names;
using reference::ConstMatrixRef;
using reference::Index;

CheckItem draft_item(std::string subject, bool good, std::string says) {
    return {"multi-token prediction", std::move(subject), good ? Finding::Good : Finding::Bad, std::move(says)};
}

// After the projection of both inputs and each half of the layer.
using DraftStages = std::map<std::string, Matrix>;

// The name of a stage for a node whose name says so, else null.
const char* stage_of(const std::string& name) {
    if (name == "mtp.fc") {
        return reference::kPredictionStages[0];
    }
    if (name.ends_with("layers.0/mixer_residual")) {
        return reference::kPredictionStages[1];
    }
    return name.ends_with("layers.0/residual") ? reference::kPredictionStages[2] : nullptr;
}

ov::Tensor floats(ConstMatrixRef rows) {
    ov::Tensor tensor(ov::element::f32,
                      {1, static_cast<std::size_t>(rows.rows()), static_cast<std::size_t>(rows.cols())});
    Eigen::Map<Matrix>(tensor.data<float>(), rows.rows(), rows.cols()) = rows;
    return tensor;
}

Matrix matrix_of(const ov::Tensor& tensor, Index rows, Index columns) {
    if (tensor.get_size() != static_cast<std::size_t>(rows * columns)) {
        fail(ErrorKind::Input, "cannot use '{}': it gives shape {} for {} tokens", names::kPredictionModel,
             tensor.get_shape().to_string(), rows);
    }
    return Eigen::Map<const Matrix>(tensor.data<const float>(), rows, columns);
}

class Runtime {
public:
    // `precision`: f32, or empty for the device's own.
    Runtime(const DraftCheck& given, const std::string& precision) {
        const std::shared_ptr<ov::Model> copy = given.model->clone();
        for (const auto& node : copy->get_ordered_ops()) {
            if (const char* stage = stage_of(node->get_friendly_name()); stage != nullptr && precision == "f32") {
                stages_.emplace_back(stage);
                copy->add_output(node->output(0));
            }
        }
        request_ = runtime::compile(given.core, copy, names::kPredictionModel, {given.options.device, precision})
                       .create_infer_request();
    }

    // [tokens, width] of prompts from empty states, read in pieces. Of one piece, `stages` gets what is known.
    Matrix read(ConstMatrixRef embedded, ConstMatrixRef hidden, Index piece, DraftStages* stages = nullptr) {
        Matrix all(hidden.rows(), hidden.cols());
        request_.reset_state();
        for (Index begin = 0; begin < hidden.rows(); begin += piece) {
            const Index count = std::min(piece, hidden.rows() - begin);
            const auto past = static_cast<std::size_t>(begin);
            const auto length = static_cast<std::size_t>(count);
            request_.set_tensor(names::kInputsEmbeds, floats(embedded.middleRows(begin, count)));
            request_.set_tensor(names::kHiddenStates, floats(hidden.middleRows(begin, count)));
            ov::Tensor mask(ov::element::i64, {1, past + length});
            std::fill_n(mask.data<std::int64_t>(), past + length, 1);
            request_.set_tensor(names::kAttentionMask, mask);
            ov::Tensor positions(ov::element::i64, {1, length});
            std::iota(positions.data<std::int64_t>(), positions.data<std::int64_t>() + length, begin);
            request_.set_tensor(names::kPositionIds, positions);
            ov::Tensor beam(ov::element::i32, {1});
            *beam.data<std::int32_t>() = 0;
            request_.set_tensor(names::kBeamIdx, beam);
            request_.infer();
            all.middleRows(begin, count) = matrix_of(request_.get_output_tensor(0), count, hidden.cols());
            for (std::size_t i = 0; stages != nullptr && i < stages_.size(); ++i) {
                (*stages)[stages_[i]] = matrix_of(request_.get_output_tensor(i + 1), count, hidden.cols());
            }
        }
        return all;
    }

private:
    ov::InferRequest request_;
    std::vector<std::string> stages_;
};

// The first stage that goes wrong, for a sentence; empty when none of those that are known does.
std::string first_wrong(const DraftStages& truth, const DraftStages& judged) {
    for (const char* stage : reference::kPredictionStages) {
        const auto found = judged.find(stage);
        if (found != judged.end() && !(relative_distance(truth.at(stage), found->second) <= kHiddenStates)) {
            return fmt::format("; the first stage to go wrong is the {}", stage);
        }
    }
    return judged.empty() ? std::string() : "; every stage before the final norm is right";
}

bool initialises(const ov::Node& read) {
    if (read.get_input_size() == 0) {
        return false;
    }
    const ov::PartialShape shape = read.get_input_partial_shape(0);
    return shape.size() == 4 && shape[0].is_dynamic() && shape[2].is_static() && shape[2].get_length() == 0;
}

}  // namespace

std::shared_ptr<ov::Model> read_prediction_model(ov::Core& core, const std::filesystem::path& directory) {
    const bool present = is_there(directory / (std::string(names::kPredictionModel) + ".xml"));
    return present ? runtime::read_model(core, directory, names::kPredictionModel) : nullptr;
}

std::vector<CheckItem> check_prediction_graph(const ov::Model& model) {
    std::vector<CheckItem> items;
    const std::set<std::string> expected{names::kHiddenStates, names::kInputsEmbeds, names::kAttentionMask,
                                         names::kPositionIds, names::kBeamIdx};
    std::set<std::string> found;
    for (const auto& input : model.inputs()) {
        found.insert(input.get_names().empty() ? std::string("?") : input.get_any_name());
    }
    items.push_back(draft_item("inputs", found == expected,
                               fmt::format("{}; expected {}", fmt::join(found, ", "), fmt::join(expected, ", "))));
    const bool output = model.outputs().size() == 1 && model.output(0).get_names().contains(names::kLastHiddenState) &&
                        model.output(0).get_element_type() == ov::element::f32;
    items.push_back(draft_item("output", output,
                               output ? std::string(names::kLastHiddenState)
                                      : fmt::format("expected one output '{}' of f32", names::kLastHiddenState)));
    std::set<std::string> states;
    std::vector<std::string> uninitialised;
    for (const auto& node : model.get_ordered_ops()) {
        if (const auto read = ov::as_type_ptr<ov::op::util::ReadValueBase>(node)) {
            states.insert(read->get_variable_id());
            if (!initialises(*read)) {
                uninitialised.push_back(read->get_variable_id());
            }
        }
    }
    std::set<std::string> wanted;
    for (const char* kind : {names::kKeyState, names::kValueState}) {
        wanted.insert(fmt::format("past_key_values.0.{0}present_key_values.0.{0}", kind));
    }
    items.push_back(
        draft_item("states", states == wanted && uninitialised.empty(),
                   states != wanted ? fmt::format("{}; expected {}", fmt::join(states, ", "), fmt::join(wanted, ", "))
                   : uninitialised.empty() ? "of one layer of attention, empty at first"
                                           : fmt::format("{}: not empty at first", fmt::join(uninitialised, ", "))));
    return items;
}

DraftFindings check_drafts(const DraftCheck& check) {
    const auto of_reference = [&](const reference::WeightSource& weights, ConstMatrixRef embedded,
                                  ConstMatrixRef hidden, DraftStages* stages) {
        const reference::Context context{weights, check.options.threads};
        return reference::multi_token_prediction(
            embedded, hidden, reference::sequential_positions(static_cast<std::size_t>(hidden.rows())),
            check.truth.config().text, context, [&](const char* stage, ConstMatrixRef x) {
                check.truth.stop_if_asked();
                if (stages != nullptr) {
                    (*stages)[stage] = x;
                }
            });
    };
    const reference::TextModel text = check.truth.model_on(check.exported);
    const Index tokens = static_cast<Index>(check.ids.size()) - 1;  // the last has none after it
    const Matrix embedded = text.embed(std::span(check.ids).subspan(1));
    const Matrix hidden = check.hidden.topRows(tokens);
    DraftStages truth_stages;
    DraftStages stages;
    const Matrix of_export = of_reference(check.exported, embedded, hidden, &truth_stages);
    const Matrix of_checkpoint = of_reference(check.truth.weights(), embedded, hidden, nullptr);
    DraftFindings findings;
    runtime::openvino_call(ErrorKind::Input, fmt::format("run '{}'", names::kPredictionModel), [&] {
        Runtime exact(check, "f32");
        const Matrix whole = exact.read(embedded, hidden, tokens, &stages);
        const double off = relative_distance(of_export, whole);
        const bool good = off <= kHiddenStates;
        findings.items.push_back(draft_item(
            "hidden states", good,
            good ? fmt::format("the reference's within {:.1e}; the exported weights cost {:.1e} of their size", off,
                               relative_distance(of_checkpoint, of_export))
                 : fmt::format("differ from the reference on the exported weights by {:.1e} of their size{}", off,
                               first_wrong(truth_stages, stages))));
        const double pieces = relative_distance(whole, exact.read(embedded, hidden, 3));
        findings.items.push_back(draft_item("pieces of three tokens", pieces <= kHiddenStates,
                                            fmt::format("{} the whole prompt's, within {:.1e} of their size",
                                                        pieces <= kHiddenStates ? "give" : "do not give", pieces)));
        std::vector<std::size_t> all(static_cast<std::size_t>(tokens));
        std::iota(all.begin(), all.end(), std::size_t{0});
        const Matrix logits = text.logits(of_export);
        findings.divergences.push_back(compare("drafts, compression",
                                               "the checkpoint's prediction layer against the exported weights",
                                               text.logits(of_checkpoint), logits, all));
        findings.divergences.push_back(
            compare("drafts, graph", "the exported prediction layer by the reference against the runtime in float32",
                    logits, text.logits(whole), all));
        findings.divergences.push_back(
            compare("drafts, precision", "the prediction layer in float32 against the device's own choice",
                    text.logits(whole), text.logits(Runtime(check, "").read(embedded, hidden, tokens)), all));
    });
    return findings;
}

}  // namespace deltavino::evaluation
