// Scores whole windows: unlike generation this needs the logits of every token.
#include <deltavino/evaluate.hpp>

#include "base/error.hpp"
#include "base/file.hpp"
#include "base/guard.hpp"
#include "evaluate/directory_model.hpp"
#include "evaluate/divergence.hpp"
#include "evaluate/truth.hpp"
#include "graph/names.hpp"
#include "runtime/chat/tokenizer.hpp"

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>
#include <optional>

namespace deltavino {
namespace {

namespace fs = std::filesystem;
namespace names = graph::names;
using namespace evaluation;
using runtime::Tokenizer;

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

// One model of a text or vision-language directory, whoever wrote it.
class Scorer {
public:
    Scorer(ov::Core& core, const fs::path& directory, const EvaluationOptions& options) : model_(core, directory) {
        model_.compile(options.device, options.precision, options.as_generate);
    }

    // Logits of every token of a window that starts with empty states: [tokens, vocabulary].
    Matrix score(const Ids& ids, const std::vector<std::size_t>& all) { return model_.logits(ids, all, ids.size()); }

    std::int64_t vocabulary() const { return model_.vocabulary(); }

private:
    DirectoryModel model_;
};

struct Totals {
    double negative_log_likelihood = 0.0;
    double kl = 0.0;
    std::size_t same = 0;
    std::size_t positions = 0;
    std::size_t predictions = 0;
};

void add_window(Totals& totals, const Matrix& logits, const Matrix& reference, const Ids& ids) {
    const auto vocabulary = static_cast<std::size_t>(logits.cols());
    const auto row = [&](const Matrix& matrix, std::size_t t) {
        return make_row({matrix.row(static_cast<reference::Index>(t)).data(), vocabulary});
    };
    for (std::size_t t = 0; t < ids.size(); ++t) {
        const LogitRow judged = row(logits, t);
        if (!std::isfinite(judged.log_sum)) {
            fail(ErrorKind::Input, "the logits are not finite at token {}", t);
        }
        const LogitRow truth = row(reference, t);
        totals.kl += kl_divergence(truth, judged);
        totals.same += judged.best == truth.best ? 1 : 0;
        totals.positions += 1;
        if (t + 1 < ids.size()) {
            if (static_cast<std::uint64_t>(ids[t + 1]) >= vocabulary) {
                fail(ErrorKind::Input, "token {} of the text is beyond the {} logits of the model", ids[t + 1],
                     vocabulary);
            }
            totals.negative_log_likelihood -= judged.log_probability(static_cast<std::size_t>(ids[t + 1]));
            totals.predictions += 1;
        }
    }
}

std::vector<Ids> cut(const Ids& ids, const EvaluationOptions& options) {
    std::vector<Ids> windows;
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

Evaluation summary(const fs::path& model, const Totals& totals, std::uint64_t bytes) {
    const auto positions = static_cast<double>(totals.positions);
    return {model, std::exp(totals.negative_log_likelihood / static_cast<double>(totals.predictions)),
            std::max(0.0, totals.kl / positions), static_cast<double>(totals.same) / positions, bytes};
}

class Evaluator {
public:
    Evaluator(const EvaluationOptions& options, ProgressSink& progress) : options_(options), progress_(progress) {}

    EvaluationReport run() {
        if (options_.window < 2) {
            fail(ErrorKind::Usage, "a window of {} tokens predicts nothing, expected at least 2", options_.window);
        }
        const std::vector<Ids> windows = read();
        std::vector<std::size_t> all(options_.window);
        std::iota(all.begin(), all.end(), std::size_t{0});
        std::vector<Totals> totals(scorers_.size());
        Totals of_truth;
        for (std::size_t w = 0; w < windows.size(); ++w) {
            const Matrix truth = truth_ ? truth_->logits(windows[w], all) : scorers_.front().score(windows[w], all);
            if (truth_) {
                add_window(of_truth, truth, truth, windows[w]);
            }
            for (std::size_t m = 0; m < scorers_.size(); ++m) {
                const bool is_truth = m == 0 && !truth_;
                add_window(totals[m], is_truth ? truth : score(m, windows[w], all, truth), truth, windows[w]);
            }
            progress_.update("windows", w + 1, windows.size());
            if (progress_.cancelled()) {
                fail(ErrorKind::Cancelled, "stopped");
            }
        }
        EvaluationReport report{windows.size(), options_.window, {}};
        if (truth_) {
            report.models.push_back(summary(options_.against, of_truth, truth_->language_bytes()));
        }
        for (std::size_t m = 0; m < scorers_.size(); ++m) {
            report.models.push_back(summary(options_.models[m], totals[m], weight_bytes(options_.models[m])));
        }
        return report;
    }

private:
    // Opens the models and cuts the text into windows.
    std::vector<Ids> read() {
        if (!options_.against.empty()) {
            truth_.emplace(options_.against, options_.lora, options_.threads, [this] { return progress_.cancelled(); });
        }
        Tokenizer tokenizer(core_, options_.models.front());
        std::int64_t vocabulary = std::numeric_limits<std::int64_t>::max();
        for (const fs::path& model : options_.models) {
            vocabulary = std::min(vocabulary, scorers_.emplace_back(core_, model, options_).vocabulary());
        }
        tokenizer.limit_ids(vocabulary);
        return cut(tokenizer.encode(read_text_file(options_.text)), options_);
    }

    Matrix score(std::size_t m, const Ids& ids, const std::vector<std::size_t>& all, const Matrix& truth) {
        Matrix logits = scorers_[m].score(ids, all);
        if (logits.cols() != truth.cols()) {
            fail(ErrorKind::Input, "cannot compare '{}' with '{}': their vocabularies have {} and {} entries",
                 options_.models[m].string(), (truth_ ? options_.against : options_.models.front()).string(),
                 logits.cols(), truth.cols());
        }
        return logits;
    }

    const EvaluationOptions& options_;
    ProgressSink& progress_;
    ov::Core core_;
    std::optional<Truth> truth_;
    std::vector<Scorer> scorers_;
};

}  // namespace

EvaluationReport evaluate(const EvaluationOptions& options, ProgressSink& progress) {
    return guarded("cannot evaluate", [&]() { return Evaluator(options, progress).run(); });
}

}  // namespace deltavino
