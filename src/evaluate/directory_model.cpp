#include "evaluate/directory_model.hpp"

#include "base/error.hpp"
#include "graph/names.hpp"
#include "runtime/language_model.hpp"
#include "runtime/openvino_call.hpp"

#include <algorithm>
#include <cstring>
#include <numeric>
#include <regex>

namespace deltavino::evaluation {
namespace {

namespace fs = std::filesystem;
namespace names = graph::names;
using runtime::openvino_call;

ov::Tensor tensor_of(const Ids& values, const ov::Shape& shape) {
    ov::Tensor tensor(ov::element::i64, shape);
    std::memcpy(tensor.data(), values.data(), values.size() * sizeof(std::int64_t));
    return tensor;
}

Ids flatten(const std::vector<Ids>& rows) {
    Ids flat;
    for (const Ids& row : rows) {
        flat.insert(flat.end(), row.begin(), row.end());
    }
    return flat;
}

struct Padded {
    std::vector<Ids> ids;
    std::vector<Ids> mask;
};

// Rows padded on the left to the longest.
Padded pad(const std::vector<Ids>& rows) {
    std::size_t width = 0;
    for (const Ids& row : rows) {
        width = std::max(width, row.size());
    }
    Padded padded;
    for (const Ids& row : rows) {
        padded.ids.emplace_back(width - row.size(), row.front());
        padded.ids.back().insert(padded.ids.back().end(), row.begin(), row.end());
        padded.mask.emplace_back(width - row.size(), 0);
        padded.mask.back().resize(width, 1);
    }
    return padded;
}

// Positions of the newest `length` tokens of each row: padding does not count.
Ids positions_of(const std::vector<Ids>& mask, std::size_t length) {
    Ids positions;
    for (const Ids& row : mask) {
        std::int64_t position = 0;
        for (std::size_t t = 0; t < row.size(); ++t) {
            if (t + length >= row.size()) {
                positions.push_back(position);
            }
            position += row[t];
        }
    }
    return positions;
}

// For a node whose name says so: deltavino's names, then those of torch's tracer.
std::optional<LayerPlace> place_of(const std::string& name) {
    static const std::regex kOwn(R"(^.*layers\.(\d{1,6})/(mixer_residual|residual)$)");
    static const std::regex kTraced(R"(^.*layers\.(\d{1,6})/aten::add/Add(_1)?$)");
    std::smatch match;
    constexpr std::size_t kMostBytes = 1000;  // std::regex recurses for each character
    if (name.size() > kMostBytes) {
        return {};
    }
    if (std::regex_match(name, match, kOwn)) {
        return LayerPlace{std::stoul(match[1].str()), match[2] == "residual"};
    }
    if (std::regex_match(name, match, kTraced)) {
        return LayerPlace{std::stoul(match[1].str()), match[2].matched};
    }
    return {};
}

// A graph may say one shape and compute another. Returns the size of the vocabulary.
std::size_t require_logits(const ov::Tensor& logits, std::size_t tokens) {
    const ov::Shape shape = logits.get_shape();
    const std::size_t vocabulary = shape.empty() ? 0 : shape.back();
    if (vocabulary == 0 || logits.get_size() != tokens * vocabulary) {
        fail(ErrorKind::Input, "cannot use the model: its logits for {} tokens have shape {}", tokens,
             shape.to_string());
    }
    return vocabulary;
}

}  // namespace

std::size_t position_axes(const ov::PartialShape& shape) {
    if (shape.size() < 2 || (shape[0].is_static() && shape[0].get_length() != 3 && shape[0].get_length() != 4)) {
        fail(ErrorKind::Input, "cannot use the model: its position_ids have shape {}, expected 3 or 4 axes first",
             shape.to_string());
    }
    return shape[0].is_static() ? static_cast<std::size_t>(shape[0].get_length()) : 3;
}

ov::AnyMap exact_properties(ov::Core& core, const std::string& device, const std::string& precision) {
    return runtime::compile_properties(core, {device, precision});
}

std::string LayerPlace::text() const {
    return fmt::format("layer {}, {}", layer, feed_forward ? "feed-forward" : "mixer");
}

void stop_if_asked(const StopCheck& stop) {
    if (stop && stop()) {
        fail(ErrorKind::Cancelled, "stopped");
    }
}

void keep_wanted(const ov::Tensor& logits, std::size_t begin, std::size_t count, std::span<const std::size_t> wanted,
                 Matrix& out) {
    const std::size_t vocabulary = require_logits(logits, count);
    if (out.size() != 0 && static_cast<std::size_t>(out.cols()) != vocabulary) {
        fail(ErrorKind::Input, "cannot use the model: its logits have {} and then {} columns", out.cols(), vocabulary);
    }
    if (out.size() == 0) {
        out.resize(static_cast<reference::Index>(wanted.size()), static_cast<reference::Index>(vocabulary));
    }
    for (std::size_t i = 0; i < wanted.size(); ++i) {
        if (wanted[i] >= begin && wanted[i] < begin + count) {
            std::memcpy(out.row(static_cast<reference::Index>(i)).data(),
                        logits.data<float>() + (wanted[i] - begin) * vocabulary, vocabulary * sizeof(float));
        }
    }
}

OperationCounts count_operations(const ov::CompiledModel& compiled) {
    OperationCounts counts;
    for (const auto& node : compiled.get_runtime_model()->get_ordered_ops()) {
        const auto type = node->get_rt_info().find("layerType");
        if (type != node->get_rt_info().end()) {
            counts[type->second.as<std::string>()] += 1;
        }
    }
    return counts;
}

OperationCounts count_operations(const ov::Model& model) {
    OperationCounts counts;
    for (const auto& node : model.get_ordered_ops()) {
        counts[node->get_type_name()] += 1;
    }
    return counts;
}

ov::Tensor embed_tokens(ov::Core& core, const std::shared_ptr<ov::Model>& embeddings, const Ids& ids) {
    ov::InferRequest request =
        core.compile_model(embeddings, "CPU", exact_properties(core, "CPU", "f32")).create_infer_request();
    request.set_input_tensor(tensor_of(ids, {1, ids.size()}));
    request.infer();
    ov::Tensor embedded = request.get_output_tensor();
    const ov::Shape shape = embedded.get_shape();
    if (shape.size() != 3 || shape[0] != 1 || shape[1] != ids.size()) {
        fail(ErrorKind::Input,
             "cannot use the model: its embeddings of {} tokens have shape {}, expected [1, {}, hidden]", ids.size(),
             shape.to_string(), ids.size());
    }
    return embedded;
}

DirectoryModel::DirectoryModel(ov::Core& core, const fs::path& directory, StopCheck stop)
    : core_(core), stop_(std::move(stop)) {
    std::error_code error;
    runtime::require_language_model(directory, "use");
    const bool text = fs::exists(directory / (std::string(names::kTextModel) + ".xml"), error);
    language_ = runtime::read_model(core, directory, text ? names::kTextModel : names::kLanguageModel);
    runtime::require_tokens(*language_, directory);
    if (!text) {
        embeddings_ = runtime::read_model(core, directory, names::kTextEmbeddings);
    }
}

std::vector<std::shared_ptr<ov::Model>> DirectoryModel::models() const {
    std::vector<std::shared_ptr<ov::Model>> all{language_};
    if (embeddings_ != nullptr) {
        all.push_back(embeddings_);
    }
    return all;
}

void DirectoryModel::compile(const std::string& device, const std::string& precision, bool as_generate) {
    const runtime::DeviceSettings settings{device, precision, 0, {}, !as_generate};
    const char* name = embeddings_ == nullptr ? names::kTextModel : names::kLanguageModel;
    compiled_ = runtime::compile_language_model(core_, as_generate ? language_->clone() : language_, name, settings);
    openvino_call(ErrorKind::Unsupported, fmt::format("run '{}'", name),
                  [&] { request_ = compiled_.create_infer_request(); });
    if (embeddings_ != nullptr) {
        embedder_ = runtime::compile(core_, embeddings_, names::kTextEmbeddings, settings).create_infer_request();
    }
}

std::int64_t DirectoryModel::vocabulary() const {
    return openvino_call(ErrorKind::Input, "run the language model", [&] { return runtime::vocabulary_of(compiled_); });
}

OperationCounts DirectoryModel::operations() const {
    return count_operations(compiled_);
}

ov::Tensor DirectoryModel::embed(const Ids& flat, std::size_t rows) {
    embedder_.set_input_tensor(tensor_of(flat, {rows, flat.size() / rows}));
    embedder_.infer();
    return embedder_.get_output_tensor();
}

void DirectoryModel::set_inputs(ov::InferRequest& request, const std::vector<Ids>& rows, const std::vector<Ids>& mask,
                                std::size_t past) {
    const std::size_t count = rows.size();
    const std::size_t length = rows.front().size();
    const Ids flat = flatten(rows);
    if (embeddings_ != nullptr) {
        request.set_tensor(names::kInputsEmbeds, embed(flat, count));
    } else {
        request.set_tensor(names::kInputIds, tensor_of(flat, {count, length}));
    }
    request.set_tensor(names::kAttentionMask, tensor_of(flatten(mask), {count, past + length}));
    ov::Tensor beam(ov::element::i32, {count});
    for (std::size_t i = 0; i < count; ++i) {
        beam.data<std::int32_t>()[i] = static_cast<std::int32_t>(i);
    }
    request.set_tensor(names::kBeamIdx, beam);
    for (const auto& input : language_->inputs()) {
        if (!input.get_names().contains(names::kPositionIds)) {
            continue;
        }
        const Ids positions = positions_of(mask, length);
        const ov::PartialShape& shape = input.get_partial_shape();
        if (shape.size() == 2) {
            request.set_tensor(names::kPositionIds, tensor_of(positions, {count, length}));
            continue;
        }
        const std::size_t axes = position_axes(shape);
        Ids all;
        for (std::size_t axis = 0; axis < axes; ++axis) {
            all.insert(all.end(), positions.begin(), positions.end());
        }
        request.set_tensor(names::kPositionIds, tensor_of(all, {axes, count, length}));
    }
}

Matrix DirectoryModel::logits(const Ids& ids, std::span<const std::size_t> wanted, std::size_t piece) {
    Matrix kept;
    openvino_call(ErrorKind::Input, "run the language model", [&] {
        request_.reset_state();
        for (std::size_t begin = 0; begin < ids.size(); begin += piece) {
            const std::size_t count = std::min(piece, ids.size() - begin);
            const auto first = ids.begin() + static_cast<std::ptrdiff_t>(begin);
            set_inputs(request_, {Ids(first, first + static_cast<std::ptrdiff_t>(count))}, {Ids(begin + count, 1)},
                       begin);
            request_.infer();
            stop_if_asked(stop_);
            keep_wanted(request_.get_tensor(names::kLogits), begin, count, wanted, kept);
        }
    });
    return kept;
}

Matrix DirectoryModel::logits(const ov::Tensor& embeddings, const std::array<Ids, 3>& positions) {
    const std::size_t tokens = embeddings.get_shape()[1];
    Matrix kept;
    openvino_call(ErrorKind::Input, "run the language model with a picture", [&] {
        request_.reset_state();
        request_.set_tensor(names::kInputsEmbeds, embeddings);
        request_.set_tensor(names::kAttentionMask, tensor_of(Ids(tokens, 1), {1, tokens}));
        ov::Tensor beam(ov::element::i32, {1});
        *beam.data<std::int32_t>() = 0;
        request_.set_tensor(names::kBeamIdx, beam);
        const std::size_t rows = position_axes(language_->input(names::kPositionIds).get_partial_shape());
        Ids all;
        for (std::size_t row = 0; row < rows; ++row) {
            // Of four rows the first counts tokens, the others are the axes.
            const Ids& axis = positions[rows == 4 ? std::max<std::size_t>(row, 1) - 1 : std::min<std::size_t>(row, 2)];
            all.insert(all.end(), axis.begin(), axis.end());
        }
        request_.set_tensor(names::kPositionIds, tensor_of(all, {rows, 1, tokens}));
        request_.infer();
        std::vector<std::size_t> every(tokens);
        std::iota(every.begin(), every.end(), std::size_t{0});
        keep_wanted(request_.get_tensor(names::kLogits), 0, tokens, every, kept);
    });
    return kept;
}

Matrix DirectoryModel::padded_logits(const std::vector<Ids>& rows) {
    const Padded padded = pad(rows);
    Matrix last;
    openvino_call(ErrorKind::Input, "run the language model on a padded batch", [&] {
        request_.reset_state();
        set_inputs(request_, padded.ids, padded.mask, 0);
        request_.infer();
        const ov::Tensor logits = request_.get_tensor(names::kLogits);
        const ov::Shape shape = logits.get_shape();
        const std::size_t given = shape.size() == 3 && shape[1] == 1 ? 1 : padded.ids.front().size();  // or the last
        const std::size_t vocabulary = require_logits(logits, rows.size() * given);
        last.resize(static_cast<reference::Index>(rows.size()), static_cast<reference::Index>(vocabulary));
        for (std::size_t i = 0; i < rows.size(); ++i) {
            std::memcpy(last.row(static_cast<reference::Index>(i)).data(),
                        logits.data<float>() + ((i + 1) * given - 1) * vocabulary, vocabulary * sizeof(float));
        }
    });
    return last;
}

std::vector<LayerPlace> add_layer_outputs(ov::Model& model) {
    std::vector<LayerPlace> places;
    for (const auto& node : model.get_ordered_ops()) {
        const std::optional<LayerPlace> place = place_of(node->get_friendly_name());
        if (place && node->get_output_partial_shape(0).size() == 3) {
            places.push_back(*place);
            model.add_output(node->output(0));
        }
    }
    return places;
}

LayerOutputs DirectoryModel::layer_outputs(const std::vector<Ids>& rows, const std::string& device) {
    LayerOutputs outputs;
    const std::shared_ptr<ov::Model> copy = language_->clone();
    const std::size_t own = copy->outputs().size();
    const std::vector<LayerPlace> places = add_layer_outputs(*copy);
    if (places.empty()) {
        return outputs;
    }
    const Padded padded = pad(rows);
    openvino_call(ErrorKind::Input, "run the language model layer by layer", [&] {
        ov::InferRequest request =
            core_.compile_model(copy, device, exact_properties(core_, device, "f32")).create_infer_request();
        set_inputs(request, padded.ids, padded.mask, 0);
        request.infer();
        const auto tokens = static_cast<reference::Index>(rows.back().size());
        for (std::size_t i = 0; i < places.size(); ++i) {
            const ov::Tensor tensor = request.get_output_tensor(own + i);
            const ov::Shape shape = tensor.get_shape();  // [rows, tokens, hidden]
            if (shape.size() != 3 || shape[0] * shape[1] < rows.back().size()) {
                fail(ErrorKind::Input, "cannot use the model: {} gives shape {}, expected [rows, tokens, hidden]",
                     places[i].text(), shape.to_string());
            }
            const Eigen::Map<const Matrix> values(tensor.data<float>(),
                                                  static_cast<reference::Index>(shape[0] * shape[1]),
                                                  static_cast<reference::Index>(shape[2]));
            outputs.emplace(places[i], values.bottomRows(tokens));
        }
    });
    return outputs;
}

}  // namespace deltavino::evaluation
