// Text to tokens and back, by the two tokenizer models of an exported directory.
#pragma once

#include "base/text.hpp"
#include "runtime/chat/tokenizer_graph.hpp"

#include <openvino/runtime/core.hpp>
#include <openvino/runtime/infer_request.hpp>

#include <cstdint>
#include <filesystem>
#include <functional>
#include <limits>
#include <map>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace deltavino::runtime {

// A part of a prompt. Control text is what the program writes: added tokens in it become their ids. In any other
// text special tokens, such as <|im_end|> and <|image_pad|>, stay text; added tokens that are not special, such as
// <think>, are found there, too (`tokenizers` calls this encode_special_tokens, transformers split_special_tokens).
struct TextSegment {
    std::string text;
    bool is_control = false;
};

class Tokenizer {
public:
    // Loads the tokenizers extension into `core` and both models of `directory`.
    // Throws when one of the files is missing, or the extension; the message says how to get it.
    Tokenizer(ov::Core& core, const std::filesystem::path& directory);

    // `text` must be UTF-8, else ErrorKind::Usage. All of it is control text.
    std::vector<std::int64_t> encode(const std::string& text);
    // The segments as one text: the ids are those of `tokenizers` for all of them joined. White space around an added
    // token that takes it counts within a segment only.
    std::vector<std::int64_t> encode(std::span<const TextSegment> segments);
    // From now on an id of `count` or more is ErrorKind::Usage: the model has no embedding for it.
    void limit_ids(std::int64_t count) { id_limit_ = count; }
    // Special tokens are left out; bytes that are not UTF-8 become U+FFFD.
    std::string decode(std::span<const std::int64_t> ids);

    // The id of a token that is one, for example <|image_pad|>; throws ErrorKind::Input when it is not.
    std::int64_t single_id(const std::string& token);

    // What the tokenizer model itself carries.
    const std::optional<std::int64_t>& eos_id() const { return eos_id_; }
    const std::optional<std::string>& chat_template() const { return chat_template_; }

    // Text and id of every added token.
    const std::map<std::string, std::int64_t>& added_tokens() const { return graph_.added; }

private:
    // What a prompt is made of: an id, or a text between ids.
    struct Piece {
        std::optional<std::int64_t> id;
        std::string text;
    };
    void split(const TextSegment& segment, std::vector<Piece>& pieces);
    void require_embeddings(std::span<const std::int64_t> ids) const;
    // Ids of each text.
    std::vector<std::vector<std::int64_t>> encode_plain(const std::vector<std::string>& texts);

    TokenizerGraph graph_;  // without its models, which are compiled
    std::set<std::int64_t> special_;
    ov::InferRequest splitter_;  // empty when there are no added tokens
    ov::InferRequest encoder_;
    ov::InferRequest decoder_;
    std::int64_t id_limit_ = std::numeric_limits<std::int64_t>::max();
    std::optional<std::int64_t> eos_id_;
    std::optional<std::string> chat_template_;
};

// Gives out text as tokens come in, never half a character: what may still change waits.
class TextStream {
public:
    using Decode = std::function<std::string(std::span<const std::int64_t>)>;
    explicit TextStream(Decode decode) : decode_(std::move(decode)) {}

    // The text that is certain now and was not given out before.
    std::string push(std::int64_t id);
    // The rest, at the end.
    std::string finish();

private:
    Decode decode_;
    std::vector<std::int64_t> pending_;  // tokens since the last character that ended with a token
    std::size_t given_ = 0;              // bytes of their text that were given out
};

// The libraries tried for the tokenizers extension, best first: the variable that openvino_genai reads,
// then the places beside the OpenVINO library that runs.
std::vector<std::filesystem::path> tokenizer_library_candidates(const char* variable,
                                                                const std::filesystem::path& openvino_library);

using deltavino::is_utf8;

}  // namespace deltavino::runtime
