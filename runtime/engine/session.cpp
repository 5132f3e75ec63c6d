#include <algorithm>
#include <engine/session.hpp>

namespace brim::engine {
namespace {

// The recurrent states of a sequence into the current slots of another, on the engine's thread.
void copy_slots(Residency& memory, const Sequences& sequences, uint32_t from, uint32_t to) {
  const auto slot = [&](uint32_t id) { return uint64_t{id} * negotiator::kSlotsPerSequence + sequences[id].slot; };
  const auto& states = memory.plan().states;
  for (uint32_t i = 0; i < states.size(); ++i) {
    if (states[i].group != negotiator::kNoGroup || states[i].storage != i) continue;
    brim_buffer* buffer = memory.state(i).buffer;
    const uint64_t bytes = states[i].layout.block_bytes;
    Device& device = *memory.on(states[i].device).device;
    device.copy(buffer, bytes * slot(to), buffer, bytes * slot(from), bytes);
    device.finish();
  }
}

}  // namespace

Session::Session(std::shared_ptr<Engine> engine) : engine_(std::move(engine)) {}

Session::~Session() {
  if (under_way_) {
    job_.abandoned.store(1);  // rows that run now end with their step
    engine_->wait(job_, UINT64_MAX);
  }
  engine_->with_sequences([&](Sequences& sequences) {
    for (const Local& s : sequences_) {
      if (s.id != kNone) sequences.remove(static_cast<uint32_t>(s.id));
    }
  });
}

void Session::idle() const {
  if (under_way_) fail(BRIM_BUSY, "a step of this session is under way; wait for it first");
}

Session::Local& Session::at(uint32_t sequence) {
  if (sequence >= sequences_.size() || sequences_[sequence].id == kNone) {
    fail(BRIM_NOT_FOUND, "the session has no sequence {}; it was removed or never created", sequence);
  }
  return sequences_[sequence];
}

uint32_t Session::adopt(uint32_t id) {
  const auto unused = std::find_if(sequences_.begin(), sequences_.end(), [](const Local& s) { return s.id == kNone; });
  const auto local = unused == sequences_.end() ? sequences_.insert(unused, Local{}) : unused;
  *local = {static_cast<int32_t>(id), kNone};
  return static_cast<uint32_t>(local - sequences_.begin());
}

uint32_t Session::create_sequence() {
  idle();
  sequences_.reserve(sequences_.size() + 1);
  const auto id = engine_->with_sequences([](Sequences& s) { return s.create(); });
  if (!id) {
    fail(BRIM_BUSY, "all {} sequences of the plan are alive; remove one, or plan with more sequences",
         engine_->plan().request.n_seqs);
  }
  return adopt(*id);
}

namespace {

// Can the sequence's first n tokens be had?
void check_reach(const Sequences& sequences, uint32_t id, uint32_t n) {
  const uint32_t shortest = sequences.shortest(id);
  if (n == 0 || n >= shortest) return;
  fail(BRIM_UNSUPPORTED,
       "{} cannot go back from {} to {} tokens: the least is {}, or 0 and what is wanted is run again",
       sequences.has_recurrent() ? "the model's recurrent states" : "layers with a sliding window",
       sequences[id].length, n, shortest);
}

}  // namespace

uint32_t Session::fork(uint32_t sequence, uint32_t n_tokens) {
  idle();
  const Local from = at(sequence);
  const auto from_id = static_cast<uint32_t>(from.id);
  sequences_.reserve(sequences_.size() + 1);
  uint32_t held = 0;
  const auto id = engine_->with_sequences([&](Sequences& s) -> std::optional<uint32_t> {
    held = s[from_id].length;
    if (n_tokens == BRIM_AUTO) n_tokens = held;
    if (n_tokens > held)
      fail(BRIM_INVALID_ARGUMENT, "sequence {} holds {} tokens; {} cannot be forked", sequence, held, n_tokens);
    check_reach(s, from_id, n_tokens);
    return s.fork(from_id, n_tokens);
  });
  if (!id) {
    fail(BRIM_BUSY, "all {} sequences of the plan are alive; remove one, or plan with more sequences",
         engine_->plan().request.n_seqs);
  }
  const uint32_t local = adopt(*id);
  if (n_tokens == held) sequences_[local].pending = from.pending;
  if (engine_->with_sequences([](Sequences& s) { return s.has_recurrent(); })) {
    try {
      engine_->between_steps([&](Residency& memory, Sequences& s) { copy_slots(memory, s, from_id, *id); });
    } catch (...) {
      remove(local);
      throw;
    }
  }
  return local;
}

void Session::trim(uint32_t sequence, uint32_t n_tokens) {
  idle();
  Local& local = at(sequence);
  engine_->with_sequences([&](Sequences& s) {
    const uint32_t held = s[static_cast<uint32_t>(local.id)].length;
    if (n_tokens > held)
      fail(BRIM_INVALID_ARGUMENT, "sequence {} holds {} tokens; it cannot be trimmed to {}", sequence, held, n_tokens);
    check_reach(s, static_cast<uint32_t>(local.id), n_tokens);
    s.trim(static_cast<uint32_t>(local.id), n_tokens);
  });
  local.pending = kNone;
}

void Session::remove(uint32_t sequence) {
  idle();
  Local& local = at(sequence);
  engine_->with_sequences([&](Sequences& s) { s.remove(static_cast<uint32_t>(local.id)); });
  local = {};
}

uint32_t Session::length(uint32_t sequence) {
  const Local& local = at(sequence);
  return engine_->with_sequences([&](Sequences& s) { return s[static_cast<uint32_t>(local.id)].length; });
}

std::vector<int32_t> Session::tokens(uint32_t sequence) {
  const Local& local = at(sequence);
  return engine_->with_sequences([&](Sequences& s) { return s[static_cast<uint32_t>(local.id)].tokens; });
}

void Session::check_room(uint32_t sequence, uint64_t more) {
  const uint32_t n_ctx = engine_->plan().request.n_ctx, held = length(sequence);
  if (held + more <= n_ctx) return;
  throw Error(
      BRIM_CONTEXT_FULL,
      fmt::format("sequence {} holds {} tokens and {} more exceed its context of {}; trim it, or plan with a larger "
                  "context",
                  sequence, held, more, n_ctx),
      {held, more, n_ctx, 0});
}

void Session::begin_job(const std::atomic<uint32_t>* cancel) {
  job_.rows.clear();
  job_.embeddings.clear();
  job_.cancel = cancel;
  job_.timed = nullptr;
  job_.guessed = 0;
  more_.clear();
}

void Session::submit(const brim_step& step, const std::atomic<uint32_t>* cancel) {
  idle();
  const negotiator::Request& r = engine_->plan().request;
  const brim_model_desc& model = engine_->plan().model->description->model;
  if (step.n_rows == 0) fail(BRIM_INVALID_ARGUMENT, "the step has no rows");
  if (!step.rows || step.row_stride < sizeof(brim_row)) {
    fail(BRIM_INVALID_ARGUMENT, "rows are missing or their stride of {} is below {}", step.row_stride,
         sizeof(brim_row));
  }
  begin_job(cancel);
  job_.rows.reserve(step.n_rows);
  const bool embeddings = BRIM_ELEM(brim_row, step.rows, step.row_stride, 0)->embedding != nullptr;
  if (embeddings && !(r.inputs >> BRIM_INPUT_EMBEDDING & 1)) {
    fail(BRIM_FAILED_PRECONDITION, "rows come as embeddings; the plan has to ask for them in `inputs`");
  }
  more_.assign(sequences_.size(), 0);
  for (uint32_t i = 0; i < step.n_rows; ++i) {
    const brim_row& given = *BRIM_ELEM(brim_row, step.rows, step.row_stride, i);
    const Local& local = at(given.sequence);
    if ((given.embedding != nullptr) != embeddings) {
      fail(BRIM_INVALID_ARGUMENT, "row {}: rows of one step are all tokens or all embeddings", i);
    }
    if (!embeddings && (given.token < 0 || (model.n_vocab && static_cast<uint32_t>(given.token) >= model.n_vocab))) {
      fail(BRIM_INVALID_ARGUMENT, "row {}: token {} is outside of the vocabulary of {}", i, given.token, model.n_vocab);
    }
    if (given.outputs & ~r.outputs) {
      fail(BRIM_INVALID_ARGUMENT, "row {}: outputs {:#x} were not planned; the plan has {:#x}", i, given.outputs,
           r.outputs);
    }
    if (given.adapter != 0) fail(BRIM_NOT_FOUND, "row {}: no adapter {} is loaded", i, given.adapter);
    if (given.n_position != 0 && given.n_position != model.n_position) {
      fail(BRIM_INVALID_ARGUMENT, "row {}: {} position components; the model takes {}", i, given.n_position,
           model.n_position);
    }
    ++more_[given.sequence];
    Row row{};
    row.token = embeddings ? 0 : given.token;
    row.sequence = static_cast<uint32_t>(local.id);
    row.outputs = given.outputs;
    row.adapter = -1;
    row.n_position = given.n_position;
    std::copy(std::begin(given.position), std::end(given.position), row.position.begin());
    job_.rows.push_back(row);
    if (embeddings) job_.embeddings.insert(job_.embeddings.end(), given.embedding, given.embedding + model.width);
  }
  for (uint32_t s = 0; s < more_.size(); ++s) {
    if (!more_[s]) continue;
    check_room(s, more_[s]);
  }
  job_.timed = step.timed;
  job_.timed_user = step.timed_user;
  engine_->submit(job_);
  under_way_ = true;
}

brim_status Session::wait(uint64_t timeout_ns) {
  if (!under_way_) fail(BRIM_FAILED_PRECONDITION, "no step of this session is under way");
  const brim_status status = engine_->wait(job_, timeout_ns);
  if (status == BRIM_DEADLINE && engine_->active(job_)) return BRIM_DEADLINE;
  under_way_ = false;
  const brim_error& e = job_.error;
  if (e.code != BRIM_OK) {
    throw Error(e.code, e.message, {e.detail[0], e.detail[1], e.detail[2], e.detail[3]}, e.native_code, e.domain);
  }
  // What the host ran by itself took the place of a token that generate had left pending.
  for (uint32_t s = 0; s < more_.size(); ++s) {
    if (more_[s]) sequences_[s].pending = kNone;
  }
  return BRIM_OK;
}

std::span<const float> Session::output(uint32_t role, uint32_t i) const {
  idle();
  if (role >= kOutputRoles || i >= job_.n_outputs[role]) {
    fail(BRIM_NOT_FOUND, "the last step gave {} rows of output {}; row {} was asked for",
         role < kOutputRoles ? job_.n_outputs[role] : 0, role, i);
  }
  const size_t width = job_.outputs[role].size() / job_.n_outputs[role];
  return {job_.outputs[role].data() + i * width, width};
}

// The tokens, the last `guessed` of which may be trimmed again, with logits of those and of the one before them. After
// the first calls nothing here allocates.
void Session::run_tokens(uint32_t sequence, std::span<const int32_t> tokens, uint32_t guessed,
                         const std::atomic<uint32_t>* cancel) {
  begin_job(cancel);
  job_.guessed = guessed;
  for (const int32_t token : tokens) {
    Row row{};
    row.token = token;
    row.sequence = static_cast<uint32_t>(at(sequence).id);
    row.adapter = -1;
    job_.rows.push_back(row);
  }
  for (auto row = job_.rows.end() - 1 - guessed; row != job_.rows.end(); ++row) row->outputs = 1u << BRIM_OUTPUT_LOGITS;
  engine_->submit(job_);
  under_way_ = true;
  wait(UINT64_MAX);
}

}  // namespace brim::engine
