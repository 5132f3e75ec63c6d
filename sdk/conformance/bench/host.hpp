// A host's services, as a plugin's instance gets them: an allocator that counts, watches its edges and can refuse, a
// team of threads that live as long as the host, and a log that is kept.
#pragma once

#include <brim/plugin.h>

#include <atomic>
#include <condition_variable>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <unordered_map>
#include <vector>

#include "fenced.hpp"

namespace check {

class Host {
 public:
  struct Shape {
    uint32_t abi_minor = BRIM_ABI_MINOR;
    uint32_t api_bytes = sizeof(brim_host_api);  // of the table: an older host's is smaller, a newer one's larger
    uint32_t threads = 3;
  };
  Host();
  explicit Host(const Shape& shape);
  ~Host();
  Host(const Host&) = delete;

  const brim_host_api* api() const { return table_.as<brim_host_api>(); }
  brim_host* handle() { return reinterpret_cast<brim_host*>(this); }

  // Members that team_run gives at most, from now on.
  void limit_team(uint32_t most) { team_limit_ = most; }

  // The n-th allocation from now on (from 0) is refused; with `and_all_later` every one after it too. -1: none any
  // more.
  void refuse(int64_t n, bool and_all_later = false);
  bool refused() const { return refused_; }

  uint64_t live_bytes() const;
  uint64_t live_blocks() const;
  uint64_t allocations() const { return allocations_; }  // ever
  void mark_peak();                                      // peak_bytes() counts from what is live now
  uint64_t peak_bytes() const { return peak_; }
  uint64_t team_runs() const { return team_runs_; }
  uint64_t freed_while_marked() const { return frees_; }

  // What the plugin did wrong with these services, in words; also looks at the edges of everything that is live.
  std::vector<std::string> sins();
  std::vector<std::string> log() const;

 private:
  struct Block {
    uint64_t bytes, alignment;
    void* raw;
  };
  struct Team;

  void* take(uint64_t bytes, uint64_t alignment);
  void give_back(void* p, uint64_t bytes, uint64_t alignment);
  uint32_t run_team(uint32_t want, brim_task_fn fn, void* arg);
  void sin(std::string what);
  bool edges_hold(const void* p, const Block& block) const;

  Fenced table_;
  uint32_t threads_;
  mutable std::mutex mutex_;
  std::unordered_map<void*, Block> live_;
  uint64_t live_bytes_ = 0, peak_ = 0, mark_ = 0;
  std::atomic<uint64_t> allocations_{0}, frees_{0}, team_runs_{0};
  std::atomic<int64_t> refuse_at_{-1};
  std::atomic<bool> refuse_later_{false}, refused_{false};
  std::atomic<uint32_t> team_limit_{UINT32_MAX};
  std::vector<std::string> sins_, log_;
  std::unique_ptr<Team> team_;
};

}  // namespace check
