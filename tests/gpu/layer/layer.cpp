// What the OpenCL loader calls when it loads a layer.
#include "layer.hpp"

#include <CL/cl_layer.h>

#include <algorithm>
#include <array>
#include <cstdlib>
#include <cstring>

namespace layer {

const cl_icd_dispatch* below = nullptr;

std::string setting(const char* name) {
    const char* text = std::getenv(name);
    return text == nullptr ? std::string() : std::string(text);
}

bool makes_stubs() {
    static const bool on = !setting("DELTAVINO_GPU_STUBS").empty();
    return on;
}

namespace {

// The loader's table may be longer than the one that this header knows, so there is room for more; what the layer
// does not replace must be passed on.
constexpr std::size_t kRoom = 1024;
union Table {
    cl_icd_dispatch functions;
    std::array<void*, kRoom> slots;
};
Table table;

}  // namespace
}  // namespace layer

extern "C" {

CL_API_ENTRY cl_int CL_API_CALL clGetLayerInfo(cl_layer_info what, size_t room, void* target, size_t* size) {
    if (what == CL_LAYER_API_VERSION) {
        const cl_layer_api_version version = CL_LAYER_API_VERSION_100;
        return layer::answer(&version, sizeof version, room, target, size);
    }
    if (what == CL_LAYER_NAME) {
        constexpr char kName[] = "deltavino tests: a CPU as an Intel GPU";
        return layer::answer(kName, sizeof kName, room, target, size);
    }
    return CL_INVALID_VALUE;
}

CL_API_ENTRY cl_int CL_API_CALL clInitLayer(cl_uint count, const cl_icd_dispatch* target, cl_uint* own_count,
                                            const cl_icd_dispatch** own) {
    if (target == nullptr || own_count == nullptr || own == nullptr || count > layer::kRoom) {
        return CL_INVALID_VALUE;
    }
    layer::below = target;
    std::memcpy(static_cast<void*>(layer::table.slots.data()), target, count * sizeof(void*));
    layer::install_device(layer::table.functions);
    layer::install_programs(layer::table.functions);
    if (layer::makes_stubs()) {
        layer::install_stubs(layer::table.functions);
    }
    layer::install_launch(layer::table.functions);
    *own = &layer::table.functions;
    *own_count = count;
    return CL_SUCCESS;
}

}  // extern "C"
