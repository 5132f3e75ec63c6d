// The sequences of an engine: which tokens each holds, in which blocks of each KV group, in which slots its recurrent
// states are. Everything here is bookkeeping under the engine's lock; bytes move only where a caller is told to copy.
// All memory is taken when the table is made: growing, forking and trimming allocate nothing.
#pragma once

#include <engine/blocks.hpp>
#include <negotiator/plan.hpp>
#include <optional>
#include <vector>

namespace brim::engine {

inline constexpr int32_t kGivenBack = -1;

struct Sequence {
  bool alive = false;
  uint32_t length = 0;                       // tokens published
  std::vector<int32_t> tokens;               // [length]; -1 for a row given as an embedding
  std::vector<std::vector<int32_t>> blocks;  // per group: block ids in order, kGivenBack where a window has passed
  std::vector<uint32_t> first_block;         // per group: all before it are given back
  // Slots of conv and recurrent states, 0 .. kSlotsPerSequence - 1 within the sequence's own.
  uint32_t slot = 0;       // current
  uint32_t safe_slot = 0;  // from before the job under way
};

// The slot that the next step writes: neither the current one nor the one to go back to.
inline uint32_t next_slot(const Sequence& s) {
  uint32_t slot = 0;
  while (slot == s.slot || slot == s.safe_slot) ++slot;
  return slot;
}

// A block that has to be copied within one group before it may be written.
struct BlockCopy {
  uint32_t sequence, group;
  int32_t from, to;
};

class Sequences {
 public:
  explicit Sequences(const negotiator::Plan& plan);

  Sequence& operator[](uint32_t id) { return table_[id]; }
  const Sequence& operator[](uint32_t id) const { return table_[id]; }
  uint32_t n_alive() const { return n_alive_; }

  // nullopt when all are alive.
  std::optional<uint32_t> create();
  // How far the sequence can be cut, beside to nothing: what the next row would see must still be there.
  uint32_t shortest(uint32_t id) const;
  // The first n tokens of `from`, sharing its blocks. Here and in trim, n is 0 or at least shortest().
  std::optional<uint32_t> fork(uint32_t from, uint32_t n);
  void trim(uint32_t id, uint32_t n);
  void remove(uint32_t id);

  // Makes room for n more tokens: takes blocks, and replaces a shared last block by an own one, to be copied before the
  // step. False, with nothing changed, when a pool has too few blocks. Never allocates: `copies` has room for a group
  // each.
  bool extend(uint32_t id, uint32_t n, std::vector<BlockCopy>* copies);
  // Would extend() take blocks?
  bool takes_blocks(uint32_t id, uint32_t n) const;
  // Calls f(group, block) with every block that no sequence holds and one held since the last time.
  template <class F>
  void each_used_free(const F& f) {
    for (uint32_t g = 0; g < pools_.size(); ++g) pools_[g].each_used_free([&](int32_t block) { f(g, block); });
  }
  // Room for n tokens of an empty sequence; groups with a window hold the last only. False as extend().
  bool reopen(uint32_t id, uint32_t n);
  // Gives back the blocks that no row to come will see, not even after going back to the first `safe` tokens.
  void slide(uint32_t id, uint32_t safe);
  // Until it is known whether a copy was made, its source is kept; then it is let go, after undo() where it was not
  // made: the sequence has its shared block again.
  void keep(const BlockCopy& copy) { pools_[copy.group].share(copy.from); }
  void let_go(const BlockCopy& copy) { pools_[copy.group].release(copy.from); }
  void undo(const BlockCopy& copy);

  // Where token `index` of the sequence lies in the group.
  int32_t slot_of(uint32_t id, uint32_t group, uint32_t index) const;
  bool has_recurrent() const { return has_recurrent_; }
  const negotiator::GroupPlan& group(uint32_t g) const { return groups_[g]; }
  uint32_t n_groups() const { return static_cast<uint32_t>(groups_.size()); }

 private:
  uint32_t blocks_for(uint32_t g, uint32_t n_tokens) const {
    return (n_tokens + groups_[g].block_tokens - 1) / groups_[g].block_tokens;
  }

  std::vector<negotiator::GroupPlan> groups_;
  std::vector<BlockPool> pools_;
  std::vector<Sequence> table_;
  uint32_t n_alive_ = 0;
  bool has_recurrent_ = false;
};

}  // namespace brim::engine
