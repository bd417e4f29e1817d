// `inspect`: the same reading and checking as export, without building or writing anything.
#include <deltavino/inspect.hpp>

#include "base/error.hpp"
#include "base/guard.hpp"
#include "graph/names.hpp"
#include "inspect/inspections.hpp"

namespace deltavino {
namespace {

namespace fs = std::filesystem;

Inspection unguarded(const fs::path& path) {
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
            result.complete = directory.complete;
            return result;
        }
    }
    result.checkpoint = inspection::inspect_checkpoint(path);
    result.complete = result.checkpoint->problems.empty();
    return result;
}

}  // namespace

Inspection inspect(const fs::path& path) {
    return guarded("cannot inspect", [&]() { return unguarded(path); });
}

}  // namespace deltavino
