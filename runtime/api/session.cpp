// brim_session_*, brim_sequence_*, brim_generate.
#include <api/guard.hpp>
#include <api/handles.hpp>
#include <negotiator/chain.hpp>

using namespace brim;
using namespace brim::api;

namespace {

engine::Session& session_of(brim_session* handle) { return need(handle, "session").session; }

const std::atomic<uint32_t>* flag_of(const brim_cancel* cancel) { return cancel ? &cancel->fired : nullptr; }

// A generation of some length by a model that does nothing besides tells how fast the machine is. What cannot be kept
// is worth a warning and no more.
void learn_from(const Model& model, const brim_generate_result& done) {
  constexpr uint64_t kLeastSteps = 16;
  const negotiator::Plan& plan = model.engine->plan();
  if (!plan.model->machine->learned || plan.request.n_seqs > 1 || done.n_generated <= kLeastSteps) return;
  if (done.n_guessed > 0) return;  // its steps gave several tokens each
  const auto steps = static_cast<double>(done.n_generated - 1);
  try {
    negotiator::learn(plan, static_cast<double>(done.decode_ns) * 1e-9 / steps,
                      static_cast<double>(done.n_prompt) + steps / 2);
  } catch (const std::exception& e) {
    plan.model->machine->loader->log().write(BRIM_LOG_WARNING, "negotiator",
                                             fmt::format("the speed seen was not kept: {}", e.what()));
  }
}

}  // namespace

brim_status brim_session_create(brim_model* handle, brim_session** out, brim_error* error) {
  return guard(error, [&] {
    need(out, "out") = nullptr;
    const auto& model = need(handle, "model").model;
    const std::lock_guard lock(model->mutex);
    if (!model->engine)
      fail(BRIM_FAILED_PRECONDITION, "{} is not loaded; plan and load it first", model->open->file.path());
    *out = new brim_session{model, engine::Session(model->engine)};
  });
}

void brim_session_destroy(brim_session* session) { delete session; }

brim_status brim_sequence_create(brim_session* session, uint32_t* out, brim_error* error) {
  return guard(error, [&] {
    uint32_t& to = need(out, "out");  // asked before anything is made
    to = session_of(session).create_sequence();
  });
}

brim_status brim_sequence_fork(brim_session* session, uint32_t sequence, uint32_t n_tokens, uint32_t* out,
                               brim_error* error) {
  return guard(error, [&] {
    uint32_t& to = need(out, "out");
    to = session_of(session).fork(sequence, n_tokens);
  });
}

brim_status brim_sequence_trim(brim_session* session, uint32_t sequence, uint32_t n_tokens, brim_error* error) {
  return guard(error, [&] { session_of(session).trim(sequence, n_tokens); });
}

brim_status brim_sequence_remove(brim_session* session, uint32_t sequence, brim_error* error) {
  return guard(error, [&] { session_of(session).remove(sequence); });
}

brim_status brim_sequence_length(brim_session* session, uint32_t sequence, uint32_t* n_tokens, brim_error* error) {
  return guard(error, [&] { need(n_tokens, "n_tokens") = session_of(session).length(sequence); });
}

brim_status brim_sequence_tokens(brim_session* session, uint32_t sequence, int32_t* tokens, uint64_t cap,
                                 uint64_t* need_tokens, brim_error* error) {
  return guard(error, [&] { write_tokens(session_of(session).tokens(sequence), tokens, cap, need_tokens); });
}

brim_status brim_sequence_save(brim_session* session, uint32_t sequence, brim_write_fn write, void* user,
                               brim_error* error) {
  return guard(error, [&] {
    if (!write) fail(BRIM_INVALID_ARGUMENT, "write is NULL");
    session_of(session).save(sequence, [&](std::span<const std::byte> bytes) {
      if (!bytes.empty() && write(user, bytes.data(), bytes.size()) != 0) fail(BRIM_IO, "the host stopped the saving");
    });
  });
}

brim_status brim_sequence_restore(brim_session* session, brim_read_fn read, void* user, uint32_t* out,
                                  brim_error* error) {
  return guard(error, [&] {
    if (!read) fail(BRIM_INVALID_ARGUMENT, "read is NULL");
    uint32_t& to = need(out, "out");
    to = session_of(session).restore([&](std::span<std::byte> bytes) {
      if (!bytes.empty() && read(user, bytes.data(), bytes.size()) != 0) {
        fail(BRIM_IO, "the saved sequence ended early, or the host stopped the reading");
      }
    });
  });
}

brim_status brim_session_submit(brim_session* session, const brim_step* given, brim_error* error) {
  return guard(error, [&] {
    const brim_step step = read_struct(given, "brim_step");
    session_of(session).submit(step, flag_of(step.cancel));
  });
}

brim_status brim_session_wait(brim_session* session, uint64_t timeout_ns, brim_error* error) {
  brim_status status = BRIM_OK;
  const brim_status failed = guard(error, [&] {
    status = session_of(session).wait(timeout_ns);
    if (status == BRIM_DEADLINE && error) fail(BRIM_DEADLINE, "the step is still under way; wait again");
  });
  return failed ? failed : status;
}

brim_status brim_session_step(brim_session* session, const brim_step* step, brim_error* error) {
  const brim_status status = brim_session_submit(session, step, error);
  return status ? status : brim_session_wait(session, UINT64_MAX, error);
}

brim_status brim_session_output(brim_session* session, uint32_t role, uint32_t i, const float** out, uint32_t* n,
                                brim_error* error) {
  return guard(error, [&] {
    const std::span<const float> values = session_of(session).output(role, i);
    need(out, "out") = values.data();
    need(n, "n") = static_cast<uint32_t>(values.size());
  });
}

brim_status brim_generate(brim_session* handle, const brim_generate_info* given, brim_generate_result* result,
                          brim_error* error) {
  return guard(error, [&] {
    const brim_generate_info info = read_struct(given, "brim_generate_info");
    engine::Session& session = session_of(handle);
    if (info.n_prompt && !info.prompt) fail(BRIM_INVALID_ARGUMENT, "prompt is NULL");
    if (info.n_stops && !info.stops) fail(BRIM_INVALID_ARGUMENT, "stops is NULL");
    if (info.sampler) {
      const uint32_t n_vocab = handle->model->open->require_description().model.n_vocab;
      if (info.sampler->sampler.n_vocab() != n_vocab) {
        fail(BRIM_INVALID_ARGUMENT, "the sampler was made for {} tokens; the model's logits have {}",
             info.sampler->sampler.n_vocab(), n_vocab);
      }
    }
    brim_generate_result done{};
    const auto give_result = [&] {
      if (result) write_struct(result, done, "brim_generate_result");
    };
    try {
      session.generate(info, flag_of(info.cancel), info.sampler ? &info.sampler->sampler : nullptr,
                       handle->model->require_tokenizer(), &done);
    } catch (...) {
      give_result();
      throw;
    }
    give_result();
    learn_from(*handle->model, done);
  });
}
