// The scheduler: blocks one after the other, the warps of a block in turns from barrier to barrier, the lanes of a warp
// in groups that stand at the same place.
#include <algorithm>

#include "lanes.hpp"

namespace ptx {
namespace {

constexpr uint32_t kNowhere = ~0u;

class Runner {
 public:
  Runner(const Kernel& kernel, Shape grid, Shape block, std::span<const std::byte> params, const Memory& memory,
         const Options& options)
      : kernel_(kernel), options_(options), writes_(kernel.global_granule) {
    block_.kernel = &kernel;
    block_.writes = &writes_;
    block_.host = options.host;
    block_.memory = &memory;
    block_.params = params;
    block_.grid = grid;
    block_.block = block;
    block_.shared.resize(kernel.shared_bytes);
    block_.touches.resize(kernel.shared_bytes / kernel.shared_granule + 1);
    const auto n_warps = static_cast<uint32_t>((block.count() + 31) / 32);
    block_.local.resize(uint64_t{n_warps} * 32 * kernel.local_bytes);
    warps_.resize(n_warps);
    for (uint32_t i = 0; i < n_warps; ++i) {
      Warp& w = warps_[i];
      w.block = &block_;
      w.number = i;
      w.arena.resize((kernel.arena_bytes + 63) / 64 + 1);
      std::memcpy(w.arena.data(), kernel.rows.data(), kernel.rows.size());
      w.defined.resize(kernel.n_registers);
      w.truth.resize(kernel.n_registers);
    }
  }

  void run(Counts* counts) {
    const uint64_t n = block_.grid.count();
    for (uint64_t i = 0; i < n; ++i) run_block(options_.reversed ? n - 1 - i : i);
    if (counts != nullptr) counts->warp_instructions += instructions_;
  }

 private:
  void run_block(uint64_t number) {
    block_.number = static_cast<uint32_t>(number);
    block_.at.x = static_cast<uint32_t>(number % block_.grid.x);
    block_.at.y = static_cast<uint32_t>(number / block_.grid.x % block_.grid.y);
    block_.at.z = static_cast<uint32_t>(number / block_.grid.x / block_.grid.y);
    block_.epoch = 1;
    std::fill(block_.touches.begin(), block_.touches.end(), Touch{});
    std::memset(block_.local.data(), 0xff, block_.local.size());
    for (Warp& w : warps_) start(w);
    const size_t n = warps_.size();
    for (bool all_done = false; !all_done;) {
      for (size_t i = 0; i < n; ++i) {
        Warp& w = warps_[options_.reversed ? n - 1 - i : i];
        if (w.alive != 0) go_on(w);
      }
      size_t waiting = 0;
      for (const Warp& w : warps_) waiting += w.at_barrier ? 1 : 0;
      all_done = waiting == 0;
      for (Warp& w : warps_) {
        if (all_done) break;
        const uint32_t first = static_cast<uint32_t>(std::countr_zero(w.alive | 1u << 31));
        if (!w.at_barrier || w.pc != warps_[0].pc || w.alive != everyone(w)) {
          fail_in(w, kernel_.code[w.pc < kernel_.code.size() ? w.pc : 0], first,
                  "some threads of the block wait at a barrier that others have left behind or do not reach");
        }
      }
      if (all_done) break;
      ++block_.epoch;
      for (Warp& w : warps_) {
        w.at_barrier = false;
        ++w.pc;
      }
    }
  }

  uint32_t everyone(const Warp& w) const {
    const uint64_t left = block_.block.count() - uint64_t{w.number} * 32;
    return left >= 32 ? ~0u : (1u << left) - 1u;
  }

  void start(Warp& w) {
    w.alive = w.mask = everyone(w);
    w.pc = 0;
    w.epoch = 1;
    w.at_barrier = false;
    w.groups.clear();
    w.copies.clear();
    std::ranges::fill(w.committed_groups, 0u);
    std::fill(w.defined.begin(), w.defined.end(), 0);
    for (const Kernel::Special& special : kernel_.special) {
      w.defined[special.at.index] = ~0u;
      uint32_t* row = w.row<uint32_t>(special.at);
      const Shape &b = block_.block, &g = block_.grid;
      for (uint32_t lane = 0; lane < 32; ++lane) {
        const uint32_t thread = w.number * 32 + lane;
        const uint32_t values[] = {thread % b.x,
                                   thread / b.x % b.y,
                                   thread / b.x / b.y,
                                   b.x,
                                   b.y,
                                   b.z,
                                   block_.at.x,
                                   block_.at.y,
                                   block_.at.z,
                                   g.x,
                                   g.y,
                                   g.z,
                                   lane,
                                   w.number};
        row[lane] = values[special.which];
      }
    }
  }

  // Where the running group next meets another one.
  static uint32_t meeting(const Warp& w) {
    uint32_t at = kNowhere;
    for (const Group& g : w.groups) {
      if (g.pc >= w.pc) at = std::min(at, g.pc);
    }
    return at;
  }
  static void merge(Warp& w) {
    std::erase_if(w.groups, [&](const Group& g) {
      if (g.pc != w.pc) return false;
      w.mask |= g.mask;
      return true;
    });
  }
  // The group furthest behind that need not wait goes on. False: none is left.
  static bool take_next(Warp& w) {
    const auto next = std::ranges::min_element(w.groups, {}, [](const Group& g) { return g.waits ? kNowhere : g.pc; });
    if (next == w.groups.end()) return false;
    if (next->waits) return false;
    w.pc = next->pc;
    w.mask = next->mask;
    w.groups.erase(next);
    merge(w);
    return true;
  }
  // After a jump: is another group further behind?
  static void yield(Warp& w) {
    if (w.groups.empty()) return;
    for (const Group& g : w.groups) {
      if (g.waits || g.pc > w.pc) continue;
      w.groups.push_back({w.pc, w.mask, false});
      take_next(w);
      return;
    }
    merge(w);
  }

  void need_defined(const Warp& w, const Instruction& in, const Operand& o, uint32_t mask) const {
    const uint32_t missing = o.index == kNone ? 0 : mask & ~w.defined[o.index];
    if (missing != 0) {
      fail_in(w, in, static_cast<uint32_t>(std::countr_zero(missing)), "reads a register that was never written");
    }
  }

  // Until the warp waits at a barrier of the block, or has ended.
  void go_on(Warp& w) {
    uint32_t meets = meeting(w);
    const Instruction* code = kernel_.code.data();
    for (;;) {
      if (w.pc == meets) {
        merge(w);
        meets = w.groups.empty() ? kNowhere : meeting(w);
      }
      const Instruction& in = code[w.pc];
      uint32_t mask = w.mask;
      if (in.guard != kNone) {
        if ((mask & ~w.defined[in.guard]) != 0) {
          fail_in(w, in, static_cast<uint32_t>(std::countr_zero(mask & ~w.defined[in.guard])),
                  "is guarded by a predicate that was never written");
        }
        mask &= in.guard_negated ? ~w.truth[in.guard] : w.truth[in.guard];
      }
      if (++instructions_ == options_.most_instructions) fail_in(w, in, 0, "runs on without an end");
      if (options_.reached != nullptr) options_.reached[w.pc] = 1;
      switch (in.flow) {
        case Flow::kPlain:
          if (mask != 0) execute(w, in, mask);
          ++w.pc;
          continue;
        case Flow::kBranch: {
          const uint32_t stay = w.mask & ~mask;
          if (mask == 0) {
            ++w.pc;
            continue;
          }
          if (stay != 0) w.groups.push_back({w.pc + 1, stay, false});
          w.mask = mask;
          w.pc = in.target;
          yield(w);
          meets = meeting(w);
          continue;
        }
        case Flow::kBranchTable: {
          need_defined(w, in, in.from[0], mask);
          each_lane(mask, [&](uint32_t lane) {
            const uint32_t index = w.row<uint32_t>(in.from[0])[lane];
            if (index >= in.targets.size()) fail_in(w, in, lane, "branches outside of its table");
            w.groups.push_back({in.targets[index], 1u << lane, false});
          });
          if ((w.mask & ~mask) != 0) w.groups.push_back({w.pc + 1, w.mask & ~mask, false});
          take_next(w);
          meets = meeting(w);
          continue;
        }
        case Flow::kExit:
          if (mask != w.mask) {
            w.alive &= ~mask;
            w.mask &= ~mask;
            ++w.pc;
            wake(w);
            continue;
          }
          w.alive &= ~mask;
          wake(w);
          if (w.alive == 0) return;
          if (!take_next(w)) stuck(w, in);
          meets = meeting(w);
          continue;
        case Flow::kBarrier:
          if (mask != w.mask) fail_in(w, in, 0, "a barrier under a condition that only some lanes meet");
          if (w.mask == w.alive) {
            w.at_barrier = true;
            return;
          }
          park(w, in);
          meets = meeting(w);
          continue;
        default: {
          // The lanes that the last operand names have to be here together.
          const Operand& named = in.from[in.n_from - 1];
          const uint32_t lane = static_cast<uint32_t>(std::countr_zero(mask));
          if (mask == 0) {
            ++w.pc;
            continue;
          }
          const uint32_t wanted = w.row<uint32_t>(named)[lane] & everyone(w);
          if ((wanted & ~w.alive) != 0) fail_in(w, in, lane, "waits for lanes that have ended");
          if ((mask & ~wanted) != 0) fail_in(w, in, lane, "takes part without being named in the mask");
          if ((wanted & ~mask) != 0) {
            park(w, in);
            meets = meeting(w);
            continue;
          }
          if (in.flow == Flow::kWarpBarrier) {
            ++w.epoch;
          } else {
            execute(w, in, mask);
          }
          ++w.pc;
        }
      }
    }
  }

  void execute(Warp& w, const Instruction& in, uint32_t mask) {
    for (uint32_t i = 0; i < in.n_from; ++i) need_defined(w, in, in.from[i], mask);
    in.step(w, in, mask);
    for (uint32_t i = 0; i < in.n_to; ++i) {
      if (in.to[i].index != kNone) w.defined[in.to[i].index] |= mask;
    }
  }

  // The running group waits for others to come to where it is.
  void park(Warp& w, const Instruction& in) {
    w.groups.push_back({w.pc, w.mask, true});
    if (!take_next(w)) stuck(w, in);
  }
  static void wake(Warp& w) {
    for (Group& g : w.groups) g.waits = false;
  }
  [[noreturn]] void stuck(const Warp& w, const Instruction& in) const {
    fail_in(w, in, static_cast<uint32_t>(std::countr_zero(w.mask | 1u << 31)),
            "lanes of one warp wait for each other at different places");
  }

  const Kernel& kernel_;
  const Options options_;
  Writes writes_;
  Block block_;
  std::vector<Warp> warps_;
  uint64_t instructions_ = 0;
};

}  // namespace

void fail_in(const Warp& w, const Instruction& in, uint32_t lane, const std::string& what) {
  const Block& b = *w.block;
  throw Fault("kernel " + b.kernel->name + ", PTX line " + std::to_string(in.line) + ", block (" +
              std::to_string(b.at.x) + ", " + std::to_string(b.at.y) + ", " + std::to_string(b.at.z) + "), thread " +
              std::to_string(w.number * 32 + lane) + ": " + what);
}

void launch(const Kernel& kernel, Shape grid, Shape block, std::span<const std::byte> params, const Memory& memory,
            const Options& options, Counts* counts) {
  if (block.count() == 0 || block.count() > kernel.max_threads) {
    throw Fault("kernel " + kernel.name + ": a block of " + std::to_string(block.count()) + " threads, of at most " +
                std::to_string(kernel.max_threads));
  }
  if (params.size() < kernel.param_bytes) {
    throw Fault("kernel " + kernel.name + " has parameters of " + std::to_string(kernel.param_bytes) + " bytes; " +
                std::to_string(params.size()) + " were given");
  }
  Runner(kernel, grid, block, params, memory, options).run(counts);
}

}  // namespace ptx
