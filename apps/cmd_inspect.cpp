#include "commands.hpp"

#include <deltavino/error.hpp>
#include <deltavino/inspect.hpp>

#include <fmt/format.h>

namespace deltavino::app {

int run_inspect(const std::filesystem::path& path, bool json) {
    const Inspection inspection = inspect(path);
    fmt::print("{}\n", json ? inspection.json : inspection.text);
    return inspection.complete ? 0 : static_cast<int>(ErrorKind::Input);
}

}  // namespace deltavino::app
