// A client's handle on a group of sequences: checks what the host asks for, numbers its sequences, owns the one job
// that it can have under way, and gives back all of its sequences at the end. [session]: one thread at a time.
#pragma once

#include <engine/engine.hpp>
#include <engine/sampler.hpp>
#include <functional>
#include <memory>
#include <span>
#include <text/tokenizer.hpp>

namespace brim::engine {

class Session {
 public:
  explicit Session(std::shared_ptr<Engine> engine);
  // Cancels and waits for what is under way.
  ~Session();
  Session(const Session&) = delete;
  Session& operator=(const Session&) = delete;

  uint32_t create_sequence();
  uint32_t fork(uint32_t sequence, uint32_t n_tokens);  // BRIM_AUTO: all
  void trim(uint32_t sequence, uint32_t n_tokens);
  void remove(uint32_t sequence);
  uint32_t length(uint32_t sequence);
  std::vector<int32_t> tokens(uint32_t sequence);

  // Throws what is wrong with the rows before anything is under way.
  void submit(const brim_step& step, const std::atomic<uint32_t>* cancel);
  // DEADLINE while it is under way, OK, or throws its error.
  brim_status wait(uint64_t timeout_ns);
  std::span<const float> output(uint32_t role, uint32_t i) const;

  // See brim_generate. Fills `result` also when it throws CANCELLED.
  void generate(const brim_generate_info& info, const std::atomic<uint32_t>* cancel, Sampler* sampler,
                const text::Tokenizer& tokenizer, brim_generate_result* result);

  // See brim_sequence_save and _restore; write and read throw to stop.
  void save(uint32_t sequence, const std::function<void(std::span<const std::byte>)>& write);
  uint32_t restore(const std::function<void(std::span<std::byte>)>& read);

  const Engine& engine() const { return *engine_; }

 private:
  static constexpr int32_t kNone = -1;
  struct Local {
    int32_t id = kNone;       // the engine's; kNone: removed
    int32_t pending = kNone;  // a generated token that has not been run
  };

  void idle() const;  // throws BUSY while a step is under way
  Local& at(uint32_t sequence);
  uint32_t adopt(uint32_t id);
  void check_room(uint32_t sequence, uint64_t more);
  void begin_job(const std::atomic<uint32_t>* cancel);
  void run_tokens(uint32_t sequence, std::span<const int32_t> tokens, uint32_t guessed,
                  const std::atomic<uint32_t>* cancel);
  bool may_guess() const;

  std::shared_ptr<Engine> engine_;
  std::vector<Local> sequences_;
  std::vector<uint64_t> more_;  // per sequence: rows of the step that the host submitted; empty in generate
  Job job_;
  bool under_way_ = false;
};

}  // namespace brim::engine
