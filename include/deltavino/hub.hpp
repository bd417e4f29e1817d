// Checkpoints of the Hugging Face Hub: from the cache that huggingface_hub keeps, else downloaded into it.
#pragma once

#include <deltavino/progress.hpp>

#include <filesystem>
#include <string>

namespace deltavino {

struct HubOptions {
    std::string revision;             // branch, tag or commit; empty: what follows '@' in the id, else main
    std::filesystem::path cache_dir;  // empty: HF_HUB_CACHE, else HF_HOME/hub, else ~/.cache/huggingface/hub
};

// The folder of a checkpoint. `model` is a folder, which is returned as it is, or a Hub id: 'owner/name' or
// 'owner/name@revision'. Of an id that is not whole in the cache, the files that an export needs are
// downloaded; `progress` counts bytes. Reads the environment variables of huggingface_hub (docs/hub.md).
// Throws Error: Usage (two revisions), Input (neither a folder nor an id, an unusable repository),
// Unsupported (no safetensors), Network (not to be had), Output (the cache cannot be written), Cancelled.
std::filesystem::path resolve_checkpoint(const std::string& model, const HubOptions& options, ProgressSink& progress);

}  // namespace deltavino
