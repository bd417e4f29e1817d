#include "runtime/speculation.hpp"

#include <algorithm>

namespace deltavino::runtime {
namespace {

// More tokens than this are read for good rather than again with every trial.
constexpr std::size_t kMostBehind = 16;

}  // namespace

std::span<float> Speculation::row(std::size_t index) {
    const std::size_t size = rows_.size() / (trial_.size() - behind_.size());
    return rows_.subspan((index - behind_.size()) * size, size);
}

std::span<float> Speculation::after(std::int64_t id) {
    if (taken_ < trial_.size() && trial_[taken_] == id) {
        engine_.take_trial_token(taken_);
        ++accepted_;
        return row(taken_++);
    }
    settle();
    return begin(id);
}

// Afterwards the states hold base_ and the trial is over; behind_ is what they lack of the history.
void Speculation::settle() {
    if (trial_.empty()) {
        return;
    }
    if (taken_ == trial_.size()) {
        behind_.clear();
    } else {
        engine_.leave_trial(base_);
        behind_.assign(trial_.begin(), trial_.begin() + static_cast<std::ptrdiff_t>(taken_));
    }
    trial_.clear();
}

std::span<float> Speculation::begin(std::int64_t id) {
    if (behind_.size() > kMostBehind) {
        engine_.try_tokens(behind_, 1);
        behind_.clear();
    }
    if (behind_.empty()) {
        base_ = engine_.mark();
    }
    trial_ = behind_;
    trial_.push_back(id);
    const std::size_t room = engine_.capacity().value_or(engine_.history().size() + count_ + 1);
    const std::size_t left = room - std::min(room, engine_.history().size() + 1);
    const std::vector<std::int64_t> guesses = engine_.draft(id, std::min(count_, left));
    trial_.insert(trial_.end(), guesses.begin(), guesses.end());
    drafted_ += guesses.size();
    taken_ = behind_.size();
    rows_ = engine_.try_tokens(trial_, guesses.size() + 1);
    engine_.take_trial_token(taken_);
    return row(taken_++);
}

void Speculation::finish() {
    settle();
    if (!behind_.empty()) {
        engine_.try_tokens(behind_, 1);
        behind_.clear();
    }
}

}  // namespace deltavino::runtime
