// Source of truth: the Hub's API as huggingface_hub reads it (`RepoFile`, `TreeCacheEntry`).
#include "hub/listing.hpp"

#include "base/checked.hpp"
#include "base/error.hpp"
#include "hub/repository.hpp"
#include "json/document.hpp"
#include "json/reader.hpp"

#include <algorithm>
#include <set>
#include <unordered_map>

namespace deltavino::hub {
namespace {

constexpr std::uint64_t kMaxFileBytes = 1ull << 44;
constexpr std::size_t kMaxFiles = 1u << 20;

bool is_hex(std::string_view text, std::size_t digits) {
    return text.size() == digits && std::all_of(text.begin(), text.end(), [](char c) {
               return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f');
           });
}

// The file by its git and LFS hashes; a wrong hash is a problem, because it becomes the name of a file.
RemoteFile make_file(std::string name, std::uint64_t size, const std::string& git, const std::string& lfs,
                     Problems& problems) {
    RemoteFile file{std::move(name), size, lfs.empty() ? git : lfs,
                    lfs.empty() ? DigestKind::GitBlob : DigestKind::Sha256};
    if (!is_hex(file.etag, lfs.empty() ? 40 : 64)) {
        problems.add(fmt::format("the hash of '{}' is not a {}", file.name, lfs.empty() ? "SHA-1" : "SHA-256"));
    }
    return file;
}

std::string where_of(const std::string& repository) {
    return fmt::format("the Hub's listing of '{}'", repository);
}

bool in_main_folder(const RemoteFile& file) {
    return file.name.find('/') == std::string::npos;
}

bool is_side_file(const RemoteFile& file) {
    const std::string& name = file.name;
    if (!in_main_folder(file)) {
        return name.starts_with("additional_chat_templates/") && name.ends_with(".jinja");
    }
    if (name.ends_with(".json")) {
        return !name.ends_with(".index.json") || name == kIndexFile;
    }
    return name.ends_with(".jinja") || name == "merges.txt" || name == "vocab.txt" || name.ends_with(".tiktoken") ||
           name == "tokenizer.model";
}

bool is_weight_file(const RemoteFile& file) {
    return in_main_folder(file) && file.name.ends_with(".safetensors") && file.name != "adapter_model.safetensors";
}

}  // namespace

void add_tree_page(Listing& listing, std::string_view json, const std::string& repository) {
    const Json page = parse_json(json, where_of(repository));
    Problems problems;
    if (!page.is_array()) {
        problems.add("it is not a list");
    }
    for (std::size_t i = 0; page.is_array() && i < page.size(); ++i) {
        if (!page[i].is_object()) {
            problems.add(fmt::format("/{} is not an object", i));
            continue;
        }
        const JsonReader entry(page[i], fmt::format("/{}", i), problems);
        if (entry.text("type", "") != "file") {
            continue;
        }
        const std::string name = entry.text("path", "");
        if (problems.empty()) {
            require_safe_file_name(name, repository);
        }
        const Json* lfs = entry.object("lfs");
        const std::string pointer = entry.pointer("lfs");
        const std::string sha256 = lfs == nullptr ? "" : JsonReader(*lfs, pointer, problems).text("oid", "-");
        const std::uint64_t size =
            (lfs == nullptr ? entry : JsonReader(*lfs, pointer, problems)).size("size", std::nullopt, 0, kMaxFileBytes);
        listing.push_back(make_file(name, size, entry.text("oid", ""), sha256, problems));
    }
    if (listing.size() > kMaxFiles) {
        problems.add(fmt::format("it has more than {} files", kMaxFiles));
    }
    problems.throw_if_any(ErrorKind::Input, "cannot read " + where_of(repository));
}

std::string commit_of_revision(std::string_view json, const std::string& repository) {
    const Json info = parse_json(json, where_of(repository));
    Problems problems;
    std::string commit;
    if (info.is_object()) {
        commit = JsonReader(info, "", problems).text("sha", "");
    }
    if (!is_commit(commit)) {
        problems.add("/sha is not a commit");
    }
    problems.throw_if_any(ErrorKind::Input, "cannot read " + where_of(repository));
    return commit;
}

std::optional<Listing> read_tree_file(std::string_view json, const std::string& repository) {
    try {
        const Json tree = parse_json(json, where_of(repository));
        if (!tree.is_object() || !tree.contains("format_version") || tree["format_version"] != 1) {
            return std::nullopt;
        }
        Problems problems;
        const Json* files = JsonReader(tree, "", problems).object("files");
        Listing listing;
        if (files == nullptr) {
            return std::nullopt;
        }
        for (const auto& [name, info] : files->items()) {
            require_safe_file_name(name, repository);
            if (!info.is_object()) {
                return std::nullopt;
            }
            const JsonReader entry(info, "/files", problems);
            const std::uint64_t size = entry.size("size", std::nullopt, 0, kMaxFileBytes);
            listing.push_back(make_file(name, entry.size("lfs_size", size, 0, kMaxFileBytes), entry.text("blob_id", ""),
                                        entry.text("lfs_sha256", ""), problems));
        }
        return problems.empty() ? std::optional<Listing>(listing) : std::nullopt;
    } catch (const Error&) {
        return std::nullopt;  // a cache of another tool: what cannot be read is asked for again
    }
}

const RemoteFile* find_file(const Listing& listing, std::string_view name) {
    const auto found =
        std::find_if(listing.begin(), listing.end(), [&](const auto& file) { return file.name == name; });
    return found == listing.end() ? nullptr : &*found;
}

Listing side_files(const Listing& listing) {
    Listing found;
    std::copy_if(listing.begin(), listing.end(), std::back_inserter(found), is_side_file);
    return found;
}

std::vector<std::string> shards_of_index(const std::string& index, const std::string& where) {
    const Json json = parse_json(index, where);
    Problems problems;
    const Json* map = json.is_object() ? JsonReader(json, "", problems).object("weight_map") : nullptr;
    if (map == nullptr) {
        fail(ErrorKind::Input, "cannot read {}: it has no weight_map object", where);
    }
    std::set<std::string> names;
    for (const auto& [tensor, file] : map->items()) {
        if (!file.is_string()) {
            fail(ErrorKind::Input, "cannot read {}: tensor '{}' is mapped to {}, expected a file name", where, tensor,
                 shown(file));
        }
        names.insert(file.get<std::string>());
    }
    return {names.begin(), names.end()};
}

Listing weight_files(const Listing& listing, const std::optional<std::string>& index, const std::string& repository) {
    Listing found;
    if (index.has_value()) {
        Problems problems;
        std::unordered_map<std::string_view, const RemoteFile*> files;
        for (const RemoteFile& file : listing) {
            files.emplace(file.name, &file);
        }
        for (const std::string& name : shards_of_index(*index, fmt::format("{} of '{}'", kIndexFile, repository))) {
            require_safe_file_name(name, repository);
            if (const auto file = files.find(name); file != files.end()) {
                found.push_back(*file->second);
            } else {
                problems.add(fmt::format("{} names '{}', which the repository does not have", kIndexFile, name));
            }
        }
        problems.throw_if_any(ErrorKind::Input, fmt::format("cannot use '{}'", repository));
        return found;
    }
    if (const RemoteFile* single = find_file(listing, "model.safetensors")) {
        return {*single};
    }
    std::copy_if(listing.begin(), listing.end(), std::back_inserter(found), is_weight_file);
    return found;
}

void require_checkpoint(const Listing& listing, const std::string& repository) {
    if (find_file(listing, "adapter_config.json") != nullptr) {
        fail(ErrorKind::Unsupported,
             "cannot use '{}': it holds a LoRA adapter (adapter_config.json); merge it into its base model first",
             repository);
    }
    if (!std::any_of(listing.begin(), listing.end(), is_weight_file) && find_file(listing, kIndexFile) == nullptr) {
        const auto other = std::find_if(listing.begin(), listing.end(), [](const RemoteFile& file) {
            return file.name.ends_with(".gguf") || file.name.ends_with(".bin") || file.name.ends_with(".pth") ||
                   file.name.ends_with(".pt");
        });
        fail(ErrorKind::Unsupported, "cannot use '{}': it holds {} .safetensors file", repository,
             other == listing.end() ? "no" : fmt::format("'{}' and no", other->name));
    }
    if (find_file(listing, kConfigFile) == nullptr) {
        fail(ErrorKind::Input, "cannot use '{}': it has no config.json", repository);
    }
}

std::string write_needed(const Needed& needed) {
    Json files = Json::object();
    auto& entries = files.get_ref<Json::object_t&>();
    for (const auto& [name, size] : needed) {
        entries.emplace_back(name, size);  // by operator[] it would look through all before it
    }
    return Json{{"format_version", 1}, {"files", files}}.dump(1, ' ', false, Json::error_handler_t::replace) + "\n";
}

std::optional<Needed> read_needed(std::string_view json) {
    try {
        const Json root = parse_json(json, "the list of needed files");
        Problems problems;
        const Json* files = root.is_object() && root.value("format_version", Json()) == 1
                                ? JsonReader(root, "", problems).object("files")
                                : nullptr;
        if (files == nullptr || files->empty()) {
            return std::nullopt;
        }
        Needed needed;
        for (const auto& [name, size] : files->items()) {
            require_safe_file_name(name, "the cache");
            if (!size.is_number_unsigned() || size.get<std::uint64_t>() > kMaxFileBytes) {
                return std::nullopt;
            }
            needed[name] = size.get<std::uint64_t>();
        }
        return problems.empty() ? std::optional<Needed>(needed) : std::nullopt;
    } catch (const Error&) {
        return std::nullopt;
    }
}

}  // namespace deltavino::hub
