# What every target of the tree shares: language level, warnings, visibility, output folders, third-party packages.

set(CMAKE_CXX_STANDARD 20)
set(CMAKE_CXX_STANDARD_REQUIRED ON)
set(CMAKE_CXX_EXTENSIONS OFF)
set(CMAKE_C_STANDARD 11)
set(CMAKE_C_EXTENSIONS OFF)
set(CMAKE_POSITION_INDEPENDENT_CODE ON)
set(CMAKE_CXX_VISIBILITY_PRESET hidden)
set(CMAKE_C_VISIBILITY_PRESET hidden)
set(CMAKE_VISIBILITY_INLINES_HIDDEN ON)
set(CMAKE_EXPORT_COMPILE_COMMANDS ON)
if(NOT CMAKE_BUILD_TYPE)
  set(CMAKE_BUILD_TYPE Release CACHE STRING "" FORCE)
endif()
# Hot loops are in backends/, which ask for more themselves.
set(CMAKE_CXX_FLAGS_RELEASE "-O2 -DNDEBUG")

# The tree in build/ has the shape of the installed one, so that build/<preset>/bin/brim runs from where it stands.
include(GNUInstallDirs)
set(CMAKE_RUNTIME_OUTPUT_DIRECTORY ${CMAKE_BINARY_DIR}/bin)
set(CMAKE_LIBRARY_OUTPUT_DIRECTORY ${CMAKE_BINARY_DIR}/lib)
set(CMAKE_ARCHIVE_OUTPUT_DIRECTORY ${CMAKE_BINARY_DIR}/archive)
set(BRIM_PLUGIN_DIR lib/brim/plugins)
if(WIN32)
  set(BRIM_PLUGIN_DIR bin/brim/plugins)  # beside the library, which Windows has to find beside the program
endif()

add_compile_options(-Wall -Wextra $<$<COMPILE_LANGUAGE:CXX>:-Wconversion> $<$<COMPILE_LANGUAGE:CXX>:-Wno-sign-conversion>)
if(BRIM_SANITIZE)
  add_compile_options(-fsanitize=${BRIM_SANITIZE} -fno-omit-frame-pointer -fno-sanitize-recover=all)
  add_link_options(-fsanitize=${BRIM_SANITIZE})
endif()

if(MINGW)
  add_link_options(-static)  # the compiler's own DLLs are on no user's machine
endif()

find_program(BRIM_CCACHE ccache)
if(BRIM_CCACHE)
  set(CMAKE_C_COMPILER_LAUNCHER ${BRIM_CCACHE})
  set(CMAKE_CXX_COMPILER_LAUNCHER ${BRIM_CCACHE})
endif()
find_program(BRIM_MOLD mold)
if(BRIM_MOLD AND NOT CMAKE_CROSSCOMPILING)
  add_link_options(-fuse-ld=mold)
endif()

# Header-only packages, found where Debian puts them, or in BRIM_HEADER_DIR (cross builds hand over a folder that holds
# nothing but them, so that no host header leaks into a foreign build).
set(BRIM_HEADER_DIR "" CACHE PATH "Folder with boost/, fmt/, toml++/, nlohmann/, CLI/, doctest/ for cross builds")
add_library(brim_headers INTERFACE)
if(BRIM_HEADER_DIR)
  target_include_directories(brim_headers SYSTEM INTERFACE ${BRIM_HEADER_DIR})
  # Programs link fmt's compiled form, of which there is none for a foreign system.
  add_library(brim_foreign_fmt STATIC ${PROJECT_SOURCE_DIR}/runtime/base/fmt.cpp)
  target_link_libraries(brim_foreign_fmt PUBLIC brim_headers)
  add_library(fmt::fmt ALIAS brim_foreign_fmt)
endif()
target_compile_definitions(brim_headers INTERFACE TOML_HEADER_ONLY=1 BOOST_DLL_USE_STD_FS=1)

# A room of runtime/: a static library whose users see it as <room/file.hpp>.
#   brim_room(NAME SOURCES a.cpp b.cpp USES right_hand_room ...)
function(brim_room name)
  cmake_parse_arguments(ROOM "" "" "SOURCES;USES" ${ARGN})
  add_library(brim_${name} STATIC ${ROOM_SOURCES})
  target_include_directories(brim_${name} PUBLIC ${PROJECT_SOURCE_DIR}/runtime)
  target_link_libraries(brim_${name} PUBLIC brim_sdk brim_headers)
  foreach(room IN LISTS ROOM_USES)
    target_link_libraries(brim_${name} PUBLIC brim_${room})
  endforeach()
endfunction()
