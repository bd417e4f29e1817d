#include "stubs.hpp"

#include <CL/cl_ext.h>

#include <map>
#include <mutex>
#include <set>
#include <sstream>

namespace layer {
namespace {

struct Stub {
    cl_program empty = nullptr;  // what its kernels are made from
    std::string names;
};

struct StubKernel {
    cl_program handle = nullptr;
    std::string name;
};

std::mutex mutex;
std::map<cl_program, Stub> stubs;
std::map<cl_kernel, StubKernel> kernels_of_stubs;
std::map<cl_context, cl_program> empty_programs;

cl_program empty_program(cl_context context, cl_device_id device) {
    cl_program& program = empty_programs[context];
    if (program == nullptr) {
        const char* text = "kernel void empty() {}";
        program = below->clCreateProgramWithSource(context, 1, &text, nullptr, nullptr);
        if (below->clBuildProgram(program, 1, &device, "", nullptr, nullptr) != CL_SUCCESS) {
            std::fprintf(stderr, "layer: the runtime cannot build an empty kernel\n");
        }
    }
    return program;
}

std::optional<StubKernel> find(cl_kernel kernel) {
    const std::lock_guard lock(mutex);
    const auto found = kernels_of_stubs.find(kernel);
    return found == kernels_of_stubs.end() ? std::nullopt : std::optional(found->second);
}

cl_kernel CL_API_CALL clone_kernel(cl_kernel kernel, cl_int* error) {
    if (const std::optional<StubKernel> stub = find(kernel)) {
        return create_stub_kernel(stub->handle, stub->name, error);
    }
    return below->clCloneKernel(kernel, error);
}

cl_int CL_API_CALL get_kernel_info(cl_kernel kernel, cl_kernel_info what, size_t room, void* target, size_t* size) {
    const std::optional<StubKernel> stub = find(kernel);
    if (stub && what == CL_KERNEL_FUNCTION_NAME) {
        return answer(stub->name.c_str(), stub->name.size() + 1, room, target, size);
    }
    if (stub && what == CL_KERNEL_PROGRAM) {
        return answer(&stub->handle, sizeof stub->handle, room, target, size);
    }
    return below->clGetKernelInfo(kernel, what, room, target, size);
}

// A handle that was released may be given to a kernel that does something.
cl_int CL_API_CALL release_kernel(cl_kernel kernel) {
    cl_uint references = 0;
    below->clGetKernelInfo(kernel, CL_KERNEL_REFERENCE_COUNT, sizeof references, &references, nullptr);
    if (references == 1) {
        const std::lock_guard lock(mutex);
        kernels_of_stubs.erase(kernel);
    }
    return below->clReleaseKernel(kernel);
}

// A stub has no parameters, so it takes any.
cl_int CL_API_CALL set_argument(cl_kernel kernel, cl_uint index, size_t size, const void* value) {
    return is_stub(kernel) ? CL_SUCCESS : below->clSetKernelArg(kernel, index, size, value);
}

cl_int CL_API_CALL set_svm_argument(cl_kernel kernel, cl_uint index, const void* value) {
    return is_stub(kernel) ? CL_SUCCESS : below->clSetKernelArgSVMPointer(kernel, index, value);
}

clSetKernelArgMemPointerINTEL_fn set_usm_below = nullptr;

cl_int CL_API_CALL set_usm_argument(cl_kernel kernel, cl_uint index, const void* value) {
    return is_stub(kernel) ? CL_SUCCESS : set_usm_below(kernel, index, value);
}

void* CL_API_CALL extension_function(cl_platform_id platform, const char* name) {
    void* function = below->clGetExtensionFunctionAddressForPlatform(platform, name);
    if (function != nullptr && std::string_view(name) == "clSetKernelArgMemPointerINTEL") {
        set_usm_below = reinterpret_cast<clSetKernelArgMemPointerINTEL_fn>(function);
        return reinterpret_cast<void*>(&set_usm_argument);
    }
    return function;
}

}  // namespace

// The plugin hides the names of its kernels in a macro.
std::string kernel_names(const std::string& source) {
    constexpr std::string_view kMacro = "#define KERNEL(name)";
    constexpr std::string_view kEntry = "__kernel void ";
    std::set<std::string> names;
    for (std::size_t at = source.find(kMacro); at != std::string::npos; at = source.find(kMacro, at + 1)) {
        const std::string line = source.substr(at, source.find('\n', at) - at);
        const std::size_t name = line.find(kEntry);
        if (name != std::string::npos) {
            const std::string rest = line.substr(name + kEntry.size());
            names.insert(rest.substr(0, rest.find_first_of(" (\r")));
        }
    }
    std::string text;
    for (const std::string& name : names) {
        text += name + '\n';
    }
    return text;
}

void make_stub(cl_program handle, cl_context context, cl_device_id device, const std::string& names) {
    trace("layer: stub %s\n", names.empty() ? "of machine code" : names.c_str());
    const std::lock_guard lock(mutex);
    stubs[handle] = {empty_program(context, device), names};
}

std::optional<std::string> stub_names(cl_program handle) {
    const std::lock_guard lock(mutex);
    const auto found = stubs.find(handle);
    return found == stubs.end() ? std::nullopt : std::optional(found->second.names);
}

cl_kernel create_stub_kernel(cl_program handle, const std::string& name, cl_int* error) {
    const std::lock_guard lock(mutex);
    const cl_kernel kernel = below->clCreateKernel(stubs.at(handle).empty, "empty", error);
    if (kernel != nullptr) {
        kernels_of_stubs[kernel] = {handle, name};
    }
    return kernel;
}

cl_int create_stub_kernels(cl_program handle, cl_uint room, cl_kernel* kernels, cl_uint* count) {
    std::istringstream names(*stub_names(handle));
    cl_uint made = 0;
    cl_int error = CL_SUCCESS;
    for (std::string name; error == CL_SUCCESS && std::getline(names, name); ++made) {
        if (kernels != nullptr && made >= room) {
            return CL_INVALID_VALUE;
        }
        if (kernels != nullptr) {
            kernels[made] = create_stub_kernel(handle, name, &error);
        }
    }
    if (count != nullptr) {
        *count = made;
    }
    return error;
}

bool is_stub(cl_kernel kernel) {
    return makes_stubs() && find(kernel).has_value();
}

void install_stubs(cl_icd_dispatch& table) {
    table.clCloneKernel = clone_kernel;
    table.clGetKernelInfo = get_kernel_info;
    table.clReleaseKernel = release_kernel;
    table.clSetKernelArg = set_argument;
    table.clSetKernelArgSVMPointer = set_svm_argument;
    table.clGetExtensionFunctionAddressForPlatform = extension_function;
}

}  // namespace layer
