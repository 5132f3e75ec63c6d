# A driver takes PTX up to the version of its own toolkit, and nvcc writes its newest, whatever the code uses: with CUDA 13
# no driver of CUDA 12 would load it. Version 8.0, that of CUDA 12.0, has all that the kernels use but a hint to memory
# checkers, which goes. The assembler refuses what a version does not have, so it is asked about every file in the build.
#   cmake -DPTX=file.ptx -P oldest_version.cmake
cmake_minimum_required(VERSION 3.25)
file(READ ${PTX} text)
string(REGEX REPLACE "\n[\t ]*\\.pragma \"used_bytes_mask[^\n]*" "" text "${text}")
string(REGEX REPLACE "\n\\.version [0-9]+\\.[0-9]+" "\n.version 8.0" text "${text}")
file(WRITE ${PTX} "${text}")
