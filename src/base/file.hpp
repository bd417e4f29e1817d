// Files: the only place, with file.cpp, that knows the operating system's calls.
//
// Reads and writes are positioned, so several threads may share one open file. Every failure is an
// Error that names the path and the system's reason.
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <span>
#include <string>
#include <string_view>

namespace deltavino {

// A file opened for reading. Thread-safe: reads carry their own position.
class InputFile {
public:
    // Throws ErrorKind::Input when the file cannot be opened or is not a regular file.
    explicit InputFile(const std::filesystem::path& path);
    ~InputFile();
    InputFile(InputFile&& other) noexcept;
    InputFile& operator=(InputFile&&) = delete;

    const std::filesystem::path& path() const { return path_; }
    std::uint64_t size() const { return size_; }

    // Fills `out` from `offset`; throws when the file ends before.
    void read(std::uint64_t offset, std::span<std::byte> out) const;

private:
    std::filesystem::path path_;
    std::uint64_t size_ = 0;
    int handle_ = -1;
};

// A file being written. Thread-safe: writes carry their own position.
class OutputFile {
public:
    // Creates or empties the file; throws ErrorKind::Output.
    explicit OutputFile(const std::filesystem::path& path);
    ~OutputFile();
    OutputFile(OutputFile&& other) noexcept;
    OutputFile& operator=(OutputFile&&) = delete;

    const std::filesystem::path& path() const { return path_; }

    // Reserves `bytes` on the disk so that a full disk shows before the work starts.
    void reserve(std::uint64_t bytes);
    void write(std::uint64_t offset, std::span<const std::byte> data);
    // Reports errors that the system kept until now; the destructor only closes.
    void close();

private:
    std::filesystem::path path_;
    int handle_ = -1;
};

// The whole of a small file as text; throws ErrorKind::Input above `limit` bytes.
std::string read_text_file(const std::filesystem::path& path, std::uint64_t limit = 1ull << 30);
void write_text_file(const std::filesystem::path& path, std::string_view text);

// Bytes a user of this process may still write on the disk that holds `path` (or its nearest existing parent).
std::uint64_t free_disk_bytes(const std::filesystem::path& path);

// A read-only range of zero bytes that takes no memory: the stand-in for weights that are only
// streamed to disk. Views into it stay valid as long as the returned pointer lives.
std::shared_ptr<void> reserve_zero_range(std::uint64_t bytes);

// Output that is invisible at its target until `commit`: the directory is made beside the target
// and renamed at the end; without commit the destructor removes it.
class StagedDirectory {
public:
    // Throws ErrorKind::Output when `target` exists and is not an empty directory, unless `replace`; and
    // even then when `source`, from which the output is made, or the current directory lies in it.
    StagedDirectory(const std::filesystem::path& target, bool replace, const std::filesystem::path& source);
    ~StagedDirectory();
    StagedDirectory(const StagedDirectory&) = delete;
    StagedDirectory& operator=(const StagedDirectory&) = delete;

    const std::filesystem::path& path() const { return staging_; }
    void commit();

private:
    std::filesystem::path target_;
    std::filesystem::path staging_;
    bool replace_ = false;
    bool committed_ = false;
};

}  // namespace deltavino
