// What generation settings do to the logits before a token is chosen. Ground truth: transformers'
// generation/logits_process.py, in its float32 arithmetic and its order.
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <span>
#include <vector>

namespace deltavino::runtime {

// The default of each does nothing.
struct LogitsSettings {
    std::map<std::vector<std::int64_t>, float> sequence_bias;  // added to the last id where the others stand before
    double encoder_repetition_penalty = 1.0;                   // above 1: tokens of the prompt become likelier
    double repetition_penalty = 1.0;                   // above 1: tokens of prompt and answer become less likely
    double presence_penalty = 0.0;                     // taken off once from each token of the answer
    double frequency_penalty = 0.0;                    // likewise, as often as the token stands there
    std::uint64_t no_repeat_ngram_size = 0;            // no run of so many tokens comes twice
    std::uint64_t encoder_no_repeat_ngram_size = 0;    // none of the prompt comes again
    std::vector<std::vector<std::int64_t>> bad_words;  // runs that must not come
    std::uint64_t min_length = 0;                      // no end before prompt and answer have so many tokens
    std::uint64_t min_new_tokens = 0;                  // no end before the answer has so many
    std::vector<std::int64_t> suppress_tokens;
    std::vector<std::int64_t> begin_suppress_tokens;  // not as the first token of the answer
};

// The tokens so far; the first `prompt` of them were not generated.
struct TokenContext {
    std::span<const std::int64_t> ids;
    std::size_t prompt = 0;
};

// Changes `logits`; a token that is forbidden gets minus infinity. `eos_ids`: the ends of an answer.
// Throws ErrorKind::Input for a bias on a token beyond the vocabulary, as transformers does.
void process_logits(std::span<float> logits, const LogitsSettings& settings, TokenContext context,
                    std::span<const std::int64_t> eos_ids);

}  // namespace deltavino::runtime
