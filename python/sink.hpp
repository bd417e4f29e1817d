// The library's progress as Python sees it: callables are told, Ctrl-C and whatever a callable raises stop the work.
#pragma once

#include <deltavino/error.hpp>
#include <deltavino/progress.hpp>

#include <nanobind/nanobind.h>
#include <nanobind/stl/string.h>

#include <atomic>
#include <exception>
#include <string>
#include <utility>

namespace deltavino::python {

namespace nb = nanobind;

// May be set by another thread than the one that works.
class Stop {
public:
    void set() { stopped_ = true; }
    void clear() { stopped_ = false; }
    bool is_set() const { return stopped_; }

private:
    std::atomic<bool> stopped_{false};
};

// Called without the GIL, which it takes for as long as it talks to Python. Created and destroyed with it.
class Sink : public ProgressSink {
public:
    // Both may be None: progress(stage, done, total) and note(sentence).
    Sink(nb::object progress, nb::object note) : progress_(std::move(progress)), note_(std::move(note)) {}

    void update(const std::string& stage, std::uint64_t done, std::uint64_t total) override {
        if (!progress_.is_none()) {
            call([&] { progress_(stage, done, total); });
        }
    }

    bool cancelled() override {
        const nb::gil_scoped_acquire gil;
        call([] {
            if (PyErr_CheckSignals() != 0) {
                throw nb::python_error();
            }
        });
        return failure_ != nullptr || stop.is_set();
    }

    void note(const std::string& sentence) override {
        if (!note_.is_none()) {
            call([&] { note_(sentence); });
        }
    }

    // Runs something that may raise; the work stops at its next look at cancelled().
    template <typename Call>
    void call(Call&& call) {
        const nb::gil_scoped_acquire gil;  // guards failure_, too: threads of the library share a sink
        if (failure_ != nullptr) {
            return;
        }
        try {
            std::forward<Call>(call)();
        } catch (...) {
            failure_ = std::current_exception();
        }
    }

    // Runs work of the library without the GIL; raises what Python raised meanwhile, rather than that it stopped.
    template <typename Work>
    auto run(Work&& work) {
        try {
            const nb::gil_scoped_release released;
            return std::forward<Work>(work)();
        } catch (const Error&) {
            raise_failure();
            throw;
        }
    }

    void raise_failure() {
        if (failure_ != nullptr) {
            std::rethrow_exception(std::exchange(failure_, nullptr));
        }
    }

    Stop stop;

private:
    nb::object progress_;
    nb::object note_;
    std::exception_ptr failure_;
};

}  // namespace deltavino::python
