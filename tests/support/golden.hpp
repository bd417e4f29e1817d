// Golden tensors: what transformers computed for the checkpoints under tests/golden.
#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <memory>
#include <string>
#include <vector>

namespace deltavino::test {

struct GoldenTensor {
    std::vector<std::uint64_t> shape;
    std::vector<float> floats;           // of F32 tensors
    std::vector<std::int64_t> integers;  // of I64 and U8 tensors

    std::uint64_t dim(std::size_t i) const { return shape.at(i); }
};

using Golden = std::map<std::string, GoldenTensor>;

std::filesystem::path golden_directory(const std::string& name);
Golden read_golden(const std::filesystem::path& safetensors);

// The case `name` of a kind that is costly to make, made once per process.
template <typename Case>
Case& shared_case(const std::string& name) {
    static std::map<std::string, std::unique_ptr<Case>> cases;
    std::unique_ptr<Case>& entry = cases[name];
    if (!entry) {
        entry = std::make_unique<Case>(name);
    }
    return *entry;
}

// A directory below the system's temporary one, removed at the end.
class TemporaryDirectory {
public:
    TemporaryDirectory();
    ~TemporaryDirectory();
    TemporaryDirectory(const TemporaryDirectory&) = delete;
    TemporaryDirectory& operator=(const TemporaryDirectory&) = delete;
    const std::filesystem::path& path() const { return path_; }

private:
    std::filesystem::path path_;
};

}  // namespace deltavino::test
