// One sequence, stateful. Inputs, outputs and states: those that optimum-intel and openvino_genai know.
#include "runtime/language_model.hpp"

#include "base/error.hpp"
#include "base/file.hpp"
#include "graph/names.hpp"
#include "graph/read_ir.hpp"
#include "runtime/cpu_settings.hpp"
#include "runtime/openvino_call.hpp"
#include "runtime/states.hpp"

#include <openvino/op/constant.hpp>
#include <openvino/op/gather.hpp>
#include <openvino/op/matmul.hpp>
#include <openvino/op/negative.hpp>
#include <openvino/op/parameter.hpp>
#include <openvino/op/result.hpp>
#include <openvino/op/slice.hpp>

#include <algorithm>
#include <cstring>
#include <limits>
#include <map>
#include <utility>

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

// Whether a device of this machine answers to the first part of `device`: "GPU" of "GPU.0". AUTO, MULTI
// and the like are not devices themselves and pass.
void require_device(ov::Core& core, const std::string& device) {
    const std::string base = device.substr(0, device.find_first_of(".:"));
    for (const char* virtual_device : {"AUTO", "MULTI", "HETERO", "BATCH"}) {
        if (base == virtual_device) {
            return;
        }
    }
    const std::vector<std::string> devices = core.get_available_devices();
    if (std::none_of(devices.begin(), devices.end(),
                     [&](const std::string& name) { return name == base || name.starts_with(base + "."); })) {
        fail(ErrorKind::Unsupported, "there is no device '{}' for OpenVINO on this machine; it has {}", device,
             devices.empty() ? "none" : fmt::format("{}", fmt::join(devices, ", ")));
    }
}

// Runs `call`; when it fails the reason may be that the device is absent, which is said then.
template <typename Call>
auto device_call(ov::Core& core, const std::string& device, ErrorKind kind, const std::string& action, Call&& call) {
    try {
        return call();
    } catch (const ov::Exception& error) {
        openvino_call(kind, "ask for the devices", [&]() { require_device(core, device); });
        fail(kind, "cannot {}: {}", action, error.what());
    } catch (const std::bad_alloc&) {
        fail(ErrorKind::Input, "cannot {}: there is not enough memory", action);
    }
}

// `prepare` may change the model, and gives further properties.
template <typename Prepare>
ov::CompiledModel compile_prepared(ov::Core& core, const std::shared_ptr<ov::Model>& model, const char* name,
                                   const DeviceSettings& settings, Prepare&& prepare) {
    ov::AnyMap properties = compile_properties(core, settings);
    return device_call(core, settings.device, ErrorKind::Unsupported,
                       fmt::format("prepare '{}' for device '{}'", name, settings.device), [&]() {
                           properties.merge(prepare());
                           return core.compile_model(model, settings.device, properties);
                       });
}

// The input's port, null when the model has none of this name.
std::optional<ov::Output<ov::Node>> find_input(const ov::Model& model, const std::string& name) {
    for (const auto& input : const_cast<ov::Model&>(model).inputs()) {
        if (input.get_names().contains(name)) {
            return input;
        }
    }
    return std::nullopt;
}

// How many rows position_ids has: 1 for rank 2, 3 or 4 (a dynamic number: 4, as the family's exports
// take it) for rank 3; 0 for any other shape.
std::size_t position_rows(const ov::PartialShape& shape) {
    if (shape.rank() == 2) {
        return 1;
    }
    if (shape.rank() != 3 || (shape[0].is_static() && shape[0] != 3 && shape[0] != 4)) {
        return 0;
    }
    return shape[0] == 3 ? 3 : 4;
}

// The fewest tokens that a key or value state of the model is bounded to.
std::optional<std::size_t> state_capacity(const ov::Model& model) {
    std::optional<std::size_t> capacity;
    for (const auto& variable : model.get_variables()) {
        const ov::PartialShape& shape = variable->get_info().data_shape;
        if (!grows_with_tokens(variable->get_info().variable_id) || shape.rank() != 4) {
            continue;
        }
        const ov::Dimension tokens = shape[2];
        if (tokens.get_interval().has_upper_bound()) {
            const auto bound = static_cast<std::size_t>(tokens.get_max_length());
            capacity = std::min(capacity.value_or(bound), bound);
        }
    }
    return capacity;
}

ov::Output<ov::Node> i64_constant(std::int64_t value) {
    return ov::op::v0::Constant::create(ov::element::i64, {1}, {value});
}

// Lets the head read the tokens from `start` on only.
void cut_before_head(const std::shared_ptr<ov::Model>& model, const std::shared_ptr<ov::Node>& head,
                     const ov::Output<ov::Node>& start) {
    const auto last = std::make_shared<ov::op::v8::Slice>(head->input_value(0), start,
                                                          i64_constant(std::numeric_limits<std::int64_t>::max()),
                                                          i64_constant(1), i64_constant(1));
    head->input(0).replace_source_output(last->output(0));
    model->validate_nodes_and_infer_types();
}

// Makes `model` ready for one sequence and compiles it.
ov::InferRequest make_request(ov::Core& core, const std::shared_ptr<ov::Model>& model, const char* name,
                              const DeviceSettings& settings, bool speculative) {
    openvino_call(ErrorKind::Input, fmt::format("prepare '{}'", name),
                  [&]() { speculative ? keep_last_tokens_and_hidden(model) : keep_last_token(model); });
    ov::CompiledModel compiled = compile_language_model(core, model, name, settings);
    ov::InferRequest request = openvino_call(ErrorKind::Unsupported, fmt::format("run '{}'", name),
                                             [&]() { return compiled.create_infer_request(); });
    ov::Tensor beam(ov::element::i32, {1});
    *beam.data<std::int32_t>() = 0;
    request.set_tensor(names::kBeamIdx, beam);
    return request;
}

}  // namespace

std::shared_ptr<ov::Node> find_head(const ov::Model& model) {
    for (const auto& result : model.get_results()) {
        const auto head = ov::as_type_ptr<ov::op::v0::MatMul>(result->get_input_node_shared_ptr(0));
        if (head && result->input_value(0).get_names().contains(names::kLogits) &&
            head->get_input_partial_shape(0).rank() == 3) {
            return head;
        }
    }
    return nullptr;
}

void keep_last_token(const std::shared_ptr<ov::Model>& model) {
    if (const std::shared_ptr<ov::Node> head = find_head(*model)) {
        cut_before_head(model, head, i64_constant(-1));
    }
}

void keep_last_tokens_and_hidden(const std::shared_ptr<ov::Model>& model) {
    const std::shared_ptr<ov::Node> head = find_head(*model);
    if (head == nullptr) {
        fail(ErrorKind::Unsupported, "cannot speculate: the output '{}' of the language model is not made by a MatMul",
             names::kLogits);
    }
    const auto hidden = std::make_shared<ov::op::v0::Result>(head->input_value(0));
    hidden->output(0).set_names({names::kLastHiddenState});
    const auto kept = std::make_shared<ov::op::v0::Parameter>(ov::element::i64, ov::PartialShape{1});
    kept->output(0).set_names({kKeptTokens});
    model->add_parameters({kept});
    model->add_results({hidden});
    cut_before_head(model, head, std::make_shared<ov::op::v0::Negative>(kept)->output(0));
}

std::shared_ptr<ov::Model> embedding_part(const ov::Model& model) {
    const std::shared_ptr<ov::Model> copy = model.clone();
    for (const auto& node : copy->get_ordered_ops()) {
        if (!ov::is_type<ov::op::util::GatherBase>(node) || node->get_output_partial_shape(0).rank() != 3) {
            continue;
        }
        const ov::Node* source = node->get_input_node_ptr(1);
        while (source->get_input_size() == 1) {  // conversions of the ids
            source = source->get_input_node_ptr(0);
        }
        for (const auto& parameter : copy->get_parameters()) {
            if (parameter.get() == source && parameter->output(0).get_names().contains(names::kInputIds)) {
                return std::make_shared<ov::Model>(ov::ResultVector{std::make_shared<ov::op::v0::Result>(node)},
                                                   ov::ParameterVector{parameter}, "embeddings");
            }
        }
    }
    fail(ErrorKind::Unsupported, "cannot speculate: the language model does not look up embeddings by '{}'",
         names::kInputIds);
}

ov::AnyMap compile_properties(ov::Core& core, const DeviceSettings& settings) {
    ov::AnyMap properties;
    if (!settings.precision.empty() && settings.precision != "f32" && settings.precision != "f16" &&
        settings.precision != "bf16") {
        fail(ErrorKind::Usage, "precision '{}' is not known, expected f32, f16 or bf16", settings.precision);
    }
    if (settings.precision.empty() && settings.threads == 0 && settings.compiled_cache.empty()) {
        return properties;
    }
    const auto supported =
        device_call(core, settings.device, ErrorKind::Unsupported, fmt::format("use device '{}'", settings.device),
                    [&]() { return core.get_property(settings.device, ov::supported_properties); });
    const auto knows = [&](const std::string& property) {
        return std::find(supported.begin(), supported.end(), property) != supported.end();
    };
    if (settings.threads > 0) {
        if (!knows(ov::inference_num_threads.name())) {
            fail(ErrorKind::Usage, "device '{}' does not let its number of threads be chosen", settings.device);
        }
        properties.emplace(ov::inference_num_threads(static_cast<std::int32_t>(std::min(settings.threads, 4096u))));
    }
    if (!settings.compiled_cache.empty()) {
        properties.emplace(ov::cache_dir(settings.compiled_cache.string()));
    }
    if (!settings.precision.empty()) {
        properties.emplace(ov::hint::inference_precision(ov::element::Type(settings.precision)));
    }
    if (settings.precision == "f32") {
        // Whatever else would round: quantized key and value states, activations quantized on the fly.
        const auto add = [&](const std::pair<std::string, ov::Any>& property) {
            if (knows(property.first)) {
                properties.insert(property);
            }
        };
        add(ov::hint::kv_cache_precision(ov::element::f32));
        add(ov::hint::dynamic_quantization_group_size(0));
    }
    return properties;
}

void require_language_model(const fs::path& directory, std::string_view verb) {
    const auto has = [&](const char* name) {
        return is_there(directory / (std::string(name) + ".xml"));
    };
    if (!has(names::kTextModel) && !has(names::kLanguageModel)) {
        fail(ErrorKind::Input,
             "cannot {} '{}': it has neither {}.xml nor {}.xml; `deltavino export` makes such a directory from a "
             "checkpoint",
             verb, directory.string(), names::kTextModel, names::kLanguageModel);
    }
}

void require_tokens(const ov::Model& model, const fs::path& directory) {
    const auto outputs = model.outputs();
    const bool tells_texts = std::any_of(outputs.begin(), outputs.end(), [](const auto& output) {
        return output.get_names().contains(names::kLastHiddenState) ||
               (output.get_names().contains(names::kLogits) && output.get_partial_shape().rank() == 2);
    });
    if (!find_input(model, names::kBeamIdx) && tells_texts) {
        fail(ErrorKind::Unsupported,
             "cannot run '{}': its model makes no tokens; it was exported for feature-extraction or "
             "text-classification, which openvino_genai's pipelines for embeddings and reranking run",
             directory.string());
    }
}

std::shared_ptr<ov::Model> read_model(ov::Core& core, const fs::path& directory, const char* name) {
    const fs::path xml = directory / (std::string(name) + ".xml");
    if (!is_there(xml)) {
        fail(ErrorKind::Input, "cannot use '{}': '{}' is missing", directory.string(), xml.filename().string());
    }
    return openvino_call(ErrorKind::Input, fmt::format("read '{}'", xml.string()),
                         [&]() { return graph::read_ir(core, xml); });
}

ov::CompiledModel compile(ov::Core& core, const std::shared_ptr<ov::Model>& model, const char* name,
                          const DeviceSettings& settings) {
    return compile_prepared(core, model, name, settings, []() { return ov::AnyMap(); });
}

ov::CompiledModel compile_language_model(ov::Core& core, const std::shared_ptr<ov::Model>& model, const char* name,
                                         const DeviceSettings& settings) {
    return compile_prepared(core, model, name, settings, [&]() { return prepare_for_cpu(core, model, settings); });
}

std::int64_t vocabulary_of(const ov::CompiledModel& model) {
    const ov::PartialShape shape = model.output(names::kLogits).get_partial_shape();
    const bool known = shape.rank().is_static() && shape.size() > 0 && shape[shape.size() - 1].is_static();
    return known ? shape[shape.size() - 1].get_length() : std::numeric_limits<std::int64_t>::max();
}

LanguageModel::LanguageModel(ov::Core& core, const fs::path& directory, const DeviceSettings& settings,
                             bool speculative) {
    takes_embeddings_ = is_there(directory / (std::string(names::kLanguageModel) + ".xml"));
    const char* name = takes_embeddings_ ? names::kLanguageModel : names::kTextModel;
    const std::shared_ptr<ov::Model> model = read_model(core, directory, name);
    require_tokens(*model, directory);
    Problems problems;
    std::vector<std::string> known{takes_embeddings_ ? names::kInputsEmbeds : names::kInputIds, names::kAttentionMask,
                                   names::kBeamIdx};
    for (const std::string& input : known) {
        if (!find_input(*model, input)) {
            problems.add(fmt::format("it has no input '{}'", input));
        }
    }
    if (const auto positions = find_input(*model, names::kPositionIds)) {
        const ov::PartialShape& shape = positions->get_partial_shape();
        position_rows_ = position_rows(shape);
        if (position_rows_ == 0 || (takes_embeddings_ && position_rows_ == 1)) {
            problems.add(fmt::format("its input '{}' has shape {}, expected {}3 or 4 rows of [batch, tokens]",
                                     names::kPositionIds, shape.to_string(),
                                     takes_embeddings_ ? "" : "[batch, tokens], or "));
        }
    } else if (takes_embeddings_) {
        problems.add(fmt::format("it has no input '{}'", names::kPositionIds));
    }
    known.emplace_back(names::kPositionIds);
    for (const auto& input : model->inputs()) {
        if (std::none_of(known.begin(), known.end(),
                         [&](const std::string& wanted) { return input.get_names().contains(wanted); })) {
            problems.add(fmt::format("its input '{}' is not known", input.get_any_name()));
        }
    }
    problems.throw_if_any(ErrorKind::Unsupported, fmt::format("cannot run '{}/{}.xml'", directory.string(), name));
    capacity_ = state_capacity(*model);
    pieces_ = piece_sizes(*model, reads_long_pieces(settings));
    if (speculative) {
        original_ =
            openvino_call(ErrorKind::Input, fmt::format("prepare '{}'", name), [&]() { return model->clone(); });
    }
    std::shared_ptr<ov::Model> just_read = model;  // later ones are read again: a compiled model needs no other
    request_.emplace([=, &core]() mutable {
        const std::shared_ptr<ov::Model> source = just_read ? std::move(just_read) : read_model(core, directory, name);
        return make_request(core, source, name, settings, speculative);
    });
    vocabulary_ = openvino_call(ErrorKind::Input, fmt::format("run '{}'", name),
                                [&]() { return vocabulary_of(request().get_compiled_model()); });
}

void LanguageModel::set_positions(const TokenBatch& batch) {
    const std::size_t tokens = batch.ids.size();
    positions_.clear();
    // Row 0 of four is the plain place in the text; so are all rows of a text model.
    const std::size_t plain_rows = batch.positions[0].empty() ? position_rows_ : (position_rows_ == 4 ? 1 : 0);
    for (std::size_t row = 0; row < plain_rows; ++row) {
        for (std::size_t i = 0; i < tokens; ++i) {
            positions_.push_back(static_cast<std::int64_t>(tokens_read_ + i));
        }
    }
    if (plain_rows < position_rows_) {
        for (const auto& axis : batch.positions) {
            positions_.insert(positions_.end(), axis.begin(), axis.end());
        }
    }
    const ov::Shape shape = position_rows_ == 1 ? ov::Shape{1, tokens} : ov::Shape{position_rows_, 1, tokens};
    request().set_tensor(names::kPositionIds, ov::Tensor(ov::element::i64, shape, positions_.data()));
}

std::span<float> LanguageModel::read(const TokenBatch& batch, const StopCheck& stop, std::size_t kept) {
    const std::size_t tokens = batch.ids.size();
    if (tokens == 0) {
        fail(ErrorKind::Internal, "there are no tokens to read");
    }
    const std::size_t total = tokens_read_ + tokens;
    if (capacity_ && total > *capacity_) {
        fail(ErrorKind::Input, "cannot read {} tokens: the states of the model hold {}", total, *capacity_);
    }
    mask_.resize(std::max(mask_.size(), total), 1);
    return openvino_call(ErrorKind::Input, "run the language model", [&]() {
        // The request only reads its inputs, and is done with them when infer() returns.
        const auto shared = [](const void* data) {
            return const_cast<void*>(data);
        };
        request().set_tensor(names::kAttentionMask, ov::Tensor(ov::element::i64, {1, total}, mask_.data()));
        if (position_rows_ > 0) {
            set_positions(batch);
        }
        if (takes_embeddings_) {
            const std::size_t width = batch.embeddings.size() / tokens;
            request().set_tensor(names::kInputsEmbeds,
                                 ov::Tensor(ov::element::f32, {1, tokens, width}, shared(batch.embeddings.data())));
        } else {
            request().set_tensor(names::kInputIds, ov::Tensor(ov::element::i64, {1, tokens}, shared(batch.ids.data())));
        }
        if (original_) {
            ov::Tensor tokens_kept(ov::element::i64, {1});
            *tokens_kept.data<std::int64_t>() = static_cast<std::int64_t>(kept);
            request().set_tensor(kKeptTokens, tokens_kept);
        }
        static const StopCheck kNever;
        request_->infer(tokens > 1 ? stop : kNever);
        tokens_read_ = total;
        ov::Tensor logits = request().get_tensor(names::kLogits);
        const std::size_t vocabulary = logits.get_shape().empty() ? 0 : logits.get_shape().back();
        if (vocabulary == 0 || logits.get_size() < kept * vocabulary) {
            fail(ErrorKind::Input, "the language model gives logits of shape {}", logits.get_shape().to_string());
        }
        const std::size_t size = kept * vocabulary;
        return std::span<float>(logits.data<float>() + logits.get_size() - size, size);
    });
}

std::span<const float> LanguageModel::hidden() {
    return openvino_call(ErrorKind::Internal, "read the hidden states", [&]() {
        const ov::Tensor hidden = request().get_tensor(names::kLastHiddenState);
        return std::span<const float>(hidden.data<const float>(), hidden.get_size());
    });
}

void LanguageModel::reset() {
    request_->renew();
    openvino_call(ErrorKind::Internal, "reset the language model", [&]() { request().reset_state(); });
    tokens_read_ = 0;
}

LanguageModel::Mark LanguageModel::mark() {
    return openvino_call(ErrorKind::Unsupported, "keep the states of the language model", [&]() {
        Mark mark;
        mark.tokens = tokens_read_;
        for (ov::VariableState& state : request().query_state()) {
            if (!grows_with_tokens(state.get_name())) {
                mark.states.emplace_back(state.get_name(), copy_of(state.get_state()));
            }
        }
        return mark;
    });
}

void LanguageModel::rewind(const Mark& mark) {
    if (mark.tokens == 0) {
        reset();  // the CPU plugin does not survive a state of no tokens
        return;
    }
    openvino_call(ErrorKind::Unsupported, "restore the states of the language model", [&]() {
        std::map<std::string, ov::Tensor> states(mark.states.begin(), mark.states.end());
        for (ov::VariableState& state : request().query_state()) {
            const std::string name = state.get_name();
            if (!states.contains(name)) {
                states.emplace(name, first_tokens(state.get_state(), mark.tokens, name));
            }
        }
        request_->renew();
        for (ov::VariableState& state : request().query_state()) {
            state.set_state(states.at(state.get_name()));
        }
    });
    tokens_read_ = mark.tokens;
}

}  // namespace deltavino::runtime
