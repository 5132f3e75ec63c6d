// Loads and stores: from an address in a state space to the bytes behind it, with everything checked that a device does
// not check, or checks by ending the context.
#include <algorithm>

#include "memory.hpp"

namespace ptx {

void Memory::add(const Allocation& allocation) {
  all_.insert(std::ranges::upper_bound(all_, allocation.begin, {}, &Allocation::begin), allocation);
}
void Memory::remove(uint64_t begin) {
  std::erase_if(all_, [&](const Allocation& a) { return a.begin == begin; });
}
const Allocation* Memory::find(uint64_t address, uint32_t* hint) const {
  if (*hint < all_.size() && all_[*hint].begin <= address && address < all_[*hint].end) return &all_[*hint];
  const auto after = std::ranges::upper_bound(all_, address, {}, &Allocation::begin);
  if (after == all_.begin() || address >= (after - 1)->end) return nullptr;
  *hint = static_cast<uint32_t>(after - 1 - all_.begin());
  return &all_[*hint];
}
std::byte* Memory::at(uint64_t address, uint64_t bytes, bool writes) const {
  uint32_t hint = kNone;
  const Allocation* a = find(address, &hint);
  if (a == nullptr || bytes > a->end - address || (writes && a->read_only)) return nullptr;
  return a->host + (address - a->begin);
}

Writes::Writer* Writes::find(uint64_t address) {
  const uint64_t page = address / kPage;
  if (page != last_) {
    const auto found = pages_.find(page);
    if (found == pages_.end()) return nullptr;
    last_ = page;
    last_page_ = &found->second;
  }
  return &(*last_page_)[address % kPage / granule_];
}
Writes::Writer& Writes::at(uint64_t address) {
  if (Writer* found = find(address)) return *found;
  last_ = address / kPage;
  last_page_ = &pages_[last_];  // stays where it is, whatever is added
  last_page_->resize(kPage / granule_);
  begin_ = std::min(begin_, last_ * kPage);
  end_ = std::max(end_, (last_ + 1) * kPage);
  return (*last_page_)[address % kPage / granule_];
}

namespace {

std::string hex(uint64_t v) {
  char text[24];
  std::snprintf(text, sizeof text, "0x%llx", static_cast<unsigned long long>(v));
  return text;
}

// Marks the touch and looks for one of another thread that no barrier separates from it.
void touch_shared(Warp& w, const Instruction& in, uint32_t lane, uint64_t offset, uint32_t bytes, bool writes) {
  Block& block = *w.block;
  const uint32_t granule = block.kernel->shared_granule;
  const auto me = static_cast<uint16_t>(w.number * 32 + lane + 1);
  const auto my_warp = [&](uint16_t id) { return (id - 1u) / 32 == w.number; };
  for (uint64_t at = offset / granule; at <= (offset + bytes - 1) / granule; ++at) {
    Touch& t = block.touches[at];
    if (t.copier != 0) {
      fail_in(w, in, lane,
              std::string(writes ? "writes" : "reads") + " shared memory at " + hex(offset) + " to which thread " +
                  std::to_string(t.copier - 1) + " copies without having waited for it");
    }
    if (!writes && t.writer == 0) {
      fail_in(w, in, lane, "reads shared memory at " + hex(offset) + " that nobody has written");
    }
    if (t.written == block.epoch && t.writer != me && !(my_warp(t.writer) && t.write_in_warp < w.epoch)) {
      fail_in(w, in, lane,
              std::string(writes ? "writes" : "reads") + " shared memory at " + hex(offset) + " that thread " +
                  std::to_string(t.writer - 1) + " wrote since the last barrier");
    }
    if (!writes) {
      if (t.read != block.epoch || t.reader == 0) {
        t.reader = me;
      } else if (t.reader != me && t.reader != Touch::kManyWarps) {
        const bool same = (t.reader & Touch::kManyLanes) != 0 ? (t.reader & 0x7fffu) == w.number : my_warp(t.reader);
        t.reader = same ? static_cast<uint16_t>(Touch::kManyLanes | w.number) : Touch::kManyWarps;
      }
      t.read = block.epoch;
      t.read_in_warp = w.epoch;
      continue;
    }
    if (t.read == block.epoch && t.reader != me) {
      const bool same_warp =
          t.reader != Touch::kManyWarps &&
          ((t.reader & Touch::kManyLanes) != 0 ? (t.reader & 0x7fffu) == w.number : my_warp(t.reader));
      if (!(same_warp && t.read_in_warp < w.epoch)) {
        fail_in(w, in, lane,
                "writes shared memory at " + hex(offset) + " that another thread read since the last barrier");
      }
    }
    t.written = block.epoch;
    t.write_in_warp = w.epoch;
    t.writer = me;
  }
}

// The same for global memory, of which only the writes of this launch are known.
void touch_global(Warp& w, const Instruction& in, uint32_t lane, uint64_t address, uint32_t bytes, bool writes) {
  const Block& block = *w.block;
  Writes& log = *block.writes;
  if (!writes && !log.may_hold(address, address + bytes)) return;
  const uint32_t me = w.number * 32 + lane;
  for (uint64_t at = address; at < address + bytes; at += log.granule()) {
    Writes::Writer* const last = writes ? &log.at(at) : log.find(at);
    if (last == nullptr) continue;
    const bool mine = last->block == block.number + 1;
    const bool ordered = mine && (last->thread == me || last->epoch < block.epoch ||
                                  (last->thread / 32 == w.number && last->epoch_in_warp < w.epoch));
    if (last->block != 0 && !ordered) {
      fail_in(w, in, lane,
              std::string(writes ? "writes" : "reads") + " global memory at " + hex(at) + " that thread " +
                  std::to_string(last->thread) +
                  (mine ? " wrote since the last barrier" : " of block " + std::to_string(last->block - 1) + " wrote"));
    }
    if (writes) *last = {block.number + 1, me, block.epoch, w.epoch};
  }
}

}  // namespace

std::byte* place(Warp& w, const Instruction& in, Space space, uint32_t lane, uint64_t address, uint32_t bytes,
                 uint32_t unit, bool writes) {
  Block& block = *w.block;
  if (space == Space::kGeneric) {
    space = Space::kGlobal;
    for (const auto& [base, named] :
         {std::pair{kParamBase, Space::kParam}, {kLocalBase, Space::kLocal}, {kSharedBase, Space::kShared}}) {
      if ((address & base) == 0) continue;
      space = named;
      address -= base;
      break;
    }
  }
  if (address % bytes != 0) {
    fail_in(w, in, lane, "an access of " + std::to_string(bytes) + " bytes at " + hex(address) + " is not aligned");
  }
  const auto outside = [&](const char* what, uint64_t size) {
    fail_in(w, in, lane,
            "an access of " + std::to_string(bytes) + " bytes at " + hex(address) + " lies outside of the " +
                std::to_string(size) + " bytes of " + what);
  };
  switch (space) {
    case Space::kShared:
      if (address > block.shared.size() || bytes > block.shared.size() - address)
        outside("shared memory", block.shared.size());
      for (uint32_t at = 0; at < bytes; at += unit) touch_shared(w, in, lane, address + at, unit, writes);
      return block.shared.data() + address;
    case Space::kLocal: {
      const uint64_t size = block.kernel->local_bytes;
      if (address > size || bytes > size - address) outside("local memory", size);
      return block.local.data() + (uint64_t{w.number} * 32 + lane) * size + address;
    }
    case Space::kParam:
      if (writes) fail_in(w, in, lane, "writes a parameter");
      if (address > block.params.size() || bytes > block.params.size() - address)
        outside("the parameters", block.params.size());
      return const_cast<std::byte*>(block.params.data()) + address;
    default: {
      const Allocation* a = block.memory->find(address, &in.hint);
      std::byte* host = a == nullptr && block.host != nullptr ? block.host->at(address, bytes, writes) : nullptr;
      if (host != nullptr) {
        touch_global(w, in, lane, address, bytes, writes);
        return host;
      }
      if (a == nullptr || bytes > a->end - address) {
        fail_in(w, in, lane,
                std::string(writes ? "writes " : "reads ") + std::to_string(bytes) + " bytes at " + hex(address) +
                    ", outside of every allocation" + (a == nullptr ? "" : ": one ends at " + hex(a->end)));
      }
      if (writes && a->read_only) fail_in(w, in, lane, "writes read-only memory at " + hex(address));
      touch_global(w, in, lane, address, bytes, writes);
      return a->host + (address - a->begin);
    }
  }
}

uint64_t address_of(Warp& w, const Instruction& in, const Operand& base, uint32_t lane) {
  uint64_t address = static_cast<uint64_t>(in.offset);
  if (base.bytes != 0) address += bits_of(w, base, lane);
  return base.bytes == 4 ? static_cast<uint32_t>(address) : address;
}

namespace {

// T: the type in memory, sign-extended where it has one.
template <class T>
void load(Warp& w, const Instruction& in, uint32_t mask) {
  const uint32_t n = in.n_to;
  each_lane(mask, [&](uint32_t lane) {
    const uint64_t address = address_of(w, in, in.from[0], lane);
    const std::byte* from = place(w, in, in.space, lane, address, n * sizeof(T), sizeof(T), false);
    for (uint32_t i = 0; i < n; ++i) {
      T v;
      std::memcpy(&v, from + i * sizeof(T), sizeof(T));
      if (in.to[i].index != kNone) set_bits(w, in.to[i], lane, static_cast<uint64_t>(static_cast<int64_t>(v)));
    }
  });
}
template <class T>
void store(Warp& w, const Instruction& in, uint32_t mask) {
  const uint32_t n = in.n_from - 1u;
  each_lane(mask, [&](uint32_t lane) {
    const uint64_t address = address_of(w, in, in.from[n], lane);
    std::byte* to = place(w, in, in.space, lane, address, n * sizeof(T), sizeof(T), true);
    for (uint32_t i = 0; i < n; ++i) {
      const auto v = static_cast<T>(bits_of(w, in.from[i], lane));
      std::memcpy(to + i * sizeof(T), &v, sizeof(T));
    }
  });
}

}  // namespace

Step load_step(const std::string& type) {
  static const std::map<std::string, Step> steps = {
      {"u8", load<uint8_t>},   {"b8", load<uint8_t>},   {"s8", load<int8_t>},    {"u16", load<uint16_t>},
      {"b16", load<uint16_t>}, {"s16", load<int16_t>},  {"u32", load<uint32_t>}, {"b32", load<uint32_t>},
      {"f32", load<uint32_t>}, {"s32", load<int32_t>},  {"u64", load<uint64_t>}, {"b64", load<uint64_t>},
      {"s64", load<uint64_t>}, {"f64", load<uint64_t>}, {"f16", load<uint16_t>}};
  const auto found = steps.find(type);
  return found == steps.end() ? nullptr : found->second;
}
Step store_step(const std::string& type) {
  static const std::map<std::string, Step> steps = {
      {"8", store<uint8_t>}, {"16", store<uint16_t>}, {"32", store<uint32_t>}, {"64", store<uint64_t>}};
  const auto found = steps.find(type.substr(1));
  return found == steps.end() ? nullptr : found->second;
}

// from[0]: where to, in shared memory; from[1]: the source; variant: bytes. What is read of the source is what lies
// there now: no kernel may write it in the same launch.
void start_copy(Warp& w, const Instruction& in, uint32_t mask) {
  Block& block = *w.block;
  const uint32_t granule = block.kernel->shared_granule;
  each_lane(mask, [&](uint32_t lane) {
    Copy copy{lane, w.committed_groups[lane], bits_of(w, in.from[0], lane), in.variant, {}};
    const uint64_t source = address_of(w, in, in.from[1], lane);
    std::memcpy(copy.data, place(w, in, Space::kGlobal, lane, source, copy.bytes, copy.bytes, false), copy.bytes);
    place(w, in, Space::kShared, lane, copy.to, copy.bytes, copy.bytes, true);
    for (uint64_t at = copy.to / granule; at < (copy.to + copy.bytes) / granule; ++at) {
      block.touches[at].copier = static_cast<uint16_t>(w.number * 32 + lane + 1);
    }
    w.copies.push_back(copy);
  });
}
void commit_copies(Warp& w, const Instruction&, uint32_t mask) {
  each_lane(mask, [&](uint32_t lane) { ++w.committed_groups[lane]; });
}
// All groups of the lane but the last `variant` ones; ~0: all copies.
void wait_for_copies(Warp& w, const Instruction& in, uint32_t mask) {
  Block& block = *w.block;
  const uint32_t granule = block.kernel->shared_granule;
  std::erase_if(w.copies, [&](const Copy& copy) {
    if ((mask >> copy.lane & 1) == 0) return false;
    if (in.variant != ~0u && copy.group + in.variant >= w.committed_groups[copy.lane]) return false;
    for (uint64_t at = copy.to / granule; at < (copy.to + copy.bytes) / granule; ++at) {
      Touch& t = block.touches[at];
      t.copier = 0;
      t.written = block.epoch;
      t.write_in_warp = w.epoch;
      t.writer = static_cast<uint16_t>(w.number * 32 + copy.lane + 1);
    }
    std::memcpy(block.shared.data() + copy.to, copy.data, copy.bytes);
    return true;
  });
}

}  // namespace ptx
