// Runs an exported model directory: text goes in, with pictures when the model takes them, text comes out.
#pragma once

#include <deltavino/error.hpp>
#include <deltavino/progress.hpp>

#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace deltavino {

struct RunnerOptions {
    std::filesystem::path model;  // the exported directory
    std::string device = "CPU";   // as OpenVINO names it
    std::string precision;  // f32, bf16 or f16; empty: what the device prefers. f32 also keeps the states unquantized
    unsigned threads = 0;   // of the device's inference; 0: the device chooses
    // A folder, made when it is not there, in which the runtime keeps compiled models for the next start, as large as
    // the files that it runs; empty: none. It is not cleaned: what is in it may be removed at any time.
    std::filesystem::path compiled_cache;
    // Tokens that the multi-token-prediction model drafts at a time, which the language model then checks together; 0:
    // none. The answers are the same.
    std::uint64_t speculate = 0;
    // Leave all of the language model to the device's plugin, as other programs run it. Otherwise the CPU runs linear
    // attention by an operation of this program and quantizes activations in larger groups, which is faster.
    bool plugin_only = false;
    bool one_question = false;  // only one question will be asked: nothing is kept for a second, which saves a little
};

// The most that RunnerOptions::speculate can be.
inline constexpr std::uint64_t kMostSpeculation = 32;

// Used when neither the caller nor generation_config.json gives a limit.
inline constexpr std::uint64_t kDefaultMaxNewTokens = 512;

// Empty values come from generation_config.json. Where that says nothing, too, the most likely token is taken.
struct GenerateOptions {
    std::optional<std::uint64_t> max_new_tokens;
    std::optional<double> temperature;  // 0: the most likely token; giving one of these four turns sampling on
    std::optional<std::uint64_t> top_k;
    std::optional<double> top_p;
    std::optional<double> min_p;
    std::optional<double> repetition_penalty;
    std::optional<double> presence_penalty;
    std::optional<double> frequency_penalty;
    std::vector<std::string> stop_strings;  // the answer ends with the token that completes one of them
    std::uint64_t seed = 0;
    bool ignore_eos = false;           // go on until max_new_tokens
    std::optional<bool> thinking;      // empty: as the checkpoint's chat template does it
    std::string tools;                 // for the chat template: a JSON array of functions; empty: none
    std::string chat_template_kwargs;  // variables of the chat template: a JSON object; empty: none
};

struct Question {
    std::string text;
    std::vector<std::filesystem::path> pictures;  // PNG or JPEG files; they stand before the text
    // A whole message as a JSON object, in place of the text: {"role": "tool", "content": "17 degrees"}. Pictures are
    // then those that its content names, in their order.
    std::string message = {};
};

enum class FinishReason { EndOfSequence, StopString, Length, Cancelled };

struct Answer {
    std::string text;                      // what was streamed
    std::vector<std::int64_t> ids;         // generated tokens, with the end-of-sequence token
    std::string prompt;                    // the text that was fed, one placeholder for a picture; all of the
                                           // prompt where its end could not be told from what was read before
    std::vector<std::int64_t> prompt_ids;  // the tokens that were fed, one placeholder for each merged patch
    std::uint64_t context_tokens = 0;      // tokens that the states held before
    FinishReason finish = FinishReason::EndOfSequence;
    double first_token_seconds = 0.0;   // from the call to the first token
    double later_token_seconds = 0.0;   // all the others together
    std::uint64_t drafted_tokens = 0;   // guessed by the multi-token-prediction model
    std::uint64_t accepted_tokens = 0;  // of these, that came into the answer
};

// Gets text as it is generated: whole UTF-8 characters, never empty.
using TextSink = std::function<void(std::string_view)>;

// A loaded model and one conversation with it. Not thread-safe. The calls below throw nothing but Error;
// one that says a picture or an option is unusable leaves the conversation as it was, any other begins a new
// one. When the progress sink asks to stop, the answer ends with FinishReason::Cancelled; when that happens
// before its first token, the conversation is as if the question had not been asked.
class Runner {
public:
    // Loads everything. Throws ErrorKind::Input when it shall speculate and the directory has no model that drafts.
    // `progress` hears warnings, is asked whether to stop, and must outlive the runner.
    Runner(const RunnerOptions& options, ProgressSink& progress);
    ~Runner();
    Runner(const Runner&) = delete;
    Runner& operator=(const Runner&) = delete;

    bool takes_pictures() const;
    // Whether the next question continues a conversation.
    bool remembers() const;

    // Forgets the conversation. `system`: a system turn for the next one. `messages`: what was said in it before, a JSON
    // array of messages as chat templates take them; empty: nothing. Throws ErrorKind::Input for anything else.
    void begin(std::optional<std::string> system, const std::string& messages = {});

    // Asks as the model's chat template writes it, after what was asked and answered before. What the states
    // hold is not read again, except for an answer that the template writes otherwise now, mostly without its
    // thinking: the result is the same as if the whole history had been read anew.
    Answer ask(const Question& question, const GenerateOptions& options, const TextSink& sink);

    // Continues a text without any format, after forgetting the conversation. For each picture the text
    // holds one '<|vision_start|><|image_pad|><|vision_end|>'.
    Answer complete(const Question& prompt, const GenerateOptions& options, const TextSink& sink);

private:
    struct Session;
    std::unique_ptr<Session> session_;
};

}  // namespace deltavino
