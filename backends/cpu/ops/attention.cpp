#include "ops/attention.hpp"

#include <algorithm>

#include "ops/attention_codes.hpp"
#include "ops/math.hpp"

namespace brim_cpu {
namespace {

constexpr float kNone = -std::numeric_limits<float>::infinity();
constexpr int64_t kChunk = kChunkTokens, kBlock = kBlockTokens;

const int32_t* ints(const Frame& frame, uint64_t offset) {
  return reinterpret_cast<const int32_t*>(frame.step + offset);
}

// A softmax in progress: weighted V rows [v_pitch], the sum of their weights, and the maximum that weights refer to.
struct Running {
  float most, total;
  float* values;
};

void clear(Running& to, int64_t pitch) {
  to.most = kNone;
  to.total = 0;
  for (int64_t i = 0; i < pitch; i += kWidth) store(to.values + i, Vec{});
}

// Lets `to` refer to a maximum that is at least `most`.
void raise(Running& to, float most, int64_t pitch) {
  if (most <= to.most) return;  // a NaN goes on and spoils the row, as it should
  if (to.most == kNone) {       // all is zero
    to.most = most;
    return;
  }
  const float factor = exponential(to.most - most);
  to.most = most;
  to.total *= factor;
  for (int64_t i = 0; i < pitch; i += kWidth) store(to.values + i, load(to.values + i) * factor);
}

void join(Running& to, const Running& from, int64_t pitch) {
  raise(to, from.most, pitch);
  const float factor = exponential(from.most - to.most);
  to.total += from.total * factor;
  for (int64_t i = 0; i < pitch; i += kWidth) {
    store(to.values + i, fma(load(from.values + i), splat(factor), load(to.values + i)));
  }
}

// The sink takes a share of the softmax and adds no value.
void finish(Running& from, const float* sink, int64_t pitch, int64_t width, float* out) {
  if (sink != nullptr) {
    raise(from, *sink, pitch);
    from.total += exponential(*sink - from.most);
  }
  each_vector(width, [&](int64_t i, int64_t m) { store_up_to(out + i, load(from.values + i) / from.total, m); });
}

// The chunks that a row sees and how many of them make a run.
struct Runs {
  int64_t first_chunk, last_chunk, width;
  int64_t run_of(int64_t chunk) const { return chunk / width - first_chunk / width; }
  int64_t count() const { return run_of(last_chunk) + 1; }
};

Runs runs_of(const Visible& visible) {
  Runs runs{visible.first / kChunk, (visible.end - 1) / kChunk, 1};
  while (runs.last_chunk - runs.first_chunk + 1 > runs.width * (kMostRuns - 1)) runs.width *= 2;
  return runs;
}

// One row and head of a task.
struct Query {
  uint64_t row, head;
  const float* elements;
  float unit;  // of its scores: 1, or the scale of elements that became integers
  Visible visible;
  Runs runs;
  float* scores;  // [kChunkTokens]
  Running run, whole;
  int64_t begin, end;  // what it sees of the current chunk, tokens from the chunk's start
};

template <class Source>
Source source(const std::byte* codes, const std::byte* scales, uint32_t runs, int64_t ahead) {
  if constexpr (kScaled<Source>) {
    for (uint32_t run = 0; run < runs; ++run) __builtin_prefetch(scales + ahead + run * kBlockTokens * 2);
    return Source{SourceQ8{{reinterpret_cast<const int8_t*>(codes), ahead}, reinterpret_cast<const uint16_t*>(scales)}};
  } else if constexpr (std::is_same_v<Source, SourceF16>) {
    return {{reinterpret_cast<const uint16_t*>(codes), ahead}};
  } else {
    return {{reinterpret_cast<const float*>(codes), ahead}};
  }
}

// Scores of the current chunk become weights: exp(score - maximum), 0 where the query sees nothing.
void weigh(const AttentionArgs& args, Query& query, int64_t pitch) {
  const int64_t from = query.begin / kBlock * kBlock, to = (query.end + kBlock - 1) / kBlock * kBlock;
  const float scale = args.scale * query.unit;
  IntVec lanes;
  for (int i = 0; i < kWidth; ++i) lanes[i] = i;
  Vec most = splat(kNone);
  for (int64_t t = from; t < to; t += kWidth) {
    Vec s = load(query.scores + t) * scale;
    if (args.softcap != 0) s = soft_cap(s, args.softcap);
    if (t < query.begin || t + kWidth > query.end) {
      const IntVec seen =
          (lanes >= static_cast<int32_t>(query.begin - t)) & (lanes < static_cast<int32_t>(query.end - t));
      s = seen ? s : splat(kNone);
    }
    store(query.scores + t, s);
    most = larger(most, s);
  }
  raise(query.run, maximum(most), pitch);
  Vec total = {};
  for (int64_t t = from; t < to; t += kWidth) {
    const Vec weight = exponential(load(query.scores + t) - query.run.most);
    total = total + weight;
    store(query.scores + t, weight);
  }
  query.run.total += sum(total);
}

// Element i of query n to q[i * kMostQueries + n], four queries at a time while they last.
template <class Source>
void interleave(Query* queries, int n, int64_t d, float* q) {
  typedef float Four __attribute__((vector_size(16)));
  for (int j = 0; j < n; ++j) {  // all lines at once: in turns they come one by one
    for (int64_t i = 0; i < d; i += 16) __builtin_prefetch(queries[j].elements + i);
    queries[j].unit = 1;
  }
  int at = 0;
  for (; at + 4 <= n; at += 4) {
    const float *a = queries[at].elements, *b = queries[at + 1].elements, *c = queries[at + 2].elements,
                *e = queries[at + 3].elements;
    for (int64_t i = 0; i < d; ++i) {
      const Four side = {a[i], b[i], c[i], e[i]};
      std::memcpy(q + i * kMostQueries + at, &side, sizeof side);
    }
  }
  for (; at < n; ++at) {
    for (int64_t i = 0; i < d; ++i) q[i * kMostQueries + at] = queries[at].elements[i];
  }
}
#if defined(__AVX512VNNI__)
template <>
void interleave<SourceCodes>(Query* queries, int n, int64_t d, float* q) {
  for (int j = 0; j < n; ++j) queries[j].unit = interleave_codes(queries[j].elements, d, q + j);
}
#endif

struct Scratch {
  float *q, *scores, *run, *whole, *k, *v;
};

Scratch scratch_in(std::byte* at, const KvLayout& layout, uint32_t v_pitch) {
  Scratch s;
  s.q = reinterpret_cast<float*>(at);
  s.scores = s.q + layout.k_width * kMostQueries;
  s.run = s.scores + kMostQueries * kChunkTokens;
  s.whole = s.run + kMostQueries * v_pitch;
  s.k = s.whole + kMostQueries * v_pitch;
  s.v = s.k + layout.k_width * kBlockTokens;
  return s;
}

// Takes queries of one sequence and one KV head through chunks [first, last].
template <class Source>
void attend(const AttentionArgs& args, const Frame& frame, uint64_t sequence, uint64_t kv_head, const Scratch& scratch,
            Query* queries, int n_queries, int64_t first, int64_t last) {
  const KvLayout& layout = args.store.layout;
  const brim_group_layout& group = args.store.group;
  const int64_t pitch = args.v_pitch, d = layout.k_width;
  const bool latent = layout.v_width == 0;
  const int32_t* table = ints(frame, group.block_table) + sequence * group.max_blocks;
  const int64_t table_first = group.kv_first == 0 ? 0 : ints(frame, group.kv_first)[sequence];
  interleave<Source>(queries, n_queries, d, scratch.q);
  const auto region = [&](int64_t token) {
    const auto block = static_cast<uint64_t>(table[(token - table_first) / kBlock]);
    return args.store.blocks + block * layout.block_bytes + kv_head * layout.head_bytes;
  };

  for (int64_t chunk = first; chunk <= last; ++chunk) {
    const int64_t start = chunk * kChunk;
    int64_t begin = kChunk, end = 0;
    for (int i = 0; i < n_queries; ++i) {
      Query& query = queries[i];
      query.begin = std::clamp<int64_t>(query.visible.first - start, 0, kChunk);
      query.end = std::clamp<int64_t>(query.visible.end - start, 0, kChunk);
      if (query.begin >= query.end) continue;
      begin = std::min(begin, query.begin);
      end = std::max(end, query.end);
    }
    begin = begin / kBlock * kBlock;
    const auto seen_of = [&](int i, int64_t block) {
      return Visible{std::max<int64_t>(queries[i].begin - block, 0), std::min(queries[i].end - block, kBlock)};
    };

    // The queries from the first to the last that see some of the block.
    struct Range {
      int from, to;
    };
    const auto seeing = [&](int64_t block) {
      Range range{0, n_queries};
      const auto blind = [&](int i) { return seen_of(i, block).first >= seen_of(i, block).end; };
      while (range.from < range.to && blind(range.from)) ++range.from;
      while (range.from < range.to && blind(range.to - 1)) --range.to;
      return range;
    };
    const auto ahead_of = [&](int64_t block) -> int64_t {
      return block + kBlock < end ? region(start + block + kBlock) - region(start + block) : 0;
    };

    for (int64_t block = begin; block < end; block += kBlock) {
      const Range range = seeing(block);  // those between that see nothing are scored too, and their scores left alone
      if (range.from == range.to) continue;
      const std::byte* at = region(start + block);
      const Source k = source<Source>(at, at + layout.k_scales, layout.k_runs, ahead_of(block));
      const auto score = [&](const auto& keys) {
        each_shared(range.to - range.from, [&]<int N>(int i) {
          const int first_query = range.from + i;
          score_block<N>(keys, scratch.q + first_query, d, scratch.scores + first_query * kChunk + block);
        });
      };
      if (expands<Source>(range.to - range.from)) {
        score(expand_k(k, d, scratch.k));
      } else {
        score(keys_of(k));
      }
    }

    for (int i = 0; i < n_queries; ++i) {
      if (queries[i].begin < queries[i].end) weigh(args, queries[i], pitch);
    }

    for (int64_t block = begin; block < end; block += kBlock) {
      const Range range = seeing(block);
      if (range.from == range.to) continue;
      const std::byte* at = region(start + block);
      const Source v = source<Source>(at + layout.v, at + layout.v_scales, layout.v_runs, ahead_of(block));
      const auto add = [&](auto values) {
        // Queries that see the same tokens of the block go together.
        for (int i = range.from, same = 0; i < range.to; i = same) {
          const Visible seen = seen_of(i, block);
          for (same = i + 1; same < range.to; ++same) {
            const Visible other = seen_of(same, block);
            if (other.first != seen.first || other.end != seen.end) break;
          }
          if (seen.first >= seen.end) continue;
          if constexpr (requires { values.sees(seen.first, seen.end, pitch); }) {
            values.sees(seen.first, seen.end, pitch);
          }
          each_shared(same - i, [&]<int N>(int j) {
            add_values<N>(values, scratch.scores + (i + j) * kChunk + block, seen.first, seen.end, pitch,
                          scratch.run + (i + j) * pitch);
          });
        }
      };
      if (latent) {
        values_of_k(source<Source>(at, at + layout.k_scales, layout.k_runs, 0), args.v_width, pitch, scratch.v);
        add(Expanded{scratch.v});
      } else if (expands<Source>(range.to - range.from)) {
        add(expand_v(v, pitch, scratch.v));
      } else {
        add(values_of(v, pitch, scratch.v));
      }
    }

    for (int i = 0; i < n_queries; ++i) {
      Query& query = queries[i];
      if (query.begin >= query.end) continue;
      const bool run_ends = chunk == query.runs.last_chunk || query.runs.run_of(chunk) != query.runs.run_of(chunk + 1);
      if (!run_ends) continue;
      join(query.whole, query.run, pitch);
      if (chunk != query.runs.last_chunk) clear(query.run, pitch);
    }
  }
}

template <class... Arguments>
void attend_as_stored(const AttentionArgs& args, Arguments&&... arguments) {
  const uint32_t dtype = args.store.layout.dtype;
  if (dtype == BRIM_DTYPE_F32) return attend<SourceF32>(args, std::forward<Arguments>(arguments)...);
  if (dtype == BRIM_DTYPE_F16) return attend<SourceF16>(args, std::forward<Arguments>(arguments)...);
#if defined(__AVX512VNNI__)
  if (args.fast) return attend<SourceCodes>(args, std::forward<Arguments>(arguments)...);
#endif
  attend<SourceQ8>(args, std::forward<Arguments>(arguments)...);
}

// How one step cuts its attention into tasks: KV head, group of query heads, rows or (row, run).
struct Tasks {
  uint64_t heads;   // query heads of one KV head that a task takes
  uint64_t groups;  // tasks per KV head
  uint64_t rows;    // rows of a task
  uint64_t tiles;   // row tiles
  uint64_t runs;    // tasks per row and group; 0: rows are not split
};

Tasks tasks_in(const AttentionArgs& args, const Frame& frame) {
  const uint64_t tokens = frame.count[BRIM_SYM_N_TOKENS], per_kv = args.n_head / args.store.layout.n_head;
  Tasks tasks{};
  tasks.heads = std::min<uint64_t>(per_kv, kMostQueries);
  tasks.groups = (per_kv + tasks.heads - 1) / tasks.heads;
  const uint64_t per_tile = args.store.layout.n_head * tasks.groups, wanted = frame.team * 4ull;
  uint64_t seen = frame.count[BRIM_SYM_N_KV];
  if (args.window != 0) seen = std::min<uint64_t>(seen, args.window + kChunkTokens - 1ull);
  if (args.partial != nullptr && frame.team > 1 && seen > kChunkTokens && tokens * per_tile < wanted) {
    tasks.rows = 1;
    tasks.tiles = tokens;
    tasks.runs = std::min<uint64_t>(kMostRuns, (seen + kChunkTokens - 1) / kChunkTokens + (args.window != 0 ? 1 : 0));
    return tasks;
  }
  tasks.rows = kMostQueries / tasks.heads;
  while (tasks.rows > 1 && (tokens + tasks.rows - 1) / tasks.rows * per_tile < wanted) tasks.rows /= 2;
  tasks.tiles = (tokens + tasks.rows - 1) / tasks.rows;
  return tasks;
}

float* partial_of(const AttentionArgs& args, uint64_t row, uint64_t head, uint64_t run) {
  return args.partial + ((row * args.n_head + head) * kMostRuns + run) * (2ull + args.v_pitch);
}

}  // namespace

uint64_t attention_scratch(const KvLayout& layout, uint32_t v_pitch) {
  const uint64_t k_width = layout.k_width;
  return sizeof(float) *
         (kMostQueries * (k_width + kChunkTokens + 2ull * v_pitch) + kBlockTokens * (k_width + v_pitch) +
          (kBlockTokens + 1ull) * layout.v_runs);  // v_runs: of attention_codes.hpp
}

Work KvWriteArgs::plan(const Frame& frame) const {
  const uint64_t rows = frame.count[BRIM_SYM_N_TOKENS] * store.layout.n_head;
  return share(rows, static_cast<float>(rows * (store.layout.k_width + store.layout.v_width)), frame);
}

void KvWriteArgs::work(const Frame& frame, const Member&, uint32_t chunk, uint32_t chunks) const {
  const uint64_t tokens = frame.count[BRIM_SYM_N_TOKENS];
  const int32_t* slots = ints(frame, store.group.kv_slot);
  const Span span = cut(tokens * store.layout.n_head, chunks, chunk);
  for (uint64_t u = span.begin; u < span.end;
       ++u) {  // tokens of one head follow each other: they share cache lines of K
    const auto head = static_cast<int64_t>(u / tokens), row = static_cast<int64_t>(u % tokens);
    if (slots[row] < 0) continue;
    const auto slot = static_cast<uint64_t>(slots[row]);
    std::byte* region = store.blocks + slot / kBlockTokens * store.layout.block_bytes +
                        static_cast<uint64_t>(head) * store.layout.head_bytes;
    const auto t = static_cast<uint32_t>(slot % kBlockTokens);
    write_k(store.layout, region, t, k.at<const float>(frame) + row * k.stride[0] + head * k.stride[1]);
    if (store.layout.v_width != 0) {
      write_v(store.layout, region, t, v.at<const float>(frame) + row * v.stride[0] + head * v.stride[1]);
    }
  }
}

Visible AttentionArgs::visible(const Frame& frame, uint64_t row) const {
  const int32_t s = ints(frame, sequence)[row];
  const int64_t length = ints(frame, store.group.kv_len)[s];
  if (!causal) return {0, length};
  const int64_t at = length - (ints(frame, q_begin)[s + 1] - static_cast<int64_t>(row));
  return {window == 0 ? 0 : std::max<int64_t>(0, at - window + 1), at + 1};
}

Work AttentionArgs::plan(const Frame& frame) const {
  const uint64_t tokens = frame.count[BRIM_SYM_N_TOKENS];
  const Tasks tasks = tasks_in(*this, frame);
  const uint64_t widths = store.layout.k_width + v_width;
  const float cost =
      static_cast<float>(tokens * n_head * widths) * static_cast<float>(frame.count[BRIM_SYM_N_KV]) / 10.0f;
  return {static_cast<uint32_t>(tasks.tiles * store.layout.n_head * tasks.groups * std::max<uint64_t>(1, tasks.runs)),
          cost};
}

void AttentionArgs::work(const Frame& frame, const Member& member, uint32_t chunk, uint32_t) const {
  const Tasks tasks = tasks_in(*this, frame);
  const uint64_t tokens = frame.count[BRIM_SYM_N_TOKENS], per_kv = n_head / store.layout.n_head;
  const uint64_t splits = std::max<uint64_t>(1, tasks.runs);
  uint64_t left = chunk;
  const auto split = static_cast<int64_t>(left % splits);
  left /= splits;
  const uint64_t per_tile = store.layout.n_head * tasks.groups;
  const uint64_t tile = left / per_tile;  // neighbours take the same rows, as in the steps before and after
  left %= per_tile;
  const uint64_t kv_head = left / tasks.groups;
  const uint64_t head_begin = kv_head * per_kv + left % tasks.groups * tasks.heads;
  const uint64_t head_end = std::min(head_begin + tasks.heads, (kv_head + 1) * per_kv);
  const Scratch scratch = scratch_in(member.scratch, store.layout, v_pitch);
  const int64_t pitch = v_pitch, width = v_width;

  const uint64_t row_end = std::min(tokens, (tile + 1) * tasks.rows);
  for (uint64_t row = tile * tasks.rows; row < row_end;) {
    // Rows of one sequence lie together; a tile may hold the end of one and the beginning of the next.
    const int32_t s = ints(frame, sequence)[row];
    Query queries[kMostQueries];
    int n = 0;
    int64_t first = std::numeric_limits<int64_t>::max(), last = -1;
    for (; row < row_end && ints(frame, sequence)[row] == s; ++row) {
      const Visible seen = visible(frame, row);
      for (uint64_t head = head_begin; head < head_end; ++head) {
        float* to = out + (row * n_head + head) * width;
        if (seen.first >= seen.end) {
          if (split == 0) std::fill_n(to, width, 0.0f);
          continue;
        }
        Query& query = queries[n];
        query.row = row;
        query.head = head;
        query.visible = seen;
        query.runs = runs_of(seen);
        query.elements = q.at<const float>(frame) + static_cast<int64_t>(row) * q.stride[0] +
                         static_cast<int64_t>(head) * q.stride[1];
        query.scores = scratch.scores + n * kChunk;
        query.run.values = scratch.run + n * pitch;
        query.whole.values = scratch.whole + n * pitch;
        clear(query.run, pitch);
        clear(query.whole, pitch);
        first = std::min(first, query.runs.first_chunk);
        last = std::max(last, query.runs.last_chunk);
        ++n;
      }
    }
    if (n == 0) continue;
    if (tasks.runs != 0) {  // one row: all queries have the same runs
      const Runs& runs = queries[0].runs;
      if (split >= runs.count()) continue;
      const int64_t run = first / runs.width + split;
      first = std::max(first, run * runs.width);
      last = std::min(last, (run + 1) * runs.width - 1);
    }
    attend_as_stored(*this, frame, static_cast<uint64_t>(s), kv_head, scratch, queries, n, first, last);
    for (int i = 0; i < n; ++i) {
      Query& query = queries[i];
      if (tasks.runs == 0) {
        finish(query.whole, sinks == nullptr ? nullptr : sinks + query.head, pitch, width,
               out + (query.row * n_head + query.head) * width);
        continue;
      }
      float* to = partial_of(*this, query.row, query.head, static_cast<uint64_t>(split));
      to[0] = query.whole.most;
      to[1] = query.whole.total;
      std::copy_n(query.whole.values, pitch, to + 2);
    }
  }
}

Work AttentionJoinArgs::plan(const Frame& frame) const {
  const Tasks tasks = tasks_in(*of, frame);
  if (tasks.runs == 0) return {0, 0};
  const uint64_t rows = frame.count[BRIM_SYM_N_TOKENS] * of->n_head;
  return share(rows, static_cast<float>(rows * tasks.runs * of->v_pitch) * 0.3f, frame);
}

void AttentionJoinArgs::work(const Frame& frame, const Member& member, uint32_t chunk, uint32_t chunks) const {
  const int64_t pitch = of->v_pitch, width = of->v_width;
  const Span span = cut(frame.count[BRIM_SYM_N_TOKENS] * of->n_head, chunks, chunk);
  Running whole{};
  whole.values = scratch_in(member.scratch, of->store.layout, of->v_pitch).whole;
  for (uint64_t u = span.begin; u < span.end; ++u) {
    const uint64_t row = u / of->n_head, head = u % of->n_head;
    const Visible seen = of->visible(frame, row);
    if (seen.first >= seen.end) continue;  // its zeros are written
    clear(whole, pitch);
    const int64_t runs = runs_of(seen).count();
    for (int64_t run = 0; run < runs; ++run) {
      float* from = partial_of(*of, row, head, static_cast<uint64_t>(run));
      join(whole, Running{from[0], from[1], from + 2}, pitch);
    }
    finish(whole, of->sinks == nullptr ? nullptr : of->sinks + head, pitch, width,
           of->out + u * static_cast<uint64_t>(width));
  }
}

}  // namespace brim_cpu
