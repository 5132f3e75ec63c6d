// A row's bits on the CPU depend on its sequence's tokens alone: not on threads, on company, or on how a prompt was
// cut.
#include "host.hpp"

using namespace brim::test;

namespace {

struct Case {
  uint32_t numerics, kv;
  bool q8_0;
};
const std::vector<Case> kCases = {
    {BRIM_NUMERICS_STRICT, BRIM_DTYPE_F32, false}, {BRIM_NUMERICS_STRICT, BRIM_DTYPE_F32, true},
    {BRIM_NUMERICS_FAST, BRIM_DTYPE_F16, true},    {BRIM_NUMERICS_FAST, BRIM_DTYPE_F32, false},
    {BRIM_NUMERICS_FAST, BRIM_DTYPE_Q8_0, true},   {BRIM_NUMERICS_STRICT, BRIM_DTYPE_Q8_0, false}};

File file_of(const Case& c) {
  SmallModel m;
  m.q8_0 = c.q8_0;
  m.biases = true;
  m.kv_heads = 2;
  m.width = 128;  // heads of 32, so that Q8_0 states have whole blocks
  return File(m);
}

brim_plan_request request_of(const Case& c, uint32_t n_seqs, uint32_t n_batch = 0) {
  brim_plan_request r = request(128, n_seqs);
  r.numerics = c.numerics;
  r.kv_dtype = c.kv;
  r.n_batch = n_batch;
  return r;
}

// Logits of every token of the prompt, run at once and alone.
std::vector<Logits> alone(const std::string& path, const Case& c, const Tokens& tokens, uint32_t threads = 1) {
  Ready r(path, request_of(c, 1), threads);
  r.session.create();
  return r.session.run(tokens);
}

}  // namespace

TEST_CASE("logits have the same bits with 1, 2 and 4 threads") {
  for (const Case& c : kCases) {
    CAPTURE(c.numerics);
    CAPTURE(c.kv);
    const File file = file_of(c);
    const Tokens tokens = prompt(90, 5);
    const auto one = alone(file.path, c, tokens, 1);
    REQUIRE(one.size() == 90);
    CHECK_FALSE(same_bits(one[10], one[11]));
    CHECK(same_bits(one, alone(file.path, c, tokens, 2)));
    CHECK(same_bits(one, alone(file.path, c, tokens, 4)));
  }
}

TEST_CASE("a prompt gives the same bits however it is split") {
  for (const Case& c : kCases) {
    CAPTURE(c.numerics);
    CAPTURE(c.kv);
    const File file = file_of(c);
    const Tokens tokens = prompt(67, 6);
    const auto whole = alone(file.path, c, tokens);
    // By the host, at any place, down to token by token; and by the engine, which cuts to the batch.
    for (const size_t piece : {1, 3, 16, 33, 66}) {
      Ready r(file.path, request_of(c, 1));
      r.session.create();
      std::vector<Logits> got;
      for (size_t at = 0; at < tokens.size(); at += piece) {
        const size_t n = std::min(piece, tokens.size() - at);
        for (auto& l : r.session.run(Tokens(tokens.begin() + at, tokens.begin() + at + n))) got.push_back(std::move(l));
      }
      CHECK(same_bits(whole, got));
    }
    for (const uint32_t batch : {1u, 7u, 32u}) {
      Ready r(file.path, request_of(c, 1, batch));
      r.session.create();
      CHECK(same_bits(whole, r.session.run(tokens)));
    }
  }
}

TEST_CASE("weights in blocks have the same bits packed and where the file is mapped") {
  for (const Case& c : kCases) {
    if (!c.q8_0) continue;
    CAPTURE(c.numerics);
    CAPTURE(c.kv);
    const File file = file_of(c);
    const Tokens tokens = prompt(70, 8);
    brim_plan_request r = request_of(c, 1);
    const auto logits = [&](uint32_t load, bool packs) {
      r.load = load;
      Ready ready(file.path, r);
      CHECK((Plan(ready.model.get(), r).explain().find("packed into") != std::string::npos) == packs);
      ready.session.create();
      auto all = ready.session.run(tokens);
      for (auto& one : ready.session.run(Tokens{7})) all.push_back(std::move(one));  // one row has a way of its own
      return all;
    };
    CHECK(same_bits(logits(BRIM_LOAD_AUTO, true), logits(BRIM_LOAD_MAP, false)));
  }
}

TEST_CASE("a sequence gives the same bits alone and mixed with others in any order") {
  for (const Case& c : kCases) {
    CAPTURE(c.numerics);
    CAPTURE(c.kv);
    const File file = file_of(c);
    const std::vector<Tokens> texts = {prompt(40, 1), prompt(13, 2), prompt(61, 3)};
    std::vector<std::vector<Logits>> wanted;
    for (const Tokens& t : texts) wanted.push_back(alone(file.path, c, t));

    Ready r(file.path, request_of(c, 3));
    std::mt19937 random(9);
    for (int i = 0; i < 3; ++i) r.session.create();
    std::vector<std::vector<Logits>> got(3);
    std::vector<size_t> at(3);
    while (got[0].size() < 40 || got[1].size() < 13 || got[2].size() < 61) {
      std::vector<brim_row> mixed;
      for (int i = 0; i < 20; ++i) {
        const auto s = static_cast<uint32_t>(random() % 3);
        if (at[s] < texts[s].size()) mixed.push_back(row(texts[s][at[s]++], s, true));
      }
      if (mixed.empty()) continue;
      const auto logits = r.session.run(mixed);
      for (size_t i = 0; i < mixed.size(); ++i) got[mixed[i].sequence].push_back(logits[i]);
    }
    for (int s = 0; s < 3; ++s) CHECK(same_bits(wanted[s], got[s]));
  }
}

TEST_CASE("rows that want no logits change nothing for those that do") {
  const Case c = kCases[2];
  const File file = file_of(c);
  const Tokens tokens = prompt(50, 7);
  const auto all = alone(file.path, c, tokens);
  Ready r(file.path, request_of(c, 1));
  r.session.create();
  const auto last = r.session.run(rows(tokens, 0, false));
  REQUIRE(last.size() == 1);
  CHECK(same_bits(all.back(), last.front()));
}

TEST_CASE("a step whose nodes are timed gives the same bits, and tells every node in order") {
  const File file;
  struct Told {
    uint32_t nodes = 0, products = 0, last_layer = 0;
    uint64_t weight_bytes = 0;
    bool ordered = true;
  } told;
  Ready timed(file.path, strict()), plain(file.path, strict());
  timed.session.create();
  plain.session.create();
  for (const Tokens& tokens : {prompt(21, 1), prompt(1, 2)}) {
    told = {};
    const auto work = rows(tokens);
    brim_step step = step_of(work);
    step.timed = [](void* user, const brim_node_time* node) {
      Told& to = *static_cast<Told*>(user);
      ++to.nodes;
      to.products += std::string_view(node->op.ptr, node->op.len) == "MATMUL";
      to.weight_bytes += node->weight_bytes;
      if (node->layer == UINT32_MAX) return;
      to.ordered = to.ordered && node->layer >= to.last_layer;
      to.last_layer = node->layer;
    };
    step.timed_user = &told;
    must([&](brim_error* e) { return brim_session_step(timed.session.get(), &step, e); });
    CHECK(same_bits(timed.session.outputs(work), plain.session.run(work)));
    CHECK(told.nodes > told.products);
    CHECK(told.products > 0);
    CHECK(told.weight_bytes > 0);
    CHECK(told.ordered);
    CHECK(told.last_layer > 0);
  }
}
