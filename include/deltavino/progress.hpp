// How a long operation tells its caller where it is, and how the caller stops it.
#pragma once

#include <cstdint>
#include <string>

namespace deltavino {

// Called from the thread that runs the operation, at most some twenty times a second.
class ProgressSink {
public:
    virtual ~ProgressSink() = default;

    // `done` of `total` are finished: bytes for an export, windows of text for an evaluation.
    virtual void update(const std::string& stage, std::uint64_t done, std::uint64_t total) = 0;

    // True when the user asked to stop: the operation ends with ErrorKind::Cancelled.
    virtual bool cancelled() = 0;

    // One sentence that the user should know, for example which tensors are left out on purpose.
    virtual void note(const std::string& sentence) = 0;
};

}  // namespace deltavino
