#include "runtime/logits_processors.hpp"

#include "base/error.hpp"

#include <algorithm>
#include <limits>
#include <unordered_map>
#include <unordered_set>

namespace deltavino::runtime {
namespace {

using Ids = std::span<const std::int64_t>;

constexpr float kForbidden = -std::numeric_limits<float>::infinity();

float* logit_of(std::span<float> logits, std::int64_t id) {
    return id >= 0 && static_cast<std::size_t>(id) < logits.size() ? &logits[static_cast<std::size_t>(id)] : nullptr;
}

void forbid(std::span<float> logits, Ids ids) {
    for (const std::int64_t id : ids) {
        if (float* logit = logit_of(logits, id)) {
            *logit = kForbidden;
        }
    }
}

void penalize(std::span<float> logits, Ids ids, float penalty) {
    const std::unordered_set<std::int64_t> seen(ids.begin(), ids.end());
    for (const std::int64_t id : seen) {
        if (float* logit = logit_of(logits, id)) {
            *logit = *logit < 0.0f ? *logit * penalty : *logit / penalty;
        }
    }
}

void penalize_answer(std::span<float> logits, Ids answer, double presence, double frequency) {
    std::unordered_map<std::int64_t, std::uint64_t> counts;
    for (const std::int64_t id : answer) {
        counts[id] += 1;
    }
    for (const auto& [id, times] : counts) {
        if (float* logit = logit_of(logits, id)) {
            *logit -= static_cast<float>(frequency * static_cast<double>(times) + presence);
        }
    }
}

// The bias of a run goes to its last token when the others stand at the end of the context. Shorter
// contexts than the whole run get none: transformers counts that way.
void add_bias(std::span<float> logits, Ids run, float bias, Ids context) {
    for (const std::int64_t id : run) {
        if (logit_of(logits, id) == nullptr) {
            fail(ErrorKind::Input,
                 "cannot use generation_config.json: token {} gets a bias, but the model has {} tokens", id,
                 logits.size());
        }
    }
    const std::size_t before = run.size() - 1;
    const bool applies =
        before == 0 || (run.size() <= context.size() &&
                        std::equal(run.begin(), run.end() - 1, context.end() - static_cast<std::ptrdiff_t>(before)));
    if (applies) {
        *logit_of(logits, run.back()) += bias;
    }
}

// `context` ends with the tokens that a run of `size` would continue; `seen` holds the runs there were.
void forbid_repeated(std::span<float> logits, Ids context, Ids seen, std::uint64_t size) {
    if (size == 0 || context.size() + 1 < size || seen.size() < size) {
        return;
    }
    const auto before = static_cast<std::size_t>(size - 1);
    const Ids end = context.last(before);
    for (std::size_t i = 0; i + before < seen.size(); ++i) {
        if (std::equal(end.begin(), end.end(), seen.begin() + static_cast<std::ptrdiff_t>(i))) {
            forbid(logits, seen.subspan(i + before, 1));
        }
    }
}

void forbid_bad_words(std::span<float> logits, const std::vector<std::vector<std::int64_t>>& runs, Ids context,
                      Ids eos_ids) {
    for (const std::vector<std::int64_t>& run : runs) {
        const bool only_end = run.size() == 1 && std::find(eos_ids.begin(), eos_ids.end(), run[0]) != eos_ids.end();
        if (!only_end) {
            add_bias(logits, run, kForbidden, context);
        }
    }
}

}  // namespace

void process_logits(std::span<float> logits, const LogitsSettings& settings, TokenContext context, Ids eos_ids) {
    const Ids prompt = context.ids.first(context.prompt);
    const Ids answer = context.ids.subspan(context.prompt);
    for (const auto& [run, bias] : settings.sequence_bias) {
        add_bias(logits, run, bias, context.ids);
    }
    if (settings.encoder_repetition_penalty != 1.0) {
        penalize(logits, prompt, static_cast<float>(1.0 / settings.encoder_repetition_penalty));
    }
    if (settings.repetition_penalty != 1.0) {
        penalize(logits, context.ids, static_cast<float>(settings.repetition_penalty));
    }
    if (settings.presence_penalty != 0.0 || settings.frequency_penalty != 0.0) {
        penalize_answer(logits, answer, settings.presence_penalty, settings.frequency_penalty);
    }
    forbid_repeated(logits, context.ids, context.ids, settings.no_repeat_ngram_size);
    forbid_repeated(logits, context.ids, prompt, settings.encoder_no_repeat_ngram_size);
    forbid_bad_words(logits, settings.bad_words, context.ids, eos_ids);
    // min_new_tokens replaces min_length, as transformers sets it.
    const bool too_short = settings.min_new_tokens > 0 ? answer.size() < settings.min_new_tokens
                                                       : context.ids.size() < settings.min_length;
    if (too_short) {
        forbid(logits, eos_ids);
    }
    forbid(logits, settings.suppress_tokens);
    if (answer.empty()) {
        forbid(logits, settings.begin_suppress_tokens);
    }
}

}  // namespace deltavino::runtime
