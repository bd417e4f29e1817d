// Where bytes are written at a position: a file, or memory.
#pragma once

#include "base/error.hpp"

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <memory>
#include <span>
#include <utility>

namespace deltavino {

// Thread-safe for ranges that do not overlap.
class ByteSink {
public:
    virtual ~ByteSink() = default;
    virtual void write(std::uint64_t offset, std::span<const std::byte> data) = 0;
};

// Takes everything and keeps nothing.
class NullSink : public ByteSink {
public:
    void write(std::uint64_t, std::span<const std::byte>) override {}
};

// Memory of a fixed size.
class MemorySink : public ByteSink {
public:
    MemorySink(std::shared_ptr<std::byte[]> memory, std::uint64_t bytes) : memory_(std::move(memory)), bytes_(bytes) {}

    void write(std::uint64_t offset, std::span<const std::byte> data) override {
        if (offset > bytes_ || data.size() > bytes_ - offset) {
            fail(ErrorKind::Internal, "{} bytes at {} do not fit into {}", data.size(), offset, bytes_);
        }
        std::memcpy(memory_.get() + offset, data.data(), data.size());
    }

private:
    std::shared_ptr<std::byte[]> memory_;
    std::uint64_t bytes_ = 0;
};

}  // namespace deltavino
