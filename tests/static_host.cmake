# libbrim and two plugins as parts of a test program: brim_static_abi, and brim_static_llama and brim_static_async, whose
# query functions have names of their own (static_host.hpp). A fuzzer sees every branch of static parts, a linker can
# stand in front of their allocator, and clang's sanitizers want no shared library.
include_guard(GLOBAL)
find_package(Threads REQUIRED)

file(GLOB api_sources CONFIGURE_DEPENDS ${PROJECT_SOURCE_DIR}/runtime/api/*.cpp)
add_library(brim_static_abi STATIC ${api_sources})
target_compile_definitions(brim_static_abi PRIVATE BRIM_BUILDING_LIBRARY BRIM_VERSION="${PROJECT_VERSION}")
target_link_libraries(brim_static_abi PUBLIC brim_engine brim_config)

file(GLOB async_sources CONFIGURE_DEPENDS ${CMAKE_CURRENT_LIST_DIR}/fakes_async/*.cpp)
add_library(brim_static_async STATIC ${async_sources})
add_library(brim_static_llama STATIC ${PROJECT_SOURCE_DIR}/plugins/llama/llama.cpp)
target_compile_definitions(brim_static_llama PRIVATE BRIM_PLUGIN_VERSION="${PROJECT_VERSION}")
foreach(plugin llama async)
  target_compile_definitions(brim_static_${plugin} PRIVATE brim_plugin_query=brim_query_${plugin})
  target_link_libraries(brim_static_${plugin} PUBLIC brim_sdk Threads::Threads)
endforeach()
