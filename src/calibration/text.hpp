// The tokens that a calibration runs on.
#pragma once

#include "calibration/calibrate.hpp"

#include <cstdint>
#include <filesystem>
#include <functional>
#include <string>
#include <string_view>

namespace deltavino::calibration {

// One text of this many tokens at a time; the states of the delta rule and the context of attention start anew.
inline constexpr std::size_t kWindow = 256;
inline constexpr std::uint64_t kFewestTokens = 8 * kWindow;

// As many windows as `tokens` fill, spread evenly over the text of a file, which is UTF-8. A long text is read in
// places. `directory`: holds the tokenizer models. Throws ErrorKind::Input when the text has fewer tokens than
// kFewestTokens; when it has fewer than wanted, all of it is taken.
Windows text_windows(const std::filesystem::path& file, const std::filesystem::path& directory, std::uint64_t tokens,
                     std::int64_t vocabulary);

// The same of ids that are there already. `what`: for messages.
Windows cut_windows(const std::vector<std::int64_t>& ids, std::uint64_t tokens, const std::string& what);

// Text that the model in `directory` writes itself after a few openings, drawn with a fixed seed, in float32: the same
// on every run of a machine. `tell` hears how many tokens are there; true stops it with ErrorKind::Cancelled.
Windows self_windows(const std::filesystem::path& directory, std::uint64_t tokens, unsigned threads,
                     const std::function<bool(std::uint64_t done)>& tell);

// About `bytes` of a longer text in pieces from all over it, each from a line's start where there is one nearby.
std::string sample_text(std::string_view text, std::size_t bytes);

}  // namespace deltavino::calibration
