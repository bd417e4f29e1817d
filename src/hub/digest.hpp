// The hash by which the Hub names a file: SHA-256 of a large file (LFS), or git's SHA-1 of a small one.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>

namespace deltavino::hub {

enum class DigestKind { Sha256, GitBlob };

class Digest {
public:
    // `size`: bytes that will follow; git hashes it, too.
    Digest(DigestKind kind, std::uint64_t size);
    ~Digest();
    Digest(Digest&& other) noexcept;
    Digest& operator=(Digest&& other) noexcept;

    void update(std::span<const std::byte> data);
    // Lower-case hexadecimal. Nothing may be added afterwards.
    std::string finish();

private:
    struct State;
    std::unique_ptr<State> state_;
};

}  // namespace deltavino::hub
