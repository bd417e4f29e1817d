#include "commands.hpp"
#include "progress_bar.hpp"

#include <deltavino/error.hpp>
#include <deltavino/inspect.hpp>

#include <fmt/format.h>

namespace deltavino::app {

int run_inspect(const InspectCommand& command) {
    std::filesystem::path path;
    {
        ProgressBar progress;
        path = resolve_checkpoint(command.path.string(), command.hub, progress);
    }
    const Inspection inspection = inspect(path, command.device);
    fmt::print("{}\n", command.json ? inspection.json() : inspection.text());
    return inspection.complete ? 0 : static_cast<int>(ErrorKind::Input);
}

}  // namespace deltavino::app
