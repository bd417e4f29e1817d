#include "progress_bar.hpp"

#include "base/terminal.hpp"
#include "base/text.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cstdio>

namespace deltavino::app {

namespace {

bool quiet_mode = false;

// Standard error that cannot be written to is no reason to end the work, and fmt::print would throw.
void put_status(const std::string& text) {
    std::fputs(text.c_str(), stderr);
    std::fflush(stderr);
}

}  // namespace

void be_quiet(bool quiet) {
    quiet_mode = quiet;
}

bool is_quiet() {
    return quiet_mode;
}

ProgressBar::ProgressBar(ProgressUnit unit)
    : unit_(unit), terminal_(!is_quiet() && is_terminal(Stream::Error)), start_(std::chrono::steady_clock::now()) {
    note_stop_requests();
}

ProgressBar::~ProgressBar() {
    clear();
}

void ProgressBar::update(const std::string& stage, std::uint64_t done, std::uint64_t total) {
    const auto now = std::chrono::steady_clock::now();
    if (!terminal_ || (drawn_ && done < total && now - last_ < std::chrono::milliseconds(100))) {
        return;
    }
    last_ = now;
    drawn_ = true;
    constexpr std::uint64_t kWidth = 30;
    const double share = total == 0 ? 1.0 : static_cast<double>(done) / static_cast<double>(total);
    const auto filled = static_cast<std::uint64_t>(share * kWidth);
    const double seconds = std::chrono::duration<double>(now - start_).count();
    const auto rate = static_cast<std::uint64_t>(static_cast<double>(done) / std::max(seconds, 1e-3));
    put_status(fmt::format("\r\033[K{} [{}{}] {:3.0f}%  {} of {}  {}/s", stage, std::string(filled, '#'),
                           std::string(kWidth - filled, '.'), share * 100.0, amount(done), amount(total),
                           amount(rate)));
}

std::string ProgressBar::amount(std::uint64_t number) const {
    return unit_ == ProgressUnit::Bytes ? human_bytes(number) : std::to_string(number);
}

bool ProgressBar::cancelled() {
    return stop_requested();
}

void ProgressBar::note(const std::string& sentence) {
    if (is_quiet()) {
        return;
    }
    clear();
    put_status(fmt::format("note: {}\n", sentence));
}

void ProgressBar::clear() {
    if (drawn_) {
        put_status("\r\033[K");
        drawn_ = false;
    }
}

}  // namespace deltavino::app
