// What the fuzz targets share. Each target is a program of libFuzzer that gives bytes to one reader of the library:
// an Error is a right answer to any bytes; another exception, a crash, a report of a sanitizer, a hang or too much
// memory is a finding.
#pragma once

#include "base/error.hpp"

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <string>
#include <string_view>

namespace deltavino::fuzz {

// Runs `call` and takes an Error for an answer. ErrorKind::Internal says of itself that it is a bug: it ends the
// program as a finding.
void expect_error_at_most(const std::function<void()>& call);

// A folder of this process, which goes with it.
class Folder {
public:
    Folder();
    ~Folder();
    Folder(const Folder&) = delete;
    Folder& operator=(const Folder&) = delete;

    const std::filesystem::path& path() const { return path_; }
    void put(const std::string& name, std::string_view text) const;
    // Takes out everything that is in it.
    void clear() const;

private:
    std::filesystem::path path_;
};

// Fills `folder` with the files of one input and nothing else. An input holds several files, each after a line
// "@@ NAME"; bytes before the first such line are the file `first`. Names that are no plain file name are left out.
void unpack(const Folder& folder, std::string_view input, const std::string& first);

// The folder of this process for inputs, and one for what the library writes.
const Folder& input_folder();
const Folder& output_folder();

}  // namespace deltavino::fuzz

// What a target does with one input.
void fuzz_one(std::string_view input);
