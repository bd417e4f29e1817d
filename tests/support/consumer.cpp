// What another project sees of the library: include/ is enough, and nothing of the inside is visible.
#include <deltavino/error.hpp>
#include <deltavino/evaluate.hpp>
#include <deltavino/export.hpp>
#include <deltavino/generate.hpp>
#include <deltavino/inspect.hpp>
#include <deltavino/progress.hpp>
#include <deltavino/version.hpp>

#if __has_include("base/error.hpp")
#error "src/ is visible to users of the library"
#endif
#if __has_include(<openvino/openvino.hpp>)
#error "OpenVINO is visible to users of the library"
#endif

#include <cstdio>

int main() {
    try {
        deltavino::inspect("/nowhere/at/all");
    } catch (const deltavino::Error& error) {
        std::printf("deltavino %s: %s\n", deltavino::version().c_str(), error.what());
        return error.kind() == deltavino::ErrorKind::Input ? 0 : 1;
    }
    return 1;
}
