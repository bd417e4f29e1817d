// The address sanitizer ends a program that loads a library with RTLD_DEEPBIND, as oneTBB does. A library loaded
// without that flag takes its symbols from the program first, which is what the sanitizer needs; so in sanitized tests
// every dlopen is called without it. The linker lets this definition win over the one in libc.

#include <dlfcn.h>

extern "C" __attribute__((visibility("default"))) void* dlopen(const char* path, int mode) noexcept {
    using Dlopen = void* (*)(const char*, int);
    static const auto next = reinterpret_cast<Dlopen>(dlsym(RTLD_NEXT, "dlopen"));
    return next(path, mode & ~RTLD_DEEPBIND);
}
