// KV_WRITE and ATTENTION over paged states. Numbers of the step block are checked before they become addresses: a wrong
// one is the host's mistake, and an error is better than somebody else's bytes.
#include <cmath>

#include "../op.hpp"

namespace plain {
namespace {

bool step_rows(brim_dim dim) { return dim.sym == BRIM_SYM_N_TOKENS && dim.k == 1; }

bool supports_kv_write(const Question& q) {
  return q.state(0) && q.rows(1, BRIM_DTYPE_F32, 3) && q.rows(2, BRIM_DTYPE_F32, 3) && step_rows(q.in(1).dim[0]) &&
         step_rows(q.in(2).dim[0]) && constant(q.in(1).dim[1]) && same(q.in(1).dim[1], q.in(2).dim[1]) &&
         constant(q.in(1).dim[2]) && constant(q.in(2).dim[2]);
}

void check_kv_write(const Node& node) {
  const Operand &k = node.in[1], &v = node.in[2];
  if (k.dim[1].k == node.kv.heads && k.dim[2].k == node.kv.k_width && v.dim[2].k == node.kv.v_width) return;
  fail(BRIM_INVALID_ARGUMENT, "KV_WRITE: K [%u, %u] and V [%u, %u] do not fit a state of %u heads, K %u and V %u wide",
       k.dim[1].k, k.dim[2].k, v.dim[1].k, v.dim[2].k, node.kv.heads, node.kv.k_width, node.kv.v_width);
}

void run_kv_write(const Step& step, const Node& node) {
  const Tensor k = step.tensor(node.in[1]), v = step.tensor(node.in[2]);
  const Kv& kv = node.kv;
  const int32_t* slots = step.array(kv.group.kv_slot);
  for (uint32_t t = 0; t < step.counts.n_tokens; ++t) {
    if (slots[t] < 0) continue;  // discarded
    const auto slot = static_cast<uint64_t>(slots[t]);
    if (slot >= kv.slots()) {
      fail(BRIM_INVALID_ARGUMENT, "step block: kv_slot of row %u is %d; the state has %u blocks of %u tokens", t,
           slots[t], kv.n_blocks, kBlockTokens);
    }
    for (uint64_t head = 0; head < kv.heads; ++head) {
      write_values(kv.dtype, k.row(t * kv.heads + head), kv.k(slot, head), kv.k_width);
      write_values(kv.dtype, v.row(t * kv.heads + head), kv.v(slot, head), kv.v_width);
    }
  }
}

bool supports_attention(const Question& q) {
  const auto a = q.attr<brim_attention_attr>();
  const bool window = q.must(BRIM_ATTENTION_SLIDING_WINDOW);
  return q.rows(0, BRIM_DTYPE_F32, 3) && q.state(1) && !q.has(2) && q.makes(BRIM_DTYPE_F32, 3) &&
         step_rows(q.in(0).dim[0]) && same(q.in(0).dim[0], q.out().dim[0]) && same(q.in(0).dim[1], q.out().dim[1]) &&
         constant(q.in(0).dim[1]) && constant(q.in(0).dim[2]) && constant(q.out().dim[2]) &&
         q.in(0).dim[1].k == a.n_head && a.n_head_kv > 0 && a.n_head % a.n_head_kv == 0 &&
         (!window || (q.must(BRIM_ATTENTION_CAUSAL) && a.window > 0)) &&
         (!q.must(BRIM_ATTENTION_SOFTCAP) || a.softcap > 0);
}

void check_attention(const Node& node) {
  const uint32_t heads = node.attribute<brim_attention_attr>().n_head_kv;
  const uint32_t q_width = node.in[0].dim[2].k, out_width = node.out.dim[2].k;
  if (heads == node.kv.heads && q_width == node.kv.k_width && out_width == node.kv.v_width) return;
  fail(BRIM_INVALID_ARGUMENT,
       "ATTENTION: %u KV heads, queries %u and outputs %u wide do not fit a state of %u heads, K %u and V %u wide",
       heads, q_width, out_width, node.kv.heads, node.kv.k_width, node.kv.v_width);
}

// Sums of the values in F64, then one stored row as F32.
uint64_t workspace_of_attention(const Node& node, const brim_bucket&) {
  return node.kv.v_width * sizeof(double) + std::max(node.kv.k_width, node.kv.v_width) * sizeof(float);
}

// The tokens [first, end) that row t sees, and where they are stored.
struct Visible {
  uint64_t first, end;
  const int32_t* table;  // of the sequence; its first entry holds token `table_first`
  uint64_t table_first;
  uint32_t max_blocks;

  uint64_t slot(uint64_t token, const Kv& kv) const {
    const uint64_t entry = (token - table_first) / kBlockTokens;
    const int32_t block = token >= table_first && entry < max_blocks ? table[entry] : -1;
    if (block < 0 || static_cast<uint32_t>(block) >= kv.n_blocks) {
      fail(BRIM_INVALID_ARGUMENT, "step block: token %llu of a sequence has no block in its table",
           static_cast<unsigned long long>(token));
    }
    return static_cast<uint64_t>(block) * kBlockTokens + (token - table_first) % kBlockTokens;
  }
};

Visible visible_to(const Step& step, const Node& node, uint32_t t) {
  const brim_group_layout& group = node.kv.group;
  const int32_t s = step.array(step.layout.sequence)[t];
  if (s < 0 || static_cast<uint32_t>(s) >= step.counts.n_seqs) {
    fail(BRIM_INVALID_ARGUMENT, "step block: row %u belongs to sequence %d of %u", t, s, step.counts.n_seqs);
  }
  const int64_t length = step.array(group.kv_len)[s];
  int64_t first = 0, end = length;
  if ((node.must & BRIM_ATTENTION_CAUSAL) != 0) {
    end = length - (int64_t{step.array(step.layout.q_begin)[s + 1]} - t) + 1;
    if ((node.must & BRIM_ATTENTION_SLIDING_WINDOW) != 0) {
      first = std::max<int64_t>(0, end - node.attribute<brim_attention_attr>().window);
    }
  }
  const int32_t table_first = group.kv_first == 0 ? 0 : step.array(group.kv_first)[s];
  if (length < 0 || end < 0 || end > length || table_first < 0) {
    fail(BRIM_INVALID_ARGUMENT, "step block: row %u of sequence %d would see %lld of %lld tokens", t, s,
         static_cast<long long>(end), static_cast<long long>(length));
  }
  return {static_cast<uint64_t>(first), static_cast<uint64_t>(end),
          step.array(group.block_table) + static_cast<uint64_t>(s) * group.max_blocks,
          static_cast<uint64_t>(table_first), group.max_blocks};
}

// One pass over keys and values: where a score exceeds all before it, what was summed so far is scaled down (Milakov
// and Gimelshein 2018, arXiv:1805.02867), so that no scores have to be kept.
void run_attention(const Step& step, const Node& node) {
  const Tensor q = step.tensor(node.in[0]), out = step.tensor(node.out);
  const Kv& kv = node.kv;
  const auto a = node.attribute<brim_attention_attr>();
  const bool capped = (node.must & BRIM_ATTENTION_SOFTCAP) != 0;
  const DecodeFn decode = decoder(kv.dtype);
  auto* sums = reinterpret_cast<double*>(step.workspace);
  auto* row = reinterpret_cast<float*>(sums + kv.v_width);
  for (uint32_t t = 0; t < step.counts.n_tokens; ++t) {
    step.stop_if_cancelled();
    const Visible visible = visible_to(step, node, t);
    for (uint64_t head = 0; head < a.n_head; ++head) {
      const uint64_t kv_head = head / (a.n_head / a.n_head_kv);
      const float* query = q.row(t * uint64_t{a.n_head} + head);
      float* to = out.row(t * uint64_t{a.n_head} + head);
      double most = -INFINITY, total = 0;
      std::fill_n(sums, kv.v_width, 0.0);
      for (uint64_t token = visible.first; token < visible.end; ++token) {
        const uint64_t slot = visible.slot(token, kv);
        decode(kv.k(slot, kv_head), row, kv.k_width);
        double score = 0;
        for (uint32_t i = 0; i < kv.k_width; ++i) score += double{query[i]} * row[i];
        score *= a.scale;
        if (capped) score = a.softcap * std::tanh(score / a.softcap);
        if (score > most) {
          const double down = std::exp(most - score);
          total *= down;
          for (uint32_t i = 0; i < kv.v_width; ++i) sums[i] *= down;
          most = score;
        }
        const double weight = std::exp(score - most);
        total += weight;
        decode(kv.v(slot, kv_head), row, kv.v_width);
        for (uint32_t i = 0; i < kv.v_width; ++i) sums[i] += weight * row[i];
      }
      const bool sees_nothing = visible.first == visible.end;
      for (uint32_t i = 0; i < kv.v_width; ++i) to[i] = sees_nothing ? 0 : static_cast<float>(sums[i] / total);
    }
  }
}

}  // namespace

const Op kKvWrite = {BRIM_OP_KV_WRITE, 0, supports_kv_write, run_kv_write, nullptr, check_kv_write};
const Op kAttention = {
    BRIM_OP_ATTENTION,      BRIM_ATTENTION_CAUSAL | BRIM_ATTENTION_SLIDING_WINDOW | BRIM_ATTENTION_SOFTCAP,
    supports_attention,     run_attention,
    workspace_of_attention, check_attention};

}  // namespace plain
