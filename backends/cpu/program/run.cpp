// One run of a program: verify the step block, cost every step for its real counts, then let a team work through the
// phases.
//
// Chunks are claimed one by one, so a member whose core is shared with another process takes fewer (claims.hpp). A
// phase that is too small to be worth sharing is done at once by whoever finishes the shared phase before it: the norm,
// rope and quantisation between the large products of a decode step cost no meeting of the team that way.
#include <algorithm>
#include <atomic>

#include "device/timeline.hpp"
#include "program/claims.hpp"
#include "program/program.hpp"

namespace brim_cpu {
namespace {

constexpr float kSerialCost = 4000;  // ns: below, sharing the phase costs more than it saves
constexpr float kTeamCost = 20000;   // ns: below, waking the team costs more than it saves

const int32_t* ints(const std::byte* step, uint64_t offset) { return reinterpret_cast<const int32_t*>(step + offset); }

void check_count(const char* name, uint32_t count, uint32_t most) {
  if (count > most) {
    fail(BRIM_INVALID_ARGUMENT, "the step block has %u %s; the program was made for a bucket of %u", count, name, most);
  }
}

// Follows every number that a kernel will follow; returns the longest context.
uint32_t check_kv(const KvUse& use, const brim_program& program, const std::byte* step,
                  const brim_step_header& header) {
  uint32_t longest = 0;
  if (use.writes) {
    const int32_t* slots = ints(step, use.group.kv_slot);
    for (uint32_t t = 0; t < header.n_tokens; ++t) {
      if (slots[t] >= 0 && static_cast<uint32_t>(slots[t]) / kBlockTokens >= use.n_blocks) {
        fail(BRIM_INVALID_ARGUMENT, "step block: kv_slot %d of row %u lies outside the state's %u blocks", slots[t], t,
             use.n_blocks);
      }
    }
  }
  if (!use.reads) return 0;
  const int32_t* sequence = ints(step, program.step.sequence);
  const int32_t* q_begin = ints(step, program.step.q_begin);
  const int32_t* kv_len = ints(step, use.group.kv_len);
  for (uint32_t s = 0; s < header.n_seqs; ++s) {
    const int64_t begin = q_begin[s], end = q_begin[s + 1], length = kv_len[s];
    if (begin < 0 || end < begin || end > header.n_tokens || length < (use.causal ? end - begin : 0)) {
      fail(BRIM_INVALID_ARGUMENT, "step block: sequence %u has rows %d to %d of %u and %d visible tokens", s,
           q_begin[s], q_begin[s + 1], header.n_tokens, kv_len[s]);
    }
    for (int64_t t = begin; t < end; ++t) {
      if (sequence[t] != static_cast<int32_t>(s)) {
        fail(BRIM_INVALID_ARGUMENT, "step block: row %d belongs to sequence %d, but q_begin gives it to %u",
             static_cast<int32_t>(t), sequence[t], s);
      }
    }
    if (begin == end || length == 0) continue;
    const int64_t oldest = use.window == 0 ? 0 : std::max<int64_t>(0, length - (end - begin) - use.window + 1);
    const int64_t first = use.group.kv_first == 0 ? 0 : ints(step, use.group.kv_first)[s];
    const int32_t* table = ints(step, use.group.block_table) + static_cast<uint64_t>(s) * use.group.max_blocks;
    if (first < 0 || first % kBlockTokens != 0 || first > oldest ||
        (length - 1 - first) / kBlockTokens >= use.group.max_blocks) {
      fail(BRIM_INVALID_ARGUMENT,
           "step block: the table of sequence %u begins at token %d and cannot hold tokens %d to %d", s,
           static_cast<int32_t>(first), static_cast<int32_t>(oldest), static_cast<int32_t>(length - 1));
    }
    for (int64_t i = (oldest - first) / kBlockTokens; i <= (length - 1 - first) / kBlockTokens; ++i) {
      if (table[i] < 0 || static_cast<uint32_t>(table[i]) >= use.n_blocks) {
        fail(BRIM_INVALID_ARGUMENT, "step block: entry %d of the table of sequence %u is %d; the state has %u blocks",
             static_cast<int32_t>(i), s, table[i], use.n_blocks);
      }
    }
    longest = std::max(longest, static_cast<uint32_t>(length));
  }
  const int32_t rows = header.n_seqs == 0 ? 0 : q_begin[header.n_seqs];
  if (rows != static_cast<int32_t>(header.n_tokens) || (header.n_seqs > 0 && q_begin[0] != 0)) {
    fail(BRIM_INVALID_ARGUMENT, "step block: the sequences hold %d rows, the header says %u", rows, header.n_tokens);
  }
  return longest;
}

void check_slots(const brim_program& program, const std::byte* step, const brim_step_header& header) {
  const int32_t* q_begin = ints(step, program.step.q_begin);
  const int32_t* read = ints(step, program.step.state_read);
  const int32_t* write = ints(step, program.step.state_write);
  const auto n = static_cast<int64_t>(program.n_slots);
  for (uint32_t s = 0; s < header.n_seqs; ++s) {
    if (q_begin[s] < 0 || q_begin[s + 1] < q_begin[s] || static_cast<uint32_t>(q_begin[s + 1]) > header.n_tokens) {
      fail(BRIM_INVALID_ARGUMENT, "step block: sequence %u has rows %d to %d of %u", s, q_begin[s], q_begin[s + 1],
           header.n_tokens);
    }
    if (read[s] >= n || write[s] >= n || (write[s] >= 0 && read[s] == write[s])) {
      fail(BRIM_INVALID_ARGUMENT,
           "step block: sequence %u reads slot %d and writes slot %d; there are %u, and the two "
           "must differ",
           s, read[s], write[s], program.n_slots);
    }
  }
}

Frame frame_of(const brim_program& program, const brim_run& run) {
  const std::byte* step = range_of(run.step_block, run.step_offset, program.step.bytes, "step block");
  brim_step_header header;
  std::memcpy(&header, step, sizeof header);
  check_count("tokens", header.n_tokens, program.bucket.n_tokens);
  check_count("sequences", header.n_seqs, program.bucket.n_seqs);
  check_count("outputs", header.n_outputs, program.bucket.n_outputs);
  Frame frame{};
  frame.step = step;
  frame.count[BRIM_SYM_NONE] = 1;
  frame.count[BRIM_SYM_N_TOKENS] = header.n_tokens;
  frame.count[BRIM_SYM_N_SEQS] = header.n_seqs;
  frame.count[BRIM_SYM_N_OUTPUTS] = header.n_outputs;
  for (const KvUse& use : program.kv_uses) {
    const uint64_t longest = check_kv(use, program, step, header);
    frame.count[BRIM_SYM_N_KV] = std::max(frame.count[BRIM_SYM_N_KV], longest);
  }
  if (program.n_slots != 0) check_slots(program, step, header);
  return frame;
}

struct Run {
  brim_program& program;
  Frame frame;
  const volatile uint32_t* cancel;
  bool cancelled = false;  // written between phases only
  std::atomic<bool> stop{false};
  Claims claims;

  Run(brim_program& of, const Frame& in, const volatile uint32_t* word)
      : program(of), frame(in), cancel(word), claims(in.team) {}

  // Before each chunk; once true, what is left of the phase is not done and the run is cancelled.
  bool stop_if_asked() {
    if (cancel == nullptr || __atomic_load_n(cancel, __ATOMIC_RELAXED) == 0) return false;
    stop.store(true, std::memory_order_relaxed);
    return true;
  }

  // The steps of a chain are shared by rows.
  Work plan(const PhaseStep& step) const {
    if (step.chained == 0) return {0, 0};
    Work work = step.step.plan(step.step.args, frame);
    for (uint32_t i = 1; i < step.chained; ++i) work.cost += (&step)[i].step.plan((&step)[i].step.args, frame).cost;
    return step.chained == 1 ? work : share(RowMap(*step.rows, frame).rows(), work.cost, frame);
  }

  // Costs every step; returns the cost of what a team would share.
  float plan() {
    float shared = 0;
    for (Phase& phase_now : program.phases) {
      float cost = 0;
      phase_now.chunks = 0;
      for (uint32_t i = 0; i < phase_now.n_steps; ++i) {
        PhaseStep& step = program.steps[phase_now.first_step + i];
        const Work work = plan(step);
        step.chunks = work.chunks;
        phase_now.chunks += work.chunks;
        if (work.chunks != 0) cost += work.cost;
      }
      phase_now.serial = phase_now.chunks <= 1 || cost < kSerialCost || frame.team == 1;
      if (!phase_now.serial) shared += cost;
    }
    return shared;
  }

  // Chunk `chunk` of a lane: the lane's share of the first step, then of the next.
  void work(const Phase& at, uint32_t lane, uint32_t chunk, const Member& member) {
    for (uint32_t i = at.first_step;; ++i) {
      const PhaseStep& step = program.steps[i];
      const Span share = cut(step.chunks, claims.lanes(), lane);
      const auto n = static_cast<uint32_t>(share.end - share.begin);
      if (chunk < n) return work(step, static_cast<uint32_t>(share.begin) + chunk, member);
      chunk -= n;
    }
  }
  uint32_t count(uint32_t phase, uint32_t lane) const {
    if (phase >= program.phases.size()) return 0;
    const Phase& at = program.phases[phase];
    uint64_t n = 0;
    for (uint32_t i = 0; i < at.n_steps; ++i) {
      const Span share = cut(program.steps[at.first_step + i].chunks, claims.lanes(), lane);
      n += share.end - share.begin;
    }
    return static_cast<uint32_t>(n);
  }

  void work(const PhaseStep& first, uint32_t chunk, const Member& member) {
    if (first.chained == 1) return first.step.work(first.step.args, frame, member, chunk, first.chunks);
    const auto rows = static_cast<uint32_t>(RowMap(*first.rows, frame).rows());
    const Span span = cut(rows, first.chunks, chunk);
    for (auto row = static_cast<uint32_t>(span.begin); row < span.end; ++row) {
      for (uint32_t i = 0; i < first.chained; ++i) {
        const Step& step = (&first)[i].step;
        step.work(step.args, frame, member, row, rows);
      }
    }
  }

  Member member(uint32_t index) const { return {index, program.scratch + index * program.scratch_bytes}; }

  // Does the serial phases from `phase` on; returns the next phase to share, or the number of phases when all is done.
  // Runs on one member at a time.
  uint32_t advance(uint32_t phase, const Member& me) {
    const auto n = static_cast<uint32_t>(program.phases.size());
    for (; phase < n && !stop.load(std::memory_order_relaxed); ++phase) {
      const Phase& at = program.phases[phase];
      if (!at.serial) break;
      for (uint32_t i = at.first_step; i < at.first_step + at.n_steps; ++i) {
        const PhaseStep& step = program.steps[i];
        for (uint32_t chunk = 0; chunk < step.chunks && !stop_if_asked(); ++chunk) work(step, chunk, me);
      }
    }
    cancelled = stop.load(std::memory_order_relaxed);
    return cancelled ? n : phase;
  }

  void take_part(uint32_t index) {
    const Member me = member(index);
    const auto n = static_cast<uint32_t>(program.phases.size());
    Turn turn;
    for (;;) {
      turn.between_chunks();
      const Claims::Claim claim = claims.take(index, [&](uint32_t phase, uint32_t lane) { return count(phase, lane); });
      if (claim.phase >= n) return;
      if (claim.none) {
        claims.await_next(claim.phase);
        continue;
      }
      const Phase& at = program.phases[claim.phase];
      if (!stop_if_asked()) work(at, claim.lane, claim.chunk, me);
      if (claims.finish_one(at.chunks)) claims.open(advance(claim.phase + 1, me));
    }
  }
};

}  // namespace

brim_status run_program(brim_program* program, brim_queue* queue, const brim_run& run) {
  if (queue->device->plugin != program->device->plugin) {
    fail(BRIM_INVALID_ARGUMENT, "the queue belongs to another instance of the CPU backend than the program");
  }
  drain(queue);
  Frame frame = frame_of(*program, run);
  frame.team = program->device->threads;
  Run state(*program, frame, BRIM_HAS(&run, brim_run, cancel) ? run.cancel : nullptr);
  if (state.plan() < kTeamCost) {
    for (Phase& phase : program->phases) phase.serial = true;
  }
  const uint32_t first = state.advance(0, state.member(0));
  if (first < program->phases.size()) {
    state.claims.open(first);
    const brim_plugin& plugin = *program->device->plugin;
    plugin.api->team_run(
        plugin.host, state.frame.team,
        [](void* arg, uint32_t index, uint32_t) { static_cast<Run*>(arg)->take_part(index); }, &state);
  }
  return state.cancelled ? BRIM_CANCELLED : BRIM_OK;
}

}  // namespace brim_cpu
