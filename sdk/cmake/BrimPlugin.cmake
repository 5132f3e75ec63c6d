# brim_add_plugin: a plugin of Brim, inside its tree and outside of it alike.
#
#   brim_add_plugin(my_backend
#     KIND backend                    # or architecture
#     ID org.example.npu              # what brim_plugin_header.id says
#     SOURCES npu.cpp
#     [VERSION 1.2.0]                 # default: the project's
#     [LICENSE Apache-2.0]            # SPDX expression; default Apache-2.0
#     [OS linux] [ARCH x86_64]        # default: what is built for; "any" leaves the requirement out
#     [CPU_FEATURES avx2 fma]         # instruction sets without which none of its code may run
#     [RANK 20]                       # among fitting variants of one ID the highest is taken; default 0
#     [MIN_MINOR 1]                   # the oldest host minor that it runs on; default: the headers' own minor
#     [COMPILE_OPTIONS -mavx2 -mfma])
#
# makes a shared library that exports brim_plugin_query and nothing else, and beside it a manifest of the same name (.toml),
# which the host reads before any of the library's code runs. Both lie in brim/plugins under CMAKE_LIBRARY_OUTPUT_DIRECTORY,
# or under the current build folder where that is not set, and are installed to CMAKE_INSTALL_LIBDIR/brim/plugins. On
# Windows it is the folder of the programs in both places (CMAKE_RUNTIME_OUTPUT_DIRECTORY, CMAKE_INSTALL_BINDIR).
# The target is an ordinary MODULE library: target_link_libraries and the like work on it.

function(brim_add_plugin target)
  cmake_parse_arguments(PLUGIN "" "KIND;ID;VERSION;LICENSE;OS;ARCH;RANK;MIN_MINOR" "SOURCES;CPU_FEATURES;COMPILE_OPTIONS" ${ARGN})
  if(PLUGIN_UNPARSED_ARGUMENTS)
    message(FATAL_ERROR "brim_add_plugin(${target}): unknown argument ${PLUGIN_UNPARSED_ARGUMENTS}")
  endif()
  if(NOT PLUGIN_ID OR NOT PLUGIN_SOURCES)
    message(FATAL_ERROR "brim_add_plugin(${target}): ID and SOURCES are needed")
  endif()
  if(NOT PLUGIN_KIND MATCHES "^(backend|architecture)$")
    message(FATAL_ERROR "brim_add_plugin(${target}): KIND is \"${PLUGIN_KIND}\"; expected backend or architecture")
  endif()
  if(NOT PLUGIN_VERSION)
    set(PLUGIN_VERSION ${PROJECT_VERSION})
  endif()
  if(NOT PLUGIN_VERSION)
    set(PLUGIN_VERSION 0.0.0)
  endif()
  if(NOT PLUGIN_LICENSE)
    set(PLUGIN_LICENSE Apache-2.0)
  endif()
  if(NOT PLUGIN_OS)
    string(TOLOWER ${CMAKE_SYSTEM_NAME} PLUGIN_OS)
  endif()
  if(NOT PLUGIN_ARCH)
    string(TOLOWER ${CMAKE_SYSTEM_PROCESSOR} PLUGIN_ARCH)
    string(REGEX REPLACE "^(amd64|x64)$" "x86_64" PLUGIN_ARCH ${PLUGIN_ARCH})
    string(REGEX REPLACE "^arm64$" "aarch64" PLUGIN_ARCH ${PLUGIN_ARCH})
  endif()
  if(NOT PLUGIN_RANK)
    set(PLUGIN_RANK 0)
  endif()
  if(NOT DEFINED PLUGIN_MIN_MINOR)
    set(PLUGIN_MIN_MINOR ${BRIM_ABI_MINOR})
  endif()

  add_library(${target} MODULE ${PLUGIN_SOURCES})
  target_link_libraries(${target} PRIVATE Brim::sdk)
  target_compile_options(${target} PRIVATE ${PLUGIN_COMPILE_OPTIONS})
  # Hosts look in brim/plugins beside the library, which on Windows lies with the programs.
  include(GNUInstallDirs)
  if(WIN32)
    set(library_folder "${CMAKE_RUNTIME_OUTPUT_DIRECTORY}")
    set(installed_folder ${CMAKE_INSTALL_BINDIR}/brim/plugins)
  else()
    set(library_folder "${CMAKE_LIBRARY_OUTPUT_DIRECTORY}")
    set(installed_folder ${CMAKE_INSTALL_LIBDIR}/brim/plugins)
  endif()
  if(library_folder)
    set(folder ${library_folder}/brim/plugins)
  else()
    set(folder ${CMAKE_CURRENT_BINARY_DIR}/brim/plugins)
  endif()
  set_target_properties(${target} PROPERTIES LIBRARY_OUTPUT_DIRECTORY ${folder} C_VISIBILITY_PRESET hidden
                                             CXX_VISIBILITY_PRESET hidden VISIBILITY_INLINES_HIDDEN ON
                                             POSITION_INDEPENDENT_CODE ON)
  if(CMAKE_SYSTEM_NAME STREQUAL "Linux")
    # Statically linked parts and templates stay inside; a GNU unique symbol would keep the library from being unloaded.
    set(exports ${CMAKE_CURRENT_FUNCTION_LIST_DIR}/plugin.map)
    target_link_options(${target} PRIVATE -Wl,--version-script=${exports} -Wl,--exclude-libs,ALL)
    set_property(TARGET ${target} APPEND PROPERTY LINK_DEPENDS ${exports})
    target_compile_options(${target} PRIVATE $<$<COMPILE_LANG_AND_ID:CXX,GNU>:-fno-gnu-unique>)
  endif()

  set(requires "rank = ${PLUGIN_RANK}\n")
  if(PLUGIN_CPU_FEATURES)
    list(JOIN PLUGIN_CPU_FEATURES "\", \"" features)
    string(PREPEND requires "cpu_features = [\"${features}\"]\n")
  endif()
  if(NOT PLUGIN_ARCH STREQUAL "any")
    string(PREPEND requires "arch = \"${PLUGIN_ARCH}\"\n")
  endif()
  if(NOT PLUGIN_OS STREQUAL "any")
    string(PREPEND requires "os = \"${PLUGIN_OS}\"\n")
  endif()
  # It lies beside the library as soon as that is built, and no sooner: a host reports a manifest without its library.
  set(manifest ${CMAKE_CURRENT_BINARY_DIR}/${target}.toml)
  file(GENERATE OUTPUT ${manifest} CONTENT "[plugin]
id = \"${PLUGIN_ID}\"
kind = \"${PLUGIN_KIND}\"
library = \"$<TARGET_FILE_NAME:${target}>\"
version = \"${PLUGIN_VERSION}\"
license = \"${PLUGIN_LICENSE}\"
[abi]
major = ${BRIM_ABI_MAJOR}
minor = ${BRIM_ABI_MINOR}
min_minor = ${PLUGIN_MIN_MINOR}
[requires]
${requires}")
  set_property(TARGET ${target} APPEND PROPERTY LINK_DEPENDS ${manifest})
  add_custom_command(TARGET ${target} POST_BUILD COMMAND ${CMAKE_COMMAND} -E copy ${manifest} ${folder}/${target}.toml VERBATIM)

  install(TARGETS ${target} LIBRARY DESTINATION ${installed_folder})
  install(FILES ${manifest} DESTINATION ${installed_folder})
endfunction()
