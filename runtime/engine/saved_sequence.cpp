// A sequence as bytes: tokens and states in the backends' canonical form, so that it can be restored on another
// backend, in another process, by a later version.
//
//   "BRIMSEQ" 0 | u32 version 1 | u32 canonical dtype | u64 model identity [2] | u64 n_tokens | u64 n_states
//   i32 tokens [n_tokens]
//   per state: u64 bytes, then the bytes: K [n, heads, k_width], V [n, heads, v_width] of n = n_tokens, of states with
//   a window the last min(n_tokens, window - 1) that the next row sees; of conv and recurrent states their F32 values
//   u64 checksum [2] of everything before
//
// All numbers little-endian.
#include <algorithm>
#include <bit>
#include <engine/session.hpp>

namespace brim::engine {
namespace {

static_assert(std::endian::native == std::endian::little, "saved sequences are little-endian");

constexpr std::array<char, 8> kMagic = {'B', 'R', 'I', 'M', 'S', 'E', 'Q', 0};

struct Head {
  std::array<char, 8> magic;
  uint32_t version;
  uint32_t canonical;
  uint64_t model[2];
  uint64_t n_tokens;
  uint64_t n_states;
};
static_assert(sizeof(Head) == 48);

// Full precision of what is stored: F16 states as F16, others as F32.
uint32_t canonical_of(const negotiator::Plan& plan) {
  return plan.request.kv_dtype == BRIM_DTYPE_F16 ? BRIM_DTYPE_F16 : BRIM_DTYPE_F32;
}

// The first of n_tokens that is kept of a state.
uint64_t first_kept(const negotiator::Plan& plan, uint32_t state, uint64_t n_tokens) {
  const uint32_t group = plan.states[state].group;
  return group == negotiator::kNoGroup ? 0 : plan.groups[group].first_seen(static_cast<uint32_t>(n_tokens));
}

uint64_t state_bytes(const negotiator::Plan& plan, uint32_t state, uint64_t n_tokens, uint32_t canonical) {
  const brim_state_desc& desc = plan.model->description->states[state];
  if (plan.states[state].group == negotiator::kNoGroup) return desc.elements * sizeof(float);
  return (n_tokens - first_kept(plan, state, n_tokens)) * desc.n_head * (uint64_t{desc.k_width} + desc.v_width) *
         brim_dtype_block_bytes(canonical);
}

template <class T>
std::span<const std::byte> bytes_of(const T& value) {
  return std::as_bytes(std::span(&value, 1));
}

// Moves one state between its blocks and host memory, on the engine's thread.
void move_state(Residency& memory, const Sequences& sequences, uint32_t id, uint32_t state, uint64_t n_tokens,
                uint32_t canonical, std::span<std::byte> bytes, bool out) {
  const negotiator::StatePlan& s = memory.plan().states[state];
  const brim_state_desc& desc = memory.plan().model->description->states[state];
  Device& device = *memory.on(s.device).device;
  std::vector<uint32_t> blocks;
  if (s.group == negotiator::kNoGroup) {
    blocks.push_back(id * negotiator::kSlotsPerSequence + sequences[id].slot);
  } else {
    const auto& ids = sequences[id].blocks[s.group];
    blocks.assign(ids.begin(), ids.end());
  }
  brim_error error = empty_error();
  const auto& api = device.api();
  const uint64_t first = first_kept(memory.plan(), state, n_tokens), n = n_tokens - first;
  const brim_status status = out ? api.state_export(device.queue(), &desc, &memory.state(state), blocks.data(), first,
                                                    n, canonical, bytes.data(), &error)
                                 : api.state_import(device.queue(), &desc, &memory.state(state), blocks.data(), first,
                                                    n, canonical, bytes.data(), &error);
  device.check(status, error, out ? "exporting a state" : "importing a state");
}

}  // namespace

void Session::save(uint32_t sequence, const std::function<void(std::span<const std::byte>)>& write) {
  idle();
  const auto id = static_cast<uint32_t>(at(sequence).id);
  const negotiator::Plan& plan = engine_->plan();
  const auto& descs = plan.model->description->states;
  const std::vector<int32_t> held = tokens(sequence);
  Hasher hasher;
  const auto put = [&](std::span<const std::byte> bytes) {
    hasher.add(bytes);
    write(bytes);
  };
  const Hash128& identity = plan.model->file.identity();
  const Head head{kMagic, 1, canonical_of(plan), {identity.low, identity.high}, held.size(), descs.size()};
  put(bytes_of(head));
  put(std::as_bytes(std::span(held)));
  std::vector<std::byte> bytes;
  for (uint32_t s = 0; s < descs.size(); ++s) {
    const bool own = plan.states[s].storage == s && !held.empty();
    const uint64_t n = own ? state_bytes(plan, s, held.size(), head.canonical) : 0;
    bytes.resize(n);
    if (own) {
      engine_->between_steps([&](Residency& memory, Sequences& sequences) {
        move_state(memory, sequences, id, s, held.size(), head.canonical, bytes, true);
      });
    }
    put(bytes_of(n));
    put(bytes);
  }
  const Hash128 sum = hasher.result();
  write(bytes_of(sum));
}

uint32_t Session::restore(const std::function<void(std::span<std::byte>)>& read) {
  idle();
  const negotiator::Plan& plan = engine_->plan();
  const auto& descs = plan.model->description->states;
  Hasher hasher;
  const auto get = [&](std::span<std::byte> bytes) {
    read(bytes);
    hasher.add(std::span<const std::byte>(bytes));
  };
  Head head{};
  get(std::as_writable_bytes(std::span(&head, 1)));
  if (head.magic != kMagic) fail(BRIM_DATA_CORRUPT, "this is no saved sequence: it does not begin with BRIMSEQ");
  if (head.version != 1)
    fail(BRIM_INCOMPATIBLE, "the saved sequence has version {}; this library reads 1", head.version);
  const Hash128& identity = plan.model->file.identity();
  if (head.model[0] != identity.low || head.model[1] != identity.high) {
    fail(BRIM_INCOMPATIBLE, "the sequence was saved with another model than {}", plan.model->file.path());
  }
  if (head.canonical != canonical_of(plan)) {
    fail(BRIM_INCOMPATIBLE, "the sequence was saved with {} states; the plan stores {}: plan with the same kv_dtype",
         brim_dtype_name(head.canonical), brim_dtype_name(plan.request.kv_dtype));
  }
  if (head.n_states != descs.size())
    fail(BRIM_DATA_CORRUPT, "the saved sequence has {} states; the model {}", head.n_states, descs.size());
  if (head.n_tokens > plan.request.n_ctx) {
    throw Error(BRIM_CONTEXT_FULL,
                fmt::format("the saved sequence holds {} tokens; the context of the plan is {}", head.n_tokens,
                            plan.request.n_ctx),
                {0, head.n_tokens, plan.request.n_ctx, 0});
  }
  const uint32_t local = create_sequence();
  try {
    const auto id = static_cast<uint32_t>(sequences_[local].id);
    const auto n = static_cast<uint32_t>(head.n_tokens);
    std::vector<int32_t> held(n);
    get(std::as_writable_bytes(std::span(held)));
    const bool room = engine_->with_sequences([&](Sequences& sequences) {
      if (!sequences.reopen(id, n)) return false;
      sequences[id].tokens.assign(held.begin(), held.end());
      sequences[id].length = n;
      return true;
    });
    if (!room)
      fail(BRIM_CONTEXT_FULL, "the pool of {} KV tokens has no room for the {} of the saved sequence",
           plan.request.kv_tokens, n);
    std::vector<std::byte> bytes;
    for (uint32_t s = 0; s < descs.size(); ++s) {
      const bool own = plan.states[s].storage == s && n > 0;
      const uint64_t wanted = own ? state_bytes(plan, s, n, head.canonical) : 0;
      uint64_t given = 0;
      get(std::as_writable_bytes(std::span(&given, 1)));
      if (given != wanted)
        fail(BRIM_DATA_CORRUPT, "state {} of the saved sequence has {} bytes; expected {}", s, given, wanted);
      bytes.resize(wanted);
      get(bytes);
      if (own) {
        engine_->between_steps([&](Residency& memory, Sequences& sequences) {
          move_state(memory, sequences, id, s, n, head.canonical, bytes, false);
        });
      }
    }
    const Hash128 sum = hasher.result();
    Hash128 stored;
    read(std::as_writable_bytes(std::span(&stored, 1)));
    if (stored != sum) fail(BRIM_DATA_CORRUPT, "the saved sequence is damaged: its checksum does not match");
  } catch (...) {
    remove(local);
    throw;
  }
  return local;
}

}  // namespace brim::engine
