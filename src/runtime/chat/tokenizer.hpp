// Text to tokens and back, by the two tokenizer models of an exported directory.
#pragma once

#include "base/text.hpp"

#include <openvino/runtime/core.hpp>
#include <openvino/runtime/infer_request.hpp>

#include <cstdint>
#include <filesystem>
#include <functional>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace deltavino::runtime {

class Tokenizer {
public:
    // Loads the tokenizers extension into `core` and both models of `directory`.
    // Throws when one of the files is missing, or the extension; the message says how to get it.
    Tokenizer(ov::Core& core, const std::filesystem::path& directory);

    // `text` must be UTF-8, else ErrorKind::Usage. Special tokens in it become their ids.
    std::vector<std::int64_t> encode(const std::string& text);
    // Special tokens are left out; bytes that are not UTF-8 become U+FFFD.
    std::string decode(std::span<const std::int64_t> ids);

    // The id of a token that is one, for example <|image_pad|>; throws ErrorKind::Input when it is not.
    std::int64_t single_id(const std::string& token);

    // What the tokenizer model itself carries.
    const std::optional<std::int64_t>& eos_id() const { return eos_id_; }
    const std::optional<std::string>& chat_template() const { return chat_template_; }

private:
    ov::InferRequest encoder_;
    ov::InferRequest decoder_;
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
