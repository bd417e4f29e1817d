// The tokenizer models against tokenizer.json, by its vocabulary alone: independent of how they were made.
#include "evaluate/structure.hpp"

#include "base/error.hpp"
#include "base/text.hpp"
#include "runtime/chat/tokenizer.hpp"
#include "tokenizer/file.hpp"

#include <array>
#include <map>
#include <optional>

namespace deltavino::evaluation {
namespace {

namespace fs = std::filesystem;

// The byte that each character of a byte-level vocabulary stands for. Source: GPT-2's `bytes_to_unicode`.
const std::map<char32_t, char>& byte_alphabet() {
    static const std::map<char32_t, char> kAlphabet = [] {
        std::map<char32_t, char> alphabet;
        char32_t next = 256;
        for (int byte = 0; byte < 256; ++byte) {
            const bool printable = (byte >= 0x21 && byte <= 0x7e) || (byte >= 0xa1 && byte <= 0xac) || byte >= 0xae;
            alphabet[printable ? static_cast<char32_t>(byte) : next++] = static_cast<char>(byte);
        }
        return alphabet;
    }();
    return kAlphabet;
}

// The text of a token of the vocabulary; nothing when it is not whole UTF-8 by itself.
std::optional<std::string> text_of(const std::string& token) {
    std::string text;
    for (std::size_t i = 0; i < token.size();) {
        const auto lead = static_cast<unsigned char>(token[i]);
        const std::size_t length = lead < 0x80 ? 1 : lead < 0xe0 ? 2 : lead < 0xf0 ? 3 : 4;
        char32_t character = length == 1 ? lead : lead & (0xffu >> (length + 1));
        for (std::size_t k = 1; k < length && i + k < token.size(); ++k) {
            character = character << 6 | (static_cast<unsigned char>(token[i + k]) & 0x3fu);
        }
        const auto byte = byte_alphabet().find(character);
        if (byte == byte_alphabet().end()) {
            return std::nullopt;
        }
        text += byte->second;
        i += length;
    }
    return is_utf8(text) ? std::optional(text) : std::nullopt;
}

}  // namespace

std::vector<CheckItem> check_tokenizer(ov::Core& core, const fs::path& directory, const fs::path& tokenizer_json) {
    std::error_code error;
    if (!fs::exists(tokenizer_json, error)) {
        return {{"tokenizer", "tokenizer.json", Finding::Note, "is not there: the tokenizer models were not compared"}};
    }
    runtime::Tokenizer models(core, directory);
    Problems broken;
    Problems unsupported;
    const auto vocabulary = tokenizer::read_tokenizer_file(tokenizer_json, broken, unsupported).vocab;
    constexpr std::size_t kCompared = 2000;
    const std::size_t step = std::max<std::size_t>(1, vocabulary.size() / kCompared);
    std::size_t index = 0;
    std::size_t compared = 0;
    std::size_t wrong = 0;
    std::string example;
    for (const auto& [token, id] : vocabulary) {
        const std::optional<std::string> text = index++ % step == 0 ? text_of(token) : std::nullopt;
        if (!text) {
            continue;
        }
        ++compared;
        const std::string decoded = models.decode(std::array{id});
        if (decoded != *text) {
            example = wrong++ == 0 ? fmt::format("id {} is '{}', expected '{}'", id, decoded, *text) : example;
        }
    }
    return {{"tokenizer", "vocabulary", wrong == 0 ? Finding::Good : Finding::Bad,
             wrong == 0 ? fmt::format("{} tokens decode to the text that tokenizer.json gives them", compared)
                        : fmt::format("{} of {} tokens decode to another text than tokenizer.json gives them: {}",
                                      wrong, compared, example)}};
}

}  // namespace deltavino::evaluation
