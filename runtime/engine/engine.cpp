#include <algorithm>
#include <base/os/machine.hpp>
#include <chrono>
#include <engine/engine.hpp>
#include <system_error>

namespace brim::engine {
namespace {

// An error made without allocating: it must reach the job also when memory has run out.
template <class... Args>
brim_error error_of(brim_status code, std::array<uint64_t, 4> detail, fmt::format_string<Args...> format,
                    Args&&... args) {
  brim_error error = empty_error();
  error.code = code;
  std::copy(detail.begin(), detail.end(), error.detail);
  *fmt::format_to_n(error.message, sizeof(error.message) - 1, format, std::forward<Args>(args)...).out = '\0';
  return error;
}

brim_error cancelled() { return error_of(BRIM_CANCELLED, {}, "the step was cancelled"); }

bool is_cancelled(const Job& job) {
  return job.abandoned.load(std::memory_order_relaxed) || (job.cancel && job.cancel->load(std::memory_order_relaxed));
}

}  // namespace

Engine::Engine(std::shared_ptr<const negotiator::Plan> plan, const LoadOptions& options)
    : plan_(plan),
      stepper_(plan, options),
      watchdog_(*plan, options.memory_left ? options.memory_left : os::memory_left),
      max_outputs_(plan->max_outputs()),
      sequences_(*plan) {
  if (options.progress) options.progress(BRIM_STAGE_WARM_UP, 0, 1);
  stepper_.warm_up(options);
  if (options.progress) options.progress(BRIM_STAGE_WARM_UP, 1, 1);
  const negotiator::Request& r = plan_->request;
  jobs_.reserve(r.n_seqs);
  in_step_.reserve(r.n_seqs);
  copies_.reserve(r.n_seqs * std::max<size_t>(1, plan_->groups.size()));
  taken_.reserve(r.n_batch);
  rows_.reserve(r.n_batch);
  try {
    thread_ = std::thread([this] { loop(); });
  } catch (const std::system_error& e) {
    throw Error(
        BRIM_BUSY,
        fmt::format("the system gives no thread for the engine: {}; close other programs, or raise the limit on "
                    "processes (ulimit -u)",
                    e.code().message()),
        {}, e.code().value(), BRIM_DOMAIN_OS);
  }
}

Engine::~Engine() {
  {
    std::lock_guard lock(mutex_);
    stopping_ = true;
  }
  work_.notify_all();
  thread_.join();
}

uint32_t Engine::n_sequences_alive() const {
  std::lock_guard lock(mutex_);
  return sequences_.n_alive();
}

void Engine::submit(Job& job) {
  {
    std::lock_guard lock(mutex_);
    job.next = job.taken = 0;
    job.error = empty_error();
    job.touched.clear();
    // Where every sequence stands now, for going back; and which of the job's outputs each row gives. Until there is
    // memory for all of it the job has no outputs.
    job.n_outputs.fill(0);
    std::array<uint32_t, kOutputRoles> n_outputs{};
    for (Row& row : job.rows) {
      const auto known = std::find_if(job.touched.begin(), job.touched.end(),
                                      [&](const Touched& t) { return t.sequence == row.sequence; });
      if (known == job.touched.end()) job.touched.push_back({row.sequence, sequences_[row.sequence].length});
      for (uint32_t role = 0; role < kOutputRoles; ++role) {
        if (row.outputs >> role & 1) row.output_index[role] = n_outputs[role]++;
      }
    }
    for (const Touched& t : job.touched) sequences_[t.sequence].safe_slot = sequences_[t.sequence].slot;
    for (uint32_t role = 0; role < kOutputRoles; ++role) {
      job.outputs[role].resize(uint64_t{n_outputs[role]} * stepper_.output_width(role));
    }
    jobs_.push_back(&job);
    job.n_outputs = n_outputs;
    job.active = true;
  }
  work_.notify_one();
}

brim_status Engine::wait(Job& job, uint64_t timeout_ns) {
  std::unique_lock lock(mutex_);
  const auto done = [&] { return !job.active; };
  if (timeout_ns == UINT64_MAX) {
    done_.wait(lock, done);
  } else {
    // A year is long enough, and keeps the clock's arithmetic from overflowing.
    const auto timeout = std::chrono::nanoseconds(std::min<uint64_t>(timeout_ns, 31'536'000'000'000'000));
    if (!done_.wait_for(lock, timeout, done)) return BRIM_DEADLINE;
  }
  return job.error.code;
}

bool Engine::active(const Job& job) const {
  std::lock_guard lock(mutex_);
  return job.active;
}

void Engine::between_steps(const std::function<void(Residency&, Sequences&)>& f) {
  Errand errand{&f, nullptr};
  std::unique_lock lock(mutex_);
  errands_.push_back(&errand);
  work_.notify_one();
  done_.wait(lock, [&] { return errand.done; });
  if (errand.failure) std::rethrow_exception(errand.failure);
}

// The engine's thread. Nothing that is thrown leaves it: it becomes the error of the jobs concerned.
void Engine::loop() {
  std::unique_lock lock(mutex_);
  for (;;) {
    work_.wait(lock, [&] { return stopping_ || !jobs_.empty() || !errands_.empty(); });
    if (!errands_.empty()) {
      Errand& errand = *errands_.front();
      errands_.pop_front();
      lock.unlock();
      try {
        (*errand.run)(stepper_.residency(), sequences_);
      } catch (...) {
        errand.failure = std::current_exception();
      }
      lock.lock();
      errand.done = true;
      done_.notify_all();
      continue;
    }
    if (jobs_.empty()) return;  // stopping
    choose_rows();
    if (taken_.empty()) continue;  // every job ended without a step
    lock.unlock();
    brim_status status = BRIM_OK;
    brim_error error = empty_error();
    bool copied = false;
    try {
      stepper_.copy_blocks(copies_);
      copied = true;
      build_step();
      // A step that serves one job may stop in its middle; one that serves several runs to its end.
      const auto* cancel = in_step_.size() == 1 ? in_step_.front()->cancel : nullptr;
      const auto timed = std::ranges::find_if(in_step_, [](const Job* job) { return job->timed != nullptr; });
      status = timed == in_step_.end() ? stepper_.run(cancel)
                                       : stepper_.run_timed(cancel, (*timed)->timed, (*timed)->timed_user);
      if (status == BRIM_CANCELLED) error = cancelled();
    } catch (...) {
      status = report_current_exception(&error);
    }
    if (status == BRIM_OK) {
      for (Job* job : in_step_) hand_out(*job);
    }
    lock.lock();
    for (const BlockCopy& copy : copies_) {
      if (!copied) sequences_.undo(copy);
      sequences_.let_go(copy);
    }
    finish_step(status, error);
  }
}

// Looks at the system's memory and gives back what no sequence needs; false where that does not suffice.
bool Engine::may_take_blocks() {
  using Memory = Watchdog::Memory;
  const auto now = Watchdog::Clock::now();
  if (watchdog_.look(now) == Memory::kEnough) return true;
  bool gave = false;
  sequences_.each_used_free([&](uint32_t group, int32_t block) {
    stepper_.residency().discard_block(group, block);
    gave = true;
  });
  return watchdog_.look(now, gave) != Memory::kDry;
}

// Which rows run next: every job gets an equal share of the batch, and what some leave over goes to the others.
void Engine::choose_rows() {
  taken_.clear();
  in_step_.clear();
  copies_.clear();
  for (size_t i = 0; i < jobs_.size();) {
    Job& job = *jobs_[i];
    if (job.next == job.rows.size()) {
      end_job(job);
    } else if (is_cancelled(job)) {
      fail_job(job, cancelled());
    } else {
      ++i;
    }
  }
  if (jobs_.empty()) return;
  const size_t batch = plan_->request.n_batch;
  size_t n_rows = 0, n_outputs = 0;
  const bool embeddings = !jobs_.front()->embeddings.empty();
  const size_t share = std::max<size_t>(1, batch / jobs_.size());
  for (const size_t budget : {share, batch}) {
    for (size_t i = 0; i < jobs_.size() && n_rows < batch; ++i) {
      Job& job = *jobs_[i];
      if (job.embeddings.empty() == embeddings) continue;  // tokens and embeddings are different programs
      take_rows(job, std::min(budget, batch - n_rows), &n_rows, &n_outputs);
    }
  }
  // Blocks for what was taken. A job that finds too few fails alone.
  const bool memory = may_take_blocks();
  for (size_t i = 0; i < jobs_.size();) {
    Job& job = *jobs_[i];
    const bool grows = std::any_of(job.touched.begin(), job.touched.end(),
                                   [&](const Touched& t) { return sequences_.takes_blocks(t.sequence, t.added); });
    if (grows && !memory) {
      fail_job(job, error_of(BRIM_OUT_OF_MEMORY, {0, watchdog_.floor(), watchdog_.left(), 0},
                             "the system has {} bytes of memory left and {} have to stay free, so the step was not "
                             "run; close other programs, or remove sequences",
                             watchdog_.left(), watchdog_.floor()));
      continue;
    }
    const size_t n_copies = copies_.size();
    bool room = true;
    for (const Touched& t : job.touched)
      room = room && (t.added == 0 || sequences_.extend(t.sequence, t.added, &copies_));
    if (room) {
      if (job.taken) in_step_.push_back(&job);
      ++i;
      continue;
    }
    for (size_t c = n_copies; c < copies_.size(); ++c) sequences_.undo(copies_[c]);
    copies_.resize(n_copies);
    const uint32_t held = job.touched.front().length;
    fail_job(job,
             error_of(BRIM_CONTEXT_FULL, {held, job.rows.size(), plan_->request.n_ctx, 0},
                      "the pool of {} KV tokens is used up by all sequences together; remove or trim some, or plan "
                      "with more kv_tokens",
                      plan_->request.kv_tokens));
  }
  for (const BlockCopy& copy : copies_) sequences_.keep(copy);
  for (Job* job : in_step_) {
    for (size_t r = job->next; r < job->next + job->taken; ++r) taken_.push_back({job, r});
  }
  // The next step begins with another job.
  if (jobs_.size() > 1) std::rotate(jobs_.begin(), jobs_.begin() + 1, jobs_.end());
}

void Engine::take_rows(Job& job, size_t budget, size_t* n_rows, size_t* n_outputs) {
  for (; budget > 0 && job.next + job.taken < job.rows.size(); --budget) {
    const Row& row = job.rows[job.next + job.taken];
    if (row.outputs && *n_outputs == max_outputs_) return;
    *n_outputs += row.outputs != 0;
    ++*n_rows;
    ++job.taken;
    for (Touched& t : job.touched) t.added += t.sequence == row.sequence;
  }
}

// Rows of one sequence together, in their order: jobs one after the other, within a job by sequence.
void Engine::build_step() {
  size_t begin = 0;
  rows_.clear();
  for (Job* job : in_step_) {
    const size_t end = begin + job->taken;
    size_t at = begin;
    for (const Touched& t : job->touched) {
      uint32_t index = sequences_[t.sequence].length;
      for (size_t r = job->next; r < job->next + job->taken; ++r) {
        const Row& row = job->rows[r];
        if (row.sequence != t.sequence) continue;
        StepRow step{};
        step.token = row.token;
        step.sequence = row.sequence;
        step.index = index;
        step.adapter = row.adapter;
        step.position.fill(static_cast<int32_t>(index));
        if (row.n_position) step.position = row.position;
        step.wants_output = row.outputs != 0;
        const uint64_t width = plan_->model->description->model.width;
        step.embedding = job->embeddings.empty() ? nullptr : job->embeddings.data() + r * width;
        rows_.push_back(step);
        taken_[at++] = {job, r};
        ++index;
      }
    }
    begin = end;
  }
  stepper_.compose(rows_, sequences_);
}

// Copies the job's rows out of the devices' output buffers, which the next step overwrites.
void Engine::hand_out(Job& job) {
  uint32_t output = 0;
  for (size_t i = 0; i < taken_.size(); ++i) {
    const Row& row = taken_[i].job->rows[taken_[i].row];
    if (taken_[i].job == &job) {
      for (uint32_t role = 0; role < kOutputRoles; ++role) {
        if (!(row.outputs >> role & 1)) continue;
        const uint64_t width = stepper_.output_width(role);
        const uint64_t from = role == BRIM_OUTPUT_POOLED ? stepper_.sequence_index(static_cast<uint32_t>(i)) : output;
        std::copy_n(stepper_.output(role) + from * width, width,
                    job.outputs[role].data() + row.output_index[role] * width);
      }
    }
    output += row.outputs != 0;
  }
}

void Engine::finish_step(brim_status status, const brim_error& error) {
  for (Job* job : in_step_) {
    if (status != BRIM_OK) {
      fail_job(*job, error);
      continue;
    }
    publish(*job);
    if (job->next == job->rows.size()) end_job(*job);
  }
  in_step_.clear();
  taken_.clear();
}

void Engine::publish(Job& job) {
  for (size_t r = job.next; r < job.next + job.taken; ++r) {
    sequences_[job.rows[r].sequence].tokens.push_back(job.embeddings.empty() ? job.rows[r].token : -1);
  }
  for (Touched& t : job.touched) {
    Sequence& s = sequences_[t.sequence];
    if (t.added && sequences_.has_recurrent()) s.slot = next_slot(s);
    s.length += t.added;
    t.added = 0;
  }
  job.next += job.taken;
  job.taken = 0;
  const bool done = job.next == job.rows.size();
  for (const Touched& t : job.touched) {
    sequences_.slide(t.sequence, done ? sequences_[t.sequence].length - job.guessed : t.length);
  }
}

// As before the job: lengths, blocks, slots.
void Engine::fail_job(Job& job, const brim_error& error) {
  for (Touched& t : job.touched) {
    sequences_.trim(t.sequence, t.length);
    sequences_[t.sequence].slot = sequences_[t.sequence].safe_slot;
    t.added = 0;
  }
  job.taken = 0;
  job.n_outputs.fill(0);
  job.error = error;
  end_job(job);
}

void Engine::end_job(Job& job) {
  job.active = false;
  jobs_.erase(std::find(jobs_.begin(), jobs_.end(), &job));
  done_.notify_all();
}

}  // namespace brim::engine
