// Several tokens in one inference of the language model: a drafter guesses them, the language model reads all, and
// those that it would have chosen are taken. Which tokens come is up to the caller, who chooses each from the logits
// as ever: the result is that of reading them one by one.
//
// The states of linear layers cannot be shortened. So they are kept as they were before the guesses; when one was
// wrong they are restored, and the tokens that were right are read again together with the next guesses.
#pragma once

#include "runtime/engine.hpp"

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

namespace deltavino::runtime {

class Speculation {
public:
    // The engine must have a drafter and outlive this. `count`: guesses at a time.
    Speculation(Engine& engine, std::size_t count) : engine_(engine), count_(count) {}

    // As Engine::feed() of one token.
    std::span<float> after(std::int64_t id);

    // Takes the engine's states to what after() was given. Must be called before anything else is fed.
    void finish();

    std::uint64_t drafted() const { return drafted_; }
    std::uint64_t accepted() const { return accepted_; }

private:
    void settle();
    std::span<float> begin(std::int64_t id);
    std::span<float> row(std::size_t index);

    Engine& engine_;
    std::size_t count_;
    Engine::Place base_;                // what the states held before the trial
    std::vector<std::int64_t> behind_;  // tokens of the history after base_, which the trial begins with
    std::vector<std::int64_t> trial_;   // what the states have read after base_; empty: no trial
    std::size_t taken_ = 0;             // of the trial, that became history
    std::span<float> rows_;             // logits after the last of behind_ and each guess
    std::uint64_t drafted_ = 0;
    std::uint64_t accepted_ = 0;
};

}  // namespace deltavino::runtime
