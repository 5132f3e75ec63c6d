// What the device computes, in plain loops with F64 sums: the ops that a llama file needs. Only real rows are computed.
#include <algorithm>
#include <cmath>

#include "program.hpp"
#include "weights.hpp"

namespace brim_async {
namespace {

using View = Step::View;

void gather_rows(const Step& s, const Node& n) {
  const View index = s.view(n.in[1]), out = s.view(n.out[0]);
  const uint64_t rows = s.view(n.in[0]).rows();
  for (uint64_t i = 0; i < out.rows(); ++i) {
    const int32_t at = index.integer(i);
    if (at < 0 || static_cast<uint64_t>(at) >= rows) {
      std::fill_n(out.row(i), out.width(), 0.0f);
    } else {
      s.load_row(n.in[0], static_cast<uint64_t>(at), out.row(i));
    }
  }
}

void rms_norm(const Step& s, const Node& n) {
  const View x = s.view(n.in[0]), out = s.view(n.out[0]);
  const auto a = n.attribute<brim_norm_attr>();
  const float* weight = n.input(1) ? s.view(n.in[1]).row(0) : nullptr;
  for (uint64_t r = 0; r < x.rows(); ++r) {
    double squares = 0;
    for (uint64_t i = 0; i < x.width(); ++i) squares += double(x.row(r)[i]) * x.row(r)[i];
    const double scale = 1 / std::sqrt(squares / static_cast<double>(x.width()) + a.eps);
    for (uint64_t i = 0; i < x.width(); ++i) {
      out.row(r)[i] = static_cast<float>(x.row(r)[i] * scale * (weight ? weight[i] + a.weight_offset : 1));
    }
  }
}

void matmul(const Step& s, const Node& n) {
  const View w = s.view(n.in[0]), x = s.view(n.in[1]), out = s.view(n.out[0]);
  const float* bias = n.input(2) ? s.view(n.in[2]).row(0) : nullptr;
  std::vector<float> row(w.width());
  for (uint64_t j = 0; j < w.dim[0]; ++j) {
    s.load_row(n.in[0], j, row.data());
    for (uint64_t r = 0; r < x.rows(); ++r) {
      double sum = bias ? bias[j] : 0;
      const float* values = x.row(r);
      for (uint64_t i = 0; i < row.size(); ++i) sum += double(row[i]) * values[i];
      out.row(r)[j] = static_cast<float>(sum);
    }
  }
}

void rope(const Step& s, const Node& n) {
  const View x = s.view(n.in[0]), position = s.view(n.in[1]), out = s.view(n.out[0]);
  const auto a = n.attribute<brim_rope_attr>();
  const float* factors = n.input(2) ? s.view(n.in[2]).row(0) : nullptr;
  const uint64_t heads = x.dim[1], half = a.n_rot / 2;
  for (uint64_t r = 0; r < x.rows(); ++r) {
    std::copy_n(x.row(r), x.width(), out.row(r));
    const int32_t at = position.integer(r / heads * position.dim[1]);
    for (uint64_t i = 0; i < half; ++i) {
      const double frequency = std::pow(double(a.base), -2.0 * static_cast<double>(i) / a.n_rot);
      const double angle = at * frequency * a.freq_scale / (factors ? factors[i] : 1);
      const double cosine = std::cos(angle) * a.magnitude, sine = std::sin(angle) * a.magnitude;
      const bool adjacent = a.pairing == BRIM_ROPE_ADJACENT;
      const uint64_t p = adjacent ? 2 * i : i, q = adjacent ? 2 * i + 1 : i + half;
      const double u = x.row(r)[p], v = x.row(r)[q];
      out.row(r)[p] = static_cast<float>(u * cosine - v * sine);
      out.row(r)[q] = static_cast<float>(u * sine + v * cosine);
    }
  }
}

const brim_group_layout& group_of(const Step& s, brim_value state) {
  return s.program.group_layouts[s.program.groups.at(s.program.values[state].role)];
}

void kv_write(const Step& s, const Node& n) {
  const View k = s.view(n.in[1]), v = s.view(n.in[2]);
  const Kv& kv = s.program.states.at(s.program.values[n.in[0]].role);
  const int32_t* slots = s.array(group_of(s, n.in[0]).kv_slot);
  for (uint64_t t = 0; t < s.counts.n_tokens; ++t) {
    if (slots[t] < 0) continue;
    for (uint64_t h = 0; h < kv.heads; ++h) {
      kv.write(kv.k(static_cast<uint64_t>(slots[t]), h), kv.k_width, k.row(t * kv.heads + h));
      kv.write(kv.v(static_cast<uint64_t>(slots[t]), h), kv.v_width, v.row(t * kv.heads + h));
    }
  }
}

void attention(const Step& s, const Node& n) {
  const View q = s.view(n.in[0]), out = s.view(n.out[0]);
  const Kv& kv = s.program.states.at(s.program.values[n.in[1]].role);
  const brim_group_layout& group = group_of(s, n.in[1]);
  const auto a = n.attribute<brim_attention_attr>();
  const int32_t *sequences = s.array(s.program.step.sequence), *begins = s.array(s.program.step.q_begin);
  const int32_t *lengths = s.array(group.kv_len), *table = s.array(group.block_table);
  std::vector<float> row(std::max(kv.k_width, kv.v_width));
  std::vector<double> scores, sums;
  for (uint64_t t = 0; t < s.counts.n_tokens; ++t) {
    const auto seq = static_cast<uint64_t>(sequences[t]);
    const auto visible = static_cast<uint64_t>(lengths[seq] - (begins[seq + 1] - static_cast<int32_t>(t)) + 1);
    const auto slot = [&](uint64_t i) {
      const int32_t block = table[seq * group.max_blocks + i / kBlockTokens];
      if (block < 0) s.program.plugin->refuse("a block table ends before its sequence does");
      return static_cast<uint64_t>(block) * kBlockTokens + i % kBlockTokens;
    };
    for (uint64_t h = 0; h < a.n_head; ++h) {
      const uint64_t from = h / (a.n_head / a.n_head_kv);
      const float* query = q.row(t * a.n_head + h);
      scores.assign(visible, 0);
      double most = -INFINITY, total = 0;
      for (uint64_t i = 0; i < visible; ++i) {
        kv.read(kv.k(slot(i), from), kv.k_width, row.data());
        for (uint64_t j = 0; j < kv.k_width; ++j) scores[i] += double(query[j]) * row[j];
        scores[i] *= a.scale;
        most = std::max(most, scores[i]);
      }
      sums.assign(kv.v_width, 0);
      for (uint64_t i = 0; i < visible; ++i) {
        const double weight = std::exp(scores[i] - most);
        total += weight;
        kv.read(kv.v(slot(i), from), kv.v_width, row.data());
        for (uint64_t j = 0; j < kv.v_width; ++j) sums[j] += weight * row[j];
      }
      for (uint64_t j = 0; j < kv.v_width; ++j) {
        out.row(t * a.n_head + h)[j] = static_cast<float>(sums[j] / total);
      }
    }
  }
}

void binary(const Step& s, const Node& n) {
  const View x = s.view(n.in[0]), y = s.view(n.in[1]), out = s.view(n.out[0]);
  const bool add = n.attribute<brim_binary_attr>().kind == BRIM_BINARY_ADD;
  for (uint64_t r = 0; r < out.rows(); ++r) {
    for (uint64_t i = 0; i < out.width(); ++i) {
      out.row(r)[i] = add ? x.row(r)[i] + y.row(r)[i] : x.row(r)[i] * y.row(r)[i];
    }
  }
}

void glu(const Step& s, const Node& n) {
  const View gate = s.view(n.in[0]), up = s.view(n.in[1]), out = s.view(n.out[0]);
  for (uint64_t r = 0; r < out.rows(); ++r) {
    for (uint64_t i = 0; i < out.width(); ++i) {
      const double g = gate.row(r)[i];
      out.row(r)[i] = static_cast<float>(g / (1 + std::exp(-g)) * up.row(r)[i]);
    }
  }
}

void copy_values(const Step& s, const Node& n) {
  const View x = s.view(n.in[0]), out = s.view(n.out[0]);
  for (uint64_t r = 0; r < out.rows(); ++r) {
    const float* from = x.row(r);
    for (uint64_t i = 0; i < out.width(); ++i) out.row(r)[i] = from[i * x.stride[x.rank - 1]];
  }
}

const brim_value_desc& desc_of(const brim_graph& g, const brim_node& n, uint32_t i) {
  return *brim_graph_value(&g, n.in[i]);
}

bool same_shape(const brim_value_desc& a, const brim_value_desc& b) {
  return a.rank == b.rank && std::memcmp(a.dim, b.dim, a.rank * sizeof(brim_dim)) == 0;
}

template <class T>
T attribute(const brim_node& node) {
  T a{};
  std::memcpy(&a, node.attr, sizeof(a));
  return a;
}

// Symbols in the outermost dimension only, so that strides are constants; rows without gaps.
bool simple(const brim_value_desc& v, bool copied) {
  if (v.kind == BRIM_VALUE_STATE) return true;
  for (uint32_t i = 0; i < v.rank; ++i) {
    if (v.stride[i].sym != BRIM_SYM_NONE || (i > 0 && v.dim[i].sym != BRIM_SYM_NONE)) return false;
  }
  return v.rank > 0 && (copied || v.stride[v.rank - 1].k == 1);
}

constexpr brim_op_caps kCaps[] = {{BRIM_OP_COPY, 1, 0},
                                  {BRIM_OP_GATHER_ROWS, 1, 0},
                                  {BRIM_OP_BINARY, 1, 0},
                                  {BRIM_OP_GLU, 1, 0},
                                  {BRIM_OP_RMS_NORM, 1, 0},
                                  {BRIM_OP_MATMUL, 1, BRIM_MATMUL_BIAS},
                                  {BRIM_OP_ROPE, 1, BRIM_ROPE_FACTORS},
                                  {BRIM_OP_KV_WRITE, 1, 0},
                                  {BRIM_OP_ATTENTION, 1, BRIM_ATTENTION_CAUSAL}};

}  // namespace

std::span<const brim_op_caps> caps() { return kCaps; }

bool supported(const brim_graph& g, const brim_node& n) {
  const auto known = std::find_if(std::begin(kCaps), std::end(kCaps), [&](const auto& c) { return c.op == n.op; });
  if (known == std::end(kCaps) || n.op_rev != known->max_rev || (n.must & ~known->features)) return false;
  for (uint32_t i = 0; i < n.n_in; ++i) {
    if (n.in[i] && !simple(desc_of(g, n, i), n.op == BRIM_OP_COPY)) return false;
  }
  const auto weight = [&] {
    const brim_value_desc& w = desc_of(g, n, 0);
    return w.rank == 2 && (w.kind == BRIM_VALUE_WEIGHT ? decodes(w.dtype) : w.dtype == BRIM_DTYPE_F32);
  };
  switch (n.op) {
    case BRIM_OP_GATHER_ROWS:
    case BRIM_OP_MATMUL:
      return weight();
    case BRIM_OP_RMS_NORM:
    case BRIM_OP_ROPE:
    case BRIM_OP_KV_WRITE:
      return true;
    case BRIM_OP_ATTENTION:  // causal only
      return (n.must & BRIM_ATTENTION_CAUSAL) != 0;
    case BRIM_OP_BINARY: {
      const uint32_t kind = attribute<brim_binary_attr>(n).kind;
      return (kind == BRIM_BINARY_ADD || kind == BRIM_BINARY_MUL) && same_shape(desc_of(g, n, 0), desc_of(g, n, 1));
    }
    case BRIM_OP_GLU:
      return n.n_in == 2 && n.in[1] && attribute<brim_glu_attr>(n).kind == BRIM_GLU_SILU;
    case BRIM_OP_COPY:
      return attribute<brim_copy_attr>(n).dtype == BRIM_DTYPE_F32 && desc_of(g, n, 0).dtype == BRIM_DTYPE_F32;
    default:
      return false;
  }
}

void compute(const Step& step, const Node& node) {
  switch (node.op) {
    case BRIM_OP_GATHER_ROWS:
      return gather_rows(step, node);
    case BRIM_OP_RMS_NORM:
      return rms_norm(step, node);
    case BRIM_OP_MATMUL:
      return matmul(step, node);
    case BRIM_OP_ROPE:
      return rope(step, node);
    case BRIM_OP_KV_WRITE:
      return kv_write(step, node);
    case BRIM_OP_ATTENTION:
      return attention(step, node);
    case BRIM_OP_BINARY:
      return binary(step, node);
    case BRIM_OP_GLU:
      return glu(step, node);
    default:
      return copy_values(step, node);
  }
}

}  // namespace brim_async
