// Source of truth: huggingface_hub `validate_repo_id`.
#include "hub/repository.hpp"

#include "base/error.hpp"

#include <algorithm>

namespace deltavino::hub {
namespace {

constexpr std::size_t kMaxIdLength = 96;
constexpr std::size_t kMaxPartLength = 255;
constexpr std::size_t kMaxNameLength = 1024;

bool is_alphanumeric(char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
}

bool is_id_part(std::string_view part) {
    return !part.empty() && part.front() != '-' && part.front() != '.' && part.back() != '-' && part.back() != '.' &&
           std::all_of(part.begin(), part.end(),
                       [](char c) { return is_alphanumeric(c) || c == '_' || c == '-' || c == '.'; });
}

bool is_repository_id(std::string_view id) {
    const std::size_t slash = id.find('/');
    return slash != std::string_view::npos && id.size() <= kMaxIdLength && is_id_part(id.substr(0, slash)) &&
           is_id_part(id.substr(slash + 1)) && id.find("--") == std::string_view::npos &&
           id.find("..") == std::string_view::npos && !id.ends_with(".git");
}

// Whether it is a relative path whose parts are all names.
bool stays_inside(std::string_view path) {
    if (path.empty() || path.size() > kMaxNameLength) {
        return false;
    }
    for (std::size_t begin = 0; begin <= path.size();) {
        const std::size_t end = std::min(path.find('/', begin), path.size());
        const std::string_view part = path.substr(begin, end - begin);
        if (part.empty() || part == "." || part == ".." || part.size() > kMaxPartLength) {
            return false;
        }
        begin = end + 1;
    }
    return std::none_of(path.begin(), path.end(), [](char c) {
        const auto byte = static_cast<unsigned char>(c);
        return byte < 0x20 || byte == 0x7f || c == '\\';
    });
}

// As text for a message: control characters as '?'.
std::string printable(std::string_view text) {
    std::string out(text.substr(0, 200));
    std::replace_if(
        out.begin(), out.end(), [](char c) { return static_cast<unsigned char>(c) < 0x20 || c == 0x7f; }, '?');
    return out;
}

}  // namespace

Repository parse_repository(const std::string& model, const std::string& revision) {
    const std::size_t at = model.find('@');
    const std::string id = model.substr(0, at);
    if (!is_repository_id(id)) {
        fail(ErrorKind::Input,
             "cannot read checkpoint '{}': no such folder, and a Hub id has the form owner/name or owner/name@revision",
             printable(model));
    }
    std::string wanted = at == std::string::npos ? std::string() : model.substr(at + 1);
    if (at != std::string::npos && !revision.empty() && wanted != revision) {
        fail(ErrorKind::Usage, "cannot read checkpoint '{}': the id and --revision '{}' name different revisions",
             printable(model), printable(revision));
    }
    if (at == std::string::npos) {
        wanted = revision.empty() ? "main" : revision;
    }
    if (!stays_inside(wanted)) {
        fail(ErrorKind::Input, "cannot read checkpoint '{}': '{}' is not a branch, tag or commit", printable(model),
             printable(wanted));
    }
    return {id, wanted};
}

bool is_commit(std::string_view revision) {
    return revision.size() == 40 && std::all_of(revision.begin(), revision.end(), [](char c) {
               return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f');
           });
}

void require_safe_file_name(std::string_view name, std::string_view repository) {
    if (!stays_inside(name)) {
        fail(ErrorKind::Input, "cannot use '{}': its file name '{}' would lie outside the folder of the model",
             repository, printable(name));
    }
}

std::string url_quote(std::string_view text, std::string_view keep) {
    constexpr const char* kDigits = "0123456789ABCDEF";
    std::string out;
    for (const char c : text) {
        if (is_alphanumeric(c) || std::string_view("-_.~").find(c) != std::string_view::npos ||
            keep.find(c) != std::string_view::npos) {
            out += c;
        } else {
            const auto byte = static_cast<unsigned char>(c);
            out += {'%', kDigits[byte >> 4], kDigits[byte & 15]};
        }
    }
    return out;
}

}  // namespace deltavino::hub
