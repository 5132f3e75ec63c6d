// One case of the op suite: a node on given inputs, and what exact arithmetic makes of them. Expectations are computed
// in float64 from the text of ops.h, from nothing of a backend's.
//
// A case says which of its values have one row per row of the step; the runner (run.hpp) uses that to hand it over in
// several forms: plain, as strided views, with the output in an input's storage, in a larger step whose padding is NaN.
#pragma once

#include <brim/backend.h>

#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <limits>
#include <random>
#include <string>
#include <vector>

namespace check::ops {

struct Tensor {
  uint32_t dtype = BRIM_DTYPE_F32;
  std::vector<uint32_t> dims;  // empty: an absent input
  std::vector<std::byte> bytes;
  std::vector<double> exact;  // every element, dequantised
  bool weight = false;        // constant, as a model's tensors are
  bool by_row = false;        // dims[0] counts rows of the step
};

// A sequence of the step, for ops on states.
struct Sequence {
  uint32_t rows = 1;    // in this step
  uint32_t length = 1;  // tokens that it has afterwards
  std::vector<double>
      before;  // the state in canonical order: of KV [length, heads, k] then [length, heads, v]; empty: none
  std::vector<double> after;  // what is expected afterwards, of those that the op writes
};

struct StateOfCase {
  brim_state_desc desc{};
  uint32_t dtype = BRIM_DTYPE_F32;
  uint32_t input = 0;  // where it stands among the node's inputs; the case's list has an absent one there
  bool written = false;
  std::vector<Sequence> sequences;
  double limit = 0;                        // |got - after| <= limit * scale of the element
  double fast_limit = 0;                   // in fast numerics
  std::vector<std::vector<double>> scale;  // by sequence; empty: |after|
};

enum class NanReach : uint8_t { kNotAsked, kElement, kRow };

struct Case {
  std::string name;
  uint32_t op = 0;
  uint64_t must = 0;
  uint32_t dtype = BRIM_DTYPE_F32;  // under which the support table lists it
  std::vector<std::byte> attr;
  std::vector<Tensor> in, out;
  std::vector<StateOfCase> state;  // one or none
  // |got - exact| <= limit * scale of the element, where scale is |exact| and for sums the sum of |terms|.
  std::vector<double> scale;  // of output 0; empty: |exact|
  double limit = 0;           // strict; 0: exact, in every numerics
  double fast_rms = 1e-3;     // RMS-relative limit in fast numerics; 0: the strict limit holds there too
  // A NaN in the first input that goes by rows: which elements of output 0 it reaches.
  NanReach nan = NanReach::kNotAsked;
};

// ---- what tables are written with
// -------------------------------------------------------------------------------------

inline constexpr double kUlp = 1.0 / (1 << 24);  // half a unit in the last place of F32, relative
inline double sum_limit(uint32_t k) { return 4 * std::sqrt(static_cast<double>(k)) * kUlp; }
inline constexpr float kInfinity = std::numeric_limits<float>::infinity();

class Maker {
 public:
  explicit Maker(std::mt19937_64& random) : random_(random) {}
  std::mt19937_64& random() { return random_; }
  uint32_t pick(uint32_t low, uint32_t high) { return low + static_cast<uint32_t>(random_() % (high - low + 1)); }

  Tensor floats(std::vector<uint32_t> dims, double spread = 1, double around = 0);  // normally distributed
  Tensor rows(std::vector<uint32_t> dims, double spread = 1, double around = 0);    // the same, by row of the step
  Tensor weights(uint32_t dtype, std::vector<uint32_t> dims);

 private:
  std::mt19937_64& random_;
};

uint64_t count(const std::vector<uint32_t>& dims);
Tensor of_values(std::vector<uint32_t> dims, const std::vector<float>& values);
Tensor ints(std::vector<uint32_t> dims, const std::vector<int32_t>& values);
Tensor by_row(Tensor t);
Tensor weight(Tensor t);
Tensor result(std::vector<uint32_t> dims, uint32_t dtype = BRIM_DTYPE_F32);  // zeros
Tensor row_result(std::vector<uint32_t> dims, uint32_t dtype = BRIM_DTYPE_F32);
void put(Tensor& t, size_t i, float value);

template <class Attr>
std::vector<std::byte> attr_bytes(Attr a) {
  a.struct_size = sizeof(a);
  std::vector<std::byte> bytes(sizeof(a));
  std::memcpy(bytes.data(), &a, sizeof(a));
  return bytes;
}

// Every type of the registry that weights come in.
const std::vector<uint32_t>& weight_dtypes();
inline bool is_plain(uint32_t dtype) { return brim_dtype_block_elements(dtype) == 1; }
// RMS-relative limit of fast numerics for products with weights of this type.
inline double fast_limit(uint32_t dtype) {
  if (dtype == BRIM_DTYPE_BF16) return 4e-3;
  return is_plain(dtype) ? 1e-3 : 2e-2;
}
double unary_of(uint32_t kind, double x);

// ---- the tables, by op
// ------------------------------------------------------------------------------------------------

using Cases = std::vector<Case>;
void add_products(Maker& make, Cases& cases);     // MATMUL, GROUPED_MATMUL
void add_elementwise(Maker& make, Cases& cases);  // UNARY, BINARY, AFFINE_CLAMP, GLU
void add_norms(Maker& make, Cases& cases);        // SOFTMAX, RMS_NORM, LAYER_NORM, L2_NORM
void add_selection(Maker& make, Cases& cases);    // ARGMAX, TOPK, MOE_ROUTE, MOE_COMBINE
void add_movement(Maker& make, Cases& cases);     // COPY, CONCAT, GATHER_ROWS, SCATTER_ROWS
void add_rotation(Maker& make, Cases& cases);     // ROPE
void add_attention(Maker& make, Cases& cases);    // KV_WRITE, ATTENTION
void add_recurrent(Maker& make, Cases& cases);    // CAUSAL_CONV1D, LINEAR_ATTENTION

}  // namespace check::ops
