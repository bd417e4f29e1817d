// An OpenCL layer that lets OpenVINO's GPU plugin take Intel's OpenCL runtime for CPUs for an Intel GPU.
//
// The OpenCL loader (ocl-icd) puts it between the application and the runtime when OPENCL_LAYERS names it. A
// preloaded library would not do: oneDNN, which the plugin contains, looks the functions up by dlsym in the loader.
//
//   DELTAVINO_GPU_FAMILY   which GPU the device says it is: a name of the table in device.cpp; default xe-lp
//   DELTAVINO_GPU_STUBS    1: kernels are not compiled, they become empty ones of the same names. A model compiles in
//                          seconds, for any family, and computes nothing
//   DELTAVINO_GPU_KERNELS  a folder that keeps compiled kernels
//   DELTAVINO_GPU_TRACE    1: says on standard error what is built, stubbed or missing
#pragma once

#define CL_TARGET_OPENCL_VERSION 300
#include <CL/cl.h>
#include <CL/cl_icd.h>

#include <cstdio>
#include <cstring>
#include <string>
#include <string_view>
#include <vector>

namespace layer {

// The functions of the runtime below.
extern const cl_icd_dispatch* below;

// An environment variable, empty when it is not set.
std::string setting(const char* name);
bool makes_stubs();

template <typename... Parts>
void trace(const char* format, Parts... parts) {
    static const bool on = !setting("DELTAVINO_GPU_TRACE").empty();
    if (on) {
        std::fprintf(stderr, format, parts...);
    }
}

// The answer to a query of OpenCL: copied when there is room, and its size.
inline cl_int answer(const void* value, std::size_t bytes, std::size_t room, void* target, std::size_t* size) {
    if (target != nullptr) {
        if (room < bytes) {
            return CL_INVALID_VALUE;
        }
        std::memcpy(target, value, bytes);
    }
    if (size != nullptr) {
        *size = bytes;
    }
    return CL_SUCCESS;
}

// device.cpp
struct Family {
    std::string_view name;
    std::string_view marketing_name;
    cl_uint ip_version;  // architecture << 22 | release << 14, as the driver reports it
    cl_uint device_id;   // of PCI
    std::uint32_t core;  // the family in the header of a kernel binary, which oneDNN reads
    bool matrix_engine;  // XMX: the plugin then uses oneDNN and its fused experts
    bool own_memory;     // a card, not a part of the processor
};
const Family& family();
void install_device(cl_icd_dispatch& table);

// binary.cpp: a kernel binary (ELF) as far as the plugin and oneDNN read one, with a text appended. Without a text
// it only says which GPU it is for.
std::vector<unsigned char> make_binary(const std::string& text);
// The text of such a binary, also after somebody has rewritten the sections; empty when it is another one.
std::string text_of_binary(const unsigned char* bytes, std::size_t size);

// programs.cpp
void install_programs(cl_icd_dispatch& table);

// stubs.cpp
void install_stubs(cl_icd_dispatch& table);
bool is_stub(cl_kernel kernel);

// kernel_cache.cpp
struct CacheKey {
    std::string file;  // empty: nothing is kept
};
CacheKey cache_key(const std::string& source, const std::string& options);
// Null when the folder has none, or one of another runtime.
cl_program load_cached(const CacheKey& key, cl_context context, cl_device_id device, const std::string& options);
void store_cached(const CacheKey& key, cl_program program);

// sub_groups.cpp: what differs in the OpenCL C of a GPU.
std::string adapt_source(const std::string& source);
std::string adapt_options(const char* options);
void install_launch(cl_icd_dispatch& table);

}  // namespace layer
