#include "host.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <new>

#include "../os/os.hpp"

namespace check {
namespace {

constexpr uint64_t kEdge = 64;  // bytes of guard on either side of a block
constexpr std::byte kGuard{0xa7}, kFresh{0xff}, kGone{0xdd};
constexpr uint64_t kMostBytes = 8ull << 30;  // more than any test's plugin needs; refused as exhausted

Host& of(brim_host* host) { return *reinterpret_cast<Host*>(host); }

thread_local bool in_team = false;

uint64_t step_of(uint64_t alignment) { return std::max<uint64_t>(alignment, 16); }
void release(void* raw, uint64_t alignment) { ::operator delete (raw, std::align_val_t{step_of(alignment)}); }

}  // namespace

// Threads that wait for a piece of work. One caller at a time has them; another that comes meanwhile works alone.
struct Host::Team {
  explicit Team(uint32_t others) {
    for (uint32_t i = 1; i <= others; ++i) {
      threads.emplace_back([this, i] { serve(i); });
    }
  }
  ~Team() {
    {
      const std::lock_guard lock(mutex);
      over = true;
    }
    begin.notify_all();
    for (std::thread& thread : threads) thread.join();
  }

  void serve(uint32_t index) {
    in_team = true;
    uint64_t seen = 0;
    for (;;) {
      std::unique_lock lock(mutex);
      begin.wait(lock, [&] { return over || round != seen; });
      if (over) return;
      seen = round;
      if (index >= count) continue;
      lock.unlock();
      fn(arg, index, count);
      lock.lock();
      if (--busy == 0) done.notify_all();
    }
  }

  // False where others have the team.
  bool run(uint32_t members, brim_task_fn work, void* with) {
    const std::unique_lock owner(use, std::try_to_lock);
    if (!owner) return false;
    {
      const std::lock_guard lock(mutex);
      fn = work;
      arg = with;
      count = members;
      busy = members - 1;
      ++round;
    }
    begin.notify_all();
    work(with, 0, members);
    std::unique_lock lock(mutex);
    done.wait(lock, [&] { return busy == 0; });
    return true;
  }

  std::mutex use, mutex;
  std::condition_variable begin, done;
  std::vector<std::thread> threads;
  brim_task_fn fn = nullptr;
  void* arg = nullptr;
  uint32_t count = 0, busy = 0;
  uint64_t round = 0;
  bool over = false;
};

Host::Host() : Host(Shape{}) {}

Host::Host(const Shape& shape) : table_(shape.api_bytes, 8), threads_(std::max(1u, shape.threads)) {
  brim_host_api api{};
  api.struct_size = shape.api_bytes;
  api.abi_minor = shape.abi_minor;
  api.alloc = [](brim_host* host, uint64_t bytes, uint64_t alignment) { return of(host).take(bytes, alignment); };
  api.free = [](brim_host* host, void* p, uint64_t bytes, uint64_t alignment) {
    of(host).give_back(p, bytes, alignment);
  };
  api.log = [](brim_host* host, uint32_t level, brim_str message) {
    const os::Uncounted own;
    Host& self = of(host);
    if (level > BRIM_LOG_PLUGIN_MISUSE) self.sin(fmt::format("log: level {} is none of BRIM_LOG_*", level));
    const std::lock_guard lock(self.mutex_);
    self.log_.emplace_back(message.ptr == nullptr ? "" : message.ptr, message.ptr == nullptr ? 0 : message.len);
  };
  api.team_run = [](brim_host* host, uint32_t want, brim_task_fn fn, void* arg) {
    return of(host).run_team(want, fn, arg);
  };
  api.team_size = [](brim_host* host) { return of(host).threads_; };
  api.get_interface = [](brim_host*, brim_str) -> const void* { return nullptr; };
  std::memset(table_.data(), 0, shape.api_bytes);
  std::memcpy(table_.data(), &api, std::min<uint64_t>(shape.api_bytes, sizeof(api)));
  table_.seal();
  team_ = std::make_unique<Team>(threads_ - 1);
}

Host::~Host() {
  // What the plugin leaked is a finding of its own; here it only must not stay.
  for (const auto& [p, block] : live_) release(block.raw, block.alignment);
}

void Host::sin(std::string what) {
  const std::lock_guard lock(mutex_);
  if (sins_.size() < 8) sins_.push_back(std::move(what));
}

void Host::refuse(int64_t n, bool and_all_later) {
  if (n >= 0) refused_ = false;
  refuse_later_ = and_all_later;
  refuse_at_ = n;
}

void* Host::take(uint64_t bytes, uint64_t alignment) {
  const os::Uncounted own;
  if (alignment == 0 || (alignment & (alignment - 1)) != 0 || alignment > 4096) {
    sin(fmt::format("alloc: the alignment is {}; a power of two up to 4096 was expected", alignment));
    return nullptr;
  }
  allocations_.fetch_add(1);
  if (refuse_at_ >= 0) {
    if (refuse_at_ == 0) {
      refused_ = true;
      if (!refuse_later_) refuse_at_ = -1;
      return nullptr;
    }
    refuse_at_.fetch_sub(1);
  }
  if (bytes > kMostBytes) return nullptr;
  const uint64_t step = step_of(alignment), lead = (kEdge + step - 1) / step * step;
  const uint64_t whole = (lead + bytes + kEdge + step - 1) / step * step;
  auto* raw = static_cast<std::byte*>(::operator new (whole, std::align_val_t{step}, std::nothrow));
  if (raw == nullptr) return nullptr;
  std::fill(raw, raw + lead, kGuard);
  std::byte* at = raw + lead;
  std::fill(at, at + bytes, kFresh);  // NaN everywhere: what was not written must not be read
  std::fill(at + bytes, raw + whole, kGuard);
  const std::lock_guard lock(mutex_);
  live_[at] = {bytes, alignment, raw};
  live_bytes_ += bytes;
  peak_ = std::max(peak_, live_bytes_ > mark_ ? live_bytes_ - mark_ : 0);
  return at;
}

bool Host::edges_hold(const void* p, const Block& block) const {
  const auto* at = static_cast<const std::byte*>(p);
  const auto guard = [](std::byte b) { return b == kGuard; };
  return std::all_of(at - kEdge, at, guard) && std::all_of(at + block.bytes, at + block.bytes + kEdge, guard);
}

void Host::give_back(void* p, uint64_t bytes, uint64_t alignment) {
  if (p == nullptr) return;
  const os::Uncounted own;
  Block block{};
  {
    const std::lock_guard lock(mutex_);
    const auto found = live_.find(p);
    if (found != live_.end()) {
      block = found->second;
      live_.erase(found);
      live_bytes_ -= block.bytes;
      frees_.fetch_add(1);
    }
  }
  if (block.raw == nullptr) {
    sin("free: the pointer is none that alloc gave, or was freed before");
    return;
  }
  if (block.bytes != bytes || block.alignment != alignment) {
    sin(fmt::format("free: {} bytes aligned to {} were asked for, given back as {} aligned to {}", block.bytes,
                    block.alignment, bytes, alignment));
  }
  if (!edges_hold(p, block)) {
    sin(fmt::format("a block of {} bytes of host memory was written outside of its bounds", block.bytes));
  }
  std::memset(p, static_cast<int>(kGone), block.bytes);
  release(block.raw, block.alignment);
}

uint32_t Host::run_team(uint32_t want, brim_task_fn fn, void* arg) {
  team_runs_.fetch_add(1);
  if (in_team) {
    const os::Uncounted own;
    sin("team_run was called from inside of a team's task; it is not reentrant");
    fn(arg, 0, 1);
    return 1;
  }
  const uint32_t got = std::max(1u, std::min({want, threads_, team_limit_.load()}));
  in_team = true;
  const bool shared = got > 1 && team_->run(got, fn, arg);
  if (!shared) fn(arg, 0, 1);
  in_team = false;
  return shared ? got : 1;
}

uint64_t Host::live_bytes() const {
  const std::lock_guard lock(mutex_);
  return live_bytes_;
}
uint64_t Host::live_blocks() const {
  const std::lock_guard lock(mutex_);
  return live_.size();
}
void Host::mark_peak() {
  const std::lock_guard lock(mutex_);
  mark_ = live_bytes_;
  peak_ = 0;
  frees_ = 0;
}

std::vector<std::string> Host::sins() {
  const std::lock_guard lock(mutex_);
  std::vector<std::string> out = sins_;
  for (const auto& [p, block] : live_) {
    if (!edges_hold(p, block)) {
      out.push_back(fmt::format("a block of {} bytes of host memory was written outside of its bounds", block.bytes));
    }
  }
  sins_.clear();
  return out;
}

std::vector<std::string> Host::log() const {
  const std::lock_guard lock(mutex_);
  return log_;
}

}  // namespace check
