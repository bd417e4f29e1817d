// Which files of a folder are the checkpoint, and what the folder is when it is none.
#pragma once

#include <filesystem>
#include <map>
#include <string>
#include <vector>

namespace deltavino::checkpoint {

struct ShardList {
    std::vector<std::string> files;                 // names in the folder, to be read in this order
    std::map<std::string, std::string> weight_map;  // stored tensor name -> file; empty without an index
    std::vector<std::string> notes;                 // one sentence each
};

// The text of config.json. Throws ErrorKind::Input when it is not there or `directory` is no folder, and
// ErrorKind::Unsupported when the folder is something else: an adapter, GGUF, pickled weights.
std::string read_config_text(const std::filesystem::path& directory);

// The safetensors files: model.safetensors, else those of the index under whatever name, else all. Throws
// ErrorKind::Input for an index that cannot be right and for numbered files of which some are missing,
// ErrorKind::Unsupported for weights in another format.
ShardList find_shards(const std::filesystem::path& directory);

// Why a file cannot be opened: "is missing", "is a link to '../blobs/x', which does not exist"; empty when
// nothing is wrong with it.
std::string why_absent(const std::filesystem::path& file);

// What an interrupted download left in the folder or, for a snapshot of the Hugging Face cache, among its
// blobs: " (unfinished downloads: 'a.incomplete')"; empty when there is nothing.
std::string unfinished_hint(const std::filesystem::path& directory);

}  // namespace deltavino::checkpoint
