# What `cmake --install` lays out; plugins and programs install themselves where they are made. Included at the end of the
# top folder, when every target is known.
#
#   include/brim/*.h, *.hpp    lib/libbrim.so*    lib/brim/{plugins,machines}/*    lib/cmake/Brim/*    share/doc/brim/*    bin/*
#   share/brim/template/{backend,architecture}: projects to copy
#
# The tree can be moved as a whole: programs find lib/ and the library finds brim/plugins by their own places.
include(CMakePackageConfigHelpers)

install(DIRECTORY ${PROJECT_SOURCE_DIR}/sdk/include/brim ${PROJECT_SOURCE_DIR}/sdk/cpp/brim
        DESTINATION ${CMAKE_INSTALL_INCLUDEDIR} FILES_MATCHING PATTERN "*.h" PATTERN "*.hpp")
install(TARGETS brim brim_sdk EXPORT BrimTargets
        LIBRARY DESTINATION ${CMAKE_INSTALL_LIBDIR}
        ARCHIVE DESTINATION ${CMAKE_INSTALL_LIBDIR}
        RUNTIME DESTINATION ${CMAKE_INSTALL_BINDIR})
install(EXPORT BrimTargets NAMESPACE Brim:: DESTINATION ${CMAKE_INSTALL_LIBDIR}/cmake/Brim)

# As in brim_add_plugin.
set(BRIM_INSTALLED_PLUGIN_DIR ${CMAKE_INSTALL_LIBDIR}/brim/plugins)
if(WIN32)
  set(BRIM_INSTALLED_PLUGIN_DIR ${CMAKE_INSTALL_BINDIR}/brim/plugins)
endif()
configure_package_config_file(
  ${PROJECT_SOURCE_DIR}/sdk/cmake/BrimConfig.cmake.in ${PROJECT_BINARY_DIR}/sdk/BrimConfig.cmake
  INSTALL_DESTINATION ${CMAKE_INSTALL_LIBDIR}/cmake/Brim PATH_VARS BRIM_INSTALLED_PLUGIN_DIR CMAKE_INSTALL_BINDIR)
write_basic_package_version_file(${PROJECT_BINARY_DIR}/sdk/BrimConfigVersion.cmake COMPATIBILITY SameMinorVersion)
install(FILES ${PROJECT_BINARY_DIR}/sdk/BrimConfig.cmake ${PROJECT_BINARY_DIR}/sdk/BrimConfigVersion.cmake
              ${PROJECT_SOURCE_DIR}/sdk/cmake/BrimPlugin.cmake ${PROJECT_SOURCE_DIR}/sdk/cmake/plugin.map
        DESTINATION ${CMAKE_INSTALL_LIBDIR}/cmake/Brim)

# The library looks for described machines beside its plugins.
cmake_path(GET BRIM_INSTALLED_PLUGIN_DIR PARENT_PATH BRIM_INSTALLED_MACHINE_DIR)
install(DIRECTORY ${PROJECT_SOURCE_DIR}/sdk/machines DESTINATION ${BRIM_INSTALLED_MACHINE_DIR}
        FILES_MATCHING PATTERN "*.toml")
install(DIRECTORY ${PROJECT_SOURCE_DIR}/sdk/template DESTINATION ${CMAKE_INSTALL_DATADIR}/brim)
install(DIRECTORY ${PROJECT_SOURCE_DIR}/sdk/docs/ DESTINATION ${CMAKE_INSTALL_DOCDIR} FILES_MATCHING PATTERN "*.md")
foreach(page README.md LICENSE)
  install(FILES ${PROJECT_SOURCE_DIR}/${page} DESTINATION ${CMAKE_INSTALL_DOCDIR} OPTIONAL)
endforeach()
