// Whether openvino_genai can apply a LoRA adapter to a model while it runs: by names and shapes, without running it.
#pragma once

#include <deltavino/check.hpp>

#include <openvino/core/model.hpp>

#include <filesystem>
#include <vector>

namespace deltavino::evaluation {

// `adapter`: a .safetensors file, or the folder with one and its adapter_config.json. Throws ErrorKind::Input when it
// cannot be read.
std::vector<CheckItem> check_adapter(const ov::Model& language, const std::filesystem::path& adapter);

}  // namespace deltavino::evaluation
