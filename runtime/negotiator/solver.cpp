#include <algorithm>
#include <array>
#include <map>
#include <negotiator/solver.hpp>
#include <tuple>

namespace brim::negotiator {
namespace {

constexpr size_t kMostShared = 8;  // pools that are carried along: at most one for every two devices, and the home's

// More subsets of one run than this are not looked through: beyond, experts go apart in the order of the least delay a
// byte.
constexpr uint64_t kMostSubsets = 1 << 14;

// A partial placement: items before `border` are placed.
struct Label {
  double seconds = 0;
  std::array<uint64_t, kMostShared> used{};
  bool home_used = false;
  int32_t before = -1;  // label it extends
  uint32_t begin = 0, end = 0, device = kNoDevice;
  uint32_t subset = 0;  // in subsets_
};

// A way of having some experts of a run apart.
struct Subset {
  double delay = 0;
  uint64_t bytes = 0;  // that move to the home
  std::vector<uint32_t> items{};
};

class Solver {
 public:
  explicit Solver(const Chain& chain)
      : chain_(chain), n_(static_cast<uint32_t>(chain.items.size())), d_(static_cast<uint32_t>(chain.pool.size())) {
    std::vector<uint32_t> users(chain.room.size());
    for (const uint32_t p : chain.pool) ++users[p];
    shared_of_.assign(chain.room.size(), kNoDevice);
    for (uint32_t p = 0; p < chain.room.size(); ++p) {
      const bool home = chain.home != kNoDevice && chain.pool[chain.home] == p;
      if ((users[p] > 1 || home) && n_shared_ < kMostShared) shared_of_[p] = n_shared_++;
    }
    subsets_.push_back({});
    least_left_.assign(n_ + 1, 0);
    for (uint32_t i = n_; i-- > 0;) {
      double least = kNever;
      for (uint32_t d = 0; d < d_; ++d) {
        const ChainItem& item = chain.items[i];
        if (item.seconds[d] == kNever) continue;
        least = std::min({least, item.seconds[d], item.expert_bytes ? item.apart_seconds[d] : kNever});
      }
      least_left_[i] = least_left_[i + 1] + least;
    }
    fill_in_every_order();
  }

  std::optional<ChainPlan> run() {
    // by_state[border][mask * d + last]
    const size_t states = (size_t{1} << d_) * d_;
    std::vector<std::vector<std::vector<int32_t>>> at(n_ + 1, std::vector<std::vector<int32_t>>(states));
    labels_.push_back({});
    extend(0, 0, 0, at);
    for (uint32_t border = 1; border < n_; ++border) {
      for (uint32_t mask = 1; mask < (1u << d_); ++mask) {
        for (uint32_t last = 0; last < d_; ++last) {
          for (const int32_t label : at[border][mask * d_ + last]) extend(label, border, mask, at);
        }
      }
    }
    int32_t best = -1;
    for (const auto& state : at[n_]) {
      for (const int32_t label : state) {
        if (best < 0 || labels_[label].seconds < labels_[best].seconds) best = label;
      }
    }
    if (best < 0) return std::nullopt;
    ChainPlan plan;
    plan.seconds = labels_[best].seconds;
    plan.device.resize(n_);
    plan.apart.resize(n_);
    for (int32_t i = best; labels_[i].before >= 0; i = labels_[i].before) {
      std::fill(plan.device.begin() + labels_[i].begin, plan.device.begin() + labels_[i].end, labels_[i].device);
      for (const uint32_t item : subsets_[labels_[i].subset].items) plan.apart[item] = true;
    }
    return plan;
  }

 private:
  using States = std::vector<std::vector<std::vector<int32_t>>>;

  // A limit for what is worth looking at: every order of devices, each filled in turn.
  void fill_in_every_order() {
    std::vector<uint32_t> order(d_), device(n_);
    for (uint32_t d = 0; d < d_; ++d) order[d] = d;
    const std::vector<bool> together(n_, false);
    if (d_ > 4) return;
    do {
      uint32_t at = 0;
      std::vector<uint64_t> left = chain_.room;
      for (const uint32_t d : order) {
        uint64_t& room = left[chain_.pool[d]];
        if (room < chain_.base[d]) continue;
        uint64_t bytes = chain_.base[d];
        while (at < n_ && chain_.items[at].seconds[d] != kNever && chain_.items[at].bytes[d] <= room - bytes) {
          bytes += chain_.items[at].bytes[d];
          device[at++] = d;
        }
        room -= bytes;
      }
      if (at == n_) limit_ = std::min(limit_, seconds_of(chain_, device, together));
    } while (std::next_permutation(order.begin(), order.end()));
    limit_ *= 1 + 1e-9;  // sums in another order differ in their last bits
  }

  // Adds every run of every unused device behind the label.
  void extend(int32_t from, uint32_t border, uint32_t mask, States& at) {
    const Label start = labels_[from];
    for (uint32_t d = 0; d < d_; ++d) {
      if (mask >> d & 1) continue;
      const uint32_t pool = chain_.pool[d], shared = shared_of_[pool];
      double seconds = start.seconds + (from == 0 ? 0 : chain_.crossing[start.device][d]);
      uint64_t bytes = start.home_used && d == chain_.home ? 0 : chain_.base[d];
      const uint64_t used = shared == kNoDevice ? 0 : start.used[shared];
      const bool may_part = chain_.home != kNoDevice && chain_.home != d && chain_.pool[chain_.home] != pool;
      bool experts = false;
      for (uint32_t end = border + 1; end <= n_; ++end) {
        const ChainItem& item = chain_.items[end - 1];
        if (item.seconds[d] == kNever) break;
        seconds += item.seconds[d];
        bytes += item.bytes[d];
        experts |= may_part && item.expert_bytes != 0;
        const uint64_t wanted = used + bytes;
        const uint64_t excess = wanted > chain_.room[pool] ? wanted - chain_.room[pool] : 0;
        if (!experts) {
          if (excess) break;  // the run only grows
          add(start, from, border, end, d, mask, seconds, bytes, 0, at);
          continue;
        }
        const auto [first, count] = subsets(d, border, end, excess);
        if (count == 0 && all_experts(border, end) < excess) break;
        for (uint32_t s = first; s < first + count; ++s) {
          add(start, from, border, end, d, mask, seconds + subsets_[s].delay, bytes - subsets_[s].bytes, s, at);
        }
      }
    }
  }

  uint64_t all_experts(uint32_t begin, uint32_t end) const {
    uint64_t sum = 0;
    for (uint32_t i = begin; i < end; ++i) sum += chain_.items[i].expert_bytes;
    return sum;
  }

  // Every way worth having to free at least `excess` bytes of the run, as a range of subsets_.
  std::pair<uint32_t, uint32_t> subsets(uint32_t d, uint32_t begin, uint32_t end, uint64_t excess) {
    const auto key = std::tuple(d, begin, end, excess);
    if (const auto known = known_.find(key); known != known_.end()) return known->second;
    struct Class {
      uint64_t bytes;
      double delay;
      std::vector<uint32_t> items;
    };
    std::vector<Class> classes;
    for (uint32_t i = begin; i < end; ++i) {
      const ChainItem& item = chain_.items[i];
      if (item.expert_bytes == 0 || item.apart_seconds[d] == kNever) continue;
      const double delay = item.apart_seconds[d] - item.seconds[d];
      const auto same = std::find_if(classes.begin(), classes.end(),
                                     [&](const Class& c) { return c.bytes == item.expert_bytes && c.delay == delay; });
      if (same == classes.end()) {
        classes.push_back({item.expert_bytes, delay, {i}});
      } else {
        same->items.push_back(i);
      }
    }
    uint64_t n_subsets = 1;
    for (const Class& c : classes) n_subsets = std::min(kMostSubsets + 1, n_subsets * (c.items.size() + 1));
    std::vector<std::pair<Subset, std::vector<uint32_t>>> found;  // with the counts per class
    std::vector<uint32_t> counts(classes.size());
    // Fewer bytes are better for the home. Where others draw from the device's pool, more may be better for them.
    const bool alone = shared_of_[chain_.pool[d]] == kNoDevice;
    const auto covers = [&](const Subset& a, const Subset& b) {
      return a.delay <= b.delay && (alone ? a.bytes <= b.bytes : a.bytes == b.bytes);
    };
    const auto consider = [&] {
      Subset s;
      for (size_t c = 0; c < classes.size(); ++c) {
        s.bytes += classes[c].bytes * counts[c];
        s.delay += classes[c].delay * counts[c];
      }
      if (s.bytes < excess) return;
      for (const auto& other : found) {
        if (covers(other.first, s)) return;
      }
      std::erase_if(found, [&](const auto& other) { return covers(s, other.first); });
      found.push_back({s, counts});
    };
    if (n_subsets <= kMostSubsets) {
      for (bool more = true; more;) {
        consider();
        more = false;
        for (size_t c = 0; c < classes.size() && !more; ++c) {
          more = counts[c] < classes[c].items.size();
          counts[c] = more ? counts[c] + 1 : 0;
        }
      }
    } else {
      std::vector<uint32_t> order(classes.size());
      for (uint32_t c = 0; c < order.size(); ++c) order[c] = c;
      std::stable_sort(order.begin(), order.end(), [&](uint32_t a, uint32_t b) {
        return classes[a].delay * static_cast<double>(classes[b].bytes) <
               classes[b].delay * static_cast<double>(classes[a].bytes);
      });
      consider();
      for (const uint32_t c : order) {
        for (size_t k = 0; k < classes[c].items.size(); ++k) ++counts[c], consider();
      }
    }
    const auto first = static_cast<uint32_t>(subsets_.size());
    for (auto& [s, taken] : found) {
      for (size_t c = 0; c < classes.size(); ++c) {
        s.items.insert(s.items.end(), classes[c].items.begin(), classes[c].items.begin() + taken[c]);
      }
      subsets_.push_back(std::move(s));
    }
    return known_[key] = {first, static_cast<uint32_t>(found.size())};
  }

  void add(const Label& start, int32_t from, uint32_t begin, uint32_t end, uint32_t d, uint32_t mask, double seconds,
           uint64_t bytes, uint32_t subset, States& at) {
    if (seconds + least_left_[end] > limit_) return;
    Label next = start;
    next.seconds = seconds;
    next.before = from;
    next.begin = begin;
    next.end = end;
    next.device = d;
    next.subset = subset;
    const uint32_t pool = chain_.pool[d], shared = shared_of_[pool];
    if (shared != kNoDevice) next.used[shared] += bytes;
    if (subsets_[subset].bytes) {
      const uint32_t home = chain_.home;
      uint64_t& used = next.used[shared_of_[chain_.pool[home]]];
      used += subsets_[subset].bytes;
      if (!next.home_used && !(mask >> home & 1)) used += chain_.base[home];
      next.home_used = true;
    }
    for (uint32_t p = 0; p < shared_of_.size(); ++p) {
      if (shared_of_[p] != kNoDevice && next.used[shared_of_[p]] > chain_.room[p]) return;
    }
    auto& state = at[end][(mask | 1u << d) * d_ + d];
    const auto covers = [&](const Label& a, const Label& b) {
      return a.seconds <= b.seconds && a.home_used == b.home_used &&
             std::equal(a.used.begin(), a.used.begin() + n_shared_, b.used.begin(), std::less_equal<>());
    };
    for (const int32_t other : state) {
      if (covers(labels_[other], next)) return;
    }
    std::erase_if(state, [&](int32_t other) { return covers(next, labels_[other]); });
    state.push_back(static_cast<int32_t>(labels_.size()));
    labels_.push_back(next);
  }

  const Chain& chain_;
  const uint32_t n_, d_;
  std::vector<uint32_t> shared_of_;  // per pool: its place in Label::used, or kNoDevice
  uint32_t n_shared_ = 0;
  std::vector<double> least_left_;  // per border: what the items behind it take at least
  double limit_ = kNever;           // a placement that takes no longer is known
  std::vector<Label> labels_;
  std::vector<Subset> subsets_;  // the first is the empty one
  std::map<std::tuple<uint32_t, uint32_t, uint32_t, uint64_t>, std::pair<uint32_t, uint32_t>> known_;
};

}  // namespace

std::optional<ChainPlan> solve(const Chain& chain) {
  if (chain.items.empty() || chain.pool.empty()) return std::nullopt;
  return Solver(chain).run();
}

double seconds_of(const Chain& chain, const std::vector<uint32_t>& device, const std::vector<bool>& apart) {
  std::vector<uint64_t> used(chain.room.size());
  std::vector<bool> takes_part(chain.pool.size());
  const auto join = [&](uint32_t d) {
    if (!takes_part[d]) used[chain.pool[d]] += chain.base[d];
    takes_part[d] = true;
  };
  double seconds = 0;
  for (size_t i = 0; i < device.size(); ++i) {
    const ChainItem& item = chain.items[i];
    const uint32_t d = device[i];
    if (item.seconds[d] == kNever) return kNever;
    join(d);
    used[chain.pool[d]] += item.bytes[d];
    if (apart[i]) {
      join(chain.home);
      used[chain.pool[d]] -= item.expert_bytes;
      used[chain.pool[chain.home]] += item.expert_bytes;
    }
    seconds += apart[i] ? item.apart_seconds[d] : item.seconds[d];
    if (i > 0 && device[i - 1] != d) seconds += chain.crossing[device[i - 1]][d];
  }
  for (size_t p = 0; p < used.size(); ++p) {
    if (used[p] > chain.room[p]) return kNever;
  }
  return seconds;
}

}  // namespace brim::negotiator
