#include "calibration/text.hpp"

#include "base/error.hpp"
#include "base/file.hpp"
#include "base/text.hpp"
#include "runtime/chat/tokenizer.hpp"
#include "runtime/engine.hpp"
#include "runtime/sampler.hpp"

#include <algorithm>
#include <array>

namespace deltavino::calibration {
namespace {

using Ids = std::vector<std::int64_t>;

constexpr std::size_t kMostBytes = 4u << 20;  // some hundred thousand tokens, more than any calibration takes
constexpr std::size_t kPieces = 64;
constexpr std::uint64_t kSeed = 13;

// Languages, prose, questions and code: a model goes on in kind.
constexpr std::array<std::string_view, 16> kOpenings{"The",        "In the beginning",         "# Introduction\n\n",
                                                     "def main(",  "Question: What is",        "Once upon a time",
                                                     "#include <", "\xE4\xBB\x8A\xE5\xA4\xA9", "Der",
                                                     "La",         "And he said unto them,",   "{\"name\": \"",
                                                     "Step 1:",    "The history of",           "1. ",
                                                     "Theorem."};

bool continues_character(char byte) {
    return (static_cast<unsigned char>(byte) & 0xc0u) == 0x80u;
}

}  // namespace

std::string sample_text(std::string_view text, std::size_t bytes) {
    if (text.size() <= bytes) {
        return std::string(text);
    }
    const std::size_t length = bytes / kPieces;
    std::string sample;
    for (std::size_t i = 0; i < kPieces; ++i) {
        std::size_t begin = (text.size() - length) / (kPieces - 1) * i;
        const std::size_t line = text.substr(begin, length / 2).find('\n');
        begin += line == std::string_view::npos || i == 0 ? 0 : line + 1;
        std::size_t end = std::min(text.size(), begin + length);
        while (begin < end && continues_character(text[begin])) {
            ++begin;
        }
        while (end > begin && end < text.size() && continues_character(text[end])) {
            --end;
        }
        sample += text.substr(begin, end - begin);
    }
    return sample;
}

Windows cut_windows(const Ids& ids, std::uint64_t tokens, const std::string& what) {
    if (ids.size() < kFewestTokens) {
        fail(ErrorKind::Input, "cannot calibrate on {}: it has {} tokens, expected at least {}", what, ids.size(),
             kFewestTokens);
    }
    const std::size_t windows = std::max<std::size_t>(1, std::min<std::uint64_t>(tokens, ids.size()) / kWindow);
    Windows cut;
    for (std::size_t w = 0; w < windows; ++w) {
        const std::size_t begin = windows == 1 ? 0 : (ids.size() - kWindow) * w / (windows - 1);
        cut.emplace_back(ids.begin() + static_cast<std::ptrdiff_t>(begin),
                         ids.begin() + static_cast<std::ptrdiff_t>(begin + kWindow));
    }
    return cut;
}

Windows text_windows(const std::filesystem::path& file, const std::filesystem::path& directory, std::uint64_t tokens,
                     std::int64_t vocabulary) {
    const std::string text = read_text_file(file);
    if (!is_utf8(text)) {
        fail(ErrorKind::Input, "cannot calibrate on '{}': it is not UTF-8 text", file.string());
    }
    ov::Core core;
    runtime::Tokenizer tokenizer(core, directory);
    tokenizer.limit_ids(vocabulary);
    const Ids ids = text.empty() ? Ids() : tokenizer.encode(sample_text(text, kMostBytes));
    return cut_windows(ids, tokens, fmt::format("'{}'", file.string()));
}

Windows self_windows(const std::filesystem::path& directory, std::uint64_t tokens, unsigned threads,
                     const std::function<bool(std::uint64_t done)>& tell) {
    runtime::Engine engine(directory, {"CPU", "f32", threads});
    runtime::SamplingSettings settings;
    settings.sample = true;
    runtime::Sampler sampler(settings, kSeed);
    Windows windows;
    for (std::uint64_t done = 0; windows.size() < std::max<std::uint64_t>(1, tokens / kWindow);) {
        engine.reset();
        Ids ids = engine.encode(std::string(kOpenings[windows.size() % kOpenings.size()]), {});
        std::span<float> logits = engine.feed(ids, {});
        while (ids.size() < kWindow) {
            ids.push_back(sampler.next(logits, {ids, 0}));
            if (ids.size() < kWindow) {
                logits = engine.feed(std::span(ids).last(1), {});
            }
            if (tell(++done)) {
                fail(ErrorKind::Cancelled, "stopped");
            }
        }
        windows.push_back(std::move(ids));
    }
    return windows;
}

}  // namespace deltavino::calibration
