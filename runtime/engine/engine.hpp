// The engine of one loaded model: its memory, its sequences, and the one thread that runs steps. Sessions submit jobs;
// each step takes rows of all jobs that wait, fairly by tokens, up to the plan's batch, so that sessions decode
// together. A row's result does not depend on whom it shares a step with.
//
// Locking: one mutex guards jobs and the sequence table and is held for bookkeeping only, never while devices work. A
// sequence is changed by its session while no job of that session is active, and by the engine's thread while one is.
#pragma once

#include <condition_variable>
#include <deque>
#include <engine/job.hpp>
#include <engine/sequences.hpp>
#include <engine/stepper.hpp>
#include <engine/watchdog.hpp>
#include <functional>
#include <mutex>
#include <thread>

namespace brim::engine {

class Engine {
 public:
  // [control] Allocates and loads everything, compiles the first programs, starts the thread. All or nothing.
  Engine(std::shared_ptr<const negotiator::Plan> plan, const LoadOptions& options);
  // Every session is gone. Waits for the thread.
  ~Engine();
  Engine(const Engine&) = delete;
  Engine& operator=(const Engine&) = delete;

  const negotiator::Plan& plan() const { return *plan_; }
  const std::shared_ptr<const negotiator::Plan>& shared_plan() const { return plan_; }
  uint32_t n_sequences_alive() const;
  // Bytes allocated on each device of the plan, in its order.
  uint64_t allocated(uint32_t device) { return stepper_.residency().on(device).device->allocated(); }
  uint64_t most_allocated(uint32_t device) { return stepper_.residency().on(device).device->most_allocated(); }

  // [any] Hands the job over; it stays where it is until wait() has returned something else than DEADLINE.
  void submit(Job& job);
  // [any] Its status, or DEADLINE; timeout_ns UINT64_MAX waits for ever.
  brim_status wait(Job& job, uint64_t timeout_ns);
  bool active(const Job& job) const;

  // Runs f with the sequence table under the lock. [any]
  template <class F>
  auto with_sequences(const F& f) {
    std::lock_guard lock(mutex_);
    return f(sequences_);
  }
  // Runs f on the engine's thread between two steps, where queues may be used, and waits. Rethrows what f throws. [any]
  void between_steps(const std::function<void(Residency&, Sequences&)>& f);

 private:
  struct Errand {
    const std::function<void(Residency&, Sequences&)>* run;
    std::exception_ptr failure;
    bool done = false;
  };

  void loop();
  void choose_rows();
  bool may_take_blocks();
  void take_rows(Job& job, size_t budget, size_t* n_rows, size_t* n_outputs);
  void build_step();
  void finish_step(brim_status status, const brim_error& error);
  void fail_job(Job& job, const brim_error& error);
  void end_job(Job& job);
  void publish(Job& job);
  void hand_out(Job& job);

  std::shared_ptr<const negotiator::Plan> plan_;
  Stepper stepper_;
  Watchdog watchdog_;
  uint32_t max_outputs_;

  mutable std::mutex mutex_;
  std::condition_variable work_, done_;
  Sequences sequences_;
  std::vector<Job*> jobs_;  // active, in the order of their turn
  std::deque<Errand*> errands_;
  bool stopping_ = false;

  // The step under way; the engine's thread only. Reserved once.
  std::vector<Job*> in_step_;
  std::vector<BlockCopy> copies_;
  struct Taken {
    Job* job;
    size_t row;  // of the job
  };
  std::vector<Taken> taken_;   // rows in step order
  std::vector<StepRow> rows_;  // the same as devices see them
  std::thread thread_;
};

}  // namespace brim::engine
