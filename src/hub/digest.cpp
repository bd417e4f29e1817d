// OpenSSL's implementations use the processor's own instructions for SHA where it has them.
#include "hub/digest.hpp"

#include "base/error.hpp"

#include <openssl/evp.h>

#include <array>

namespace deltavino::hub {

struct Digest::State {
    EVP_MD_CTX* context = EVP_MD_CTX_new();

    State() = default;
    State(const State&) = delete;
    State& operator=(const State&) = delete;
    ~State() { EVP_MD_CTX_free(context); }
};

namespace {

void require(bool done) {
    if (!done) {
        fail(ErrorKind::Internal, "cannot hash: OpenSSL refuses");
    }
}

}  // namespace

Digest::Digest(DigestKind kind, std::uint64_t size) : state_(std::make_unique<State>()) {
    const EVP_MD* algorithm = kind == DigestKind::Sha256 ? EVP_sha256() : EVP_sha1();
    require(state_->context != nullptr && EVP_DigestInit_ex(state_->context, algorithm, nullptr) == 1);
    if (kind == DigestKind::GitBlob) {
        const std::string head = fmt::format("blob {}", size);
        update(std::as_bytes(std::span(head.c_str(), head.size() + 1)));  // with the zero at its end
    }
}

Digest::~Digest() = default;
Digest::Digest(Digest&& other) noexcept = default;
Digest& Digest::operator=(Digest&& other) noexcept = default;

void Digest::update(std::span<const std::byte> data) {
    require(EVP_DigestUpdate(state_->context, data.data(), data.size()) == 1);
}

std::string Digest::finish() {
    std::array<unsigned char, EVP_MAX_MD_SIZE> bytes{};
    unsigned size = 0;
    require(EVP_DigestFinal_ex(state_->context, bytes.data(), &size) == 1);
    return fmt::format("{:02x}", fmt::join(bytes.begin(), bytes.begin() + size, ""));
}

}  // namespace deltavino::hub
