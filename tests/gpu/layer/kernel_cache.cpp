// Compiled kernels, kept in a folder between runs: compiling them takes minutes.
#include "layer.hpp"

#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <iterator>
#include <memory>

namespace layer {
namespace {

// FNV-1a: the same number for the same text in every run and every build, which std::hash does not promise.
std::uint64_t digest(std::string_view text, std::uint64_t state) {
    for (const char letter : text) {
        state = (state ^ static_cast<unsigned char>(letter)) * 1099511628211u;
    }
    return state;
}

}  // namespace

CacheKey cache_key(const std::string& source, const std::string& options) {
    const std::string folder = setting("DELTAVINO_GPU_KERNELS");
    if (folder.empty()) {
        return {};
    }
    // Two digests with different starts: 128 bits.
    const std::uint64_t first = digest(options, digest(source, 14695981039346656037u));
    const std::uint64_t second = digest(source, digest(options, 1469598103934665603u));
    char name[48];
    std::snprintf(name, sizeof name, "%016llx%016llx.kernels", static_cast<unsigned long long>(first),
                  static_cast<unsigned long long>(second));
    return {folder + "/" + name};
}

cl_program load_cached(const CacheKey& key, cl_context context, cl_device_id device, const std::string& options) {
    std::ifstream file(key.file, std::ios::binary);
    if (key.file.empty() || !file) {
        return nullptr;
    }
    const std::vector<char> bytes{std::istreambuf_iterator<char>(file), {}};
    const auto* begin = reinterpret_cast<const unsigned char*>(bytes.data());
    const std::size_t size = bytes.size();
    cl_int status = CL_SUCCESS, error = CL_SUCCESS;
    const cl_program program = below->clCreateProgramWithBinary(context, 1, &device, &size, &begin, &status, &error);
    if (program == nullptr || error != CL_SUCCESS || status != CL_SUCCESS ||
        below->clBuildProgram(program, 1, &device, options.c_str(), nullptr, nullptr) != CL_SUCCESS) {
        trace("layer: cannot use %s, compiling anew\n", key.file.c_str());
        return nullptr;
    }
    return program;
}

void store_cached(const CacheKey& key, cl_program program) {
    std::size_t size = 0;
    if (key.file.empty() ||
        below->clGetProgramInfo(program, CL_PROGRAM_BINARY_SIZES, sizeof size, &size, nullptr) != CL_SUCCESS) {
        return;
    }
    std::vector<unsigned char> bytes(size);
    unsigned char* begin = bytes.data();
    if (size == 0 ||
        below->clGetProgramInfo(program, CL_PROGRAM_BINARIES, sizeof begin, &begin, nullptr) != CL_SUCCESS) {
        return;
    }
    // Several processes may build the same kernels: each writes a file of its own and renames it.
    const std::string partial = key.file + "." + std::to_string(getpid());
    std::ofstream file(partial, std::ios::binary);
    file.write(reinterpret_cast<const char*>(bytes.data()), static_cast<std::streamsize>(size));
    file.close();
    std::error_code ignored;
    if (file) {
        std::filesystem::rename(partial, key.file, ignored);
    } else {
        std::filesystem::remove(partial, ignored);
    }
}

}  // namespace layer
