// Programs and kernels of the application: adapted, taken from the cache, or stubs.
//
// The application keeps the handle of the program that it created; what is used may be another one, from the cache.
// No program is ever released: the runtime drops one whose kernels are still alive, and its handle must not be
// given to another one.
#include "layer.hpp"

#include "stubs.hpp"

#include <cstring>
#include <map>
#include <mutex>

namespace layer {
namespace {

struct Program {
    cl_program built = nullptr;  // what stands in for it
    std::string source;          // as the application gave it
};

std::mutex mutex;
std::map<cl_program, Program> programs;

// What oneDNN compiles to see the family in its binary.
bool is_probe(const std::string& source) {
    return source.size() < 128 && source.find("kernel void") != std::string::npos;
}

Program find(cl_program handle) {
    const std::lock_guard lock(mutex);
    const auto found = programs.find(handle);
    return found == programs.end() ? Program{handle, {}} : found->second;
}

void remember(cl_program handle, Program program) {
    below->clRetainProgram(handle);
    const std::lock_guard lock(mutex);
    programs[handle] = std::move(program);
}

template <typename Value>
Value program_info(cl_program program, cl_program_info what) {
    Value value{};
    below->clGetProgramInfo(program, what, sizeof value, &value, nullptr);
    return value;
}

cl_program CL_API_CALL create_with_source(cl_context context, cl_uint count, const char** parts, const size_t* lengths,
                                          cl_int* error) {
    std::string source;
    for (cl_uint i = 0; i < count; ++i) {
        source.append(parts[i], lengths != nullptr && lengths[i] > 0 ? lengths[i] : std::strlen(parts[i]));
    }
    const std::string adapted = is_probe(source) ? source : adapt_source(source);
    const char* text = adapted.c_str();
    const cl_program program = below->clCreateProgramWithSource(context, 1, &text, nullptr, error);
    if (program != nullptr) {
        remember(program, {program, std::move(source)});
    }
    return program;
}

// A binary is machine code for a GPU, from oneDNN, or a binary of this layer that such code was put into.
cl_program CL_API_CALL create_with_binary(cl_context context, cl_uint count, const cl_device_id* devices,
                                          const size_t* sizes, const unsigned char** binaries, cl_int* status,
                                          cl_int* error) {
    if (!makes_stubs()) {
        return below->clCreateProgramWithBinary(context, count, devices, sizes, binaries, status, error);
    }
    const char* nothing = "";
    const cl_program program = below->clCreateProgramWithSource(context, 1, &nothing, nullptr, error);
    if (program != nullptr) {
        remember(program, {program, {}});
        make_stub(program, context, devices[0], text_of_binary(binaries[0], sizes[0]));
    }
    if (status != nullptr) {
        *status = program == nullptr ? CL_INVALID_BINARY : CL_SUCCESS;
    }
    return program;
}

using Notify = void(CL_CALLBACK*)(cl_program, void*);

cl_int CL_API_CALL build(cl_program handle, cl_uint count, const cl_device_id* devices, const char* options,
                         Notify notify, void* data) {
    if (stub_names(handle)) {
        return CL_SUCCESS;
    }
    Program program = find(handle);
    const auto context = program_info<cl_context>(handle, CL_PROGRAM_CONTEXT);
    const auto device = count > 0 ? devices[0] : program_info<cl_device_id>(handle, CL_PROGRAM_DEVICES);
    const std::string names = makes_stubs() ? kernel_names(program.source) : std::string();
    if (!names.empty()) {
        make_stub(handle, context, device, names);
        return CL_SUCCESS;
    }
    const std::string kept = adapt_options(options);
    // The probe is not worth keeping.
    const CacheKey key = is_probe(program.source) ? CacheKey{} : cache_key(adapt_source(program.source), kept);
    if (const cl_program cached = load_cached(key, context, device, kept)) {
        program.built = cached;
        remember(handle, program);
        return CL_SUCCESS;
    }
    trace("layer: compiling %s\n", kernel_names(program.source).c_str());
    const cl_int result = below->clBuildProgram(handle, count, devices, kept.c_str(), notify, data);
    trace("layer: compiled %zu bytes of source, result %d\n", program.source.size(), result);
    if (result == CL_SUCCESS) {
        store_cached(key, handle);
    }
    return result;
}

cl_int CL_API_CALL get_program_info(cl_program handle, cl_program_info what, size_t room, void* target, size_t* size) {
    const Program program = find(handle);
    const std::optional<std::string> names = stub_names(handle);
    const bool binary = what == CL_PROGRAM_BINARY_SIZES || what == CL_PROGRAM_BINARIES;
    if (!binary || !(names || is_probe(program.source))) {
        return below->clGetProgramInfo(program.built, what, room, target, size);
    }
    const std::vector<unsigned char> bytes = make_binary(names.value_or(""));
    if (what == CL_PROGRAM_BINARY_SIZES) {
        const size_t count = bytes.size();
        return answer(&count, sizeof count, room, target, size);
    }
    if (target != nullptr) {
        unsigned char* buffer = *static_cast<unsigned char**>(target);
        if (buffer != nullptr) {
            std::memcpy(buffer, bytes.data(), bytes.size());
        }
    }
    if (size != nullptr) {
        *size = sizeof(unsigned char*);
    }
    return CL_SUCCESS;
}

cl_int CL_API_CALL create_kernels(cl_program handle, cl_uint room, cl_kernel* kernels, cl_uint* count) {
    if (stub_names(handle)) {
        return create_stub_kernels(handle, room, kernels, count);
    }
    return below->clCreateKernelsInProgram(find(handle).built, room, kernels, count);
}

cl_kernel CL_API_CALL create_kernel(cl_program handle, const char* name, cl_int* error) {
    if (stub_names(handle)) {
        return create_stub_kernel(handle, name, error);
    }
    return below->clCreateKernel(find(handle).built, name, error);
}

}  // namespace

void install_programs(cl_icd_dispatch& table) {
    table.clCreateProgramWithSource = create_with_source;
    table.clCreateProgramWithBinary = create_with_binary;
    table.clBuildProgram = build;
    table.clGetProgramInfo = get_program_info;
    table.clCreateKernelsInProgram = create_kernels;
    table.clCreateKernel = create_kernel;
}

}  // namespace layer
