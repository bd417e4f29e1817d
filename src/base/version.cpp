#include <deltavino/version.hpp>

#include <openvino/core/version.hpp>

namespace deltavino {

std::string version() {
    return DELTAVINO_VERSION;
}

std::string openvino_version() {
    return ov::get_openvino_version().buildNumber;
}

}  // namespace deltavino
