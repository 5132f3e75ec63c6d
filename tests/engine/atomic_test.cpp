// A step happens wholly or not at all; submitted steps; handles that go in any order.
#include <chrono>
#include <thread>

#include "host.hpp"

using namespace brim::test;

namespace {

struct Cancel {
  Cancel() {
    must([&](brim_error* e) { return brim_cancel_create(&handle, e); });
  }
  ~Cancel() { brim_cancel_destroy(handle); }
  brim_cancel* handle = nullptr;
};

// The session's sequence 0 holds `held` and goes on as one that has seen nothing else.
void check_undisturbed(Session& session, const std::string& path, const Tokens& held) {
  CHECK(session.tokens(0) == held);
  Ready fresh(path, strict());
  fresh.session.create();
  fresh.session.run(held);
  const Tokens more = prompt(9, 55);
  CHECK(same_bits(session.run(more), fresh.session.run(more)));
}

}  // namespace

TEST_CASE("a step that is cancelled before it begins changes nothing") {
  const File file;
  Ready r(file.path, strict());
  r.session.create();
  const Tokens held = prompt(21, 1);
  r.session.run(held);
  Cancel cancel;
  brim_cancel_fire(cancel.handle);
  CHECK(r.session.try_run(rows(prompt(30, 2)), cancel.handle).code == BRIM_CANCELLED);
  CHECK(call([&](brim_error* e) {
          const float* out;
          uint32_t n;
          return brim_session_output(r.session.get(), BRIM_OUTPUT_LOGITS, 0, &out, &n, e);
        }).code == BRIM_NOT_FOUND);
  check_undisturbed(r.session, file.path, held);
}

TEST_CASE("a step that is cancelled from another thread in its middle changes nothing") {
  const File file;
  brim_plan_request request = strict(256);
  request.n_batch = 1;  // two hundred steps of the engine
  Ready r(file.path, request);
  r.session.create();
  const Tokens held = prompt(21, 1);
  r.session.run(held);
  int cancelled = 0;
  // The machine may be busy: as often as it takes to hit the middle three times.
  for (int attempt = 0; attempt < 300 && cancelled < 3; ++attempt) {
    Cancel cancel;
    const auto work = rows(prompt(200, 2));
    const brim_step step = step_of(work, cancel.handle);
    must([&](brim_error* e) { return brim_session_submit(r.session.get(), &step, e); });
    std::thread other([&] {
      std::this_thread::sleep_for(std::chrono::microseconds(attempt % 12 * 300));
      brim_cancel_fire(cancel.handle);
    });
    const Failed f = call([&](brim_error* e) { return brim_session_wait(r.session.get(), UINT64_MAX, e); });
    other.join();
    cancelled += f.code == BRIM_CANCELLED;
    if (f.code == BRIM_OK) r.session.trim(0, 21);
    CHECK(r.session.tokens(0) == held);
  }
  CHECK(cancelled == 3);
  check_undisturbed(r.session, file.path, held);
}

TEST_CASE("a full context is typed, says its numbers, and changes nothing") {
  const File file;
  Ready r(file.path, strict(64));
  r.session.create();
  const Tokens held = prompt(40, 1);
  r.session.run(held);
  const Failed f = r.session.try_run(rows(prompt(25, 2)));
  CHECK(f.code == BRIM_CONTEXT_FULL);
  CHECK(f.detail == std::vector<uint64_t>{40, 25, 64, 0});
  check_undisturbed(r.session, file.path, held);
  r.session.trim(0, 40);
  CHECK(r.session.run(prompt(24, 2)).size() == 24);
}

TEST_CASE("generate ends with a typed event where the context is full") {
  const File file;
  Ready r(file.path, strict(32));
  r.session.create();
  brim_generate_info info{};
  info.struct_size = sizeof(info);
  const Tokens p = prompt(20, 1);
  info.prompt = p.data();
  info.n_prompt = p.size();
  info.ignore_end = 1;
  brim_generate_result result{};
  result.struct_size = sizeof(result);
  must([&](brim_error* e) { return brim_generate(r.session.get(), &info, &result, e); });
  CHECK(result.stop == BRIM_STOP_CONTEXT);
  CHECK(result.n_generated == 13);  // 12 of them ran, the last one waits
  CHECK(r.session.length(0) == 32);
}

TEST_CASE("invalid rows are refused and change nothing") {
  const File file;
  Ready r(file.path, strict());
  r.session.create();
  const Tokens held = prompt(17, 1);
  r.session.run(held);
  auto wrong = rows(prompt(5, 2));
  const auto check_refused = [&](brim_status code) { CHECK(r.session.try_run(wrong).code == code); };
  wrong[3].token = static_cast<int32_t>(SmallModel::kVocabulary);
  check_refused(BRIM_INVALID_ARGUMENT);
  wrong[3].token = -1;
  check_refused(BRIM_INVALID_ARGUMENT);
  wrong = rows(prompt(5, 2));
  wrong[4].sequence = 1;
  check_refused(BRIM_NOT_FOUND);
  wrong = rows(prompt(5, 2));
  wrong[2].outputs = 1u << BRIM_OUTPUT_HIDDEN;
  check_refused(BRIM_INVALID_ARGUMENT);
  wrong = rows(prompt(5, 2));
  wrong[2].adapter = 7;
  check_refused(BRIM_NOT_FOUND);
  wrong = rows(prompt(5, 2));
  wrong[2].n_position = 3;
  check_refused(BRIM_INVALID_ARGUMENT);
  const std::vector<float> embedding(64);
  wrong = rows(prompt(5, 2));
  for (brim_row& x : wrong) x.embedding = embedding.data();
  check_refused(BRIM_FAILED_PRECONDITION);
  wrong.clear();
  check_refused(BRIM_INVALID_ARGUMENT);
  check_undisturbed(r.session, file.path, held);
}

TEST_CASE("a submitted step is polled, keeps its session busy, and gives what a step gives") {
  const File file;
  brim_plan_request request = strict(256, 2);
  request.n_batch = 1;
  Ready r(file.path, request);
  r.session.create();
  const auto work = rows(prompt(150, 1));
  const brim_step step = step_of(work);
  CHECK(call([&](brim_error* e) { return brim_session_wait(r.session.get(), 0, e); }).code == BRIM_FAILED_PRECONDITION);
  must([&](brim_error* e) { return brim_session_submit(r.session.get(), &step, e); });
  uint32_t s = 0;
  CHECK(call([&](brim_error* e) { return brim_session_submit(r.session.get(), &step, e); }).code == BRIM_BUSY);
  CHECK(call([&](brim_error* e) { return brim_sequence_create(r.session.get(), &s, e); }).code == BRIM_BUSY);
  CHECK(call([&](brim_error* e) { return brim_sequence_trim(r.session.get(), 0, 0, e); }).code == BRIM_BUSY);
  CHECK(call([&](brim_error* e) { return brim_sequence_remove(r.session.get(), 0, e); }).code == BRIM_BUSY);
  brim_status status = BRIM_DEADLINE;
  while (status == BRIM_DEADLINE) {
    status = brim_session_wait(r.session.get(), 0, nullptr);
  }
  CHECK(status == BRIM_OK);
  Ready other(file.path, strict(256));
  other.session.create();
  CHECK(same_bits(r.session.outputs(work), other.session.run(work)));
}

TEST_CASE("a session may go while its step runs, and its sequences are free again") {
  const File file;
  brim_plan_request request = strict(256);
  request.n_batch = 1;
  Ready r(file.path, request);
  r.session.create();
  const auto work = rows(prompt(250, 1));
  const brim_step step = step_of(work);
  must([&](brim_error* e) { return brim_session_submit(r.session.get(), &step, e); });
  r.session.destroy();
  Session next(r.model);
  next.create();
  check_undisturbed(next, file.path, [&] {
    next.run(prompt(12, 2));
    return prompt(12, 2);
  }());
}

TEST_CASE("a model is not unloaded under its sessions, and is loaded once at a time") {
  const File file;
  Ready r(file.path, strict());
  CHECK(call([&](brim_error* e) { return brim_model_unload(r.model.get(), e); }).code == BRIM_BUSY);
  const Plan plan(r.model.get(), strict());
  CHECK(call([&](brim_error* e) { return brim_model_load(r.model.get(), plan.get(), nullptr, e); }).code ==
        BRIM_FAILED_PRECONDITION);
  r.session.destroy();
  r.model.unload();
  must([&](brim_error* e) { return brim_model_load(r.model.get(), plan.get(), nullptr, e); });
}

TEST_CASE("runtime and model handles may go before the session that lives on them") {
  const File file;
  std::shared_ptr<Misuse> misuse;
  {
    Ready r(file.path, strict());
    misuse = r.runtime.misuse;
    r.session.create();
    r.session.run(prompt(10, 1));
    r.runtime.destroy();
    r.model.close();
    check_undisturbed(r.session, file.path, prompt(10, 1));
  }
  CHECK(misuse->said() == "");
}

TEST_CASE("loading can be cancelled from its progress callback, and leaves the model as it was") {
  SmallModel big;
  big.layers = 4;
  const File file(big);
  Runtime runtime;
  Model model(runtime, file.path);
  brim_plan_request request = strict();
  request.load = BRIM_LOAD_READ;
  const Plan plan(model.get(), request);
  Cancel cancel;
  brim_load_options options{};
  options.struct_size = sizeof(options);
  options.cancel = cancel.handle;
  options.user = cancel.handle;
  options.progress = [](void* user, uint32_t, uint64_t, uint64_t) {
    brim_cancel_fire(static_cast<brim_cancel*>(user));
  };
  CHECK(call([&](brim_error* e) { return brim_model_load(model.get(), plan.get(), &options, e); }).code ==
        BRIM_CANCELLED);
  brim_model_info info{};
  info.struct_size = sizeof(info);
  must([&](brim_error* e) { return brim_model_get_info(model.get(), &info, e); });
  CHECK(info.loaded == 0);
  must([&](brim_error* e) { return brim_model_load(model.get(), plan.get(), nullptr, e); });
  Session session(model);
  session.create();
  CHECK(session.run(prompt(5, 1)).size() == 5);
}
