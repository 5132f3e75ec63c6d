// Sequences: saved and restored, forked, trimmed, removed; the pool of KV tokens that they share.
#include "host.hpp"

using namespace brim::test;

namespace {

Tokens part(const Tokens& t, size_t from, size_t to) { return {t.begin() + from, t.begin() + to}; }

std::vector<Logits> alone(const std::string& path, const brim_plan_request& r, const Tokens& tokens) {
  Ready ready(path, r);
  ready.session.create();
  return ready.session.run(tokens);
}

}  // namespace

TEST_CASE("a sequence saved in the middle and restored goes on with the same bits") {
  SmallModel m;
  m.width = 128;
  const File file(m);
  const Tokens tokens = prompt(60, 1);
  for (const uint32_t kv : {BRIM_DTYPE_F32, BRIM_DTYPE_F16, BRIM_DTYPE_Q8_0}) {
    CAPTURE(kv);
    brim_plan_request r = request(128, 2);
    r.kv_dtype = kv;
    const auto wanted = alone(file.path, r, tokens);
    Ready first(file.path, r);
    first.session.create();
    first.session.run(part(tokens, 0, 37));
    const auto saved = first.session.save(0);
    // In the same session, and in another runtime.
    const uint32_t again = first.session.restore(saved);
    CHECK(first.session.tokens(again) == part(tokens, 0, 37));
    CHECK(same_bits(first.session.run(part(tokens, 37, 60), again), {wanted.begin() + 37, wanted.end()}));
    Ready second(file.path, r, 1);
    const uint32_t there = second.session.restore(saved);
    CHECK(same_bits(second.session.run(part(tokens, 37, 60), there), {wanted.begin() + 37, wanted.end()}));
    // Saving changed nothing for the one that was saved.
    CHECK(same_bits(first.session.run(part(tokens, 37, 60), 0), {wanted.begin() + 37, wanted.end()}));
  }
}

TEST_CASE("a damaged or foreign saved sequence is refused and leaves nothing behind") {
  const File file;
  SmallModel other_model;
  other_model.ff = 128;
  const File other(other_model);
  Ready r(file.path, strict(128, 2));
  r.session.create();
  r.session.run(prompt(20, 1));
  const auto saved = r.session.save(0);
  uint32_t s = 0;
  auto bytes = saved;
  bytes[bytes.size() / 2] ^= std::byte{1};
  CHECK(r.session.try_restore(bytes, &s).code == BRIM_DATA_CORRUPT);
  bytes = saved;
  bytes[0] = std::byte{'X'};
  CHECK(r.session.try_restore(bytes, &s).code == BRIM_DATA_CORRUPT);
  for (const size_t n : {size_t{0}, size_t{10}, size_t{50}, saved.size() - 1}) {
    bytes.assign(saved.begin(), saved.begin() + static_cast<ptrdiff_t>(n));
    CHECK(r.session.try_restore(bytes, &s).code == BRIM_IO);
  }
  // Two are allowed: the place of each failed one is free again.
  r.session.restore(saved);

  Ready foreign(other.path, strict());
  CHECK(foreign.session.try_restore(saved, &s).code == BRIM_INCOMPATIBLE);
  brim_plan_request half = request();
  half.kv_dtype = BRIM_DTYPE_F16;
  Ready halved(file.path, half);
  CHECK(halved.session.try_restore(saved, &s).code == BRIM_INCOMPATIBLE);
  Ready small(file.path, strict(16));
  CHECK(small.session.try_restore(saved, &s).code == BRIM_CONTEXT_FULL);
}

TEST_CASE("forks diverge as separate runs would, and the one they came from goes on undisturbed") {
  const File file;
  const Tokens common = prompt(43, 1), left = part(prompt(30, 2), 1, 30), right = part(prompt(30, 3), 1, 30);
  const auto joined = [&](const Tokens& tail, size_t n) {
    Tokens t = part(common, 0, n);
    t.insert(t.end(), tail.begin(), tail.end());
    return t;
  };
  const auto a = alone(file.path, strict(), joined(left, 43)), b = alone(file.path, strict(), joined(right, 43)),
             c = alone(file.path, strict(), joined(right, 20));
  Ready r(file.path, strict(128, 3));
  r.session.create();
  r.session.run(common);
  const uint32_t whole = r.session.fork(0), early = r.session.fork(0, 20);
  CHECK(r.session.length(whole) == 43);
  CHECK(r.session.tokens(early) == part(common, 0, 20));
  // All three in one step: every one writes into a block that it shares.
  std::vector<brim_row> mixed;
  for (size_t i = 0; i < 29; ++i) {
    mixed.push_back(row(left[i], 0, true));
    mixed.push_back(row(right[i], whole, true));
    mixed.push_back(row(right[i], early, true));
  }
  const auto logits = r.session.run(mixed);
  for (size_t i = 0; i < 29; ++i) {
    CHECK(same_bits(logits[3 * i], a[43 + i]));
    CHECK(same_bits(logits[3 * i + 1], b[43 + i]));
    CHECK(same_bits(logits[3 * i + 2], c[20 + i]));
  }
}

TEST_CASE("a fork lives on when the one it came from is removed") {
  const File file;
  const Tokens tokens = prompt(50, 4);
  const auto wanted = alone(file.path, strict(), tokens);
  Ready r(file.path, strict(128, 2));
  r.session.create();
  r.session.run(part(tokens, 0, 30));
  const uint32_t fork = r.session.fork(0);
  r.session.remove(0);
  // Its place and blocks are used by another text.
  r.session.run(prompt(100, 8), r.session.create());
  CHECK(same_bits(r.session.run(part(tokens, 30, 50), fork), {wanted.begin() + 30, wanted.end()}));
}

TEST_CASE("a trimmed sequence goes on as if it had never gone further") {
  const File file;
  const Tokens tokens = prompt(60, 1);
  const auto wanted = alone(file.path, strict(), tokens);
  Ready r(file.path, strict());
  r.session.create();
  for (const uint32_t n : {0u, 1u, 16u, 31u, 59u}) {
    CAPTURE(n);
    r.session.trim(0, 0);
    r.session.run(part(tokens, 0, n ? n : 1));
    r.session.run(part(prompt(50, 77), 1, 50));
    r.session.trim(0, n);
    CHECK(r.session.length(0) == n);
    CHECK(same_bits(r.session.run(part(tokens, n, 60)), {wanted.begin() + n, wanted.end()}));
  }
  CHECK(call([&](brim_error* e) { return brim_sequence_trim(r.session.get(), 0, 61, e); }).code ==
        BRIM_INVALID_ARGUMENT);
}

TEST_CASE("sequences share a pool of KV tokens, and removing one makes room") {
  const File file;
  brim_plan_request request = strict(128, 2);
  request.kv_tokens = 128;
  Ready r(file.path, request);
  r.session.create();
  r.session.create();
  r.session.run(prompt(100, 1), 0);
  r.session.run(prompt(20, 2), 1);
  const Failed full = r.session.try_run(rows(prompt(100, 3), 1));
  CHECK(full.code == BRIM_CONTEXT_FULL);
  CHECK(full.message.find("kv_tokens") != std::string::npos);
  CHECK(full.detail == std::vector<uint64_t>{20, 100, 128, 0});
  CHECK(r.session.length(1) == 20);
  r.session.remove(0);
  const auto wanted = alone(file.path, strict(), [] {
    Tokens t = prompt(20, 2);
    const Tokens more = prompt(100, 3);
    t.insert(t.end(), more.begin(), more.end());
    return t;
  }());
  CHECK(same_bits(r.session.run(prompt(100, 3), 1), {wanted.begin() + 20, wanted.end()}));
}

TEST_CASE("as many sequences live as were planned, over all sessions") {
  const File file;
  Ready r(file.path, strict(64, 3));
  Session other(r.model);
  r.session.create();
  other.create();
  r.session.create();
  uint32_t s = 0;
  CHECK(call([&](brim_error* e) { return brim_sequence_create(other.get(), &s, e); }).code == BRIM_BUSY);
  CHECK(call([&](brim_error* e) { return brim_sequence_fork(r.session.get(), 0, BRIM_AUTO, &s, e); }).code ==
        BRIM_BUSY);
  r.session.destroy();
  other.create();
  other.create();
}
