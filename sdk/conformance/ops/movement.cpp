// What moves values and changes their type, no arithmetic but rounding.
#include <algorithm>
#include <bit>
#include <cmath>

#include "../bench/blocks.hpp"
#include "case.hpp"
#include "decode.hpp"

namespace check::ops {
namespace {

// Scales of MXFP4 are powers of two of the whole range in which all values are normal numbers of F32.
void spread_scales(Tensor& t) {
  for (size_t i = 0; i < t.bytes.size() / 17; ++i) t.bytes[17 * i] = static_cast<std::byte>(2 + i * 101 % 249);
  t.exact = decode_by_format(t.dtype, t.bytes);
}

void gather(Maker& make, Cases& cases) {
  for (const uint32_t dtype : weight_dtypes()) {
    const uint32_t block = brim_dtype_block_elements(dtype);
    for (const uint32_t width : {dtype == BRIM_DTYPE_MXFP4 ? 64 * block : block == 1 ? 49 : 2 * block, block}) {
      Case c;
      c.name = "rows of " + std::to_string(width);
      c.op = BRIM_OP_GATHER_ROWS;
      c.dtype = dtype;
      const std::vector<int32_t> index = {4, 0, -1, 2, 6, 2, INT32_MIN, INT32_MAX};  // some lie outside
      c.in = {make.weights(dtype, {6, width}), by_row(ints({8}, index))};
      if (dtype == BRIM_DTYPE_MXFP4 && width > block) spread_scales(c.in[0]);
      c.out = {row_result({8, width})};
      for (uint32_t i = 0; i < 8 * width; ++i) {
        const int32_t r = index[i / width];
        if (r >= 0 && r < 6) c.out[0].exact[i] = c.in[0].exact[static_cast<uint32_t>(r) * width + i % width];
      }
      cases.push_back(std::move(c));  // exact, in every numerics
    }
  }
}

void scatter(Maker& make, Cases& cases) {
  for (const uint32_t mode : {BRIM_SCATTER_SET, BRIM_SCATTER_ADD}) {
    for (const uint32_t width : {1u, 19u, 64u, 20001u}) {  // the last is worth sharing among threads
      Case c;
      c.name = std::string(mode == BRIM_SCATTER_SET ? "set" : "add") + " rows of " + std::to_string(width);
      c.op = BRIM_OP_SCATTER_ROWS;
      brim_scatter_attr a{};
      a.mode = mode;
      c.attr = attr_bytes(a);
      const std::vector<int32_t> index = {2, 9, 0, 2, -1, 4, 4};
      c.in = {make.floats({5, width}), make.rows({7, width}), by_row(ints({7}, index))};
      c.out = {result({5, width})};
      c.out[0].exact = c.in[0].exact;
      for (uint32_t i = 0; i < 7 * width; ++i) {
        const int32_t r = index[i / width];
        if (r < 0 || r >= 5) continue;
        double& y = c.out[0].exact[static_cast<uint32_t>(r) * width + i % width];
        y = mode == BRIM_SCATTER_SET ? c.in[1].exact[i] : y + c.in[1].exact[i];
      }
      c.scale.assign(5 * width, mode == BRIM_SCATTER_SET ? 0 : 8);
      c.limit = 2 * kUlp;
      c.fast_rms = 0;
      cases.push_back(std::move(c));
    }
  }
}

Case copy_case(Tensor x, uint32_t to, std::string name) {
  Case c;
  c.name = std::move(name);
  c.op = BRIM_OP_COPY;
  c.fast_rms = 0;
  brim_copy_attr a{};
  a.dtype = to;
  c.attr = attr_bytes(a);
  c.dtype = x.dtype == BRIM_DTYPE_F32 ? to : x.dtype;
  c.out = {result(x.dims, to)};
  c.out[0].by_row = x.by_row;
  c.out[0].exact = x.exact;
  c.in = {std::move(x)};
  return c;
}

void copies(Maker& make, Cases& cases) {
  // The number of the step's rows has been every dimension from the last; the largest is worth sharing among threads.
  const std::vector<uint32_t> small_shapes[] = {{11}, {2, 4}, {3, 2, 1}, {3, 5, 7, 41}};
  for (const uint32_t dtype : weight_dtypes()) {
    const uint32_t block = brim_dtype_block_elements(dtype), width = block == 1 ? 53 : 2 * block;
    cases.push_back(copy_case(make.weights(dtype, {3, 5, 5, width}), BRIM_DTYPE_F32, "to f32"));
  }
  cases.push_back(copy_case(make.rows({3, 2, 5}), BRIM_DTYPE_F32, "f32 [3, 2, 5]"));
  cases.push_back(copy_case(make.rows({1, 1}), BRIM_DTYPE_F32, "f32 [1, 1]"));
  cases.push_back(copy_case(by_row(ints({2, 3}, {INT32_MIN, -1, 0, 7, 65537, INT32_MAX})), BRIM_DTYPE_I32, "i32"));
  cases.push_back(
      copy_case(by_row(ints({2, 3}, {-16777216, -1, 0, 7, 65537, 16777215})), BRIM_DTYPE_F32, "i32 to f32"));
  cases.push_back(
      copy_case(by_row(of_values({2, 3}, {-16777216, -1, 0, 7, 65537, 16777215})), BRIM_DTYPE_I32, "whole"));
  // To halves: ties to even, the edge of the range, and numbers below the smallest normal.
  const std::vector<float> edges = {1 + 0x1p-11f, 1 + 0x3p-11f, 65519, 65520,     -65504,  0x1p-14f,
                                    0x1.8p-25f,   0x1p-25f,     -0.0f, kInfinity, 1 / 3.0f};
  Case half = copy_case(by_row(of_values({1, 11}, edges)), BRIM_DTYPE_F16, "to f16, edges");
  for (size_t i = 0; i < edges.size(); ++i) {
    const double size = std::fabs(static_cast<double>(edges[i]));
    const int unit = size < 0x1p-14 || std::isinf(size) ? -24 : std::ilogb(size) - 10;
    double rounded = std::isinf(size) ? size : std::ldexp(std::nearbyint(std::ldexp(size, -unit)), unit);
    if (rounded >= 65536) rounded = HUGE_VAL;
    half.out[0].exact[i] = std::copysign(rounded, static_cast<double>(edges[i]));
  }
  cases.push_back(std::move(half));
  Case bfloat = copy_case(make.rows({2, 33}), BRIM_DTYPE_BF16, "to bf16");
  for (double& y : bfloat.out[0].exact) {
    const int unit = std::ilogb(y) - 7;
    y = std::ldexp(std::nearbyint(std::ldexp(y, -unit)), unit);
  }
  cases.push_back(std::move(bfloat));
  // Ties to even, the nearest above a tie, and the edge of the range.
  const std::vector<float> ties = {1 + 0x1p-8f, 1 + 0x3p-8f,      -1 - 0x3p-8f, 1 + 0x5p-8f, 1 + 0x1p-8f + 0x1p-23f,
                                   1 / 3.0f,    0x1.fefffep+127f, 0x1.ffp+127f, -0.0f,       kInfinity};
  Case tied = copy_case(by_row(of_values({1, 10}, ties)), BRIM_DTYPE_BF16, "to bf16, ties");
  for (double& y : tied.out[0].exact) {
    if (y == 0 || std::isinf(y)) continue;
    const int unit = std::ilogb(y) - 7;
    y = std::ldexp(std::nearbyint(std::ldexp(y, -unit)), unit);
    if (y >= 0x1p128) y = HUGE_VAL;
  }
  cases.push_back(std::move(tied));
  for (const uint32_t from : {BRIM_DTYPE_F32, BRIM_DTYPE_F16, BRIM_DTYPE_BF16, BRIM_DTYPE_I32}) {
    for (const uint32_t to : {BRIM_DTYPE_F32, BRIM_DTYPE_F16, BRIM_DTYPE_BF16, BRIM_DTYPE_I32}) {
      for (const std::vector<uint32_t>& dims : small_shapes) {
        std::vector<int32_t> small(count(dims));
        for (size_t i = 0; i < small.size(); ++i) small[i] = static_cast<int32_t>(i * 37 % 256) - 128;
        Tensor x = by_row(ints(dims, small));
        if (from != BRIM_DTYPE_I32) {
          x.dtype = from;
          x.bytes.clear();
          for (const int32_t i : small) {
            const auto value = static_cast<float>(i);
            const uint32_t bits = from == BRIM_DTYPE_F16 ? to_half(value) : std::bit_cast<uint32_t>(value);
            const uint32_t stored = from == BRIM_DTYPE_BF16 ? bits >> 16 : bits;
            const auto* bytes = reinterpret_cast<const std::byte*>(&stored);
            x.bytes.insert(x.bytes.end(), bytes, bytes + (from == BRIM_DTYPE_F32 ? 4 : 2));
          }
        }
        cases.push_back(copy_case(
            std::move(x), to, "small numbers of rank " + std::to_string(dims.size()) + " to " + brim_dtype_name(to)));
      }
    }
  }
  // Each element within half a step of its block, the step itself rounded to F16.
  struct Steps {
    uint32_t dtype;
    double steps;  // from 0 to the largest
  };
  for (const Steps q : {Steps{BRIM_DTYPE_Q8_0, 127}, Steps{BRIM_DTYPE_Q4_0, 8}}) {
    Case c = copy_case(make.rows({3, 64}), q.dtype, "quantised");
    c.scale.resize(3 * 64);
    for (uint32_t i = 0; i < 3 * 64; ++i) {
      for (uint32_t j = i / 32 * 32; j < i / 32 * 32 + 32; ++j) {
        c.scale[i] = std::max(c.scale[i], std::fabs(c.in[0].exact[j]));
      }
    }
    // Q4_0 has 8 steps to one side and 7 to the other, so that the far end may be a whole step off.
    c.limit = (q.dtype == BRIM_DTYPE_Q4_0 ? 1.0 : 0.5) / q.steps + 0x1p-10;
    cases.push_back(std::move(c));
  }
}

void joins(Maker& make, Cases& cases) {
  for (const uint32_t axis : {0u, 1u, 2u}) {
    for (const uint32_t more : {1u, 4u}) {
      Case c;
      c.name = "along axis " + std::to_string(axis);
      c.op = BRIM_OP_CONCAT;
      brim_concat_attr a{};
      a.axis = axis;
      c.attr = attr_bytes(a);
      std::vector<uint32_t> first = {2, 3, 5}, second = first, joined = first;
      second[axis] = more;
      joined[axis] += more;
      c.in = {make.floats(first), make.floats(second)};
      c.out = {result(joined)};
      c.in[0].by_row = c.in[1].by_row = c.out[0].by_row = axis != 0;
      for (uint32_t i = 0; i < joined[0]; ++i) {
        for (uint32_t j = 0; j < joined[1]; ++j) {
          for (uint32_t k = 0; k < joined[2]; ++k) {
            std::vector<uint32_t> at = {i, j, k};
            const bool later = at[axis] >= first[axis];
            if (later) at[axis] -= first[axis];
            const auto& of = later ? second : first;
            c.out[0].exact[(i * joined[1] + j) * joined[2] + k] =
                c.in[later].exact[(at[0] * of[1] + at[1]) * of[2] + at[2]];
          }
        }
      }
      cases.push_back(std::move(c));
    }
  }
}

}  // namespace

void add_movement(Maker& make, Cases& cases) {
  gather(make, cases);
  scatter(make, cases);
  copies(make, cases);
  joins(make, cases);
}

}  // namespace check::ops
