// The loop that takes one token after another.
#pragma once

#include "runtime/engine.hpp"
#include "runtime/generation_config.hpp"
#include "runtime/sampler.hpp"

#include <deltavino/generate.hpp>

#include <chrono>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace deltavino::runtime {

// What the caller asked for over what generation_config.json says.
struct GenerationPlan {
    SamplingSettings sampling;
    std::uint64_t seed = 0;
    std::optional<std::uint64_t> max_new_tokens;
    std::optional<std::uint64_t> max_length;  // of prompt and answer together
    std::vector<std::int64_t> eos_ids;        // of these none ends an answer when `ignore_eos` holds
    bool ignore_eos = false;
    std::vector<std::string> stop_strings;
};

// Throws ErrorKind::Usage for options outside their range.
GenerationPlan plan_generation(const GenerateOptions& options, const GenerationDefaults& defaults);

// The most tokens that an answer to a prompt that ends at token `prompt_tokens` may have. Throws
// ErrorKind::Input when 'max_length' leaves none.
std::uint64_t answer_limit(const GenerationPlan& plan, std::size_t prompt_tokens);

// Says when a text that grows by tokens holds one of some strings. As in transformers the last token may
// end behind the string, and the string may begin in the prompt.
class StopStrings {
public:
    StopStrings(std::vector<std::string> strings, std::string_view prompt);

    // Whether a string ends within `piece`, the text of the newest token.
    bool ends_in(std::string_view piece);

private:
    std::vector<std::string> strings_;
    std::size_t kept_ = 0;  // bytes before a piece that a string may begin in
    std::string tail_;
};

// Generates after `logits`, those of the last token that the engine read; fills text, ids, finish and the
// times of `answer`. `speculate`: tokens that the engine, which must be speculative then, guesses at a time; 0: none.
// `stop`: asked between two tokens.
void generate(Engine& engine, std::span<float> logits, const GenerationPlan& plan, std::size_t speculate,
              const TextSink& sink, const StopCheck& stop, std::chrono::steady_clock::time_point start, Answer& answer);

}  // namespace deltavino::runtime
