// A file that grows from the end, in one go or after an interruption, and then takes its final name.
#pragma once

#include <cstdint>
#include <filesystem>
#include <span>

namespace deltavino {

// Not thread-safe. Every failure is ErrorKind::Output.
class PartialFile {
public:
    // Opens the file with what it holds, or makes it; throws when it is a link or no regular file.
    explicit PartialFile(const std::filesystem::path& path);
    ~PartialFile();
    PartialFile(const PartialFile&) = delete;
    PartialFile& operator=(const PartialFile&) = delete;

    std::uint64_t size() const { return size_; }

    void read(std::uint64_t offset, std::span<std::byte> out) const;
    void append(std::span<const std::byte> data);
    void clear();
    // Deletes it, as far as the system lets us.
    void discard() noexcept;
    // Closes it and gives it its final name, in place of what is there.
    void publish(const std::filesystem::path& target);

private:
    void close();

    std::filesystem::path path_;
    std::uint64_t size_ = 0;
    int handle_ = -1;
};

}  // namespace deltavino
