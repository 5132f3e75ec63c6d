// The CPU team: threads that work on one task together. The caller is one of them (index 0), the others are workers
// that the team keeps. A worker that has nothing to do looks for work for some tens of microseconds, so that the next
// step of a decode loop finds it awake, and then sleeps until it is called; an idle team takes no CPU time. One run at
// a time: a second caller waits for its turn. run() allocates nothing.
//
// One team serves every runtime of the process (shared_team); a runtime may make its own, or wrap the host program's
// threads. It holds no queue of tasks, steals no work and pins no thread. It does not survive fork(): a child makes a
// new one.
#pragma once

#include <brim/plugin.h>

#include <atomic>
#include <cstdint>
#include <memory>
#include <mutex>
#include <thread>
#include <type_traits>
#include <vector>

namespace brim {

// The host program's own threads: brim_runtime_config.team_run.
struct HostTeam {
  uint32_t(BRIM_CALL* run)(void* user, uint32_t want, brim_task_fn fn, void* arg) = nullptr;
  void* user = nullptr;
  uint32_t threads = 1;  // the most that run can give
};

class Team {
 public:
  // `threads` counts the caller; 0 and 1 make a team without workers. Where the system refuses a thread the team is
  // smaller. Throws nothing but bad_alloc.
  explicit Team(uint32_t threads);
  explicit Team(HostTeam host);
  ~Team();  // nobody runs anything on it any more
  Team(const Team&) = delete;
  Team& operator=(const Team&) = delete;

  // [any] The most threads that run() can give, the caller counted.
  uint32_t size() const noexcept { return size_; }

  // [any] Runs fn(arg, i, got) for i in 0 .. got-1, all live at once, the caller as index 0; returns got when all have
  // returned. 1 <= got <= max(1, want). Called from within fn it runs alone (got = 1).
  uint32_t run(uint32_t want, brim_task_fn fn, void* arg) noexcept;

  // The same for any callable task(index, count), which must not throw.
  template <class Task>
  uint32_t run(uint32_t want, Task&& task) noexcept {
    return run(
        want,
        [](void* arg, uint32_t index, uint32_t count) noexcept {
          (*static_cast<std::remove_reference_t<Task>*>(arg))(index, count);
        },
        const_cast<void*>(static_cast<const void*>(&task)));
  }

 private:
  // What one worker is called by, on a cache line of its own.
  struct alignas(64) Call {
    std::atomic<uint32_t> number{0};  // changes once per run that this worker takes part in
  };

  void work(uint32_t index) noexcept;

  uint32_t size_ = 1;
  HostTeam host_;
  std::mutex turn_;
  // The task in hand: written before the calls, constant until `pending_` is 0.
  brim_task_fn fn_ = nullptr;
  void* arg_ = nullptr;
  uint32_t count_ = 0;
  bool leaving_ = false;
  alignas(64) std::atomic<uint32_t> pending_{0};  // workers that have not finished
  std::unique_ptr<Call[]> calls_;                 // [workers]
  std::vector<std::thread> workers_;
};

// [any] The process's team, made by the first that asks, with `threads` threads (0: os::usable_cores()); later ones get
// it as it is. It ends with the last that holds it.
std::shared_ptr<Team> shared_team(uint32_t threads);

}  // namespace brim
