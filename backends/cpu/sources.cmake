# The kernels of backends/cpu, for every target that compiles them: the variants of the plugin, the tests, the benches.
#   BRIM_CPU_KERNEL_SOURCES   files, relative to this folder
#   BRIM_CPU_KERNEL_OPTIONS   options that they need besides a variant's -m flags. Contraction is off so that scalar
#                             definitions and vector code round alike; fused operations are written out.
#   BRIM_CPU_<VARIANT>_FLAGS  the -m flags of each variant
set(BRIM_CPU_KERNEL_SOURCES
    formats/decode.cpp
    formats/encode.cpp
    matmul/activation.cpp
    matmul/bfloat.cpp
    matmul/flat.cpp
    matmul/matmul.cpp
    matmul/packed.cpp
    matmul/strict.cpp
    matmul/super.cpp)
set(BRIM_CPU_KERNEL_OPTIONS -O3 -ffp-contract=off)

set(BRIM_CPU_X86_64_FLAGS "")
set(BRIM_CPU_AVX2_FLAGS -mavx2 -mfma -mf16c)
set(BRIM_CPU_AVX512_FLAGS ${BRIM_CPU_AVX2_FLAGS} -mavx512f -mavx512bw -mavx512vl -mavx512dq -mavx512vnni -mavx512bf16)
set(BRIM_CPU_NEON_FLAGS "")
set(BRIM_CPU_DOTPROD_FLAGS -march=armv8.2-a+dotprod+fp16)
set(BRIM_CPU_I8MM_FLAGS -march=armv8.6-a+i8mm)
