// Decoding takes no memory: neither malloc and its like nor mmap, in any thread, once the first steps have been made.
#include "counters.hpp"
#include "host.hpp"

using namespace brim::test;

TEST_CASE("the counters see what they are to see") {
  Counters::arm();
  std::vector<int>* made = new std::vector<int>(1000);
  const uint64_t calls = Counters::disarm();
  CHECK(made->size() == 1000);
  CHECK(calls >= 2);
  delete made;
}

TEST_CASE("a hundred decode steps over borders of KV blocks allocate nothing in any thread") {
  for (const uint32_t numerics : {BRIM_NUMERICS_FAST, BRIM_NUMERICS_STRICT}) {
    SmallModel m;
    m.q8_0 = true;
    const File file(m);
    brim_plan_request r = request(256, 2);
    r.numerics = numerics;
    Ready ready(file.path, r);
    ready.session.create();
    ready.session.create();
    std::vector<brim_row> step = {row(5, 0, true), row(9, 1, true)};
    const brim_step view = step_of(step);
    ready.session.run(rows(prompt(40, 1), 0));
    const auto decode = [&](int n) {
      brim_status status = BRIM_OK;
      for (int i = 0; i < n && status == BRIM_OK; ++i) {
        step[0].token = 3 + i % 200;
        status = brim_session_step(ready.session.get(), &view, nullptr);
        const float* logits = nullptr;
        uint32_t width = 0;
        if (!status) status = brim_session_output(ready.session.get(), BRIM_OUTPUT_LOGITS, 0, &logits, &width, nullptr);
      }
      return status;
    };
    REQUIRE(decode(5) == BRIM_OK);
    Counters::arm();
    const brim_status status = decode(100);
    const uint64_t calls = Counters::disarm();
    CHECK(status == BRIM_OK);
    CHECK(ready.session.length(0) == 145);
    CHECK(calls == 0);
  }
}

TEST_CASE("generating text allocates nothing from token to token") {
  const File file;
  Ready ready(file.path, request(256));
  ready.session.create();
  struct Seen {
    int tokens = 0;
    uint64_t calls = 0;
  } seen;
  const Tokens p = prompt(20, 1);
  brim_generate_info info{};
  info.struct_size = sizeof(info);
  info.prompt = p.data();
  info.n_prompt = p.size();
  info.max_tokens = 150;
  info.ignore_end = 1;
  info.user = &seen;
  info.on_text = [](void* user, brim_str, int32_t) -> uint32_t {
    auto& s = *static_cast<Seen*>(user);
    ++s.tokens;
    if (s.tokens == 30) Counters::arm();
    if (s.tokens == 130) s.calls = Counters::disarm();
    return 0;
  };
  must([&](brim_error* e) { return brim_generate(ready.session.get(), &info, nullptr, e); });
  CHECK(seen.tokens >= 130);
  CHECK(seen.calls == 0);
}
