// Ground truth for lengths and stop strings: transformers, generation/utils.py and stopping_criteria.py.
#include "runtime/generation.hpp"

#include "base/error.hpp"
#include "runtime/speculation.hpp"

#include <algorithm>

namespace deltavino::runtime {
namespace {

using Clock = std::chrono::steady_clock;

double seconds_since(Clock::time_point start) {
    return std::chrono::duration<double>(Clock::now() - start).count();
}

bool contains(const std::vector<std::int64_t>& ids, std::int64_t id) {
    return std::find(ids.begin(), ids.end(), id) != ids.end();
}

// Whatever a sink throws leaves as an Error: it could not take the text.
void give(const TextSink& sink, const std::string& piece) {
    if (piece.empty() || !sink) {
        return;
    }
    try {
        sink(piece);
    } catch (const Error&) {
        throw;
    } catch (const std::exception& error) {
        fail(ErrorKind::Output, "cannot hand out the answer: {}", error.what());
    } catch (...) {
        fail(ErrorKind::Output, "cannot hand out the answer");
    }
}

// Tokens whose whole text is a stop string: special ones have no text in the answer.
std::vector<std::int64_t> stop_ids(Engine& engine, const std::vector<std::string>& strings) {
    std::vector<std::int64_t> ids;
    for (const std::string& text : strings) {
        const std::vector<std::int64_t> encoded = engine.tokenizer().encode(text);
        if (encoded.size() == 1) {
            ids.push_back(encoded.front());
        }
    }
    return ids;
}

}  // namespace

GenerationPlan plan_generation(const GenerateOptions& options, const GenerationDefaults& defaults) {
    GenerationPlan plan;
    SamplingSettings& sampling = plan.sampling;
    sampling.sample = defaults.do_sample || options.temperature || options.top_k || options.top_p || options.min_p;
    sampling.temperature = options.temperature.value_or(defaults.temperature.value_or(1.0));
    sampling.top_k = options.top_k.value_or(defaults.top_k.value_or(0));
    sampling.top_p = options.top_p.value_or(defaults.top_p.value_or(1.0));
    sampling.min_p = options.min_p.value_or(defaults.min_p.value_or(0.0));
    sampling.logits = defaults.logits;
    sampling.logits.repetition_penalty = options.repetition_penalty.value_or(defaults.logits.repetition_penalty);
    sampling.logits.presence_penalty = options.presence_penalty.value_or(defaults.logits.presence_penalty);
    sampling.logits.frequency_penalty = options.frequency_penalty.value_or(defaults.logits.frequency_penalty);
    plan.seed = options.seed;
    plan.max_new_tokens = options.max_new_tokens ? options.max_new_tokens : defaults.max_new_tokens;
    plan.max_length = defaults.max_length;
    plan.eos_ids = defaults.eos_ids;
    plan.ignore_eos = options.ignore_eos;
    plan.stop_strings = options.stop_strings.empty() ? defaults.stop_strings : options.stop_strings;
    if (plan.max_new_tokens == 0u) {
        fail(ErrorKind::Usage, "the limit of new tokens is 0, expected 1 or more");
    }
    if (std::find(plan.stop_strings.begin(), plan.stop_strings.end(), "") != plan.stop_strings.end()) {
        fail(ErrorKind::Usage, "a stop string is empty");
    }
    const Sampler tried(sampling, plan.seed);  // throws for what cannot be sampled with
    return plan;
}

std::uint64_t answer_limit(const GenerationPlan& plan, std::size_t prompt_tokens) {
    if (plan.max_new_tokens || !plan.max_length) {
        return plan.max_new_tokens.value_or(kDefaultMaxNewTokens);
    }
    if (prompt_tokens >= *plan.max_length) {
        fail(ErrorKind::Input,
             "cannot answer: the prompt has {} tokens, and 'max_length' of generation_config.json allows {} for prompt "
             "and answer together; --max-new-tokens takes its place",
             prompt_tokens, *plan.max_length);
    }
    return *plan.max_length - prompt_tokens;
}

StopStrings::StopStrings(std::vector<std::string> strings, std::string_view prompt) : strings_(std::move(strings)) {
    for (const std::string& text : strings_) {
        kept_ = std::max(kept_, text.size() - 1);
    }
    tail_ = prompt.substr(prompt.size() - std::min(prompt.size(), kept_));
}

bool StopStrings::ends_in(std::string_view piece) {
    const std::size_t before = tail_.size();
    tail_ += piece;
    const bool found = std::any_of(strings_.begin(), strings_.end(), [&](const std::string& text) {
        // The earliest place from which the string reaches into the piece.
        const std::size_t from = before + 1 > text.size() ? before + 1 - text.size() : 0;
        return tail_.find(text, from) != std::string::npos;
    });
    tail_.erase(0, tail_.size() - std::min(tail_.size(), kept_));
    return found;
}

void generate(Engine& engine, std::span<float> logits, const GenerationPlan& plan, std::size_t speculate,
              const TextSink& sink, const StopCheck& stop, Clock::time_point start, Answer& answer) {
    const std::size_t prompt = engine.history().size();
    const std::uint64_t limit = answer_limit(plan, prompt);
    Sampler sampler(plan.sampling, plan.seed, plan.eos_ids);
    StopStrings stops(plan.stop_strings, answer.prompt);
    const std::vector<std::int64_t> stop_tokens = stop_ids(engine, plan.stop_strings);
    TextStream stream([&engine](std::span<const std::int64_t> ids) { return engine.tokenizer().decode(ids); });
    Speculation speculation(engine, speculate);
    Clock::time_point first;
    std::string piece;
    const auto take = [&]() {
        answer.text += piece;
        give(sink, piece);
    };
    while (true) {
        const std::int64_t id = sampler.next(logits, {engine.history(), prompt});
        answer.ids.push_back(id);
        if (answer.ids.size() == 1) {
            first = Clock::now();
            answer.first_token_seconds = seconds_since(start);
        }
        answer.later_token_seconds = seconds_since(first);
        if (!plan.ignore_eos && contains(plan.eos_ids, id)) {
            answer.finish = FinishReason::EndOfSequence;
            break;
        }
        piece = stream.push(id);
        take();
        if (stops.ends_in(piece) || contains(stop_tokens, id)) {
            answer.finish = FinishReason::StopString;
            break;
        }
        if (answer.ids.size() >= limit) {
            answer.finish = FinishReason::Length;
            break;
        }
        if (stop && stop()) {
            answer.finish = FinishReason::Cancelled;
            break;
        }
        logits = speculate > 0 ? speculation.after(id) : engine.feed(std::span(&id, 1), {});
    }
    speculation.finish();
    answer.drafted_tokens = speculation.drafted();
    answer.accepted_tokens = speculation.accepted();
    piece = stream.finish();
    take();
}

}  // namespace deltavino::runtime
