// Reading a model that somebody else may have written.
#pragma once

#include <openvino/openvino.hpp>

#include <filesystem>
#include <memory>

namespace deltavino::graph {

// `core.read_model(xml)` for a file that nobody vouches for: what would end the process inside the runtime is an
// exception instead. Throws Error for files that cannot be opened (base/file.hpp) and ov::Exception for all else.
std::shared_ptr<ov::Model> read_ir(ov::Core& core, const std::filesystem::path& xml);

}  // namespace deltavino::graph
