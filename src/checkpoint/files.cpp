// The order of preference is that of transformers 5.2 (`_get_resolved_checkpoint_files`): a single
// model.safetensors is taken even where an index stands beside it.
#include "checkpoint/files.hpp"

#include "base/error.hpp"
#include "base/file.hpp"
#include "json/document.hpp"
#include "json/reader.hpp"

#include <algorithm>
#include <array>
#include <optional>
#include <set>

namespace deltavino::checkpoint {
namespace {

namespace fs = std::filesystem;

constexpr const char* kSingleFile = "model.safetensors";
constexpr const char* kIndexFile = "model.safetensors.index.json";
constexpr const char* kConfig = "config.json";
constexpr std::array<std::string_view, 6> kUnfinished{".incomplete", ".aria2",      ".part",
                                                      ".partial",    ".crdownload", ".!qB"};

// Names in a folder, sorted; empty when it cannot be read.
std::vector<std::string> list_names(const fs::path& directory) {
    std::vector<std::string> names;
    std::error_code error;
    fs::directory_iterator entry(directory, error);
    for (; !error && entry != fs::directory_iterator(); entry.increment(error)) {
        names.push_back(entry->path().filename().string());
    }
    std::sort(names.begin(), names.end());
    return names;
}

bool is_unfinished(const std::string& name) {
    return std::any_of(kUnfinished.begin(), kUnfinished.end(),
                       [&](std::string_view end) { return name.ends_with(end); });
}

bool is_pickle(const std::string& name) {
    return name.starts_with("pytorch_model") || name.ends_with(".bin") || name.ends_with(".pth") ||
           name.ends_with(".pt") || name.ends_with(".ckpt");
}

// Throws when the folder holds a model in a form that is not a checkpoint of safetensors.
void refuse_other_formats(const fs::path& directory, const std::vector<std::string>& names) {
    const auto find = [&](const auto& matches) -> const std::string* {
        const auto found = std::find_if(names.begin(), names.end(), matches);
        return found == names.end() ? nullptr : &*found;
    };
    if (const std::string* name = find([](const std::string& n) { return n.ends_with(".gguf"); })) {
        fail(ErrorKind::Unsupported,
             "cannot export '{}': '{}' is a GGUF file; use the original checkpoint in safetensors, from which it was "
             "made",
             directory.string(), *name);
    }
    if (const std::string* name =
            find([](const std::string& n) { return n.starts_with("openvino_") && n.ends_with("model.xml"); })) {
        fail(ErrorKind::Unsupported, "cannot export '{}': it holds '{}', so it is an exported model already",
             directory.string(), *name);
    }
    if (const std::string* name = find(is_pickle)) {
        fail(ErrorKind::Unsupported,
             "cannot export '{}': it holds '{}' and no .safetensors file; pickled weights can run code when they are "
             "loaded: save the model as safetensors first",
             directory.string(), *name);
    }
}

bool is_plain_file_name(const std::string& name) {
    return !name.empty() && name != "." && name != ".." && std::none_of(name.begin(), name.end(), [](char c) {
        return c == '/' || c == '\\' || static_cast<unsigned char>(c) < ' ';
    });
}

// "model-00002-of-00003.safetensors" -> {2, 3}
struct Numbered {
    std::string before;
    std::uint64_t number = 0;
    std::uint64_t count = 0;
};

std::optional<Numbered> numbered(const std::string& name) {
    constexpr std::string_view kEnd = ".safetensors";
    constexpr std::string_view kOf = "-of-";
    constexpr std::size_t kDigits = 5;
    const std::size_t length = kDigits + kOf.size() + kDigits + kEnd.size();
    if (name.size() <= length || !name.ends_with(kEnd)) {
        return std::nullopt;
    }
    const std::size_t first = name.size() - length;
    const std::size_t second = first + kDigits + kOf.size();
    const auto value = [&](std::size_t at) -> std::optional<std::uint64_t> {
        std::uint64_t number = 0;
        for (std::size_t i = at; i < at + kDigits; ++i) {
            if (name[i] < '0' || name[i] > '9') {
                return std::nullopt;
            }
            number = 10 * number + static_cast<std::uint64_t>(name[i] - '0');
        }
        return number;
    };
    if (name.compare(first + kDigits, kOf.size(), kOf) != 0 || !value(first) || !value(second)) {
        return std::nullopt;
    }
    return Numbered{name.substr(0, first), *value(first), *value(second)};
}

// Without an index the numbers of the files tell whether all are there.
void check_numbers(const fs::path& directory, const std::vector<std::string>& files) {
    Problems problems;
    const std::set<std::string> present(files.begin(), files.end());
    std::set<std::pair<std::string, std::uint64_t>> checked;
    for (const std::string& file : files) {
        const std::optional<Numbered> part = numbered(file);
        if (!part || !checked.emplace(part->before, part->count).second) {
            continue;
        }
        constexpr std::size_t kMost = 200'000;  // two sets of the largest count that five digits can say
        for (std::uint64_t i = 1; i <= part->count && problems.size() < kMost; ++i) {
            const std::string name = fmt::format("{}{:05}-of-{:05}.safetensors", part->before, i, part->count);
            if (!present.contains(name)) {
                problems.add(fmt::format("'{}' is missing (an incomplete download?)", name));
            }
        }
    }
    problems.throw_if_any(ErrorKind::Input,
                          fmt::format("cannot read checkpoint '{}'{}", directory.string(), unfinished_hint(directory)));
}

std::map<std::string, std::string> read_index(const fs::path& path) {
    std::map<std::string, std::string> weight_map;
    const auto add = [&](const std::string& tensor, Json& file) {
        if (!file.is_string() || !is_plain_file_name(file.get_ref<const std::string&>())) {
            fail(ErrorKind::Input, "cannot read '{}': tensor '{}' is mapped to {}, expected a file name", path.string(),
                 tensor, shown(file));
        }
        weight_map.emplace(tensor, file.get<std::string>());
    };
    if (!visit_members(read_text_file(path, 256u << 20), path.string(), add, "weight_map")) {
        fail(ErrorKind::Input, "cannot read '{}': it has no weight_map object", path.string());
    }
    if (weight_map.empty()) {
        fail(ErrorKind::Input, "cannot read '{}': its weight_map is empty", path.string());
    }
    return weight_map;
}

// The index of the folder; empty when there is none.
std::string index_name(const fs::path& directory, const std::vector<std::string>& names) {
    std::vector<std::string> found;
    for (const std::string& name : names) {
        if (name == kIndexFile) {
            return name;
        }
        if (name.ends_with(".safetensors.index.json")) {
            found.push_back(name);
        }
    }
    if (found.size() > 1) {
        fail(ErrorKind::Input, "cannot read checkpoint '{}': it has {} indexes and none is '{}': '{}'",
             directory.string(), found.size(), kIndexFile, fmt::join(found, "', '"));
    }
    return found.empty() ? std::string() : found.front();
}

void note_strays(const std::vector<std::string>& names, ShardList& list) {
    const std::set<std::string> read(list.files.begin(), list.files.end());
    std::vector<std::string> strays;
    for (const std::string& name : names) {
        if (name.ends_with(".safetensors") && !read.contains(name)) {
            strays.push_back(name);
        }
    }
    if (!strays.empty()) {
        constexpr std::size_t kShown = 3;
        const std::string more =
            strays.size() > kShown ? fmt::format(" and {} more", strays.size() - kShown) : std::string();
        strays.resize(std::min(strays.size(), kShown));
        list.notes.push_back(fmt::format("not read, because they are not part of the checkpoint: '{}'{}",
                                         fmt::join(strays, "', '"), more));
    }
}

}  // namespace

std::string why_absent(const fs::path& file) {
    std::error_code error;
    if (fs::exists(file, error)) {
        return {};
    }
    if (fs::is_symlink(fs::symlink_status(file, error))) {
        return fmt::format("is a link to '{}', which does not exist", fs::read_symlink(file, error).string());
    }
    return "is missing";
}

std::string unfinished_hint(const fs::path& directory) {
    std::vector<std::string> found;
    const auto look = [&](const fs::path& folder) {
        for (const std::string& name : list_names(folder)) {
            if (is_unfinished(name)) {
                found.push_back(name);
            }
        }
    };
    look(directory);
    look(directory / ".cache" / "huggingface" / "download");
    std::error_code error;
    const fs::path whole = fs::absolute(directory, error).lexically_normal();
    const fs::path snapshot = whole.has_filename() ? whole : whole.parent_path();
    if (snapshot.parent_path().filename() == "snapshots") {
        look(snapshot.parent_path().parent_path() / "blobs");
    }
    if (found.empty()) {
        return {};
    }
    constexpr std::size_t kShown = 3;
    const std::string more = found.size() > kShown ? fmt::format(" and {} more", found.size() - kShown) : std::string();
    found.resize(std::min(found.size(), kShown));
    return fmt::format(" (unfinished downloads: '{}'{})", fmt::join(found, "', '"), more);
}

std::string read_config_text(const fs::path& directory) {
    std::error_code error;
    if (const std::string why = why_absent(directory); !why.empty()) {
        fail(ErrorKind::Input, "cannot read checkpoint '{}': {}", directory.string(),
             why == "is missing" ? "no such folder" : "it " + why);
    }
    if (!fs::is_directory(directory, error)) {
        fail(ErrorKind::Input, "cannot read checkpoint '{}': not a folder (give the folder that has config.json)",
             directory.string());
    }
    // Also beside a model: transformers would load the adapter on top of it.
    if (fs::exists(directory / "adapter_config.json", error)) {
        fail(ErrorKind::Unsupported,
             "cannot export '{}': it holds a LoRA adapter (adapter_config.json); merge it into its base model first "
             "(peft: merge_and_unload, then save_pretrained)",
             directory.string());
    }
    if (const std::string why = why_absent(directory / kConfig); !why.empty()) {
        refuse_other_formats(directory, list_names(directory));
        fail(ErrorKind::Input, "cannot read checkpoint '{}': {}{}", directory.string(),
             why == "is missing" ? "it has no config.json" : "its config.json " + why + " (an incomplete download?)",
             unfinished_hint(directory));
    }
    return read_text_file(directory / kConfig, 16u << 20);
}

ShardList find_shards(const fs::path& directory) {
    const std::vector<std::string> names = list_names(directory);
    ShardList list;
    const std::string index = index_name(directory, names);
    const bool single = std::binary_search(names.begin(), names.end(), kSingleFile);
    if (!index.empty()) {
        list.weight_map = read_index(directory / index);
        std::set<std::string> files;
        for (const auto& [tensor, file] : list.weight_map) {
            files.insert(file);
        }
        if (single && !files.contains(kSingleFile)) {
            list.notes.push_back(fmt::format("'{}' is read and '{}' is ignored, as transformers does where both stand",
                                             kSingleFile, index));
            list.weight_map.clear();
            list.files = {kSingleFile};
        } else {
            list.files.assign(files.begin(), files.end());
        }
    } else if (single) {
        list.files = {kSingleFile};
    } else {
        for (const std::string& name : names) {
            if (name.ends_with(".safetensors") && name != "adapter_model.safetensors") {
                list.files.push_back(name);
            }
        }
        if (list.files.empty()) {
            refuse_other_formats(directory, names);
            fail(ErrorKind::Input, "cannot read checkpoint '{}': no .safetensors file in it{}", directory.string(),
                 unfinished_hint(directory));
        }
        check_numbers(directory, list.files);
    }
    note_strays(names, list);
    return list;
}

}  // namespace deltavino::checkpoint
