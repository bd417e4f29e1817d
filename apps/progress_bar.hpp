// The progress of a command on a terminal: one line on standard error, nothing when it is not a terminal.
#pragma once

#include <deltavino/progress.hpp>

#include <chrono>

namespace deltavino::app {

// From here on, nothing but results and errors is printed.
void be_quiet(bool quiet);
bool is_quiet();

// What the numbers of update() count.
enum class ProgressUnit { Bytes, Items };

class ProgressBar : public ProgressSink {
public:
    explicit ProgressBar(ProgressUnit unit = ProgressUnit::Bytes);
    ~ProgressBar() override;
    ProgressBar(const ProgressBar&) = delete;
    ProgressBar& operator=(const ProgressBar&) = delete;

    void update(const std::string& stage, std::uint64_t done, std::uint64_t total) override;
    bool cancelled() override;  // after the first SIGINT or SIGTERM
    void note(const std::string& sentence) override;

private:
    void clear();
    std::string amount(std::uint64_t number) const;

    ProgressUnit unit_;
    bool terminal_ = false;
    bool drawn_ = false;
    std::chrono::steady_clock::time_point start_;
    std::chrono::steady_clock::time_point last_;
};

}  // namespace deltavino::app
