# The Python package: the extension, and the program beside it. Used by pyproject.toml only.
find_package(Python 3.10 REQUIRED COMPONENTS Interpreter Development.Module ${SKBUILD_SABI_COMPONENT})
execute_process(COMMAND ${Python_EXECUTABLE} -m nanobind --cmake_dir OUTPUT_VARIABLE nanobind_ROOT
  OUTPUT_STRIP_TRAILING_WHITESPACE)
find_package(nanobind CONFIG REQUIRED)

nanobind_add_module(_deltavino NB_STATIC STABLE_ABI python/module.cpp)
target_link_libraries(_deltavino PRIVATE deltavino_core)

# Both find OpenVINO in the package openvino of the same environment.
set_target_properties(_deltavino PROPERTIES INSTALL_RPATH "$ORIGIN/../openvino/libs")
install(TARGETS _deltavino LIBRARY DESTINATION deltavino COMPONENT wheel)
set_target_properties(deltavino PROPERTIES INSTALL_RPATH "$ORIGIN/../../openvino/libs")
install(TARGETS deltavino RUNTIME DESTINATION deltavino/bin COMPONENT wheel)
