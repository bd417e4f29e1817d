#include "benchmark/timed_model.hpp"

#include "base/error.hpp"
#include "base/file.hpp"
#include "graph/names.hpp"
#include "runtime/cpu_settings.hpp"
#include "runtime/language_model.hpp"
#include "runtime/openvino_call.hpp"

#include <algorithm>
#include <cstring>

namespace deltavino::benchmark {
namespace {

namespace names = graph::names;
using runtime::openvino_call;

ov::Tensor tensor_of(std::span<const std::int64_t> values, const ov::Shape& shape) {
    ov::Tensor tensor(ov::element::i64, shape);
    std::memcpy(tensor.data(), values.data(), values.size_bytes());
    return tensor;
}

}  // namespace

TimedModel::TimedModel(const BenchOptions& options, runtime::StopCheck stop) : stop_(std::move(stop)) {
    const bool vision = is_there(options.model / (std::string(names::kLanguageModel) + ".xml"));
    const char* name = vision ? names::kLanguageModel : names::kTextModel;
    const runtime::DeviceSettings settings{options.device, options.precision, options.threads, {}, options.plugin_only};
    if (options.profile) {
        openvino_call(ErrorKind::Unsupported, fmt::format("count times on device '{}'", options.device),
                      [&]() { core_.set_property(options.device, ov::enable_profiling(true)); });
    }
    const std::shared_ptr<ov::Model> model = runtime::read_model(core_, options.model, name);
    pieces_ = runtime::piece_sizes(*model, runtime::reads_long_pieces(settings));
    learn_inputs(*model, fmt::format("{}/{}.xml", options.model.string(), name));
    openvino_call(ErrorKind::Input, fmt::format("prepare '{}'", name), [&]() { runtime::keep_last_token(model); });
    compiled_ = runtime::compile_language_model(core_, model, name, settings);
    openvino_call(ErrorKind::Unsupported, fmt::format("run '{}'", name), [&]() {
        request_ = compiled_.create_infer_request();
        vocabulary_ = runtime::vocabulary_of(compiled_);
    });
    load_embeddings(options);
}

void TimedModel::learn_inputs(const ov::Model& model, const std::string& file) {
    Problems problems;
    bool takes_tokens = false;
    for (const auto& input : model.inputs()) {
        const ov::PartialShape& shape = input.get_partial_shape();
        const auto is = [&](const char* name) {
            return input.get_names().contains(name);
        };
        if (is(names::kInputsEmbeds)) {
            takes_embeddings_ = true;
            const bool known = shape.rank() == 3 && shape[2].is_static();
            embedding_width_ = known ? static_cast<std::size_t>(shape[2].get_length()) : 0;
        } else if (is(names::kPositionIds)) {
            if (shape.rank() != 2 && shape.rank() != 3) {
                problems.add(fmt::format("its input '{}' has shape {}, expected 2 or 3 axes", names::kPositionIds,
                                         shape.to_string()));
                continue;
            }
            position_rank_ = shape.size();
            // A family whose number of rows is left open takes four.
            position_rows_ = position_rank_ == 2 ? 1 : shape[0].is_static() ? shape[0].get_min_length() : 4;
        } else if (is(names::kInputIds)) {
            takes_tokens = true;
        } else if (is(names::kBeamIdx)) {
            takes_beams_ = true;
        } else if (!is(names::kAttentionMask)) {
            problems.add(fmt::format("its input '{}' is not known",
                                     input.get_names().empty() ? std::string("?") : input.get_any_name()));
        }
    }
    if (takes_tokens == takes_embeddings_) {
        problems.add(fmt::format("expected one of the inputs '{}' and '{}'", names::kInputIds, names::kInputsEmbeds));
    }
    if (model.get_variables().empty()) {
        problems.add("it has no states, so it cannot go on after what it read");
    }
    problems.throw_if_any(ErrorKind::Unsupported, fmt::format("cannot measure '{}'", file));
}

void TimedModel::load_embeddings(const BenchOptions& options) {
    if (!takes_embeddings_) {
        return;
    }
    const char* name = names::kTextEmbeddings;
    if (is_there(options.model / (std::string(name) + ".xml"))) {
        ov::CompiledModel compiled = runtime::compile(core_, runtime::read_model(core_, options.model, name), name,
                                                      {options.device, options.precision, options.threads});
        embedder_ = openvino_call(ErrorKind::Unsupported, fmt::format("run '{}'", name),
                                  [&]() { return compiled.create_infer_request(); });
    } else if (embedding_width_ == 0) {
        fail(ErrorKind::Unsupported,
             "cannot measure '{}': it has no {}.xml, and its language model does not say how wide embeddings are",
             options.model.string(), name);
    }
}

ov::Tensor TimedModel::embed(std::span<const std::int64_t> ids) {
    if (embedder_) {
        embedder_.set_input_tensor(tensor_of(ids, {1, ids.size()}));
        embedder_.infer();
        return embedder_.get_output_tensor();
    }
    ov::Tensor rows(ov::element::f32, {1, ids.size(), embedding_width_});
    std::generate_n(rows.data<float>(), rows.get_size(), [&]() {
        return static_cast<float>((static_cast<double>(numbers_.next()) / Numbers::kRange - 0.5) * 0.1);
    });
    return rows;
}

void TimedModel::set_positions(std::size_t tokens) {
    std::vector<std::int64_t> positions;
    for (std::size_t row = 0; row < position_rows_; ++row) {
        for (std::size_t i = 0; i < tokens; ++i) {
            positions.push_back(static_cast<std::int64_t>(tokens_read_ + i));
        }
    }
    const ov::Shape shape = position_rank_ == 2 ? ov::Shape{1, tokens} : ov::Shape{position_rows_, 1, tokens};
    request_.set_tensor(names::kPositionIds, tensor_of(positions, shape));
}

std::span<const float> TimedModel::read(std::span<const std::int64_t> ids) {
    runtime::throw_if_stopped(stop_);
    return openvino_call(ErrorKind::Input, "run the language model", [&]() {
        const std::vector<std::int64_t> ones(tokens_read_ + ids.size(), 1);
        request_.set_tensor(names::kAttentionMask, tensor_of(ones, {1, ones.size()}));
        if (position_rank_ > 0) {
            set_positions(ids.size());
        }
        if (takes_beams_) {
            ov::Tensor beam(ov::element::i32, {1});
            *beam.data<std::int32_t>() = 0;
            request_.set_tensor(names::kBeamIdx, beam);
        }
        if (takes_embeddings_) {
            request_.set_tensor(names::kInputsEmbeds, embed(ids));
        } else {
            request_.set_tensor(names::kInputIds, tensor_of(ids, {1, ids.size()}));
        }
        // A single token is soon over, and asking costs a thread.
        runtime::infer(request_, ids.size() > 1 ? stop_ : runtime::StopCheck());
        tokens_read_ += ids.size();
        const ov::Tensor logits = request_.get_tensor(names::kLogits);
        const std::size_t vocabulary = logits.get_shape().empty() ? 0 : logits.get_shape().back();
        if (vocabulary == 0 || logits.get_size() < vocabulary) {
            fail(ErrorKind::Input, "the language model gives logits of shape {}", logits.get_shape().to_string());
        }
        return std::span<const float>(logits.data<const float>() + logits.get_size() - vocabulary, vocabulary);
    });
}

void TimedModel::reset() {
    openvino_call(ErrorKind::Internal, "reset the language model", [&]() { request_.reset_state(); });
    tokens_read_ = 0;
}

std::vector<ov::ProfilingInfo> TimedModel::profile() const {
    return openvino_call(ErrorKind::Unsupported, "read the counters of the language model",
                         [&]() { return request_.get_profiling_info(); });
}

}  // namespace deltavino::benchmark
