#include <algorithm>
#include <engine/sequences.hpp>

namespace brim::engine {

Sequences::Sequences(const negotiator::Plan& plan) : groups_(plan.groups), table_(plan.request.n_seqs) {
  for (const auto& g : groups_) pools_.emplace_back(g.n_blocks);
  for (Sequence& s : table_) {
    s.tokens.reserve(plan.request.n_ctx);
    s.blocks.resize(groups_.size());
    s.first_block.resize(groups_.size());
    for (uint32_t g = 0; g < groups_.size(); ++g) s.blocks[g].reserve(blocks_for(g, plan.request.n_ctx));
  }
  has_recurrent_ = std::any_of(plan.states.begin(), plan.states.end(),
                               [](const auto& s) { return s.group == negotiator::kNoGroup; });
}

std::optional<uint32_t> Sequences::create() {
  for (uint32_t id = 0; id < table_.size(); ++id) {
    if (table_[id].alive) continue;
    table_[id].alive = true;
    table_[id].length = 0;
    table_[id].slot = table_[id].safe_slot = 0;
    ++n_alive_;
    return id;
  }
  return std::nullopt;
}

uint32_t Sequences::shortest(uint32_t id) const {
  const Sequence& s = table_[id];
  if (has_recurrent_) return s.length;
  uint32_t n = 0;
  for (size_t g = 0; g < groups_.size(); ++g) {
    if (s.first_block[g] > 0) n = std::max(n, s.first_block[g] * groups_[g].block_tokens + groups_[g].window - 1);
  }
  return n;
}

std::optional<uint32_t> Sequences::fork(uint32_t from, uint32_t n) {
  const auto id = create();
  if (!id) return id;
  Sequence& to = table_[*id];
  to.length = n;
  to.tokens.assign(table_[from].tokens.begin(), table_[from].tokens.begin() + n);
  for (uint32_t g = 0; g < groups_.size(); ++g) {
    to.blocks[g].assign(table_[from].blocks[g].begin(), table_[from].blocks[g].begin() + blocks_for(g, n));
    to.first_block[g] = n ? table_[from].first_block[g] : 0;
    for (const int32_t block : to.blocks[g]) {
      if (block != kGivenBack) pools_[g].share(block);
    }
  }
  return id;
}

void Sequences::trim(uint32_t id, uint32_t n) {
  Sequence& s = table_[id];
  s.length = std::min(s.length, n);
  s.tokens.resize(s.length);
  for (uint32_t g = 0; g < groups_.size(); ++g) {
    while (s.blocks[g].size() > blocks_for(g, n)) {
      if (s.blocks[g].back() != kGivenBack) pools_[g].release(s.blocks[g].back());
      s.blocks[g].pop_back();
    }
    if (n == 0) s.first_block[g] = 0;
  }
}

void Sequences::remove(uint32_t id) {
  trim(id, 0);
  table_[id].alive = false;
  --n_alive_;
}

bool Sequences::extend(uint32_t id, uint32_t n, std::vector<BlockCopy>* copies) {
  Sequence& s = table_[id];
  const auto blocks_wanted = [&](uint32_t g) { return blocks_for(g, s.length + n); };
  // The block that the next token goes into, if it is begun and somebody else reads it too.
  const auto shared_block = [&](uint32_t g) -> int32_t* {
    const uint32_t at = s.length / groups_[g].block_tokens;
    const bool begun = at < s.blocks[g].size() && s.blocks[g][at] != kGivenBack;
    return begun && pools_[g].shared(s.blocks[g][at]) ? &s.blocks[g][at] : nullptr;
  };
  for (uint32_t g = 0; g < groups_.size(); ++g) {
    const size_t have = s.blocks[g].size();
    const size_t fresh = blocks_wanted(g) > have ? blocks_wanted(g) - have : 0;
    if (pools_[g].n_free() < fresh + (shared_block(g) ? 1 : 0)) return false;
  }
  for (uint32_t g = 0; g < groups_.size(); ++g) {
    if (int32_t* block = shared_block(g)) {
      const int32_t own = pools_[g].take();
      copies->push_back({id, g, *block, own});
      pools_[g].release(*block);
      *block = own;
    }
    while (s.blocks[g].size() < blocks_wanted(g)) s.blocks[g].push_back(pools_[g].take());
  }
  return true;
}

bool Sequences::takes_blocks(uint32_t id, uint32_t n) const {
  for (uint32_t g = 0; g < groups_.size(); ++g) {
    if (blocks_for(g, table_[id].length + n) > table_[id].blocks[g].size()) return true;
  }
  return false;
}

bool Sequences::reopen(uint32_t id, uint32_t n) {
  Sequence& s = table_[id];
  for (uint32_t g = 0; g < groups_.size(); ++g) {
    s.first_block[g] = groups_[g].first_seen(n) / groups_[g].block_tokens;
    s.blocks[g].assign(s.first_block[g], kGivenBack);
  }
  std::vector<BlockCopy> none;
  return extend(id, n, &none);
}

void Sequences::slide(uint32_t id, uint32_t safe) {
  Sequence& s = table_[id];
  for (uint32_t g = 0; g < groups_.size(); ++g) {
    const auto first_kept = [&](uint32_t length) {
      const uint32_t first = groups_[g].first_seen(length) / groups_[g].block_tokens;
      return first - std::min(first, negotiator::kBlocksBehindWindow);
    };
    const uint32_t next = first_kept(s.length), back = first_kept(safe), back_end = blocks_for(g, safe);
    for (uint32_t b = s.first_block[g]; b < next; ++b) {
      int32_t& block = s.blocks[g][b];
      if ((b >= back && b < back_end) || block == kGivenBack) continue;
      pools_[g].release(block);
      block = kGivenBack;
    }
    s.first_block[g] = std::max(s.first_block[g], back);
  }
}

void Sequences::undo(const BlockCopy& copy) {
  auto& blocks = table_[copy.sequence].blocks[copy.group];
  const auto own = std::find(blocks.begin(), blocks.end(), copy.to);
  if (own == blocks.end()) return;
  *own = copy.from;
  pools_[copy.group].share(copy.from);
  pools_[copy.group].release(copy.to);
}

int32_t Sequences::slot_of(uint32_t id, uint32_t group, uint32_t index) const {
  const uint32_t tokens = groups_[group].block_tokens;
  return table_[id].blocks[group][index / tokens] * static_cast<int32_t>(tokens) + static_cast<int32_t>(index % tokens);
}

}  // namespace brim::engine
