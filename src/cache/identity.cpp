#include "cache/identity.hpp"

#include "base/error.hpp"
#include "base/file_stamp.hpp"
#include "base/hub_snapshot.hpp"
#include "hub/digest.hpp"
#include "hub/repository.hpp"

#include <deltavino/version.hpp>

#include <algorithm>
#include <array>
#include <cctype>
#include <span>
#include <string_view>
#include <utility>
#include <vector>

namespace deltavino::cache {
namespace {

namespace fs = std::filesystem;

constexpr int kLayout = 1;  // of this identity
constexpr std::size_t kMostFiles = 100'000;
constexpr std::array<std::string_view, 6> kRead{".json", ".jinja", ".safetensors", ".txt", ".model", ".tiktoken"};
constexpr const char* kTemplates = "additional_chat_templates";

// A folder whose files are told by the hashes that the Hub gave them.
std::optional<HubSnapshot> snapshot_of(const fs::path& checkpoint) {
    std::optional<HubSnapshot> snapshot = hub_snapshot(checkpoint);
    const bool whole =
        snapshot && hub::is_commit(snapshot->revision) && snapshot->repository.find('/') != std::string::npos;
    return whole ? std::move(snapshot) : std::nullopt;
}

bool is_hash(const std::string& name) {
    constexpr std::size_t kSha1 = 40;
    constexpr std::size_t kSha256 = 64;
    return (name.size() == kSha1 || name.size() == kSha256) &&
           std::all_of(name.begin(), name.end(), [](unsigned char c) { return std::isxdigit(c) != 0; });
}

// The hash that a link of a snapshot names; empty for any other file.
std::string blob_of(const fs::path& file) {
    std::error_code error;
    const fs::path target = fs::read_symlink(file, error);
    const std::string name = target.filename().string();
    return !error && target.parent_path().filename() == "blobs" && is_hash(name) ? name : std::string();
}

Json file_identity(const fs::path& file, bool in_snapshot) {
    const FileStamp stamp = file_stamp(file);
    if (const std::string blob = in_snapshot ? blob_of(file) : std::string(); !blob.empty()) {
        return {{"blob", blob}, {"bytes", stamp.bytes}};
    }
    return {{"bytes", stamp.bytes}, {"written_ns", stamp.written_ns}, {"changed_ns", stamp.changed_ns}};
}

// Names of the files that an export may read, sorted.
std::vector<std::string> files_of(const fs::path& folder, const std::string& prefix) {
    std::vector<std::string> names;
    std::error_code error;
    fs::directory_iterator entry(folder, error);
    for (; !error && entry != fs::directory_iterator(); entry.increment(error)) {
        const std::string name = entry->path().filename().string();
        std::error_code ignored;
        const bool read = !name.starts_with(".") &&
                          std::any_of(kRead.begin(), kRead.end(), [&](auto end) { return name.ends_with(end); });
        if (read && fs::is_regular_file(entry->path(), ignored)) {
            names.push_back(prefix + name);
        }
        if (names.size() > kMostFiles) {
            fail(ErrorKind::Input, "cannot use '{}' as a checkpoint: it holds more than {} files", folder.string(),
                 kMostFiles);
        }
    }
    if (error) {
        fail(ErrorKind::Input, "cannot look into '{}': {}", folder.string(), error.message());
    }
    std::sort(names.begin(), names.end());
    return names;
}

Json recipe_identity(const CachedExport& wanted) {
    const CompressionOptions& compression = wanted.compression;
    const auto or_null = [](const auto& value) {
        return value ? Json(*value) : Json(nullptr);
    };
    Json recipe{{"task", wanted.task},
                {"weight_format", compression.weight_format},
                {"sym", compression.sym},
                {"group_size", or_null(compression.group_size)},
                {"group_size_fallback", compression.group_size_fallback},
                {"ratio", or_null(compression.ratio)},
                {"backup_precision", compression.backup_precision},
                {"all_layers", compression.all_layers},
                {"keep", compression.keep},
                {"scale_search", compression.scale_search}};
    if (!compression.recipe.empty() || !compression.target_size.empty() || compression.target_bits) {
        recipe["recipe"] = compression.recipe;
        recipe["target_size"] = compression.target_size;
        recipe["target_bits"] = or_null(compression.target_bits);
    }
    if (!compression.calibrate.empty()) {
        recipe["calibrate"] = compression.calibrate.string();
        recipe["calibration_tokens"] = compression.calibration_tokens;
        if (compression.calibrate != "self") {
            recipe["calibration_text"] = file_identity(compression.calibrate, false);
        }
    }
    if (!wanted.lora.empty()) {
        recipe["lora"] = checkpoint_identity(wanted.lora);
    }
    if (compression.dynamic_quantization) {
        recipe["dynamic_quantization"] = *compression.dynamic_quantization;
    }
    return recipe;
}

std::string text_of(const Json& json) {
    return json.dump(-1, ' ', false, Json::error_handler_t::replace);
}

// A part of a folder's name: nothing that shells or other systems read otherwise.
std::string plain(std::string name) {
    constexpr std::size_t kMostLetters = 60;
    name.resize(std::min(name.size(), kMostLetters));
    std::replace_if(
        name.begin(), name.end(),
        [](unsigned char c) { return c >= 0x80 || (std::isalnum(c) == 0 && c != '.' && c != '_' && c != '-'); }, '_');
    return name.empty() || name.front() == '.' || name.front() == '-' ? "model" + name : name;
}

}  // namespace

Json checkpoint_identity(const fs::path& checkpoint) {
    std::error_code error;
    const fs::path folder = fs::canonical(checkpoint, error);
    if (error || !fs::is_directory(folder, error)) {
        fail(ErrorKind::Input, "cannot use '{}': it is not a directory", checkpoint.string());
    }
    const std::optional<HubSnapshot> snapshot = snapshot_of(folder);
    Json identity = snapshot ? Json{{"repository", snapshot->repository}, {"commit", snapshot->revision}}
                             : Json{{"folder", folder.string()}};
    std::vector<std::string> names = files_of(folder, "");
    if (fs::is_directory(folder / kTemplates, error)) {
        const std::vector<std::string> templates = files_of(folder / kTemplates, std::string(kTemplates) + "/");
        names.insert(names.end(), templates.begin(), templates.end());
    }
    Json& files = identity["files"] = Json::array();
    for (const std::string& name : names) {
        files.push_back({name, file_identity(folder / name, snapshot.has_value())});
    }
    return identity;
}

std::string source_text(const Json& checkpoint_identity) {
    constexpr std::size_t kShownCommit = 12;
    return checkpoint_identity.contains("repository")
               ? fmt::format("{}@{}", checkpoint_identity["repository"].get<std::string>(),
                             checkpoint_identity["commit"].get<std::string>().substr(0, kShownCommit))
               : checkpoint_identity["folder"].get<std::string>();
}

Json export_identity(const Json& checkpoint_identity, const CachedExport& wanted) {
    return {{"layout", kLayout},
            {"version", version()},
            {"openvino_version", openvino_version()},
            {"checkpoint", checkpoint_identity},
            {"recipe", recipe_identity(wanted)}};
}

std::string key_of(const Json& identity) {
    constexpr std::size_t kHashDigits = 12;
    const std::string text = text_of(identity);
    hub::Digest digest(hub::DigestKind::Sha256, text.size());
    digest.update(std::as_bytes(std::span(text)));
    const Json& checkpoint = identity["checkpoint"];
    const bool hub = checkpoint.contains("repository");
    const std::string name = fs::path(checkpoint[hub ? "repository" : "folder"].get<std::string>()).filename().string();
    const std::string format = identity["recipe"]["weight_format"].get<std::string>();
    return fmt::format("{}-{}-{}", plain(name), format.empty() ? "stored" : plain(format),
                       digest.finish().substr(0, kHashDigits));
}

}  // namespace deltavino::cache
