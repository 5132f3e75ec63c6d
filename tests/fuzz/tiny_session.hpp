// A session on the tiny model, for what saves and restores sequences.
#pragma once

#include "host.hpp"
#include "tiny_model.hpp"

namespace brim::fuzz {

inline brim_session* tiny_session() {
  const std::string path = temp_folder() / "tiny.gguf";
  tiny_model().write(path);
  brim_runtime* runtime = small_runtime();
  brim_model* model = nullptr;
  must([&](brim_error* e) { return brim_model_open(runtime, str_of(path), {}, &model, e); });
  brim_plan_request request{};
  request.struct_size = sizeof(request);
  request.n_ctx = 48;
  request.n_seqs = 2;
  request.n_batch = 4;
  request.numerics = BRIM_NUMERICS_STRICT;
  brim_plan* plan = nullptr;
  must([&](brim_error* e) { return brim_plan_create(model, &request, &plan, e); });
  must([&](brim_error* e) { return brim_model_load(model, plan, nullptr, e); });
  brim_session* session = nullptr;
  must([&](brim_error* e) { return brim_session_create(model, &session, e); });
  // The session keeps what it needs alive.
  brim_plan_destroy(plan);
  brim_model_close(model);
  brim_runtime_destroy(runtime);
  return session;
}

}  // namespace brim::fuzz
