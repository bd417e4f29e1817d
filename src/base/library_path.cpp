// POSIX side of library_path.hpp.
#include "base/library_path.hpp"

#include <dlfcn.h>

namespace deltavino {

std::filesystem::path library_of(const void* address) {
    Dl_info info{};
    if (::dladdr(address, &info) == 0 || info.dli_fname == nullptr) {
        return {};
    }
    std::error_code error;
    std::filesystem::path file = std::filesystem::canonical(info.dli_fname, error);
    return error ? std::filesystem::path(info.dli_fname) : file;
}

}  // namespace deltavino
