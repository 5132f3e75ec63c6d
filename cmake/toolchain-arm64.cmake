# 64-bit ARM Linux by Debian's cross compiler; programs run under qemu-user where it is installed.
set(CMAKE_SYSTEM_NAME Linux)
set(CMAKE_SYSTEM_PROCESSOR aarch64)
set(CMAKE_C_COMPILER aarch64-linux-gnu-gcc)
set(CMAKE_CXX_COMPILER aarch64-linux-gnu-g++)

set(CMAKE_FIND_ROOT_PATH /usr/aarch64-linux-gnu)
set(CMAKE_FIND_ROOT_PATH_MODE_PROGRAM NEVER)
set(CMAKE_FIND_ROOT_PATH_MODE_LIBRARY ONLY)
set(CMAKE_FIND_ROOT_PATH_MODE_INCLUDE ONLY)
set(CMAKE_FIND_ROOT_PATH_MODE_PACKAGE ONLY)

# Its default processor has every extension that the variants of backends/cpu want; QEMU_CPU=cortex-a72 and the like name
# another one when a program is run.
find_program(BRIM_QEMU NAMES qemu-aarch64 qemu-aarch64-static)
if(BRIM_QEMU)
  set(CMAKE_CROSSCOMPILING_EMULATOR ${BRIM_QEMU} -L /usr/aarch64-linux-gnu)
endif()
