// `inspect`: the same reading and checking as export, without building or writing anything.
#include <deltavino/inspect.hpp>

#include "base/error.hpp"
#include "base/guard.hpp"
#include "graph/names.hpp"
#include "inspect/inspections.hpp"

namespace deltavino {
namespace {

namespace fs = std::filesystem;

Inspection unguarded(const fs::path& path, const std::string& device) {
    if (!device.empty()) {
        inspection::memory_on(device, {});  // a wrong name shows before anything is read
    }
    std::error_code error;
    if (!fs::is_directory(path, error)) {
        fail(ErrorKind::Input, "cannot inspect '{}': no such folder", path.string());
    }
    Inspection result;
    for (const char* name : {graph::names::kTextModel, graph::names::kLanguageModel, graph::names::kTextEmbeddings,
                             graph::names::kVisionEmbeddings}) {
        if (fs::exists(path / (std::string(name) + ".xml"), error)) {
            inspection::Directory directory = inspection::inspect_directory(path);
            result.directory = std::move(directory.facts);
            if (!device.empty()) {
                result.memory = inspection::memory_on(device, directory.contents);
            }
            result.complete = directory.complete;
            return result;
        }
    }
    inspection::Contents contents;
    result.checkpoint = inspection::inspect_checkpoint(path, device.empty() ? nullptr : &contents);
    result.complete = result.checkpoint->problems.empty();
    if (!device.empty() && result.complete) {
        result.memory = inspection::memory_on(device, contents);
    }
    return result;
}

}  // namespace

Inspection inspect(const fs::path& path, const std::string& device) {
    return guarded("cannot inspect", [&]() { return unguarded(path, device); });
}

}  // namespace deltavino
