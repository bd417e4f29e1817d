// What the device says about itself.
#include "layer.hpp"

#include <CL/cl_ext.h>

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <string>

namespace layer {
namespace {

constexpr cl_uint ip_version(cl_uint architecture, cl_uint release) {
    return architecture << 22 | release << 14;
}

// Facts of Intel's public drivers. The plugin takes the family from ip_version, oneDNN from `core`; both decide by
// them which kernels there are.
constexpr Family kFamilies[] = {
    {"xe-lp", "Intel(R) Iris(R) Xe Graphics", ip_version(12, 0), 0x9A49, 0x0012, false, false},
    {"meteor-lake", "Intel(R) Arc(TM) Graphics", ip_version(12, 70), 0x7D55, 0x0C07, false, false},
    {"arrow-lake", "Intel(R) Arc(TM) 140T GPU", ip_version(12, 74), 0x7D51, 0x0C07, true, false},
    {"dg2", "Intel(R) Arc(TM) A770 Graphics", ip_version(12, 55), 0x56A0, 0x0C07, true, true},
    {"lunar-lake", "Intel(R) Arc(TM) 140V GPU", ip_version(20, 4), 0x64A0, 0x0C09, true, false},
    {"battlemage", "Intel(R) Arc(TM) B580 Graphics", ip_version(20, 1), 0xE20B, 0x0C09, true, true},
    {"panther-lake", "Intel(R) Arc(TM) B390 GPU", ip_version(30, 0), 0xB080, 0x1E00, true, false},
};

// Queries of cl_intel_device_attribute_query and cl_intel_required_subgroup_size. Debian 12's headers lack some.
constexpr cl_device_info kSubGroupSizes = 0x4108;
constexpr cl_device_info kIpVersion = 0x4250;
constexpr cl_device_info kId = 0x4251;
constexpr cl_device_info kSlices = 0x4252;
constexpr cl_device_info kSubSlicesPerSlice = 0x4253;
constexpr cl_device_info kUnitsPerSubSlice = 0x4254;
constexpr cl_device_info kThreadsPerUnit = 0x4255;
constexpr cl_device_info kFeatures = 0x4256;
constexpr cl_bitfield kDotProducts = 1;
constexpr cl_bitfield kMatrixEngine = 2;

// The extensions that the plugin asks for before it takes a device. The runtime has them or their substance.
std::string extensions(cl_device_id device) {
    std::size_t size = 0;
    below->clGetDeviceInfo(device, CL_DEVICE_EXTENSIONS, 0, nullptr, &size);
    std::string text(size, '\0');
    below->clGetDeviceInfo(device, CL_DEVICE_EXTENSIONS, size, text.data(), nullptr);
    text.resize(std::strlen(text.c_str()));
    for (const char* wanted : {"cl_khr_fp16", "cl_khr_subgroups", "cl_intel_subgroups", "cl_intel_subgroups_short",
                               "cl_intel_subgroups_char", "cl_intel_required_subgroup_size",
                               "cl_intel_unified_shared_memory", "cl_intel_device_attribute_query"}) {
        if (text.find(wanted) == std::string::npos) {
            trace("layer: the runtime lacks %s\n", wanted);
            text += std::string(" ") + wanted;
        }
    }
    return text;
}

cl_int CL_API_CALL get_device_info(cl_device_id device, cl_device_info what, size_t room, void* target, size_t* size) {
    const auto text = [&](std::string_view value) {
        const std::string copy(value);
        return answer(copy.c_str(), copy.size() + 1, room, target, size);
    };
    const auto value = [&](auto number) {
        return answer(&number, sizeof number, room, target, size);
    };
    constexpr cl_uint kSlicesOfDevice = 1, kSubSlices = 6, kUnits = 16;
    switch (what) {
        case CL_DEVICE_TYPE: return value(cl_device_type{CL_DEVICE_TYPE_GPU});
        case CL_DEVICE_NAME: return text(family().marketing_name);
        case CL_DEVICE_VENDOR_ID: return value(cl_uint{0x8086});
        case CL_DEVICE_VERSION: return text("OpenCL 3.0 NEO");  // the name of Intel's GPU driver, which is looked for
        case CL_DRIVER_VERSION: return text("26.22.10");        // below some versions kernels are left out
        case CL_DEVICE_EXTENSIONS: return text(extensions(device));
        case CL_DEVICE_MAX_COMPUTE_UNITS: return value(kSlicesOfDevice * kSubSlices * kUnits);
        case CL_DEVICE_MAX_CLOCK_FREQUENCY: return value(cl_uint{1300});
        case CL_DEVICE_MAX_WORK_GROUP_SIZE: return value(size_t{512});
        case CL_DEVICE_LOCAL_MEM_TYPE: return value(cl_device_local_mem_type{CL_LOCAL});
        case CL_DEVICE_LOCAL_MEM_SIZE: return value(cl_ulong{64 << 10});
        case CL_DEVICE_MAX_MEM_ALLOC_SIZE: return value(cl_ulong{4} << 30);
        case CL_DEVICE_HOST_UNIFIED_MEMORY: return value(cl_bool{!family().own_memory});
        case CL_DEVICE_PARTITION_MAX_SUB_DEVICES: return value(cl_uint{0});
        case kSubGroupSizes: {
            const size_t sizes[] = {8, 16, 32};
            return answer(sizes, sizeof sizes, room, target, size);
        }
        case kIpVersion: return value(family().ip_version);
        case kId: return value(family().device_id);
        case kSlices: return value(kSlicesOfDevice);
        case kSubSlicesPerSlice: return value(kSubSlices);
        case kUnitsPerSubSlice: return value(kUnits);
        case kThreadsPerUnit: return value(cl_uint{7});
        case kFeatures: return value(kDotProducts | (family().matrix_engine ? kMatrixEngine : 0));
        default: return below->clGetDeviceInfo(device, what, room, target, size);
    }
}

cl_int CL_API_CALL get_device_ids(cl_platform_id platform, cl_device_type type, cl_uint room, cl_device_id* devices,
                                  cl_uint* count) {
    const bool gpu = (type & CL_DEVICE_TYPE_GPU) != 0;
    return below->clGetDeviceIDs(platform, gpu ? CL_DEVICE_TYPE_ALL : type, room, devices, count);
}

}  // namespace

const Family& family() {
    static const Family& chosen = [&]() -> const Family& {
        const std::string name = setting("DELTAVINO_GPU_FAMILY");
        for (const Family& candidate : kFamilies) {
            if (candidate.name == (name.empty() ? "xe-lp" : name)) {
                return candidate;
            }
        }
        std::fprintf(stderr, "layer: DELTAVINO_GPU_FAMILY is '%s', which is not in tests/gpu/layer/device.cpp\n",
                     name.c_str());
        std::exit(2);
    }();
    return chosen;
}

void install_device(cl_icd_dispatch& table) {
    table.clGetDeviceInfo = get_device_info;
    table.clGetDeviceIDs = get_device_ids;
}

}  // namespace layer
