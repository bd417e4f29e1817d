// What one process measures.
#include <deltavino/bench.hpp>

#include "base/error.hpp"
#include "base/file.hpp"
#include "base/host.hpp"
#include "graph/names.hpp"
#include "runtime/language_model.hpp"
#include "runtime/openvino_call.hpp"

#include <algorithm>
#include <chrono>
#include <cstring>
#include <limits>
#include <span>

namespace deltavino {
namespace {

namespace fs = std::filesystem;
namespace names = graph::names;
using runtime::openvino_call;
using Clock = std::chrono::steady_clock;

constexpr std::size_t kPieceTokens = 512;  // as the runner reads prompts

double seconds_since(Clock::time_point start) {
    return std::chrono::duration<double>(Clock::now() - start).count();
}

// The same numbers everywhere.
class Numbers {
public:
    std::uint64_t next() {
        state_ = state_ * 6364136223846793005ull + 1442695040888963407ull;
        return state_ >> 33;
    }

private:
    std::uint64_t state_ = 17;
};

std::int64_t most_likely(std::span<const float> logits) {
    return std::max_element(logits.begin(), logits.end()) - logits.begin();
}

// The language model, and what makes embeddings of tokens where it takes those.
class TimedModel {
public:
    TimedModel(const BenchOptions& options, runtime::StopCheck stop)
        : language_(core_, options.model, {options.device, options.precision, options.threads, options.profile}),
          stop_(std::move(stop)) {
        const fs::path embedder = options.model / (std::string(names::kTextEmbeddings) + ".xml");
        if (!language_.takes_embeddings()) {
            return;
        }
        if (is_there(embedder)) {
            ov::CompiledModel compiled =
                runtime::compile(core_, runtime::read_model(core_, options.model, names::kTextEmbeddings),
                                 names::kTextEmbeddings, {options.device, options.precision, options.threads});
            embedder_ = openvino_call(ErrorKind::Unsupported, fmt::format("run '{}'", names::kTextEmbeddings),
                                      [&]() { return compiled.create_infer_request(); });
        } else if (language_.embedding_width() == 0) {
            fail(ErrorKind::Unsupported,
                 "cannot measure '{}': it has no {}.xml, and its language model does not say how wide embeddings are",
                 options.model.string(), names::kTextEmbeddings);
        }
    }

    runtime::LanguageModel& language() { return language_; }
    ov::Core& core() { return core_; }
    bool random_embeddings() const { return language_.takes_embeddings() && !embedder_; }

    // The most likely token after `ids`.
    std::int64_t read(std::span<const std::int64_t> ids) {
        std::int64_t next = 0;
        for (std::size_t begin = 0; begin < ids.size(); begin += kPieceTokens) {
            runtime::throw_if_stopped(stop_);
            const std::span<const std::int64_t> piece = ids.subspan(begin, std::min(kPieceTokens, ids.size() - begin));
            runtime::TokenBatch batch;
            batch.ids.assign(piece.begin(), piece.end());
            if (language_.takes_embeddings()) {
                batch.embeddings = embed(piece);
            }
            next = most_likely(language_.read(batch, stop_));
        }
        return next;
    }

private:
    std::vector<float> embed(std::span<const std::int64_t> ids) {
        if (!embedder_) {
            std::vector<float> rows(ids.size() * language_.embedding_width());
            std::generate(rows.begin(), rows.end(), [&]() {
                constexpr double kRange = 2147483648.0;  // of Numbers
                return static_cast<float>((static_cast<double>(numbers_.next()) / kRange - 0.5) * 0.1);
            });
            return rows;
        }
        return openvino_call(ErrorKind::Input, "look up embeddings", [&]() {
            ov::Tensor input(ov::element::i64, {1, ids.size()});
            std::memcpy(input.data(), ids.data(), ids.size() * sizeof(std::int64_t));
            embedder_.set_input_tensor(input);
            embedder_.infer();
            const ov::Tensor output = embedder_.get_output_tensor();
            return std::vector<float>(output.data<const float>(), output.data<const float>() + output.get_size());
        });
    }

    ov::Core core_;
    runtime::LanguageModel language_;
    ov::InferRequest embedder_;
    runtime::StopCheck stop_;
    Numbers numbers_;
};

// Ids that no checkpoint lacks when the model does not say how many it knows.
std::vector<std::int64_t> prompt_of(std::uint64_t tokens, std::int64_t vocabulary) {
    constexpr std::int64_t kSurely = 256;
    const auto most = static_cast<std::uint64_t>(
        vocabulary == std::numeric_limits<std::int64_t>::max() ? kSurely : std::max<std::int64_t>(vocabulary, 1));
    Numbers numbers;
    std::vector<std::int64_t> ids(tokens);
    std::generate(ids.begin(), ids.end(), [&]() { return static_cast<std::int64_t>(numbers.next() % most); });
    return ids;
}

// Time of every kind of operation since the model was loaded. The CPU plugin's counters are means over all inferences,
// in whole microseconds.
OperationTimes counters(const runtime::LanguageModel& language, std::uint64_t inferences) {
    OperationTimes times;
    for (const ov::ProfilingInfo& node : language.profile()) {
        if (node.status == ov::ProfilingInfo::Status::EXECUTED) {
            times[node.node_type] += static_cast<double>(node.real_time.count()) * static_cast<double>(inferences);
        }
    }
    return times;
}

OperationTimes between(const OperationTimes& before, const OperationTimes& after) {
    OperationTimes times;
    for (const auto& [kind, time] : after) {
        const auto earlier = before.find(kind);
        times[kind] = std::max(0.0, time - (earlier == before.end() ? 0.0 : earlier->second));
    }
    return times;
}

class Measuring {
public:
    Measuring(TimedModel& model, const BenchOptions& options) : model_(model), options_(options) {}

    LengthMeasurement length(std::uint64_t tokens) {
        LengthMeasurement result{tokens, 0.0, 0.0, 0.0, options_.new_tokens, {}, {}};
        const std::vector<std::int64_t> prompt = prompt_of(tokens, model_.language().vocabulary());
        std::int64_t next = 0;
        const auto read_prompt = [&]() {
            model_.language().reset();
            const auto start = Clock::now();
            next = model_.read(prompt);
            inferences_ += (tokens + kPieceTokens - 1) / kPieceTokens;
            return seconds_since(start);
        };
        result.first_token_seconds = read_prompt();
        const OperationTimes first = snapshot();
        result.prefill_seconds = read_prompt();
        const OperationTimes second = snapshot();
        const auto start = Clock::now();
        for (std::uint64_t i = 0; i < options_.new_tokens; ++i) {
            next = model_.read(std::span(&next, 1));
        }
        result.decode_seconds = seconds_since(start);
        inferences_ += options_.new_tokens;
        if (options_.profile) {
            result.prefill_operations = between(first, second);
            result.decode_operations = between(second, snapshot());
        }
        return result;
    }

private:
    OperationTimes snapshot() const {
        return options_.profile ? counters(model_.language(), inferences_) : OperationTimes();
    }

    TimedModel& model_;
    const BenchOptions& options_;
    std::uint64_t inferences_ = 0;
};

// Empty when the device does not know the property.
std::string property_of(const ov::CompiledModel& model, const std::string& name) {
    try {
        return model.get_property(name).as<std::string>();
    } catch (const std::exception&) {
        return {};
    }
}

std::string full_name(ov::Core& core, const std::string& device) {
    try {
        return core.get_property(device, ov::device::full_name);
    } catch (const std::exception&) {
        return {};
    }
}

}  // namespace

Measurement measure(const BenchOptions& options, ProgressSink& progress) {
    const runtime::StopCheck stop = [&]() {
        return progress.cancelled();
    };
    const auto start = Clock::now();
    TimedModel model(options, stop);
    Measurement result;
    result.load_seconds = seconds_since(start);
    const ov::CompiledModel& compiled = model.language().compiled();
    result.device = full_name(model.core(), options.device);
    result.precision = property_of(compiled, ov::hint::inference_precision.name());
    result.kv_cache = property_of(compiled, ov::hint::kv_cache_precision.name());
    result.dynamic_quantization_group = property_of(compiled, ov::hint::dynamic_quantization_group_size.name());
    result.inference_threads = property_of(compiled, ov::inference_num_threads.name());
    result.random_embeddings = model.random_embeddings();
    Measuring measuring(model, options);
    for (const std::uint64_t tokens : options.prompt_tokens) {
        result.lengths.push_back(measuring.length(tokens));
    }
    result.peak_memory_bytes = peak_memory_bytes();
    return result;
}

}  // namespace deltavino
