#pragma once

#include <string>

namespace deltavino {

// "0.2.0"
std::string version();
// The OpenVINO build that this program is linked with.
std::string openvino_version();

}  // namespace deltavino
