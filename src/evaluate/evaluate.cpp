// Scores whole windows: unlike generation this needs the logits of every token.
#include <deltavino/evaluate.hpp>

#include "base/error.hpp"
#include "base/file.hpp"
#include "base/guard.hpp"
#include "evaluate/divergence.hpp"
#include "graph/names.hpp"
#include "runtime/chat/tokenizer.hpp"
#include "runtime/language_model.hpp"
#include "runtime/openvino_call.hpp"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>
#include <memory>
#include <optional>

namespace deltavino {
namespace {

namespace fs = std::filesystem;
namespace names = graph::names;
using namespace runtime;
using evaluation::kl_divergence;
using evaluation::LogitRow;
using evaluation::make_row;

std::uint64_t weight_bytes(const fs::path& directory) {
    std::uint64_t bytes = 0;
    for (const fs::directory_entry& entry : fs::directory_iterator(directory)) {
        const std::string name = entry.path().stem().string();
        if (entry.path().extension() == ".bin" && name != names::kTokenizer && name != names::kDetokenizer) {
            bytes += entry.file_size();
        }
    }
    return bytes;
}

// One model of a text or vision-language directory.
class Scorer {
public:
    Scorer(ov::Core& core, const fs::path& directory, const DeviceSettings& settings) {
        const bool text = is_there(directory / (std::string(names::kTextModel) + ".xml"));
        const char* name = text ? names::kTextModel : names::kLanguageModel;
        ov::CompiledModel compiled = compile(core, read_model(core, directory, name), name, settings);
        vocabulary_ =
            openvino_call(ErrorKind::Input, fmt::format("run '{}'", name), [&] { return vocabulary_of(compiled); });
        model_ = openvino_call(ErrorKind::Unsupported, fmt::format("run '{}'", name),
                               [&] { return compiled.create_infer_request(); });
        if (!text) {
            embeddings_ =
                compile(core, read_model(core, directory, names::kTextEmbeddings), names::kTextEmbeddings, settings)
                    .create_infer_request();
        }
    }

    // Logits of every token of a window that starts with empty states: [tokens, vocabulary].
    std::span<const float> score(const std::vector<std::int64_t>& ids) {
        const std::size_t length = ids.size();
        ov::Tensor tokens(ov::element::i64, {1, length});
        std::memcpy(tokens.data(), ids.data(), length * sizeof(std::int64_t));
        ov::Tensor mask(ov::element::i64, {1, length});
        std::fill_n(mask.data<std::int64_t>(), length, 1);
        ov::Tensor beam(ov::element::i32, {1});
        *beam.data<std::int32_t>() = 0;
        openvino_call(ErrorKind::Input, "run the model", [&] {
            model_.reset_state();
            if (embeddings_) {
                embeddings_->set_input_tensor(tokens);
                embeddings_->infer();
                model_.set_tensor(names::kInputsEmbeds, embeddings_->get_output_tensor());
                ov::Tensor positions(ov::element::i64, {4, 1, length});
                for (std::size_t i = 0; i < 4 * length; ++i) {
                    positions.data<std::int64_t>()[i] = static_cast<std::int64_t>(i % length);
                }
                model_.set_tensor(names::kPositionIds, positions);
            } else {
                model_.set_tensor(names::kInputIds, tokens);
            }
            model_.set_tensor(names::kAttentionMask, mask);
            model_.set_tensor(names::kBeamIdx, beam);
            model_.infer();
        });
        logits_ = model_.get_tensor(names::kLogits);
        return {logits_.data<float>(), logits_.get_size()};
    }

    std::int64_t vocabulary() const { return vocabulary_; }

private:
    ov::InferRequest model_;
    std::int64_t vocabulary_ = 0;
    std::optional<ov::InferRequest> embeddings_;
    ov::Tensor logits_;
};

struct Totals {
    double negative_log_likelihood = 0.0;
    double kl = 0.0;
    std::size_t same = 0;
    std::size_t positions = 0;
    std::size_t predictions = 0;
};

void add_window(Totals& totals, std::span<const float> logits, std::span<const float> reference,
                const std::vector<std::int64_t>& ids) {
    const std::size_t vocabulary = logits.size() / ids.size();
    for (std::size_t t = 0; t < ids.size(); ++t) {
        const LogitRow row = make_row(logits.subspan(t * vocabulary, vocabulary));
        if (!std::isfinite(row.log_sum)) {
            fail(ErrorKind::Input, "the logits are not finite at token {}", t);
        }
        const LogitRow truth = make_row(reference.subspan(t * vocabulary, vocabulary));
        totals.kl += kl_divergence(truth, row);
        totals.same += row.best == truth.best ? 1 : 0;
        totals.positions += 1;
        if (t + 1 < ids.size()) {
            if (static_cast<std::uint64_t>(ids[t + 1]) >= vocabulary) {
                fail(ErrorKind::Input, "token {} of the text is beyond the {} logits of the model", ids[t + 1],
                     vocabulary);
            }
            totals.negative_log_likelihood -= row.log_probability(static_cast<std::size_t>(ids[t + 1]));
            totals.predictions += 1;
        }
    }
}

std::vector<std::vector<std::int64_t>> cut(const std::vector<std::int64_t>& ids, const EvaluationOptions& options) {
    std::vector<std::vector<std::int64_t>> windows;
    for (std::size_t at = 0;
         at + options.window <= ids.size() && (options.windows == 0 || windows.size() < options.windows);
         at += options.window) {
        windows.emplace_back(ids.begin() + static_cast<std::ptrdiff_t>(at),
                             ids.begin() + static_cast<std::ptrdiff_t>(at + options.window));
    }
    if (windows.empty()) {
        fail(ErrorKind::Input, "cannot evaluate on '{}': it has {} tokens, one window needs {}", options.text.string(),
             ids.size(), options.window);
    }
    return windows;
}

EvaluationReport unguarded(const EvaluationOptions& options, ProgressSink& progress) {
    if (options.window < 2) {
        fail(ErrorKind::Usage, "a window of {} tokens predicts nothing, expected at least 2", options.window);
    }
    ov::Core core;
    const DeviceSettings settings{options.device, options.precision};
    Tokenizer tokenizer(core, options.models.front());
    std::vector<Scorer> scorers;
    std::int64_t vocabulary = std::numeric_limits<std::int64_t>::max();
    for (const fs::path& model : options.models) {
        vocabulary = std::min(vocabulary, scorers.emplace_back(core, model, settings).vocabulary());
    }
    tokenizer.limit_ids(vocabulary);
    const auto windows = cut(tokenizer.encode(read_text_file(options.text)), options);
    std::vector<Totals> totals(scorers.size());
    for (std::size_t w = 0; w < windows.size(); ++w) {
        const std::span<const float> reference = scorers.front().score(windows[w]);
        for (std::size_t m = 0; m < scorers.size(); ++m) {
            const std::span<const float> logits = m == 0 ? reference : scorers[m].score(windows[w]);
            if (logits.size() != reference.size()) {
                fail(ErrorKind::Input, "cannot compare '{}' with '{}': their vocabularies have {} and {} entries",
                     options.models[m].string(), options.models.front().string(), logits.size() / options.window,
                     reference.size() / options.window);
            }
            add_window(totals[m], logits, reference, windows[w]);
        }
        progress.update("windows", w + 1, windows.size());
        if (progress.cancelled()) {
            fail(ErrorKind::Cancelled, "stopped");
        }
    }
    EvaluationReport report{windows.size(), options.window, {}};
    for (std::size_t m = 0; m < scorers.size(); ++m) {
        const auto positions = static_cast<double>(totals[m].positions);
        report.models.push_back(
            {options.models[m],
             std::exp(totals[m].negative_log_likelihood / static_cast<double>(totals[m].predictions)),
             std::max(0.0, totals[m].kl / positions), static_cast<double>(totals[m].same) / positions,
             weight_bytes(options.models[m])});
    }
    return report;
}

}  // namespace

EvaluationReport evaluate(const EvaluationOptions& options, ProgressSink& progress) {
    return guarded("cannot evaluate", [&]() { return unguarded(options, progress); });
}

}  // namespace deltavino
