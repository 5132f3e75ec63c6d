#include <algorithm>
#include <base/os/machine.hpp>
#include <base/team.hpp>
#include <chrono>
#include <cstdio>
#include <system_error>

#if defined(__x86_64__) || defined(__i386__)
#include <immintrin.h>
#endif

namespace brim {
namespace {

// Longer than the gap between two programs of a decode step, shorter than anybody's time slice.
constexpr std::chrono::microseconds kLookout{50};

inline void pause() noexcept {
#if defined(__x86_64__) || defined(__i386__)
  _mm_pause();
#elif defined(__aarch64__)
  asm volatile("isb" ::: "memory");
#endif
}

// Returns the first value that is not `old`: awake for kLookout, asleep from then on.
uint32_t await_change(const std::atomic<uint32_t>& value, uint32_t old) noexcept {
  const auto end = std::chrono::steady_clock::now() + kLookout;
  do {
    for (int i = 0; i < 64; ++i) {
      const uint32_t now = value.load(std::memory_order_acquire);
      if (now != old) return now;
      pause();
    }
  } while (std::chrono::steady_clock::now() < end);
  for (;;) {
    value.wait(old, std::memory_order_acquire);
    const uint32_t now = value.load(std::memory_order_acquire);
    if (now != old) return now;
  }
}

// The team whose task this thread is in.
thread_local const Team* working_for = nullptr;

}  // namespace

Team::Team(uint32_t threads) {
  const uint32_t wanted = threads > 1 ? threads - 1 : 0;
  if (wanted == 0) return;
  calls_ = std::make_unique<Call[]>(wanted);
  workers_.reserve(wanted);
  const os::SignalsBlocked blocked;
  for (uint32_t i = 0; i < wanted; ++i) {
    try {
      workers_.emplace_back([this, i] { work(i + 1); });
    } catch (const std::exception&) {
      break;  // no further thread is to be had: the team is what there is
    }
  }
  size_ = static_cast<uint32_t>(workers_.size()) + 1;
}

Team::Team(HostTeam host) : size_(std::max(1u, host.threads)), host_(host) {}

Team::~Team() {
  leaving_ = true;
  for (size_t i = 0; i < workers_.size(); ++i) {
    calls_[i].number.fetch_add(1, std::memory_order_release);
    calls_[i].number.notify_one();
  }
  for (std::thread& worker : workers_) worker.join();
}

void Team::work(uint32_t index) noexcept {
  char name[16];
  std::snprintf(name, sizeof(name), "brim-%u", index);
  os::name_this_thread(name);
  working_for = this;
  std::atomic<uint32_t>& call = calls_[index - 1].number;
  for (uint32_t seen = 0;;) {
    seen = await_change(call, seen);
    if (leaving_) return;
    fn_(arg_, index, count_);
    if (pending_.fetch_sub(1, std::memory_order_acq_rel) == 1) pending_.notify_one();
  }
}

uint32_t Team::run(uint32_t want, brim_task_fn fn, void* arg) noexcept {
  const uint32_t count = std::min(std::max(1u, want), size_);
  if (count == 1 || working_for == this) {
    fn(arg, 0, 1);
    return 1;
  }
  const std::lock_guard turn(turn_);
  const Team* const outer = working_for;
  working_for = this;
  uint32_t got = count;
  if (host_.run) {
    got = std::min(count, std::max(1u, host_.run(host_.user, count, fn, arg)));
  } else {
    fn_ = fn;
    arg_ = arg;
    count_ = count;
    pending_.store(count - 1, std::memory_order_relaxed);
    for (uint32_t i = 0; i + 1 < count; ++i) {
      calls_[i].number.fetch_add(1, std::memory_order_release);
      calls_[i].number.notify_one();
    }
    fn(arg, 0, count);
    for (uint32_t left; (left = pending_.load(std::memory_order_acquire)) != 0;) await_change(pending_, left);
  }
  working_for = outer;
  return got;
}

std::shared_ptr<Team> shared_team(uint32_t threads) {
  // Never destroyed: at exit there is no moment at which joining threads would be safe.
  struct Holder {
    std::mutex mutex;
    std::weak_ptr<Team> team;
  };
  static Holder& holder = *new Holder;
  const std::lock_guard lock(holder.mutex);
  std::shared_ptr<Team> team = holder.team.lock();
  if (!team) {
    team = std::make_shared<Team>(threads ? threads : os::usable_cores());
    holder.team = team;
  }
  return team;
}

}  // namespace brim
