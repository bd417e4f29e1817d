#include "support/golden.hpp"

#include "base/file.hpp"
#include "checkpoint/safetensors.hpp"

#include <unistd.h>
#include <cstdlib>
#include <cstring>
#include <stdexcept>

namespace deltavino::test {

std::filesystem::path golden_directory(const std::string& name) {
    return std::filesystem::path(DELTAVINO_SOURCE_DIR) / "tests" / "golden" / name;
}

Golden read_golden(const std::filesystem::path& safetensors) {
    const InputFile file(safetensors);
    Golden golden;
    for (const checkpoint::TensorInfo& info : checkpoint::read_safetensors_table(file).tensors) {
        GoldenTensor tensor;
        tensor.shape = info.shape;
        std::vector<std::byte> bytes(info.bytes);
        file.read(info.offset, bytes);
        if (info.dtype == checkpoint::DType::F32) {
            tensor.floats.resize(bytes.size() / 4);
            std::memcpy(tensor.floats.data(), bytes.data(), bytes.size());
        } else if (info.dtype == checkpoint::DType::I64) {
            tensor.integers.resize(bytes.size() / 8);
            std::memcpy(tensor.integers.data(), bytes.data(), bytes.size());
        } else if (info.dtype == checkpoint::DType::U8) {
            for (const std::byte byte : bytes) {
                tensor.integers.push_back(std::to_integer<std::int64_t>(byte));
            }
        } else {
            throw std::runtime_error("golden tensor '" + info.name + "' is neither F32 nor I64 nor U8");
        }
        golden.emplace(info.name, std::move(tensor));
    }
    return golden;
}

TemporaryDirectory::TemporaryDirectory() {
    std::string pattern = (std::filesystem::temp_directory_path() / "deltavino-test-XXXXXX").string();
    if (::mkdtemp(pattern.data()) == nullptr) {
        throw std::runtime_error("cannot make a temporary directory");
    }
    path_ = pattern;
}

TemporaryDirectory::~TemporaryDirectory() {
    std::error_code ignored;
    std::filesystem::remove_all(path_, ignored);
}

}  // namespace deltavino::test
