// Guessing ahead changes how many steps a text takes and nothing else: not the text, not the logits that a host sees,
// not the sequence that is left behind.
#include <engine/lookahead.hpp>

#include "host.hpp"

using namespace brim::test;

namespace {

constexpr uint32_t kGuesses = 8;

// What a host can see of a generation.
struct Seen {
  Tokens chosen;               // by on_text
  std::vector<Logits> logits;  // by on_logits
  std::string text;
  brim_generate_result result{};
  Tokens held;  // by the sequence afterwards
};

struct Ask {
  uint32_t lookahead = 0;
  uint64_t most = 120;
  float temperature = 0;
  Tokens script;       // chosen in place of the likeliest
  size_t stop_at = 0;  // the callback ends it at this token
  std::string stop;    // a stop string
  uint32_t sequence = 0;
};

Seen generate(Ready& ready, const Tokens& prompt, const Ask& ask) {
  struct Call {
    Seen seen;
    const Ask* ask;
    size_t next = 0;
  } heard{{}, &ask};
  heard.seen.result.struct_size = sizeof(brim_generate_result);
  brim_generate_info info{};
  info.struct_size = sizeof(info);
  info.sequence = ask.sequence;
  info.prompt = prompt.data();
  info.n_prompt = prompt.size();
  info.max_tokens = ask.most;
  info.ignore_end = 1;
  info.lookahead = ask.lookahead;
  const brim_str stop = str(ask.stop);
  info.stops = &stop;
  info.n_stops = ask.stop.empty() ? 0 : 1;
  info.user = &heard;
  info.on_text = [](void* user, brim_str piece, int32_t token) -> uint32_t {
    auto& c = *static_cast<Call*>(user);
    c.seen.text.append(piece.ptr, piece.len);
    c.seen.chosen.push_back(token);
    return c.seen.chosen.size() == c.ask->stop_at;
  };
  info.on_logits = [](void* user, float* logits, uint32_t n) {
    static_cast<Call*>(user)->seen.logits.emplace_back(logits, logits + n);
  };
  if (!ask.script.empty()) {
    info.choose = [](void* user, const float*, uint32_t) -> int32_t {
      auto& c = *static_cast<Call*>(user);
      return c.ask->script[c.next++ % c.ask->script.size()];
    };
  }
  brim_sampler* sampler = nullptr;
  if (ask.temperature > 0) {
    brim_sampling sampling{};
    sampling.struct_size = sizeof(sampling);
    sampling.temperature = ask.temperature;
    sampling.seed = 7;
    must([&](brim_error* e) { return brim_sampler_create(&sampling, SmallModel::kVocabulary, &sampler, e); });
    info.sampler = sampler;
  }
  const Failed failed =
      call([&](brim_error* e) { return brim_generate(ready.session.get(), &info, &heard.seen.result, e); });
  brim_sampler_destroy(sampler);
  if (failed.code != BRIM_OK) throw Stopped(failed);
  heard.seen.held = ready.session.tokens(ask.sequence);
  return heard.seen;
}

void check_same(const Seen& a, const Seen& b) {
  CHECK(a.chosen == b.chosen);
  CHECK(a.text == b.text);
  CHECK(a.held == b.held);
  CHECK(a.result.stop == b.result.stop);
  CHECK(a.result.n_generated == b.result.n_generated);
  CHECK(same_bits(a.logits, b.logits));
}

// Plainly and with guesses, then both a second time from where that left them.
Seen check_both(const std::string& path, const brim_plan_request& r, const Tokens& prompt, Ask ask) {
  Ready plain(path, r), ahead(path, r);
  plain.session.create();
  ahead.session.create();
  Ask guessing = ask;
  guessing.lookahead = kGuesses;
  const Seen wanted = generate(plain, prompt, ask), got = generate(ahead, prompt, guessing);
  check_same(got, wanted);
  CHECK(wanted.result.n_steps == wanted.result.n_generated - 1);
  CHECK(wanted.result.n_guessed == 0);
  CHECK(got.result.n_steps + got.result.n_right == wanted.result.n_steps);
  if (got.result.stop != BRIM_STOP_CONTEXT) check_same(generate(ahead, {}, guessing), generate(plain, {}, ask));
  return got;
}

// A text that repeats its first 60 tokens with one changed here and there, as an edit of code does.
Tokens edited(const Tokens& original) {
  Tokens out = original;
  for (size_t i = 17; i < out.size(); i += 20) out[i] = out[i] == 3 ? 4 : 3;
  return out;
}

}  // namespace

TEST_CASE("a text that is mostly a copy takes half the steps or fewer, bit for bit the same") {
  const File file;
  const Tokens original = prompt(60, 1);
  Ask ask;
  ask.script = edited(original);
  ask.most = 60;
  for (const uint32_t numerics : {BRIM_NUMERICS_FAST, BRIM_NUMERICS_STRICT}) {
    brim_plan_request r = request(256);
    r.numerics = numerics;
    const Seen got = check_both(file.path, r, original, ask);
    MESSAGE("59 tokens after the first in " << got.result.n_steps << " steps");
    CHECK(got.result.n_steps * 18 <= 59 * 10);
  }
}

TEST_CASE("greedy and sampled texts are those of one token a step") {
  SmallModel quantised;
  quantised.q8_0 = true;
  const File file, q8_0(quantised);
  for (const std::string& path : {file.path, q8_0.path}) {
    for (const float temperature : {0.0f, 0.3f}) {
      CAPTURE(temperature);
      Ask ask;
      ask.temperature = temperature;
      check_both(path, request(256), prompt(20, 2), ask);
    }
  }
}

TEST_CASE("whatever ends a generation leaves the sequence as it would be without guesses") {
  const File file;
  const Tokens original = prompt(60, 1);
  Ask ask;
  ask.script = original;
  SUBCASE("the callback") { ask.stop_at = 23; }
  SUBCASE("the number of tokens") { ask.most = 31; }
  SUBCASE("the end of the context") { ask.most = 0; }
  check_both(file.path, request(128), original, ask);
}

TEST_CASE("a window's blocks are there for what comes after guesses that were wrong") {
  SmallModel m;
  m.window = 40;
  m.context = 1024;
  const File file(m);
  Ask ask;
  ask.script = edited(prompt(60, 1));
  ask.most = 400;
  const Seen got = check_both(file.path, strict(1024), prompt(60, 1), ask);
  CHECK(got.result.n_right > 0);
  CHECK(got.result.n_right < got.result.n_guessed);
}

TEST_CASE("a pool without room for guesses ends no generation early") {
  const File file;
  brim_plan_request r = request(128, 2);
  r.kv_tokens = 128;
  Ready ready(file.path, r);
  ready.session.create();
  ready.session.create();
  ready.session.run(rows(prompt(64, 2), 1));  // half of the pool is somebody else's
  Ask ask;
  ask.script = prompt(30, 1);
  ask.most = 34;  // 30 + 34 tokens: to the last place
  ask.lookahead = kGuesses;
  const Seen got = generate(ready, prompt(30, 1), ask);
  CHECK(got.result.stop == BRIM_STOP_LENGTH);
  CHECK(got.result.n_right > 0);
}

TEST_CASE("nothing is guessed where nothing was said before, and guesses that fail are given up") {
  brim::engine::Lookahead lookahead(kGuesses);
  Tokens text;
  for (int32_t i = 0; i < 50; ++i) text.push_back(i);
  CHECK(lookahead.guess(text, kGuesses).empty());
  // The same four words again and again, each time followed by another.
  size_t guessed = 0;
  for (int32_t i = 100; i < 1100; ++i) {
    text.insert(text.end(), {1, 2, 3, 4});
    if (const auto guess = lookahead.guess(text, kGuesses); !guess.empty()) {
      guessed += guess.size();
      lookahead.observe(guess.size(), 0);
    }
    text.push_back(i);
  }
  CHECK(guessed > 0);
  CHECK(guessed < 100);
}

TEST_CASE("the longest match tells what follows, and the latest of equals") {
  brim::engine::Lookahead lookahead(kGuesses);
  const Tokens text = {9, 1, 2, 3, 50, 8, 1, 2, 3, 60, 7, 1, 2, 3, 70, 8, 1, 2, 3};
  const auto guess = lookahead.guess(text, 1);
  REQUIRE(guess.size() == 1);
  CHECK(guess[0] == 60);
  const auto other = lookahead.guess(std::span(text).first(14), 1);
  REQUIRE(other.size() == 1);
  CHECK(other[0] == 60);
}
