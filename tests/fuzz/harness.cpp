#include "fuzz/harness.hpp"

#include <unistd.h>
#include <cstdio>
#include <cstdlib>
#include <fstream>

namespace deltavino::fuzz {

namespace fs = std::filesystem;

void expect_error_at_most(const std::function<void()>& call) {
    try {
        call();
    } catch (const Error& error) {
        if (error.kind() == ErrorKind::Internal) {
            std::fprintf(stderr, "an internal error: %s\n", error.what());
            std::abort();
        }
    }
}

Folder::Folder() {
    std::string name = (fs::temp_directory_path() / "deltavino-fuzz-XXXXXX").string();
    if (mkdtemp(name.data()) == nullptr) {
        std::perror("cannot make a folder for inputs");
        std::exit(1);
    }
    path_ = name;
}

Folder::~Folder() {
    std::error_code error;
    fs::remove_all(path_, error);
}

void Folder::put(const std::string& name, std::string_view text) const {
    std::ofstream file(path_ / name, std::ios::binary | std::ios::trunc);
    file.write(text.data(), static_cast<std::streamsize>(text.size()));
}

void Folder::clear() const {
    for (const fs::directory_entry& entry : fs::directory_iterator(path_)) {
        fs::remove_all(entry.path());
    }
}

void unpack(const Folder& folder, std::string_view input, const std::string& first) {
    constexpr std::string_view kMark = "@@ ";
    constexpr std::size_t kMostFiles = 16;
    constexpr std::size_t kMostName = 64;
    folder.clear();
    std::string name = first;
    for (std::size_t files = 0; files < kMostFiles && !input.empty(); ++files) {
        std::size_t end = input.starts_with(kMark) ? 0 : input.find("\n@@ ");
        const bool plain = !name.empty() && name.size() <= kMostName && name != "." && name != ".." &&
                           name.find('/') == std::string::npos && name.find('\0') == std::string::npos;
        if (plain && end != 0) {
            folder.put(name, input.substr(0, end));
        }
        if (end == std::string_view::npos) {
            return;
        }
        end += input.starts_with(kMark) ? 0 : 1;
        input.remove_prefix(end + kMark.size());
        const std::size_t line = input.find('\n');
        name = std::string(input.substr(0, line));
        input.remove_prefix(line == std::string_view::npos ? input.size() : line + 1);
    }
}

const Folder& input_folder() {
    static const Folder folder;
    return folder;
}

const Folder& output_folder() {
    static const Folder folder;
    return folder;
}

}  // namespace deltavino::fuzz

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    fuzz_one({reinterpret_cast<const char*>(data), size});
    return 0;
}
