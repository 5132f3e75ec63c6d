// Loops over the 32 lanes of a warp. With all lanes active they are plain loops over neighbouring memory, which
// compilers turn into vector code; else only the lanes of the mask are computed.
#pragma once

#include "machine.hpp"

namespace ptx {

template <class Each>
inline void each_lane(uint32_t mask, Each&& each) {
  if (mask == ~0u) {
    for (uint32_t lane = 0; lane < 32; ++lane) each(lane);
  } else {
    for (uint32_t left = mask; left != 0; left &= left - 1) each(static_cast<uint32_t>(std::countr_zero(left)));
  }
}

// d = f(a), d = f(a, b), d = f(a, b, c), p = f(a, b): steps made of a function without state.
template <class D, class A, class F>
Step one(F) {
  return [](Warp& w, const Instruction& in, uint32_t mask) {
    D* d = w.row<D>(in.to[0]);
    const A* a = w.row<A>(in.from[0]);
    if (mask == ~0u) {
#pragma GCC ivdep
      for (uint32_t l = 0; l < 32; ++l) d[l] = static_cast<D>(F{}(a[l]));
    } else {
      each_lane(mask, [=](uint32_t l) { d[l] = static_cast<D>(F{}(a[l])); });
    }
  };
}
template <class D, class A, class B, class F>
Step two(F) {
  return [](Warp& w, const Instruction& in, uint32_t mask) {
    D* d = w.row<D>(in.to[0]);
    const A* a = w.row<A>(in.from[0]);
    const B* b = w.row<B>(in.from[1]);
    if (mask == ~0u) {
#pragma GCC ivdep
      for (uint32_t l = 0; l < 32; ++l) d[l] = static_cast<D>(F{}(a[l], b[l]));
    } else {
      each_lane(mask, [=](uint32_t l) { d[l] = static_cast<D>(F{}(a[l], b[l])); });
    }
  };
}
template <class D, class A, class C, class F>
Step three(F) {
  return [](Warp& w, const Instruction& in, uint32_t mask) {
    D* d = w.row<D>(in.to[0]);
    const A* a = w.row<A>(in.from[0]);
    const A* b = w.row<A>(in.from[1]);
    const C* c = w.row<C>(in.from[2]);
    if (mask == ~0u) {
#pragma GCC ivdep
      for (uint32_t l = 0; l < 32; ++l) d[l] = static_cast<D>(F{}(a[l], b[l], c[l]));
    } else {
      each_lane(mask, [=](uint32_t l) { d[l] = static_cast<D>(F{}(a[l], b[l], c[l])); });
    }
  };
}

inline void set_truth(Warp& w, const Operand& to, uint32_t mask, uint32_t values) {
  w.truth[to.index] = (w.truth[to.index] & ~mask) | (values & mask);
}

// setp: in.variant has bit 0: and, bit 1: or, with the predicate from[2] (bit 2: negated).
template <class A, class F>
Step compare(F) {
  return [](Warp& w, const Instruction& in, uint32_t mask) {
    const A* a = w.row<A>(in.from[0]);
    const A* b = w.row<A>(in.from[1]);
    uint32_t values = 0;
    for (uint32_t l = 0; l < 32; ++l) values |= uint32_t{F{}(a[l], b[l])} << l;
    uint32_t other = ~values;
    if ((in.variant & 3) != 0) {
      uint32_t with = w.truth[in.from[2].index];
      if ((in.variant & 4) != 0) with = ~with;
      values = (in.variant & 1) != 0 ? values & with : values | with;
      other = (in.variant & 1) != 0 ? other & with : other | with;
    }
    set_truth(w, in.to[0], mask, values);
    if (in.n_to > 1) set_truth(w, in.to[1], mask, other);
  };
}

// The lanes of a register of 2, 4 or 8 bytes as whole numbers without sign, and back.
inline uint64_t bits_of(Warp& w, const Operand& o, uint32_t lane) {
  return o.bytes == 4 ? w.row<uint32_t>(o)[lane] : o.bytes == 8 ? w.row<uint64_t>(o)[lane] : w.row<uint16_t>(o)[lane];
}
inline void set_bits(Warp& w, const Operand& o, uint32_t lane, uint64_t bits) {
  if (o.bytes == 4) {
    w.row<uint32_t>(o)[lane] = static_cast<uint32_t>(bits);
  } else if (o.bytes == 8) {
    w.row<uint64_t>(o)[lane] = bits;
  } else {
    w.row<uint16_t>(o)[lane] = static_cast<uint16_t>(bits);
  }
}

// F16 by its bits.
float half_to_float(uint16_t bits);
uint16_t float_to_half(float x);  // to nearest, ties to even
uint16_t float_to_bfloat(float x);

}  // namespace ptx
