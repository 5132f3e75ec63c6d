# What every GPU backend compiles into itself; <gpu/...> is found under backends/.
set(BRIM_GPU_SOURCES "")
foreach(source check kv lower products run schedule values)
  list(APPEND BRIM_GPU_SOURCES ${CMAKE_CURRENT_LIST_DIR}/${source}.cpp)
endforeach()
