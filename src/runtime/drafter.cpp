#include "runtime/drafter.hpp"

#include "base/error.hpp"
#include "base/file.hpp"
#include "graph/names.hpp"
#include "runtime/openvino_call.hpp"
#include "runtime/states.hpp"

#include <openvino/op/constant.hpp>
#include <openvino/op/matmul.hpp>
#include <openvino/op/result.hpp>
#include <openvino/op/slice.hpp>

#include <algorithm>
#include <limits>

namespace deltavino::runtime {
namespace {

namespace fs = std::filesystem;
namespace names = graph::names;

constexpr std::size_t kPiece = 256;  // pairs that are read at once

std::shared_ptr<ov::Model> read_drafting_model(ov::Core& core, const fs::path& directory) {
    if (!is_there(directory / (std::string(names::kPredictionModel) + ".xml"))) {
        fail(ErrorKind::Input,
             "cannot speculate: '{}' has no {}.xml; an export of a checkpoint with multi-token prediction writes it",
             directory.string(), names::kPredictionModel);
    }
    std::shared_ptr<ov::Model> model = read_model(core, directory, names::kPredictionModel);
    Problems problems;
    for (const char* wanted :
         {names::kHiddenStates, names::kInputsEmbeds, names::kAttentionMask, names::kPositionIds, names::kBeamIdx}) {
        const auto inputs = model->inputs();
        if (std::none_of(inputs.begin(), inputs.end(),
                         [&](const auto& input) { return input.get_names().contains(wanted); })) {
            problems.add(fmt::format("it has no input '{}'", wanted));
        }
    }
    if (model->outputs().size() != 1 || model->output(0).get_partial_shape().rank() != 3 ||
        !model->output(0).get_partial_shape()[2].is_static()) {
        problems.add(fmt::format("it does not give hidden states ('{}')", names::kLastHiddenState));
    }
    problems.throw_if_any(ErrorKind::Unsupported, fmt::format("cannot run '{}.xml'", names::kPredictionModel));
    return model;
}

// Adds the output 'logits' of the last pair, by the language model's head.
void add_head(const std::shared_ptr<ov::Model>& model, const ov::Model& language) {
    // The nodes of a copy: each model has its own.
    const std::shared_ptr<ov::Node> head = find_head(*language.clone());
    if (head == nullptr) {
        fail(ErrorKind::Unsupported, "cannot speculate: the output '{}' of the language model is not made by a MatMul",
             names::kLogits);
    }
    const auto number = [](std::int64_t value) {
        return ov::op::v0::Constant::create(ov::element::i64, {1}, {value});
    };
    const ov::Output<ov::Node> hidden = model->output(0).get_node()->input_value(0);
    const auto last = std::make_shared<ov::op::v8::Slice>(
        hidden, number(-1), number(std::numeric_limits<std::int64_t>::max()), number(1), number(1));
    const auto logits = std::make_shared<ov::op::v0::MatMul>(
        last, head->input_value(1), false, ov::as_type<ov::op::v0::MatMul>(head.get())->get_transpose_b());
    logits->output(0).set_names({names::kLogits});
    model->add_results({std::make_shared<ov::op::v0::Result>(logits)});
    model->validate_nodes_and_infer_types();
}

}  // namespace

Drafter::Drafter(ov::Core& core, const fs::path& directory, const ov::Model& language, const DeviceSettings& settings) {
    const std::shared_ptr<ov::Model> model = read_drafting_model(core, directory);
    width_ = static_cast<std::size_t>(model->output(0).get_partial_shape()[2].get_length());
    openvino_call(ErrorKind::Input, fmt::format("prepare '{}'", names::kPredictionModel),
                  [&]() { add_head(model, language); });
    ov::CompiledModel compiled = compile(core, model, names::kPredictionModel, settings);
    request_ = openvino_call(ErrorKind::Unsupported, fmt::format("run '{}'", names::kPredictionModel),
                             [&]() { return compiled.create_infer_request(); });
    ov::Tensor beam(ov::element::i32, {1});
    *beam.data<std::int32_t>() = 0;
    request_.set_tensor(names::kBeamIdx, beam);
}

void Drafter::observe(std::span<const float> embeddings, std::span<const float> hidden, const StopCheck& stop) {
    if (embeddings.size() != hidden.size() || hidden.size() % width_ != 0 || hidden.empty()) {
        fail(ErrorKind::Input, "'{}' has hidden states of width {}, which does not fit the language model",
             names::kPredictionModel, width_);
    }
    // The first token has none before it.
    const std::size_t skipped = last_hidden_.empty() ? width_ : 0;
    waiting_embeddings_.insert(waiting_embeddings_.end(), embeddings.begin() + static_cast<std::ptrdiff_t>(skipped),
                               embeddings.end());
    waiting_hidden_.insert(waiting_hidden_.end(), last_hidden_.begin(), last_hidden_.end());
    waiting_hidden_.insert(waiting_hidden_.end(), hidden.begin(), hidden.end() - static_cast<std::ptrdiff_t>(width_));
    last_hidden_.assign(hidden.end() - static_cast<std::ptrdiff_t>(width_), hidden.end());
    if (waiting_hidden_.size() >= kPiece * width_) {
        read_waiting(stop);
    }
}

void Drafter::read_waiting(const StopCheck& stop) {
    forget_guesses();
    for (std::size_t at = 0; at < waiting_hidden_.size(); at += kPiece * width_) {
        const std::size_t size = std::min(kPiece * width_, waiting_hidden_.size() - at);
        read(std::span(waiting_embeddings_).subspan(at, size), std::span(waiting_hidden_).subspan(at, size), stop);
    }
    pairs_ = read_;
    waiting_embeddings_.clear();
    waiting_hidden_.clear();
}

std::vector<std::int64_t> Drafter::draft(std::span<const float> embedding, std::size_t count, const Embed& embed) {
    std::vector<std::int64_t> ids;
    if (last_hidden_.empty() || count == 0) {
        return ids;
    }
    forget_guesses();
    const std::size_t certain = pairs_ + waiting_hidden_.size() / width_;
    std::vector<float> embeddings = std::move(waiting_embeddings_);
    std::vector<float> hidden = std::move(waiting_hidden_);
    waiting_embeddings_.clear();
    waiting_hidden_.clear();
    embeddings.insert(embeddings.end(), embedding.begin(), embedding.end());
    hidden.insert(hidden.end(), last_hidden_.begin(), last_hidden_.end());
    while (true) {
        read(embeddings, hidden, {});
        pairs_ = certain;
        const ov::Tensor logits = request_.get_tensor(names::kLogits);
        const auto* begin = logits.data<const float>();
        ids.push_back(std::max_element(begin, begin + logits.get_size()) - begin);
        if (ids.size() == count) {
            return ids;
        }
        const ov::Tensor output = request_.get_tensor(names::kLastHiddenState);
        hidden.assign(output.data<const float>() + output.get_size() - width_,
                      output.data<const float>() + output.get_size());
        embeddings = embed(ids.back());
    }
}

void Drafter::read(std::span<const float> embeddings, std::span<const float> hidden, const StopCheck& stop) {
    const std::size_t pairs = hidden.size() / width_;
    mask_.resize(std::max(mask_.size(), read_ + pairs), 1);
    openvino_call(ErrorKind::Input, "draft tokens", [&]() {
        // The request only reads its inputs, and is done with them when infer() returns.
        const auto shared = [](std::span<const float> data) {
            return const_cast<float*>(data.data());
        };
        const ov::Shape shape{1, pairs, width_};
        ov::Tensor positions(ov::element::i64, {1, pairs});
        for (std::size_t i = 0; i < pairs; ++i) {
            positions.data<std::int64_t>()[i] = static_cast<std::int64_t>(read_ + i);
        }
        request_.set_tensor(names::kHiddenStates, ov::Tensor(ov::element::f32, shape, shared(hidden)));
        request_.set_tensor(names::kInputsEmbeds, ov::Tensor(ov::element::f32, shape, shared(embeddings)));
        request_.set_tensor(names::kAttentionMask, ov::Tensor(ov::element::i64, {1, read_ + pairs}, mask_.data()));
        request_.set_tensor(names::kPositionIds, positions);
        throw_if_stopped(stop);
        request_.infer();  // one layer of few pairs: not worth to be stopped inside
    });
    read_ += pairs;
}

void Drafter::forget_guesses() {
    if (read_ == pairs_) {
        return;
    }
    openvino_call(ErrorKind::Unsupported, "restore the states of the drafting model", [&]() {
        if (pairs_ == 0) {
            request_.reset_state();  // the CPU plugin does not survive a state of no tokens
            return;
        }
        for (ov::VariableState& state : request_.query_state()) {
            state.set_state(first_tokens(state.get_state(), pairs_, state.get_name()));
        }
    });
    read_ = pairs_;
}

void Drafter::reset() {
    openvino_call(ErrorKind::Internal, "reset the drafting model", [&]() { request_.reset_state(); });
    read_ = 0;
    pairs_ = 0;
    waiting_embeddings_.clear();
    waiting_hidden_.clear();
    last_hidden_.clear();
}

void Drafter::rewind(const Mark& mark) {
    if (mark.pairs > read_) {
        fail(ErrorKind::Internal, "the drafting model has read {} pairs, expected at least {}", read_, mark.pairs);
    }
    pairs_ = mark.pairs;
    waiting_embeddings_ = mark.waiting_embeddings;
    waiting_hidden_ = mark.waiting_hidden;
    last_hidden_ = mark.last_hidden;
    forget_guesses();
}

}  // namespace deltavino::runtime
