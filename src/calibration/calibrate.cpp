#include "calibration/calibrate.hpp"

#include "base/error.hpp"
#include "calibration/moments.hpp"
#include "calibration/quantized_weights.hpp"
#include "quant/error_feedback.hpp"
#include "reference/decoder_layer.hpp"
#include "reference/parallel.hpp"
#include "reference/text_model.hpp"

#include <algorithm>
#include <cmath>
#include <memory>
#include <thread>
#include <utility>

namespace deltavino::calibration {
namespace {

using checkpoint::LayerKind;
using quant::BlockStatistics;
using quant::CodeRows;
using quant::ErrorFeedback;
using reference::ConstMatrixRef;
using reference::Context;
using reference::Index;
using reference::Matrix;

constexpr double kDamping = 0.01;
// How much of the drift of a layer's inputs its weights make up for. All of it follows the noise of the text, too.
constexpr float kDriftShare = 0.5f;

// Rows of a weight at once: an even number, so that zero points of four bits begin at a byte.
constexpr std::uint64_t kRows = 48;

// Tokens of a run that is not cut into windows, summed at once.
constexpr Index kTokensAtOnce = 512;

// The input of one linear layer; with `stop` nothing behind it is computed.
class Capture : public reference::LinearTap {
public:
    struct Reached {};

    Capture(std::string name, bool stop) : name_(std::move(name)), stop_(stop) {}
    void input(const std::string& name, std::uint64_t, std::uint64_t, ConstMatrixRef x) override {
        if (name == name_) {
            x_ = x;
            if (stop_) {
                throw Reached{};
            }
        }
    }
    const Matrix& x() const { return x_; }

private:
    std::string name_;
    bool stop_;
    Matrix x_;
};

// What the inputs of a layer say: how errors of its weights count, and how its inputs drifted.
struct Evidence {
    std::unique_ptr<ErrorFeedback> feedback;  // null: nothing goes in
    std::vector<float> drift;                 // empty: none
};

Evidence evidence(const std::string& name, std::uint64_t columns, Moments&& moments) {
    const std::uint64_t tokens = moments.tokens();
    std::vector<float> drift = moments.take_drift();
    std::vector<float> second = moments.take_second();
    double trace = 0.0;
    for (std::uint64_t i = 0; i < columns; ++i) {
        trace += second[i * columns + i];
    }
    if (!std::isfinite(trace)) {
        fail(ErrorKind::Input, "cannot calibrate '{}': what goes into it on the text is not finite", name);
    }
    if (trace <= 0.0) {
        return {};
    }
    // Fewer tokens than columns leave directions that nothing is known of.
    const double few = std::max(1.0, static_cast<double>(columns) / static_cast<double>(tokens));
    return {std::make_unique<ErrorFeedback>(columns, std::move(second), kDamping * few), std::move(drift)};
}

// One half of a layer.
struct Half {
    std::string norm;
    std::vector<std::string> first;  // weights that read what the norm puts out
    std::string last;
    std::function<Matrix(ConstMatrixRef normed, const Context& context)> forward;
};

class Calibrator : private reference::LinearTap {
public:
    Calibrator(const Windows& windows, const Job& job)
        : job_(job),
          stored_weights_(job.weights),
          rotary_(job.config.rope, reference::sequential_positions(windows.front().size())),
          exact_{job.weights, job.threads},
          stored_{stored_weights_, job.threads} {
        for (const auto& [name, candidate] : job.candidates) {
            total_ += candidate.rows * candidate.columns / 2;
        }
        const reference::TextModel model(job.config, true, job.weights, job.threads);
        for (const std::vector<std::int64_t>& ids : windows) {
            exact_states_.push_back(model.embed(ids));
        }
        stored_states_ = exact_states_;
    }

    Uncalibrated run() {
        for (layer_ = 0; layer_ < job_.config.num_hidden_layers; ++layer_) {
            const std::string prefix = "model.layers." + std::to_string(layer_) + ".";
            run_half(mixer_half(prefix));
            if (job_.config.moe) {
                run_experts(prefix);
            } else {
                run_half(dense_half(prefix));
            }
            stored_weights_.clear();
        }
        layer_ = job_.config.num_hidden_layers - 1;
        run_head();
        return result_;
    }

private:
    // Few of its rows at a time: it is as large as several layers, and nothing reads its codes here.
    void run_head() {
        const auto head = job_.candidates.find(job_.head);
        if (head == job_.candidates.end()) {
            return;
        }
        constexpr const char* kNorm = "model.norm.weight";
        Moments moments(job_.config.hidden_size, drifted_, job_.threads);
        for (std::size_t w = 0; w < exact_states_.size(); ++w) {
            tick();
            moments.add(norm(stored_states_[w], kNorm), norm(exact_states_[w], kNorm));
        }
        const Evidence found = evidence(job_.head, job_.config.hidden_size, std::move(moments));
        result_.weights += found.feedback == nullptr ? 1 : 0;
        constexpr std::uint64_t kRowsAtOnce = 256 * kRows;
        for (std::uint64_t row = 0; row < head->second.rows; row += kRowsAtOnce) {
            quantize(job_.head, row, std::min(kRowsAtOnce, head->second.rows - row), found);
            stored_weights_.clear();
        }
    }

    Half mixer_half(const std::string& prefix) const {
        const LayerKind kind = job_.config.layer_types[layer_];
        const auto forward = [this, prefix, kind](ConstMatrixRef normed, const Context& context) {
            return reference::mixer(normed, context, prefix, kind, job_.config, rotary_);
        };
        const std::string linear = prefix + "linear_attn.";
        const std::string full = prefix + "self_attn.";
        return kind == LayerKind::LinearAttention
                   ? Half{prefix + reference::kMixerNorm,
                          {linear + "in_proj_qkv.weight", linear + "in_proj_z.weight"},
                          linear + "out_proj.weight",
                          forward}
                   : Half{prefix + reference::kMixerNorm,
                          {full + "q_proj.weight", full + "k_proj.weight", full + "v_proj.weight"},
                          full + "o_proj.weight",
                          forward};
    }

    Half dense_half(const std::string& prefix) const {
        const auto forward = [this, prefix](ConstMatrixRef normed, const Context& context) {
            return reference::feed_forward(normed, context, prefix, job_.config);
        };
        const std::string mlp = prefix + "mlp.";
        return {prefix + reference::kFeedForwardNorm,
                {mlp + "gate_proj.weight", mlp + "up_proj.weight"},
                mlp + "down_proj.weight",
                forward};
    }

    bool is_candidate(const std::string& name) const { return job_.candidates.contains(name); }

    Matrix norm(const Matrix& x, const std::string& name) const {
        return reference::hidden_norm(x, exact_, name, job_.config);
    }

    void run_half(const Half& half) {
        if (std::any_of(half.first.begin(), half.first.end(), [&](const auto& name) { return is_candidate(name); })) {
            quantize_first(half);
        }
        run_exact(half);
        for (Matrix& x : stored_states_) {
            tick();
            x += half.forward(norm(x, half.norm), stored_);
        }
    }

    void quantize_first(const Half& half) {
        Moments moments(job_.config.hidden_size, drifted_, job_.threads);
        for (std::size_t w = 0; w < exact_states_.size(); ++w) {
            tick();
            moments.add(norm(stored_states_[w], half.norm), norm(exact_states_[w], half.norm));
        }
        const Evidence found = evidence(half.first.front(), job_.config.hidden_size, std::move(moments));
        for (const std::string& name : half.first) {
            quantize_whole(name, found);
        }
    }

    // The exact states pass the half; its last weight is quantized on the way.
    void run_exact(const Half& half) {
        const auto last = job_.candidates.find(half.last);
        const bool wanted = last != job_.candidates.end();
        Moments moments(wanted ? last->second.columns : 0, true, job_.threads);
        for (std::size_t w = 0; w < exact_states_.size(); ++w) {
            tick();
            Capture exact(half.last, false);
            exact_states_[w] += half.forward(norm(exact_states_[w], half.norm), {job_.weights, job_.threads, &exact});
            if (wanted) {
                Capture stored(half.last, true);
                try {
                    half.forward(norm(stored_states_[w], half.norm), {stored_weights_, job_.threads, &stored});
                } catch (const Capture::Reached&) {
                }
                moments.add(stored.x(), exact.x());
            }
        }
        if (wanted) {
            quantize_whole(half.last, evidence(half.last, last->second.columns, std::move(moments)));
        }
    }

    // All tokens at once: an expert is reached by some of each window. Its weights are quantized when they are asked
    // for, see input().
    void run_experts(const std::string& prefix) {
        const std::string name = prefix + reference::kFeedForwardNorm;
        const Index window = stored_states_.front().rows();
        Matrix all(window * static_cast<Index>(stored_states_.size()), stored_states_.front().cols());
        for (std::size_t w = 0; w < stored_states_.size(); ++w) {
            all.middleRows(static_cast<Index>(w) * window, window) = norm(stored_states_[w], name);
        }
        all = reference::feed_forward(all, {stored_weights_, job_.threads, this}, prefix, job_.config);
        for (std::size_t w = 0; w < stored_states_.size(); ++w) {
            tick();
            stored_states_[w] += all.middleRows(static_cast<Index>(w) * window, window);
            exact_states_[w] += reference::feed_forward(norm(exact_states_[w], name), exact_, prefix, job_.config);
        }
        quantize_unreached(prefix);
        feedback_of_.clear();
    }

    // Of the layer's experts; all other weights were asked for.
    void quantize_unreached(const std::string& prefix) {
        for (const auto& [name, candidate] : job_.candidates) {
            const std::uint64_t experts = job_.config.moe->num_experts;
            if (!name.starts_with(prefix + "mlp.experts.")) {
                continue;
            }
            const std::uint64_t rows = candidate.rows / experts;
            for (std::uint64_t expert = 0; expert < experts; ++expert) {
                if (!stored_weights_.has(name, expert * rows)) {
                    quantize(name, expert * rows, rows, {});
                    result_.experts += 1;
                }
            }
        }
    }

    void input(const std::string& name, std::uint64_t first, std::uint64_t rows, ConstMatrixRef x) override {
        if (!is_candidate(name) || stored_weights_.has(name, first)) {
            return;
        }
        const bool expert = name.find(".mlp.experts.") != std::string::npos;
        const bool few = expert && static_cast<std::uint64_t>(x.rows()) < kFewestExpertTokens;
        (few ? result_.experts : result_.experts_seen) += expert ? 1 : 0;
        if (few) {
            return quantize(name, first, rows, {});
        }
        // up_proj reads what gate_proj read just before.
        const std::string of = name.substr(0, name.rfind('.', name.size() - 8) + 1) + std::to_string(first / rows);
        if (!name.ends_with("up_proj.weight") || feedback_of_ != of) {
            const auto columns = static_cast<std::uint64_t>(x.cols());
            Moments moments(columns, false, job_.threads);
            for (Index t = 0; t < x.rows(); t += kTokensAtOnce) {
                tick();
                const auto part = x.middleRows(t, std::min(kTokensAtOnce, x.rows() - t));
                moments.add(part, part);
            }
            kept_ = evidence(name, columns, std::move(moments));
            feedback_of_ = of;
        }
        quantize(name, first, rows, kept_);
    }

    void quantize_whole(const std::string& name, const Evidence& found) {
        const auto candidate = job_.candidates.find(name);
        if (candidate != job_.candidates.end()) {
            result_.weights += found.feedback == nullptr ? 1 : 0;
            quantize(name, 0, candidate->second.rows, found);
        }
    }

    void quantize(const std::string& name, std::uint64_t first, std::uint64_t rows, const Evidence& found) {
        const Candidate& candidate = job_.candidates.at(name);
        const std::uint64_t blocks = (rows + kRows - 1) / kRows;
        std::vector<CodeRows> codes(blocks);
        std::vector<BlockStatistics> errors(blocks);
        const std::thread::id own = std::this_thread::get_id();
        reference::parallel_for(blocks, job_.threads, [&](std::uint64_t block) {
            if (std::this_thread::get_id() == own) {
                tick();
            }
            Matrix weight(static_cast<Index>(std::min(kRows, rows - block * kRows)),
                          static_cast<Index>(candidate.columns));
            job_.weights.read_rows(name, first + block * kRows, weight);
            if (!weight.allFinite()) {
                fail(ErrorKind::Input, "cannot calibrate '{}': it holds NaN or infinity", name);
            }
            codes[block] = codes_for(weight, candidate.scheme, found);
            errors[block] = error_of(weight, codes[block]);
        });
        for (std::uint64_t block = 0; block < blocks; ++block) {
            job_.store(name, first + block * kRows, codes[block], errors[block]);
            stored_weights_.add(name, first + block * kRows, std::move(codes[block]));
        }
        done_ += rows * candidate.columns / 2;
        drifted_ = true;
        tick();
    }

    static CodeRows codes_for(const Matrix& weight, const quant::Scheme& scheme, const Evidence& found) {
        const std::span<const float> values(weight.data(), static_cast<std::size_t>(weight.size()));
        const auto rows = static_cast<std::uint64_t>(weight.rows());
        const auto columns = static_cast<std::uint64_t>(weight.cols());
        if (found.feedback == nullptr) {
            quant::QuantizedBuffers buffers;
            const quant::QuantizedRows out = buffers.resized(scheme, rows, columns);
            quant::quantize_rows(
                scheme, quant::Search::LeastError,
                {reinterpret_cast<const std::byte*>(weight.data()), quant::SourceType::F32, rows, columns, false}, {},
                out);
            return quant::codes_of(scheme, rows, columns, {out.packed, out.zero_points, out.scales});
        }
        if (found.drift.empty()) {
            return found.feedback->quantize(scheme, values);
        }
        std::vector<float> target(values.size());
        found.feedback->correct(values, found.drift, kDriftShare, target);
        return found.feedback->quantize(scheme, target);
    }

    static BlockStatistics error_of(const Matrix& weight, const CodeRows& codes) {
        Matrix stored(weight.rows(), weight.cols());
        quant::dequantize_codes(codes, 0, {stored.data(), static_cast<std::size_t>(stored.size())});
        BlockStatistics error;
        error.squared_error = (weight - stored).cast<double>().squaredNorm();
        error.squared_weight = weight.cast<double>().squaredNorm();
        error.max_abs_error = (weight - stored).cwiseAbs().maxCoeff();
        error.values = static_cast<std::uint64_t>(weight.size());
        return error;
    }

    // Says where the work is, and ends it when it is to end. On the thread that runs it all.
    void tick() {
        job_.progress.update(fmt::format("calibration, layer {} of {}", layer_ + 1, job_.config.num_hidden_layers),
                             done_, total_);
        if (job_.progress.cancelled()) {
            fail(ErrorKind::Cancelled, "stopped");
        }
    }

    const Job& job_;
    QuantizedWeights stored_weights_;
    reference::Rotary rotary_;
    Context exact_;
    Context stored_;
    std::vector<Matrix> exact_states_;   // [T, C] of each window, with the weights of the checkpoint
    std::vector<Matrix> stored_states_;  // with those that are quantized
    bool drifted_ = false;               // the two differ
    std::uint64_t layer_ = 0;
    Evidence kept_;            // of the expert that runs
    std::string feedback_of_;  // which that is
    Uncalibrated result_;
    std::uint64_t done_ = 0;  // bytes of codes
    std::uint64_t total_ = 0;
};

}  // namespace

Uncalibrated calibrate(const Windows& windows, const Job& job) {
    return Calibrator(windows, job).run();
}

}  // namespace deltavino::calibration
