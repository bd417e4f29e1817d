// Files: with staged_directory.cpp and file_lock.cpp the only place that knows the operating system's calls.
//
// Reads and writes are positioned, so several threads may share one open file. Every failure is an
// Error that names the path and the system's reason.
#pragma once

#include "base/byte_sink.hpp"

#include <cstddef>
#include <cstdint>
#include <ctime>
#include <filesystem>
#include <memory>
#include <span>
#include <string>
#include <string_view>

namespace deltavino {

// A file opened for reading. Thread-safe: reads carry their own position.
class InputFile {
public:
    // Throws ErrorKind::Input when the file cannot be opened or is not a regular file; never waits for a
    // named pipe or a device.
    explicit InputFile(const std::filesystem::path& path);
    ~InputFile();
    InputFile(InputFile&& other) noexcept;
    InputFile& operator=(InputFile&&) = delete;

    const std::filesystem::path& path() const { return path_; }
    std::uint64_t size() const { return size_; }

    // Fills `out` from `offset`; throws when the file ends before.
    void read(std::uint64_t offset, std::span<std::byte> out) const;
    // Throws ErrorKind::Input when somebody wrote to the file since it was opened.
    void require_unchanged() const;

private:
    std::filesystem::path path_;
    std::uint64_t size_ = 0;
    std::timespec changed_{};
    int handle_ = -1;
};

// A file being written. Thread-safe: writes carry their own position.
class OutputFile : public ByteSink {
public:
    // Creates or empties the file; throws ErrorKind::Output.
    explicit OutputFile(const std::filesystem::path& path);
    ~OutputFile() override;
    OutputFile(OutputFile&& other) noexcept;
    OutputFile& operator=(OutputFile&&) = delete;

    const std::filesystem::path& path() const { return path_; }

    // Reserves `bytes` on the disk so that a full disk shows before the work starts. File systems that
    // cannot do so let it pass.
    void reserve(std::uint64_t bytes);
    void write(std::uint64_t offset, std::span<const std::byte> data) override;
    // Reports errors that the system kept until now; the destructor only closes.
    void close();

private:
    std::filesystem::path path_;
    int handle_ = -1;
};

// The whole of a small file as text; throws ErrorKind::Input above `limit` bytes.
std::string read_text_file(const std::filesystem::path& path, std::uint64_t limit = 1ull << 30);
void write_text_file(const std::filesystem::path& path, std::string_view text);

// Whether anything stands at `path`: also a link to nothing, a named pipe or what may not be looked at, so
// that whoever reads it next says what is wrong with it instead of taking it for absent.
bool is_there(const std::filesystem::path& path);

// With those above it. Throws ErrorKind::Output.
void make_folder(const std::filesystem::path& folder);

// Throws as InputFile does, for a model that another library opens: the .xml, and the .bin beside it when it
// is there.
void require_readable_model(const std::filesystem::path& xml);

// Waits until the file or folder is on the disk; throws ErrorKind::Output.
void sync_to_disk(const std::filesystem::path& path);

// What the system calls an error number.
std::string system_reason(int code);

// A read-only range of zero bytes that takes no memory: the stand-in for weights that are only
// streamed to disk. Views into it stay valid as long as the returned pointer lives.
std::shared_ptr<void> reserve_zero_range(std::uint64_t bytes);

// Memory of zero bytes that starts on a page, as a mapped file does. Throws std::bad_alloc.
std::shared_ptr<std::byte[]> zeroed_memory(std::uint64_t bytes);

// The same in pages as large as the system gives, for what is read from end to end again and again.
std::shared_ptr<std::byte[]> large_memory(std::uint64_t bytes);

}  // namespace deltavino
