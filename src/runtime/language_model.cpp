// One sequence, stateful. Inputs, outputs and states: those that optimum-intel and openvino_genai know.
#include "runtime/language_model.hpp"

#include "base/error.hpp"
#include "base/file.hpp"
#include "graph/names.hpp"
#include "runtime/openvino_call.hpp"

#include <openvino/op/constant.hpp>
#include <openvino/op/matmul.hpp>
#include <openvino/op/result.hpp>
#include <openvino/op/slice.hpp>

#include <algorithm>
#include <cstring>
#include <limits>

namespace deltavino::runtime {
namespace {

namespace fs = std::filesystem;
namespace names = graph::names;

bool grows_with_tokens(const std::string& state) {
    for (const char* kind : {names::kKeyState, names::kValueState}) {
        if (state.find(fmt::format(".{}.", kind)) != std::string::npos) {
            return true;
        }
    }
    return false;
}

ov::Tensor copy_of(const ov::Tensor& tensor) {
    ov::Tensor copy(tensor.get_element_type(), tensor.get_shape());
    tensor.copy_to(copy);
    return copy;
}

// The first `tokens` of a key or value state [B, heads, tokens, width].
ov::Tensor first_tokens(const ov::Tensor& state, std::size_t tokens, const std::string& name) {
    const ov::Shape shape = state.get_shape();
    if (shape.size() != 4 || shape[2] < tokens) {
        fail(ErrorKind::Internal, "state '{}' has shape {}, expected 4 axes and at least {} tokens", name,
             shape_text({shape.begin(), shape.end()}), tokens);
    }
    return copy_of(ov::Tensor(state, {0, 0, 0, 0}, {shape[0], shape[1], tokens, shape[3]}));
}

}  // namespace

void keep_last_token(const std::shared_ptr<ov::Model>& model) {
    for (const auto& result : model->get_results()) {
        const auto head = ov::as_type_ptr<ov::op::v0::MatMul>(result->get_input_node_shared_ptr(0));
        if (!head || !result->input_value(0).get_names().contains(names::kLogits)) {
            continue;
        }
        const auto number = [](std::int64_t value) {
            return ov::op::v0::Constant::create(ov::element::i64, {1}, {value});
        };
        const ov::Output<ov::Node> hidden = head->input_value(0);  // [B, tokens, hidden]
        if (hidden.get_partial_shape().rank() != 3) {
            continue;
        }
        const auto last = std::make_shared<ov::op::v8::Slice>(
            hidden, number(-1), number(std::numeric_limits<std::int64_t>::max()), number(1), number(1));
        head->input(0).replace_source_output(last->output(0));
    }
    model->validate_nodes_and_infer_types();
}

ov::AnyMap compile_properties(ov::Core& core, const DeviceSettings& settings) {
    ov::AnyMap properties;
    if (settings.precision.empty()) {
        return properties;
    }
    if (settings.precision != "f32" && settings.precision != "f16" && settings.precision != "bf16") {
        fail(ErrorKind::Usage, "precision '{}' is not known, expected f32, f16 or bf16", settings.precision);
    }
    const ov::element::Type type(settings.precision);
    properties.emplace(ov::hint::inference_precision(type));
    if (settings.precision == "f32") {
        // Whatever else would round: quantized key and value states, activations quantized on the fly.
        const auto supported = openvino_call(ErrorKind::Usage, fmt::format("use device '{}'", settings.device), [&]() {
            return core.get_property(settings.device, ov::supported_properties);
        });
        const auto add = [&](const std::pair<std::string, ov::Any>& property) {
            if (std::find(supported.begin(), supported.end(), property.first) != supported.end()) {
                properties.insert(property);
            }
        };
        add(ov::hint::kv_cache_precision(ov::element::f32));
        add(ov::hint::dynamic_quantization_group_size(0));
    }
    return properties;
}

std::shared_ptr<ov::Model> read_model(ov::Core& core, const fs::path& directory, const char* name) {
    const fs::path xml = directory / (std::string(name) + ".xml");
    if (!is_there(xml)) {
        fail(ErrorKind::Input, "cannot use '{}': '{}' is missing", directory.string(), xml.filename().string());
    }
    require_readable_model(xml);
    return openvino_call(ErrorKind::Input, fmt::format("read '{}'", xml.string()),
                         [&]() { return core.read_model(xml); });
}

ov::CompiledModel compile(ov::Core& core, const std::shared_ptr<ov::Model>& model, const char* name,
                          const DeviceSettings& settings) {
    const ov::AnyMap properties = compile_properties(core, settings);
    return openvino_call(ErrorKind::Unsupported, fmt::format("prepare '{}' for device '{}'", name, settings.device),
                         [&]() { return core.compile_model(model, settings.device, properties); });
}

std::int64_t vocabulary_of(const ov::CompiledModel& model) {
    const ov::PartialShape shape = model.output(names::kLogits).get_partial_shape();
    const bool known = shape.rank().is_static() && shape.size() > 0 && shape[shape.size() - 1].is_static();
    return known ? shape[shape.size() - 1].get_length() : std::numeric_limits<std::int64_t>::max();
}

LanguageModel::LanguageModel(ov::Core& core, const fs::path& directory, const DeviceSettings& settings) {
    takes_embeddings_ = is_there(directory / (std::string(names::kLanguageModel) + ".xml"));
    const char* name = takes_embeddings_ ? names::kLanguageModel : names::kTextModel;
    const std::shared_ptr<ov::Model> model = read_model(core, directory, name);
    const std::vector<const char*> wanted =
        takes_embeddings_ ? std::vector<const char*>{names::kInputsEmbeds, names::kAttentionMask, names::kPositionIds,
                                                     names::kBeamIdx}
                          : std::vector<const char*>{names::kInputIds, names::kAttentionMask, names::kBeamIdx};
    Problems problems;
    for (const char* input : wanted) {
        const auto inputs = model->inputs();
        if (std::none_of(inputs.begin(), inputs.end(),
                         [input](const auto& port) { return port.get_names().contains(input); })) {
            problems.add(fmt::format("it has no input '{}'", input));
        }
    }
    if (model->inputs().size() != wanted.size()) {
        problems.add(fmt::format("it has {} inputs, expected {}", model->inputs().size(), wanted.size()));
    }
    problems.throw_if_any(ErrorKind::Unsupported, fmt::format("cannot run '{}/{}.xml'", directory.string(), name));
    openvino_call(ErrorKind::Input, fmt::format("prepare '{}'", name), [&]() { keep_last_token(model); });
    const ov::CompiledModel compiled = compile(core, model, name, settings);
    request_ = openvino_call(ErrorKind::Unsupported, fmt::format("run '{}'", name),
                             [&]() { return ov::CompiledModel(compiled).create_infer_request(); });
    vocabulary_ =
        openvino_call(ErrorKind::Input, fmt::format("run '{}'", name), [&]() { return vocabulary_of(compiled); });
    ov::Tensor beam(ov::element::i32, {1});
    *beam.data<std::int32_t>() = 0;
    request_.set_tensor(names::kBeamIdx, beam);
}

std::span<float> LanguageModel::read(const TokenBatch& batch) {
    const std::size_t tokens = batch.ids.size();
    if (tokens == 0) {
        fail(ErrorKind::Internal, "there are no tokens to read");
    }
    const std::size_t total = tokens_read_ + tokens;
    mask_.resize(std::max(mask_.size(), total), 1);
    return openvino_call(ErrorKind::Input, "run the language model", [&]() {
        // The request only reads its inputs, and is done with them when infer() returns.
        const auto shared = [](const void* data) {
            return const_cast<void*>(data);
        };
        request_.set_tensor(names::kAttentionMask, ov::Tensor(ov::element::i64, {1, total}, mask_.data()));
        if (takes_embeddings_) {
            positions_.clear();
            for (std::size_t i = 0; i < tokens; ++i) {
                positions_.push_back(static_cast<std::int64_t>(tokens_read_ + i));  // row 0: the plain text position
            }
            for (const auto& axis : batch.positions) {
                positions_.insert(positions_.end(), axis.begin(), axis.end());
            }
            const std::size_t width = batch.embeddings.size() / tokens;
            request_.set_tensor(names::kInputsEmbeds,
                                ov::Tensor(ov::element::f32, {1, tokens, width}, shared(batch.embeddings.data())));
            request_.set_tensor(names::kPositionIds, ov::Tensor(ov::element::i64, {4, 1, tokens}, positions_.data()));
        } else {
            request_.set_tensor(names::kInputIds, ov::Tensor(ov::element::i64, {1, tokens}, shared(batch.ids.data())));
        }
        request_.infer();
        tokens_read_ = total;
        ov::Tensor logits = request_.get_tensor(names::kLogits);
        const std::size_t vocabulary = logits.get_shape().back();
        return std::span<float>(logits.data<float>() + logits.get_size() - vocabulary, vocabulary);
    });
}

void LanguageModel::reset() {
    openvino_call(ErrorKind::Internal, "reset the language model", [&]() { request_.reset_state(); });
    tokens_read_ = 0;
}

LanguageModel::Mark LanguageModel::mark() {
    return openvino_call(ErrorKind::Unsupported, "keep the states of the language model", [&]() {
        Mark mark;
        mark.tokens = tokens_read_;
        for (ov::VariableState& state : request_.query_state()) {
            if (!grows_with_tokens(state.get_name())) {
                mark.states.emplace_back(state.get_name(), copy_of(state.get_state()));
            }
        }
        return mark;
    });
}

void LanguageModel::rewind(const Mark& mark) {
    openvino_call(ErrorKind::Unsupported, "restore the states of the language model", [&]() {
        for (ov::VariableState& state : request_.query_state()) {
            const std::string name = state.get_name();
            const auto kept = std::find_if(mark.states.begin(), mark.states.end(),
                                           [&](const auto& entry) { return entry.first == name; });
            state.set_state(kept != mark.states.end() ? kept->second
                                                      : first_tokens(state.get_state(), mark.tokens, name));
        }
    });
    tokens_read_ = mark.tokens;
}

}  // namespace deltavino::runtime
