/* types.h - the words every other header uses: calling convention, strings, struct growth, data types.
 *
 * Rules that every public header of Brim obeys:
 *   - C99, valid as C11, C17, C++17 and C++20; includes only <stddef.h>, <stdint.h> and headers of this folder.
 *   - A struct that crosses by pointer begins with `uint32_t struct_size` and only grows at its end. The receiver reads
 *     no byte past the sender's struct_size; what is missing reads as zero; zero is always the default meaning.
 *   - An array of structs crosses as (pointer, count, stride), so that its element may grow too.
 *   - Named constants are uint32_t values written out, assigned once and never reused. An unknown value is refused as
 *     BRIM_UNSUPPORTED, never guessed.
 *   - No bool, long, size_t, enum, bit-field, union or struct by value in a struct or a call. The one exception is
 *     brim_str (two words, frozen).
 *   - No function throws, aborts, exits, prints, reads the environment or changes the working directory.
 *
 * Shapes are written outermost first, row-major, as in NumPy and DLPack: [tokens, heads, head_dim].
 *
 * Thread roles, written in brackets at every function:
 *   [control]  serialized by the caller per object; may block, may allocate
 *   [session]  one thread at a time per session
 *   [queue]    one thread at a time per queue
 *   [any]      any thread, any time
 *   "non-blocking" is added where it holds.
 */
#ifndef BRIM_TYPES_H
#define BRIM_TYPES_H

#include <stddef.h>
#include <stdint.h>

#if defined(_WIN32)
#define BRIM_CALL __cdecl
#define BRIM_EXPORT __declspec(dllexport)
#else
#define BRIM_CALL
#define BRIM_EXPORT __attribute__((visibility("default")))
#endif
/* The functions of brim.h carry BRIM_API: exported while the library is built, imported by its users. */
#if defined(BRIM_BUILDING_LIBRARY)
#define BRIM_API BRIM_EXPORT
#elif defined(_WIN32)
#define BRIM_API __declspec(dllimport)
#else
#define BRIM_API
#endif

#if defined(__cplusplus)
#define BRIM_BEGIN extern "C" {
#define BRIM_END }
#define BRIM_STATIC_ASSERT(condition, text) static_assert(condition, text)
#else
#define BRIM_BEGIN
#define BRIM_END
#if defined(__STDC_VERSION__) && __STDC_VERSION__ >= 201112L
#define BRIM_STATIC_ASSERT(condition, text) _Static_assert(condition, text)
#else
#define BRIM_STATIC_ASSERT(condition, text) struct brim_static_assert_needs_c11
#endif
#endif

/* The ABI's version. Major 0 says that it may still change at any minor; hosts and plugins of different majors never
 * meet. Both numbers are independent of the product's version. */
#define BRIM_ABI_MAJOR 0u
#define BRIM_ABI_MINOR 1u

/* UTF-8, `len` bytes, not necessarily terminated. Valid during the call that it is passed to, unless said otherwise.
 * {NULL, 0} is the empty string. */
typedef struct brim_str {
  const char *ptr;
  uint64_t len;
} brim_str;

/* Size of a struct up to and including one field: what a sender that knows no later field writes as struct_size. */
#define BRIM_SIZE_THROUGH(type, field) ((uint32_t)(offsetof(type, field) + sizeof(((type *)0)->field)))
/* Does the sender's struct reach this field? */
#define BRIM_HAS(ptr, type, field) ((ptr)->struct_size >= BRIM_SIZE_THROUGH(type, field))
/* The same for an element of a (pointer, count, stride) array. */
#define BRIM_ELEM_HAS(stride, type, field) ((stride) >= BRIM_SIZE_THROUGH(type, field))
/* Element i of a (pointer, count, stride) array. */
#define BRIM_ELEM(type, pointer, stride, i) \
  ((const type *)(const void *)((const char *)(pointer) + (uint64_t)(i) * (uint64_t)(stride)))

/* ---- data types -------------------------------------------------------------------------------------------------
 * One registry; a number is assigned once. A block-quantised layout is ABI: its row of `elements` weights is stored as
 * elements / block_elements blocks of block_bytes bytes, little-endian, in the bit layout that GGUF files use.
 * X(NAME, number, "spelling", block elements, block bytes)
 */
#define BRIM_DTYPE_TABLE(X)         \
  X(F32, 1, "f32", 1, 4)            \
  X(F16, 2, "f16", 1, 2)            \
  X(BF16, 3, "bf16", 1, 2)          \
  X(F64, 4, "f64", 1, 8)            \
  X(I8, 5, "i8", 1, 1)              \
  X(I16, 6, "i16", 1, 2)            \
  X(I32, 7, "i32", 1, 4)            \
  X(I64, 8, "i64", 1, 8)            \
  X(Q4_0, 32, "q4_0", 32, 18)       \
  X(Q4_1, 33, "q4_1", 32, 20)       \
  X(Q5_0, 34, "q5_0", 32, 22)       \
  X(Q5_1, 35, "q5_1", 32, 24)       \
  X(Q8_0, 36, "q8_0", 32, 34)       \
  X(Q2_K, 40, "q2_K", 256, 84)      \
  X(Q3_K, 41, "q3_K", 256, 110)     \
  X(Q4_K, 42, "q4_K", 256, 144)     \
  X(Q5_K, 43, "q5_K", 256, 176)     \
  X(Q6_K, 44, "q6_K", 256, 210)     \
  X(IQ4_NL, 48, "iq4_nl", 32, 18)   \
  X(IQ4_XS, 49, "iq4_xs", 256, 136) \
  X(MXFP4, 64, "mxfp4", 32, 17)

#define BRIM_DTYPE_NONE 0u
#define BRIM_DTYPE_F32 1u
#define BRIM_DTYPE_F16 2u
#define BRIM_DTYPE_BF16 3u
#define BRIM_DTYPE_F64 4u
#define BRIM_DTYPE_I8 5u
#define BRIM_DTYPE_I16 6u
#define BRIM_DTYPE_I32 7u
#define BRIM_DTYPE_I64 8u
#define BRIM_DTYPE_Q4_0 32u
#define BRIM_DTYPE_Q4_1 33u
#define BRIM_DTYPE_Q5_0 34u
#define BRIM_DTYPE_Q5_1 35u
#define BRIM_DTYPE_Q8_0 36u
#define BRIM_DTYPE_Q2_K 40u
#define BRIM_DTYPE_Q3_K 41u
#define BRIM_DTYPE_Q4_K 42u
#define BRIM_DTYPE_Q5_K 43u
#define BRIM_DTYPE_Q6_K 44u
#define BRIM_DTYPE_IQ4_NL 48u
#define BRIM_DTYPE_IQ4_XS 49u
#define BRIM_DTYPE_MXFP4 64u

/* Elements of one block; 0 for a number this header does not know. */
static inline uint32_t brim_dtype_block_elements(uint32_t dtype) {
  switch (dtype) {
#define BRIM_X(name, number, spelling, elements, bytes) \
  case number:                                          \
    return elements;
    BRIM_DTYPE_TABLE(BRIM_X)
#undef BRIM_X
    default:
      return 0;
  }
}

/* Bytes of one block; 0 for a number this header does not know. */
static inline uint32_t brim_dtype_block_bytes(uint32_t dtype) {
  switch (dtype) {
#define BRIM_X(name, number, spelling, elements, bytes) \
  case number:                                          \
    return bytes;
    BRIM_DTYPE_TABLE(BRIM_X)
#undef BRIM_X
    default:
      return 0;
  }
}

/* Bytes of one row of `elements` values. 0 when the type is unknown or the row is no whole number of blocks. */
static inline uint64_t brim_dtype_row_bytes(uint32_t dtype, uint64_t elements) {
  const uint64_t per_block = brim_dtype_block_elements(dtype);
  if (per_block == 0 || elements % per_block != 0) return 0;
  return elements / per_block * brim_dtype_block_bytes(dtype);
}

/* The spelling used in files, options and reports: "q4_K". "?" for a number this header does not know. */
static inline const char *brim_dtype_name(uint32_t dtype) {
  switch (dtype) {
#define BRIM_X(name, number, spelling, elements, bytes) \
  case number:                                          \
    return spelling;
    BRIM_DTYPE_TABLE(BRIM_X)
#undef BRIM_X
    default:
      return "?";
  }
}

/* How exactly a program computes (dataplane: numerics).
 * STRICT: F32 activations and accumulation, exact dequantisation; what reference cases are judged in.
 * FAST:   what makes speed (8-bit activations, F16 dot products); judged by relative error and KL against STRICT. */
#define BRIM_NUMERICS_FAST 0u
#define BRIM_NUMERICS_STRICT 1u

#endif
