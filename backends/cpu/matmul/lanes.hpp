// Eight weight rows at a time: the vector vocabulary of the matmul kernels.
//
// Lanes holds 256 bits of integers, lane r (32 bits) belonging to weight row r of a group of eight: four 8-bit codes of
// consecutive k, two 16-bit numbers, or one 32-bit sum. Floats holds one F32 per row. With rows in lanes a sum over K
// needs no horizontal step, and block scales of eight rows are applied by one multiplication.
//
// Codes are multiplied with 8-bit activations through a Chain that gathers several products before it is widened:
//   chain = dot_first<Codes>(w, a)             // = w[r][0..3] * a[0..3]
//   chain = dot_step<Codes>(chain, w, a)       // += w[r][0..3] * a[0..3]; at most kChainSteps<Codes> in all
//   sum   = dot_scaled(sum, chain, scale)      // += chain * scale, scale being a 16-bit pair (s, s) per row
//   sum   = dot_plain(sum, chain)              // += chain; the same as going on where kChainIsSum
// One file per instruction family provides the same names; `rows` below says where the eight rows start.
//
// Codes that meet many activations lie in a tile, in a form that may be another (TileForm):
//   put(w, to)       w in the form's kParts vectors
//   first, step      as dot_first and dot_step, at most kSteps in all
//   rest(chain, w)   where kRest: chain += what every product of w lacks, whatever the activation
//   kOffset          what the form's codes are above the format's: the products with so many times the activations'
//                    sum are too much. 0 where kRest
//
// A tile holds G groups of eight rows, those of a code side by side, and is multiplied in kVectors<G> vectors of
// KindOf<G>: one for each group, or, where the variant has vectors of 512 bits (wide.hpp), one for two. What works on
// both kinds is overloaded.
#pragma once

#include <cstddef>
#include <cstdint>
#include <type_traits>
#include <utility>

#define BRIM_INLINE inline __attribute__((always_inline))

namespace brim_cpu {

// Magnitude of the codes: up to 15, 31 or 63 and not negative, or any int8_t. Bounds how many products fit 16 bits.
enum class Codes { kU4, kU5, kU6, kS8 };

// Byte distance of rows 1..7 from row 0. Past the end of a matrix the last row is repeated.
struct RowOffsets {
  size_t at[8];
};

// f(constant 0), f(constant 1), ... f(constant n - 1), always unrolled.
template <class F, size_t... I>
BRIM_INLINE void unroll_impl(F&& f, std::index_sequence<I...>) {
  (f(std::integral_constant<int, static_cast<int>(I)>{}), ...);
}
template <int N, class F>
BRIM_INLINE void unroll(F&& f) {
  unroll_impl(std::forward<F>(f), std::make_index_sequence<static_cast<size_t>(N)>{});
}
// What a lambda given to unroll() carries, so that it is inlined at any size.
#define BRIM_INLINE_LAMBDA __attribute__((always_inline))

}  // namespace brim_cpu

#if defined(__AVX2__) && defined(__FMA__) && defined(__F16C__)
#include "matmul/lanes_avx2.hpp"
#else
#include "matmul/lanes_pair.hpp"
#endif

namespace brim_cpu {

// Vectors of kGroups groups side by side, and how they come about: a number or four bytes in every lane, what each
// group has, or an array in memory.
struct Single {
  using Ints = Lanes;
  using Reals = Floats;
  static constexpr int kGroups = 1;
  static BRIM_INLINE Ints bytes(const void* p) { return broadcast4(p); }
  static BRIM_INLINE Ints byte(uint8_t v) { return splat8(v); }
  static BRIM_INLINE Ints integer(uint32_t v) { return splat32(v); }
  static BRIM_INLINE Reals real(float v) { return floats_splat(v); }
  template <class F>
  static BRIM_INLINE Ints each(F&& group) {
    return group(0);
  }
  static BRIM_INLINE void store(float* out, int64_t, Reals v) { floats_store(out, v); }
  template <class T>
  static BRIM_INLINE T* in(T* p) {
    return p;
  }
};

}  // namespace brim_cpu

#if defined(__AVX512F__) && defined(__AVX512BW__) && defined(__AVX512VNNI__) && defined(__AVX512VL__)
#include "matmul/wide.hpp"
#else
namespace brim_cpu {
using Wide = Single;
inline constexpr int kWideGroups = 1;
}  // namespace brim_cpu
#endif

namespace brim_cpu {

// What G groups side by side are taken in.
template <int G>
using KindOf = std::conditional_t<G % kWideGroups == 0, Wide, Single>;
template <int G>
constexpr int kVectors = G % kWideGroups == 0 ? G / kWideGroups : G;

// Codes as they come.
template <Codes C>
struct PlainForm {
  static constexpr int kParts = 1, kSteps = kChainSteps<C>, kOffset = 0;
  static constexpr bool kRest = false;
  template <class V>
  static BRIM_INLINE void put(V w, V* to) {
    *to = w;
  }
  template <class V>
  static BRIM_INLINE V first(const V* w, V a) {
    return dot_first<C>(*w, a);
  }
  template <class V>
  static BRIM_INLINE V step(V chain, const V* w, V a) {
    return dot_step<C>(chain, *w, a);
  }
};

// SignedForm is the family's own for signed codes, or void.
template <Codes C>
using TileForm = std::conditional_t<C == Codes::kS8 && !std::is_void_v<SignedForm>, SignedForm, PlainForm<C>>;

// Codes that meet one activation: in the form of a tile where that needs nothing but an offset.
template <Codes C>
using OneForm = std::conditional_t<TileForm<C>::kRest, PlainForm<C>, TileForm<C>>;

}  // namespace brim_cpu
