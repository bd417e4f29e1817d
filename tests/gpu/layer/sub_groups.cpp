// What differs between the OpenCL C of Intel's GPUs and that of the runtime for CPUs, and the launch of kernels.
//
// A GPU cuts a work group into sub-groups along the linear index of its work items. The runtime cuts along the
// first dimension only: with a local size of (1, 1, 16), which the plugin likes, each sub-group would have one
// member, and all sums over sub-groups were wrong. So a launch with the local size (x, y, z) becomes one with
// (x y z, 1, 1) and as many groups, and the kernel's questions about its place are answered from the linear index.
// The kernel must know x and y for it: they travel as the global offsets of the second and third dimension, which
// nothing else uses.
#include "layer.hpp"

#include <algorithm>
#include <array>
#include <sstream>

namespace layer {
namespace {

constexpr std::string_view kPlace = R"(
inline size_t place_extent(uint axis) {
    const size_t x = get_global_offset(1), y = get_global_offset(2);
    return axis == 0 ? x : axis == 1 ? y : axis == 2 ? get_local_size(0) / (x * y) : 1;
}
inline size_t place_local(uint axis) {
    const size_t x = get_global_offset(1), y = get_global_offset(2), linear = get_local_id(0);
    return axis == 0 ? linear % x : axis == 1 ? (linear / x) % y : axis == 2 ? linear / (x * y) : 0;
}
inline size_t place_global(uint axis) { return get_group_id(axis) * place_extent(axis) + place_local(axis); }
inline size_t place_total(uint axis) { return get_num_groups(axis) * place_extent(axis); }
#define get_local_size(axis) place_extent(axis)
#define get_enqueued_local_size(axis) place_extent(axis)
#define get_local_id(axis) place_local(axis)
#define get_global_id(axis) place_global(axis)
#define get_global_size(axis) place_total(axis)
#define reqd_work_group_size(x, y, z) reqd_work_group_size((x) * (y) * (z), 1, 1)
)";

// A GPU's power instruction takes the magnitude of the base, and the plugin squares negative numbers by native_powr;
// by the standard that is not a number. The other native functions are far less exact here than on a GPU (an error of
// 1e-3 in a logit against 4e-5), so each becomes the exact one.
constexpr std::string_view kMathematics = R"(
#define native_powr(base, exponent) powr(fabs(base), (__typeof__(fabs(base)))(exponent))
#define native_exp exp
#define native_exp2 exp2
#define native_log log
#define native_log2 log2
#define native_sqrt sqrt
#define native_rsqrt rsqrt
#define native_sin sin
#define native_cos cos
#define native_tan tan
#define native_recip(x) (1 / (x))
#define native_divide(x, y) ((x) / (y))
)";

using Sizes = std::array<size_t, 3>;

// Without a wish of the application: a power of two that divides the first dimension.
Sizes default_local(const Sizes& global) {
    Sizes local{1, 1, 1};
    while (local[0] < 32 && global[0] % (2 * local[0]) == 0) {
        local[0] *= 2;
    }
    return local;
}

cl_int CL_API_CALL enqueue_kernel(cl_command_queue queue, cl_kernel kernel, cl_uint dimensions, const size_t*,
                                  const size_t* global_size, const size_t* local_size, cl_uint waits,
                                  const cl_event* wait_list, cl_event* event) {
    if (is_stub(kernel)) {
        return below->clEnqueueMarkerWithWaitList(queue, waits, wait_list, event);
    }
    Sizes global{1, 1, 1};
    std::copy_n(global_size, dimensions, global.begin());
    Sizes local = default_local(global);
    if (local_size != nullptr) {
        local = {1, 1, 1};
        std::copy_n(local_size, dimensions, local.begin());
    }
    const Sizes flat{local[0] * local[1] * local[2], 1, 1};
    const Sizes offset{0, local[0], local[1]};
    Sizes total{};
    for (std::size_t axis = 0; axis < 3; ++axis) {
        total[axis] = global[axis] / local[axis] * flat[axis];
    }
    return below->clEnqueueNDRangeKernel(queue, kernel, 3, offset.data(), total.data(), flat.data(), waits, wait_list,
                                         event);
}

}  // namespace

std::string adapt_source(const std::string& source) {
    return std::string(kPlace) + std::string(kMathematics) + source;
}

// Without the options that only the compiler for GPUs knows.
std::string adapt_options(const char* options) {
    std::istringstream words(options == nullptr ? "" : options);
    std::string kept;
    for (std::string word; words >> word;) {
        const std::string_view view = word;
        if (!view.starts_with("-cl-intel-") && !view.starts_with("-ze-") && view != "-cl-no-subgroup-ifp") {
            kept += word + ' ';
        }
    }
    return kept;
}

void install_launch(cl_icd_dispatch& table) {
    table.clEnqueueNDRangeKernel = enqueue_kernel;
}

}  // namespace layer
