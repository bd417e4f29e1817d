// The progress of a command on a terminal: one line on standard error, nothing when it is not a terminal.
#pragma once

#include <deltavino/progress.hpp>

#include <chrono>

namespace deltavino::app {

class ProgressBar : public ProgressSink {
public:
    ProgressBar();
    ~ProgressBar() override;
    ProgressBar(const ProgressBar&) = delete;
    ProgressBar& operator=(const ProgressBar&) = delete;

    void update(const std::string& stage, std::uint64_t done, std::uint64_t total) override;
    bool cancelled() override;  // after the first SIGINT or SIGTERM
    void note(const std::string& sentence) override;

private:
    void clear();

    bool terminal_ = false;
    bool drawn_ = false;
    std::chrono::steady_clock::time_point start_;
    std::chrono::steady_clock::time_point last_;
};

}  // namespace deltavino::app
