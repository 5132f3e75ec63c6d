// Layers that see a sliding window: what fell out of it is given back, and nobody notices but the memory.
#include <chrono>
#include <thread>

#include "host.hpp"

using namespace brim::test;

namespace {

constexpr uint32_t kWindow = 40;  // no multiple of a block

SmallModel windowed(uint32_t window = kWindow) {
  SmallModel m;
  m.window = window;
  m.context = 4096;
  return m;
}

Tokens part(const Tokens& t, size_t from, size_t to) { return {t.begin() + from, t.begin() + to}; }

uint64_t kv_bytes(const std::string& path, uint32_t n_ctx, uint32_t n_seqs = 1) {
  const Runtime runtime(1);
  const Model model(runtime, path);
  uint64_t bytes = 0;
  for (const brim_plan_pool& pool : Plan(model.get(), strict(n_ctx, n_seqs)).pools()) bytes += pool.kv;
  return bytes;
}

// Steps of so many rows at most.
brim_plan_request in_steps_of(uint32_t n, uint32_t n_ctx = 1024, uint32_t n_seqs = 1) {
  brim_plan_request r = strict(n_ctx, n_seqs);
  r.n_batch = n;
  return r;
}

std::vector<Logits> alone(const std::string& path, const Tokens& tokens) {
  Ready r(path, strict(1024));
  r.session.create();
  return r.session.run(tokens);
}

}  // namespace

TEST_CASE("a longer context costs memory in layers that see all of it only") {
  const File some(windowed()), none(windowed(4096));
  const uint64_t all_layers = kv_bytes(none.path, 4096) - kv_bytes(none.path, 2048);
  CHECK(kv_bytes(some.path, 4096) - kv_bytes(some.path, 2048) == all_layers / 2);
  // A context no longer than the window takes what it always took.
  CHECK(kv_bytes(some.path, 32) == kv_bytes(none.path, 32));
}

TEST_CASE("a sequence many windows long fits, and its bits do not depend on how it was cut") {
  const File file(windowed());
  const Tokens tokens = prompt(700, 1);
  const auto wanted = alone(file.path, tokens);
  for (const uint32_t batch : {1u, 7u, 32u, 256u}) {
    CAPTURE(batch);
    Ready whole(file.path, in_steps_of(batch));
    whole.session.create();
    CHECK(same_bits(whole.session.run(tokens), wanted));
    Ready pieces(file.path, in_steps_of(batch));
    pieces.session.create();
    std::vector<Logits> got;
    for (size_t at = 0; at < tokens.size(); at += 90) {
      const auto more = pieces.session.run(part(tokens, at, std::min<size_t>(at + 90, tokens.size())));
      got.insert(got.end(), more.begin(), more.end());
    }
    CHECK(same_bits(got, wanted));
  }
}

TEST_CASE("sequences side by side never run out of blocks and do not disturb each other") {
  const File file(windowed());
  Ready r(file.path, in_steps_of(64, 512, 3));
  std::vector<Tokens> texts;
  std::vector<std::vector<Logits>> got(3);
  for (uint32_t s = 0; s < 3; ++s) {
    r.session.create();
    texts.push_back(prompt(500, s + 1));
  }
  for (size_t at = 0; at < 500; at += 125) {
    std::vector<brim_row> step;
    for (uint32_t s = 0; s < 3; ++s) {
      const auto more = rows(part(texts[s], at, at + 125), s);
      step.insert(step.end(), more.begin(), more.end());
    }
    const auto out = r.session.run(step);
    for (size_t i = 0; i < out.size(); ++i) got[i / 125].push_back(out[i]);
  }
  for (uint32_t s = 0; s < 3; ++s) CHECK(same_bits(got[s], alone(file.path, texts[s])));
}

TEST_CASE("a long prompt that is cancelled in its middle goes back to where the window was") {
  const File file(windowed());
  Ready r(file.path, in_steps_of(1, 512));
  const Tokens held = prompt(150, 1), more = prompt(300, 2), after = prompt(50, 3);
  Tokens both = held;
  both.insert(both.end(), after.begin(), after.end());
  const auto wanted = alone(file.path, both);
  int cancelled = 0;
  for (int attempt = 0; attempt < 300 && cancelled < 3; ++attempt) {
    const uint32_t s = r.session.create();
    r.session.run(held, s);
    brim_cancel* cancel = nullptr;
    must([&](brim_error* e) { return brim_cancel_create(&cancel, e); });
    const auto work = rows(more, s);
    const brim_step step = step_of(work, cancel);
    must([&](brim_error* e) { return brim_session_submit(r.session.get(), &step, e); });
    std::thread other([&] {
      std::this_thread::sleep_for(std::chrono::microseconds(attempt % 24 * 500));
      brim_cancel_fire(cancel);
    });
    const Failed f = call([&](brim_error* e) { return brim_session_wait(r.session.get(), UINT64_MAX, e); });
    other.join();
    brim_cancel_destroy(cancel);
    if (f.code == BRIM_CANCELLED) {
      ++cancelled;
      CHECK(r.session.length(s) == 150);
      CHECK(same_bits(r.session.run(after, s), {wanted.begin() + 150, wanted.end()}));
    }
    r.session.remove(s);
  }
  CHECK(cancelled == 3);
}

TEST_CASE("a sequence goes back as far as its window is still held, and says how far that is") {
  const File file(windowed());
  const Tokens tokens = prompt(300, 1);
  const auto wanted = alone(file.path, tokens);
  Ready r(file.path, in_steps_of(64, 512, 2));
  r.session.create();
  r.session.run(part(tokens, 0, 200));
  // The row at 200 sees 161 to 200, which lie in blocks of 32 from 160 on; the block before, from 128 on, is kept too,
  // and the first row that sees no more than that is the one at 167.
  const Failed f = call([&](brim_error* e) { return brim_sequence_trim(r.session.get(), 0, 166, e); });
  CHECK(f.code == BRIM_UNSUPPORTED);
  CHECK_MESSAGE(f.message.find("167") != std::string::npos, f.message);
  CHECK(r.session.length(0) == 200);
  uint32_t fork = 0;
  CHECK(call([&](brim_error* e) { return brim_sequence_fork(r.session.get(), 0, 100, &fork, e); }).code ==
        BRIM_UNSUPPORTED);
  fork = r.session.fork(0, 167);
  CHECK(same_bits(r.session.run(part(tokens, 167, 300), fork), {wanted.begin() + 167, wanted.end()}));
  r.session.trim(0, 167);
  CHECK(same_bits(r.session.run(part(tokens, 167, 300), 0), {wanted.begin() + 167, wanted.end()}));
  r.session.trim(0, 0);
  CHECK(same_bits(r.session.run(part(tokens, 0, 50), 0), {wanted.begin(), wanted.begin() + 50}));
}

TEST_CASE("a saved sequence holds the window only and goes on with the same bits, forked too") {
  const File file(windowed());
  const Tokens tokens = prompt(400, 1);
  const auto wanted = alone(file.path, tokens);
  Ready r(file.path, in_steps_of(64, 512, 3));
  r.session.create();
  std::vector<size_t> sizes;
  for (const size_t n : {100u, 200u, 300u}) {
    r.session.run(part(tokens, n - 100, n));
    sizes.push_back(r.session.save(0).size());
  }
  // Per token: its id, and K and V of the layer that sees everything, 2 heads of 16 in F32.
  CHECK(sizes[1] - sizes[0] == 100 * (4 + 2 * 2 * 16 * 4));
  CHECK(sizes[2] - sizes[1] == sizes[1] - sizes[0]);
  const uint32_t again = r.session.restore(r.session.save(0)), forked = r.session.fork(0);
  for (const uint32_t s : {again, forked, 0u}) {
    CHECK(same_bits(r.session.run(part(tokens, 300, 400), s), {wanted.begin() + 300, wanted.end()}));
  }
}
