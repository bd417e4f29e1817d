# `cmake --install`: the program, the library with its headers, and what find_package(deltavino) reads.
include(GNUInstallDirs)
include(CMakePackageConfigHelpers)

# Where the installed program looks for OpenVINO. CMake would leave out a folder below the sources, as .venv is.
set(DELTAVINO_RUNPATH "$ORIGIN/../${CMAKE_INSTALL_LIBDIR};$<TARGET_FILE_DIR:openvino::runtime>"
  CACHE STRING "RUNPATH of the installed program")
set_target_properties(deltavino PROPERTIES INSTALL_RPATH "${DELTAVINO_RUNPATH}")

set(deltavino_cmake ${CMAKE_INSTALL_LIBDIR}/cmake/deltavino)
install(TARGETS deltavino RUNTIME DESTINATION ${CMAKE_INSTALL_BINDIR} COMPONENT program)
install(TARGETS deltavino_core EXPORT deltavino ARCHIVE DESTINATION ${CMAKE_INSTALL_LIBDIR} COMPONENT development)
install(DIRECTORY include/deltavino DESTINATION ${CMAKE_INSTALL_INCLUDEDIR} COMPONENT development)
install(EXPORT deltavino FILE deltavino-targets.cmake NAMESPACE deltavino:: DESTINATION ${deltavino_cmake}
  COMPONENT development)
configure_package_config_file(cmake/deltavino-config.cmake.in ${PROJECT_BINARY_DIR}/deltavino-config.cmake
  INSTALL_DESTINATION ${deltavino_cmake} NO_SET_AND_CHECK_MACRO)
# 0.2 and 0.3 may differ in anything.
write_basic_package_version_file(${PROJECT_BINARY_DIR}/deltavino-config-version.cmake COMPATIBILITY SameMinorVersion)
install(FILES ${PROJECT_BINARY_DIR}/deltavino-config.cmake ${PROJECT_BINARY_DIR}/deltavino-config-version.cmake
  cmake/Findutf8proc.cmake tools/openvino_dir.py DESTINATION ${deltavino_cmake} COMPONENT development)
install(FILES LICENSE DESTINATION ${CMAKE_INSTALL_DOCDIR} COMPONENT program)
