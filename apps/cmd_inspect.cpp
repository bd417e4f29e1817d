#include "commands.hpp"

#include <deltavino/error.hpp>
#include <deltavino/inspect.hpp>

#include <fmt/format.h>

namespace deltavino::app {

int run_inspect(const InspectCommand& command) {
    const Inspection inspection = inspect(command.path);
    fmt::print("{}\n", command.json ? inspection.json : inspection.text);
    return inspection.complete ? 0 : static_cast<int>(ErrorKind::Input);
}

}  // namespace deltavino::app
