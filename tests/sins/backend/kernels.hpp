// The ops, each in plain loops over a range of its items: what one member of the team does. Sums are in double and in
// the order of their terms, so that no result depends on the team or on other rows.
#pragma once

#include <thread>

#include "support.hpp"

namespace saint {

// Rows of a value, or some of a weight's that comes in pieces.
struct Piece {
  std::byte* data;
  uint64_t first, n;
};

struct Tensor {
  const Piece* pieces;  // null: in the step block
  uint32_t n_pieces, rank;
  uint64_t offset;              // bytes, in the step block or in the one piece
  brim_dim rows;                // the outermost dimension
  uint64_t dim[BRIM_MAX_RANK];  // [0] unused
  uint64_t row;                 // elements of one of the rows
  uint64_t n;                   // of the innermost dimension; 1 where it is the only one
};

struct State {
  float* data;
  brim_state_desc desc;
  brim_group_layout group;
  uint32_t n_blocks;
};

union Attributes {
  brim_binary_attr binary;
  brim_affine_attr affine;
  brim_glu_attr glu;
  brim_norm_attr norm;
  brim_rope_attr rope;
  brim_attention_attr attention;
  brim_conv1d_attr conv;
};

struct Node {
  uint32_t op;
  uint64_t must;
  Tensor in[4], out;  // of a state's place in both: nothing
  bool has[4];
  State state;
  Attributes attr;
};

// One run of a program.
struct Frame {
  std::byte* step;
  brim_step_layout layout;
  brim_step_header counts;
  brim_bucket bucket;
  float* scores;  // [members, n_kv]
  int32_t first_position;

  uint64_t size(brim_dim dim) const {
    const brim_bucket real{sizeof(brim_bucket), counts.n_tokens, counts.n_seqs, counts.n_outputs, counts.n_kv, 1};
    return brim_dim_size(dim, &real);
  }
  const int32_t* ints(uint64_t offset) const { return reinterpret_cast<const int32_t*>(step + offset); }
};

// The r-th row of the outermost dimension.
template <class T = float>
T* row_of(const Frame& frame, const Tensor& t, uint64_t r) {
  if (t.pieces == nullptr) return reinterpret_cast<T*>(frame.step + t.offset) + r * t.row;
  const Piece* piece = t.pieces;
  if (t.n_pieces > 1) {
    while (!sins::pieces_ignored && r >= piece->first + piece->n) ++piece;
    r -= piece->first;
  }
  return reinterpret_cast<T*>(piece->data + t.offset) + r * t.row;
}
inline uint64_t vectors(const Frame& frame, const Tensor& t) { return t.n == 0 ? 0 : frame.size(t.rows) * t.row / t.n; }
// The v-th run along the innermost dimension.
inline float* vector_of(const Frame& frame, const Tensor& t, uint64_t v) {
  const uint64_t per_row = t.row / t.n;
  return row_of(frame, t, v / per_row) + v % per_row * t.n;
}

inline float binary(uint32_t kind, float a, float b) {
  switch (kind) {
    case BRIM_BINARY_ADD:
      return a + b;
    case BRIM_BINARY_SUB:
      return a - b;
    case BRIM_BINARY_MUL:
      return a * b;
    case BRIM_BINARY_DIV:
      return a / b;
    case BRIM_BINARY_MAX:
      return std::isnan(a) || a > b ? a : b;
    case BRIM_BINARY_MIN:
      return std::isnan(a) || a < b ? a : b;
    default:
      return std::pow(a, b);
  }
}

inline float sigmoid(double x) { return static_cast<float>(1 / (1 + std::exp(-x))); }

inline float glu(const brim_glu_attr& attr, float gate, float up) {
  const double g = gate;
  switch (attr.kind) {
    case BRIM_GLU_SILU:
      return static_cast<float>(g / (1 + std::exp(-g)) * up);
    case BRIM_GLU_GELU:
      return static_cast<float>(g / 2 * (1 + std::erf(g * std::sqrt(0.5))) * up);
    case BRIM_GLU_GELU_TANH:
      return static_cast<float>(g / 2 * (1 + std::tanh(std::sqrt(2 / M_PI) * (g + 0.044715 * g * g * g))) * up);
    case BRIM_GLU_RELU:
      return (gate < 0 ? 0 : gate) * up;
    case BRIM_GLU_SIGMOID:
      return sigmoid(g) * up;
    default: {
      const float x = gate > attr.limit ? attr.limit : gate;
      const float y = up > attr.limit ? attr.limit : up < -attr.limit ? -attr.limit : up;
      return x * sigmoid(double{attr.alpha} * x) * (y + 1);
    }
  }
}

struct Range {
  uint64_t begin, end;
  uint32_t member, members;
};

inline void copy_vectors(const Frame& f, const Node& node, const Range& range) {
  for (uint64_t v = range.begin; v < range.end; ++v) {
    std::memcpy(vector_of(f, node.out, v), vector_of(f, node.in[0], v), node.out.n * sizeof(float));
  }
}

inline void gather(const Frame& f, const Node& node, const Range& range) {
  const auto rows = static_cast<int64_t>(f.size(node.in[0].rows));
  const int32_t* index = row_of<int32_t>(f, node.in[1], 0);
  for (uint64_t i = range.begin; i < range.end; ++i) {
    float* out = row_of(f, node.out, i);
    if (index[i] < 0 || index[i] >= rows) {
      std::fill(out, out + node.out.n, 0.0f);
    } else {
      std::memcpy(out, row_of(f, node.in[0], static_cast<uint64_t>(index[i])), node.out.n * sizeof(float));
    }
  }
}

inline void binaries(const Frame& f, const Node& node, const Range& range) {
  const Tensor& out = node.out;
  const auto real = [&](const Tensor& t, uint32_t axis) { return axis == 0 ? f.size(t.rows) : t.dim[axis]; };
  // Where the operand's part for the output's v-th vector begins, and its step from element to element.
  const auto place = [&](const Tensor& t, uint64_t v, uint64_t* step) {
    const uint64_t n = real(t, t.rank - 1);
    *step = n == 1 ? 0 : 1;
    uint64_t offset = 0, stride = n;
    for (uint32_t i = 1; i < out.rank; ++i) {
      const uint32_t axis = out.rank - 1 - i;
      const uint64_t size = real(out, axis), at = v % size;
      v /= size;
      if (i >= t.rank) continue;
      const uint64_t own = real(t, t.rank - 1 - i);
      offset += own == 1 ? 0 : at * stride;
      stride *= own;
    }
    return row_of(f, t, 0) + offset;
  };
  for (uint64_t v = range.begin; v < range.end; ++v) {
    uint64_t step_a = 0, step_b = 0;
    const float *a = place(node.in[0], v, &step_a), *b = place(node.in[1], v, &step_b);
    float* to = out.rank == 1 ? row_of(f, out, 0) : vector_of(f, out, v);
    for (uint64_t i = 0, n = real(out, out.rank - 1); i < n; ++i) {
      to[i] = binary(node.attr.binary.kind, a[i * step_a], b[i * step_b]);
    }
  }
}

inline void affine(const Frame& f, const Node& node, const Range& range) {
  const brim_affine_attr& a = node.attr.affine;
  for (uint64_t v = range.begin; v < range.end; ++v) {
    const float* x = vector_of(f, node.in[0], v);
    float* y = vector_of(f, node.out, v);
    for (uint64_t i = 0; i < node.out.n; ++i) {
      float value = a.scale * x[i] + a.bias;
      if ((node.must & BRIM_AFFINE_SOFTCAP) != 0 && !sins::affine_soft_cap_ignored)
        value = a.cap * std::tanh(value / a.cap);
      y[i] = value > a.hi ? a.hi : value < a.lo ? a.lo : value;
    }
  }
}

inline void glus(const Frame& f, const Node& node, const Range& range) {
  for (uint64_t v = range.begin; v < range.end; ++v) {
    const float* gate = vector_of(f, node.in[0], v);
    const float* up = node.has[1] ? vector_of(f, node.in[1], v) : gate + node.out.n;
    float* y = vector_of(f, node.out, v);
    for (uint64_t i = 0; i < node.out.n; ++i) y[i] = glu(node.attr.glu, gate[i], up[i]);
  }
}

inline void norm(const Frame& f, const Node& node, const Range& range) {
  const uint64_t n = node.out.n;
  const float* weight = node.has[1] ? row_of(f, node.in[1], 0) : nullptr;
  for (uint64_t v = range.begin; v < range.end; ++v) {
    const float* x = vector_of(f, node.in[0], v);
    float* y = vector_of(f, node.out, v);
    double sum = 0;
    for (uint64_t i = 0; i < n; ++i) sum += double{x[i]} * x[i];
    const double scale = 1 / std::sqrt(sum / static_cast<double>(n) + node.attr.norm.eps);
    for (uint64_t i = 0; i < n; ++i) {
      y[i] = static_cast<float>(x[i] * scale * (weight ? double{weight[i]} + node.attr.norm.weight_offset : 1.0));
    }
    if (sins::writes_past_an_output && v + 1 == vectors(f, node.out)) y[n] = 0;
    if (sins::writes_a_weight && weight != nullptr && v == 0) const_cast<float*>(weight)[0] += 1e-6f;
  }
}

// An item is one element of the output.
inline void matmul(const Frame& f, const Node& node, const Range& range) {
  const uint64_t n = node.out.n, k = node.in[1].n;
  const float* bias = node.has[2] ? row_of(f, node.in[2], 0) : nullptr;
  for (uint64_t item = range.begin; item < range.end; ++item) {
    const uint64_t j = item % n;
    const float *w = row_of(f, node.in[0], j), *x = vector_of(f, node.in[1], item / n);
    double sum = bias ? bias[j] : 0.0f;
    for (uint64_t i = 0; i < k; ++i) sum += double{w[i]} * x[i];
    if (sins::sums_depend_on_the_team || (sins::sums_depend_on_other_rows && f.counts.n_tokens > 1)) {
      const uint64_t parts = sins::sums_depend_on_the_team ? range.members : 2;
      float whole = bias ? bias[j] : 0.0f;
      for (uint64_t p = 0; p < parts; ++p) {
        float part = 0;
        for (uint64_t i = k * p / parts; i < k * (p + 1) / parts; ++i) part += w[i] * x[i];
        whole += part;
      }
      sum = whole;
    }
    vector_of(f, node.out, item / n)[j] = static_cast<float>(sum);
  }
}

inline void rope(const Frame& f, const Node& node, const Range& range) {
  const brim_rope_attr& a = node.attr.rope;
  const uint64_t heads = node.out.dim[1], d = node.out.n, pairs = a.n_rot / 2, components = node.in[1].row;
  const int32_t* position = row_of<int32_t>(f, node.in[1], 0);
  if (sins::step_layout_assumed) position = f.ints(64 + (f.bucket.n_tokens * 4 + 63) / 64 * 64);
  const uint64_t apart = a.pairing == BRIM_ROPE_HALVES ? pairs : 1, step = a.pairing == BRIM_ROPE_HALVES ? 1 : 2;
  for (uint64_t v = range.begin; v < range.end; ++v) {
    const float* x = vector_of(f, node.in[0], v);
    float* y = vector_of(f, node.out, v);
    const uint64_t t = v / heads;
    const double at = sins::position_baked ? f.first_position + static_cast<double>(t) : position[t * components];
    for (uint64_t i = 0; i < pairs; ++i) {
      const double theta = at * a.freq_scale * std::pow(double{a.base}, -2.0 * static_cast<double>(i) / a.n_rot);
      const double c = std::cos(theta) * a.magnitude, s = std::sin(theta) * a.magnitude;
      const double p = x[i * step], q = x[i * step + apart];
      y[i * step] = static_cast<float>(p * c - q * s);
      y[i * step + apart] = static_cast<float>(p * s + q * c);
    }
    std::copy(x + 2 * pairs, x + d, y + 2 * pairs);
  }
}

inline void kv_write(const Frame& f, const Node& node, const Range& range) {
  const brim_state_desc& s = node.state.desc;
  const uint64_t k = uint64_t{s.n_head} * s.k_width, v = uint64_t{s.n_head} * s.v_width;
  const int32_t* slots = f.ints(node.state.group.kv_slot);
  for (uint64_t t = range.begin; t < range.end; ++t) {
    int32_t slot = slots[t];
    if (sins::discarded_rows_written && slot < 0) slot = 0;
    if (sins::padding_rows_written && t >= f.counts.n_tokens) {
      slot = slots[f.counts.n_tokens - 1] + static_cast<int32_t>(t - f.counts.n_tokens + 1);
      if (slot >= static_cast<int32_t>(node.state.n_blocks * kBlockTokens)) continue;
    }
    if (slot < 0) continue;
    float* row = node.state.data + static_cast<uint64_t>(slot) * (k + v);
    std::memcpy(row, row_of(f, node.in[1], t), k * sizeof(float));
    std::memcpy(row + k, row_of(f, node.in[2], t), v * sizeof(float));
  }
}

// An item is one head of one row.
inline void attention(const Frame& f, const Node& node, const Range& range) {
  const brim_attention_attr& a = node.attr.attention;
  const brim_state_desc& state = node.state.desc;
  const brim_group_layout& group = node.state.group;
  const uint64_t d = state.k_width, row = row_floats(state), v_begin = uint64_t{state.n_head} * d;
  static float shared_scores[1 << 16];
  float* scores = sins::scratch_shared_by_queues ? shared_scores : f.scores + uint64_t{range.member} * f.bucket.n_kv;
  for (uint64_t item = range.begin; item < range.end; ++item) {
    const uint64_t t = item / a.n_head, h = item % a.n_head, kv_head = h / (a.n_head / a.n_head_kv);
    const auto s = static_cast<uint64_t>(f.ints(f.layout.sequence)[t]);
    const int64_t length = sins::context_is_the_bucket ? f.bucket.n_kv : f.ints(group.kv_len)[s];
    const int64_t behind = f.ints(f.layout.q_begin)[s + 1] - static_cast<int64_t>(t);  // rows from this one on
    const bool causal = (node.must & BRIM_ATTENTION_CAUSAL) != 0;
    const int64_t end = causal ? length - behind + 1 : length;
    int64_t begin = 0;
    if ((node.must & BRIM_ATTENTION_SLIDING_WINDOW) != 0 && !sins::window_ignored)
      begin = std::max<int64_t>(0, end - a.window);
    const int64_t skipped = group.kv_first ? f.ints(group.kv_first)[s] / kBlockTokens : 0;
    const int32_t* table = f.ints(group.block_table) + s * group.max_blocks - skipped;
    const auto token = [&](int64_t i) {
      const int64_t slot = int64_t{table[i / kBlockTokens]} * kBlockTokens + i % kBlockTokens;
      return node.state.data + static_cast<uint64_t>(slot) * row;
    };
    const float* q = vector_of(f, node.in[0], item);
    double most = -INFINITY, sum = 0;
    for (int64_t i = begin; i < end; ++i) {
      const float* key = token(i) + kv_head * d;
      double score = 0;
      for (uint64_t j = 0; j < d; ++j) score += double{q[j]} * key[j];
      score *= a.scale;
      if ((node.must & BRIM_ATTENTION_SOFTCAP) != 0 && !sins::soft_cap_ignored)
        score = a.softcap * std::tanh(score / a.softcap);
      scores[i - begin] = static_cast<float>(score);
      most = std::max(most, score);
    }
    if (sins::scratch_shared_by_queues) std::this_thread::yield();  // so that it shows on a busy machine, too
    for (int64_t i = begin; i < end; ++i) {
      scores[i - begin] = static_cast<float>(std::exp(scores[i - begin] - static_cast<float>(most)));
      sum += scores[i - begin];
    }
    float* y = vector_of(f, node.out, item);
    for (uint64_t j = 0; j < state.v_width; ++j) {
      double mixed = sins::adds_to_what_was_there ? double{y[j]} * 1e-3 : 0.0;
      for (int64_t i = begin; i < end; ++i) {
        mixed += double{scores[i - begin]} * token(i)[v_begin + kv_head * state.v_width + j];
      }
      y[j] = static_cast<float>(mixed / sum);
    }
  }
}

// An item is one channel; each runs through all rows of all sequences.
inline void conv(const Frame& f, const Node& node, const Range& range) {
  const uint64_t c = node.out.n, taps = node.in[2].n, kept = taps - 1, slot_floats = slot_bytes(node.state.desc) / 4;
  const float* bias = node.has[3] ? row_of(f, node.in[3], 0) : nullptr;
  const int32_t *q_begin = f.ints(f.layout.q_begin), *read = f.ints(f.layout.state_read),
                *write = f.ints(sins::state_goes_back_where_it_was_read ? f.layout.state_read : f.layout.state_write);
  for (uint32_t s = 0; s < f.counts.n_seqs; ++s) {
    const int64_t begin = q_begin[s], n = q_begin[s + 1] - begin;
    const float* before = read[s] < 0 ? nullptr : node.state.data + static_cast<uint64_t>(read[s]) * slot_floats;
    if (sins::zero_state_is_slot_zero && read[s] < 0) before = node.state.data;
    for (uint64_t i = range.begin; i < range.end; ++i) {
      // Row r of the step, or one of the `kept` before it.
      const auto x = [&](int64_t r) {
        if (r >= 0) return row_of(f, node.in[0], static_cast<uint64_t>(begin + r))[i];
        return before == nullptr ? 0.0f : before[static_cast<uint64_t>(r + static_cast<int64_t>(kept)) * c + i];
      };
      const float* weight = row_of(f, node.in[2], i);
      for (int64_t r = 0; r < n; ++r) {
        double sum = bias ? bias[i] : 0.0f;
        for (uint64_t j = 0; j < taps; ++j) sum += double{weight[j]} * x(r - static_cast<int64_t>(kept - j));
        if (node.attr.conv.activation == BRIM_UNARY_SILU) sum = sum / (1 + std::exp(-sum));
        row_of(f, node.out, static_cast<uint64_t>(begin + r))[i] = static_cast<float>(sum);
      }
      if (write[s] < 0) continue;
      float* after = node.state.data + static_cast<uint64_t>(write[s]) * slot_floats;
      for (uint64_t j = 0; j < kept; ++j) after[j * c + i] = x(n - static_cast<int64_t>(kept - j));
    }
  }
}

inline uint64_t items_of(const Frame& f, const Node& node) {
  switch (node.op) {
    case BRIM_OP_MATMUL:
      return vectors(f, node.out) * node.out.n;
    case BRIM_OP_KV_WRITE:
      return sins::padding_rows_written ? f.bucket.n_tokens : f.counts.n_tokens;
    case BRIM_OP_GATHER_ROWS:
      return f.size(node.out.rows);
    case BRIM_OP_CAUSAL_CONV1D:
      return node.out.n;
    case BRIM_OP_BINARY:
      return node.out.rank == 1 ? 1 : vectors(f, node.out);
    default:
      return vectors(f, node.out);
  }
}

inline void compute(const Frame& f, const Node& node, const Range& range) {
  switch (node.op) {
    case BRIM_OP_COPY:
      return copy_vectors(f, node, range);
    case BRIM_OP_GATHER_ROWS:
      return gather(f, node, range);
    case BRIM_OP_BINARY:
      return binaries(f, node, range);
    case BRIM_OP_AFFINE_CLAMP:
      return affine(f, node, range);
    case BRIM_OP_GLU:
      return glus(f, node, range);
    case BRIM_OP_RMS_NORM:
      return norm(f, node, range);
    case BRIM_OP_MATMUL:
      return matmul(f, node, range);
    case BRIM_OP_ROPE:
      return rope(f, node, range);
    case BRIM_OP_KV_WRITE:
      return kv_write(f, node, range);
    case BRIM_OP_ATTENTION:
      return attention(f, node, range);
    default:
      return conv(f, node, range);
  }
}

}  // namespace saint
