// Each link of the sampling chain against its definition, computed the slow way in float64, and the draws against the
// distribution that is left.
#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <engine/sampler.hpp>
#include <limits>
#include <map>
#include <new>
#include <numeric>
#include <random>
#include <set>

#include "../support/failure.hpp"

using brim::engine::Sampler;
using brim::engine::SamplerOptions;

namespace {

constexpr float kInfinity = std::numeric_limits<float>::infinity();

thread_local uint64_t allocations = 0;

std::vector<float> random_logits(uint32_t n, uint32_t seed, float spread = 3) {
  std::mt19937 random(seed);
  std::normal_distribution<float> normal(0, spread);
  std::vector<float> logits(n);
  for (float& l : logits) l = normal(random);
  return logits;
}

SamplerOptions drawing() {
  SamplerOptions o;
  o.temperature = 1;
  return o;
}

std::map<int32_t, double> softmax(const std::map<int32_t, double>& logits, double temperature = 1) {
  double most = -std::numeric_limits<double>::infinity(), sum = 0;
  for (const auto& [id, l] : logits) most = std::max(most, l);
  std::map<int32_t, double> p;
  for (const auto& [id, l] : logits) sum += p[id] = std::exp((l - most) / temperature);
  for (auto& [id, x] : p) x /= sum;
  return p;
}

// Ids in the order of a key, ties to the lower id; then the first ones whose probability comes to `share`.
template <class Key>
std::set<int32_t> first_of(const std::map<int32_t, double>& p, double share, const Key& key) {
  std::vector<int32_t> order;
  for (const auto& [id, x] : p) order.push_back(id);
  std::stable_sort(order.begin(), order.end(), [&](int32_t a, int32_t b) { return key(a) < key(b); });
  std::set<int32_t> kept;
  double mass = 0;
  for (const int32_t id : order) {
    kept.insert(id);
    mass += p.at(id);
    if (mass >= share) break;
  }
  return kept;
}

std::map<int32_t, double> restricted(const std::map<int32_t, double>& logits, const std::set<int32_t>& ids) {
  std::map<int32_t, double> out;
  for (const int32_t id : ids) out[id] = logits.at(id);
  return out;
}

// The distribution that the chain's definition leaves.
std::map<int32_t, double> by_definition(const SamplerOptions& o, const std::vector<float>& given,
                                        const std::vector<int32_t>& recent = {}) {
  std::map<int32_t, double> logits;
  for (size_t i = 0; i < given.size(); ++i) logits[static_cast<int32_t>(i)] = static_cast<double>(given[i]);
  for (const auto& [id, bias] : o.biases) logits[id] += static_cast<double>(bias);
  std::map<int32_t, int> counts;
  for (const int32_t id : recent) ++counts[id];
  for (const auto& [id, n] : counts) {
    double& l = logits[id];
    l = l > 0 ? l / static_cast<double>(o.repetition_penalty) : l * static_cast<double>(o.repetition_penalty);
    l -= n * static_cast<double>(o.frequency_penalty) + static_cast<double>(o.presence_penalty);
  }
  std::erase_if(logits, [](const auto& entry) { return std::isinf(entry.second); });
  if (o.top_k > 0 && o.top_k < logits.size()) {
    std::set<int32_t> kept;
    std::vector<std::pair<double, int32_t>> order;
    for (const auto& [id, l] : logits) order.emplace_back(-l, id);
    std::sort(order.begin(), order.end());
    for (uint32_t i = 0; i < o.top_k; ++i) kept.insert(order[i].second);
    logits = restricted(logits, kept);
  }
  if (o.typical_p < 1) {
    const auto p = softmax(logits);
    double entropy = 0;
    for (const auto& [id, x] : p) entropy -= x * std::log(x);
    logits = restricted(logits, first_of(p, static_cast<double>(o.typical_p),
                                         [&](int32_t id) { return std::fabs(-std::log(p.at(id)) - entropy); }));
  }
  if (o.top_p < 1) {
    const auto p = softmax(logits);
    logits = restricted(logits, first_of(p, static_cast<double>(o.top_p), [&](int32_t id) { return -p.at(id); }));
  }
  if (o.min_p > 0) {
    const auto p = softmax(logits);
    double most = 0;
    for (const auto& [id, x] : p) most = std::max(most, x);
    std::set<int32_t> kept;
    for (const auto& [id, x] : p) {
      if (x >= static_cast<double>(o.min_p) * most) kept.insert(id);
    }
    logits = restricted(logits, kept);
  }
  return softmax(logits, static_cast<double>(o.temperature));
}

// Pearson's statistic of n draws against p. Values that are expected fewer than 5 times are counted together.
// Returns how many standard deviations it lies above its mean; what was drawn must be in p.
double excess(Sampler& sampler, const std::vector<float>& logits, const std::map<int32_t, double>& p, int n) {
  std::map<int32_t, int> seen;
  for (int i = 0; i < n; ++i) ++seen[sampler.sample(logits.data())];
  for (const auto& [id, count] : seen) CHECK_MESSAGE(p.contains(id), "drew token " << id << ", which is not left");
  double statistic = 0, rare_expected = 0, rare_seen = 0;
  int degrees = -1;
  const auto add = [&](double expected, double count) {
    statistic += (count - expected) * (count - expected) / expected;
    ++degrees;
  };
  for (const auto& [id, x] : p) {
    if (x * n >= 5) {
      add(x * n, seen[id]);
    } else {
      rare_expected += x * n;
      rare_seen += seen[id];
    }
  }
  if (rare_expected >= 5) add(rare_expected, rare_seen);
  return degrees > 0 ? (statistic - degrees) / std::sqrt(2.0 * degrees) : 0;
}

void check_distribution(const SamplerOptions& o, const std::vector<float>& logits) {
  Sampler sampler(o, static_cast<uint32_t>(logits.size()));
  CHECK(excess(sampler, logits, by_definition(o, logits), 20000) < 5);
}

}  // namespace

// Not inlined: the compiler would see through one half of a pair and warn about the other.
[[gnu::noinline]] void* operator new(size_t bytes) {
  ++allocations;
  if (void* block = std::malloc(bytes)) return block;
  throw std::bad_alloc();
}
[[gnu::noinline]] void* operator new(size_t bytes, const std::nothrow_t&) noexcept {
  ++allocations;
  return std::malloc(bytes);
}
[[gnu::noinline]] void operator delete(void* block) noexcept { std::free(block); }
[[gnu::noinline]] void operator delete(void* block, const std::nothrow_t&) noexcept { std::free(block); }
[[gnu::noinline]] void operator delete(void* block, size_t) noexcept { std::free(block); }

TEST_CASE("the generator gives the published values of Philox4x32-10") {
  // Random123's known answer for counter 0 and key 0 begins 6627e8d5 e169c58d.
  CHECK(brim::engine::uniform(0, 0) == static_cast<double>(0x6627e8d5e169c58dull >> 11) * 0x1p-53);
  CHECK(brim::engine::uniform(1, 0) != brim::engine::uniform(0, 0));
  CHECK(brim::engine::uniform(0, 1) != brim::engine::uniform(0, 0));
  double sum = 0;
  for (uint64_t i = 0; i < 100000; ++i) {
    const double u = brim::engine::uniform(42, i);
    REQUIRE(u >= 0);
    REQUIRE(u < 1);
    sum += u;
  }
  CHECK(sum / 100000 == doctest::Approx(0.5).epsilon(0.01));
}

TEST_CASE("temperature 0 takes the largest logit, of equal ones the lowest id") {
  Sampler s({}, 5);
  CHECK(s.sample(std::vector<float>{0, 2, -1, 2, 1}.data()) == 1);
  CHECK(s.sample(std::vector<float>{-5, -kInfinity, -4, -6, -7}.data()) == 2);
}

TEST_CASE("without links the draws follow the softmax at the temperature") {
  SamplerOptions o = drawing();
  for (const float temperature : {0.5f, 1.0f, 2.0f}) {
    CAPTURE(temperature);
    o.temperature = temperature;
    check_distribution(o, random_logits(50, 1));
  }
}

TEST_CASE("each link leaves what its definition says") {
  for (const uint32_t n : {1u, 2u, 7u, 300u}) {
    CAPTURE(n);
    const auto logits = random_logits(n, n);
    for (const uint32_t k : {1u, 2u, 5u, 64u, 65u, 299u, 300u, 1000u}) {
      CAPTURE(k);
      SamplerOptions o = drawing();
      o.top_k = k;
      check_distribution(o, logits);
    }
    for (const float p : {1e-6f, 0.3f, 0.9f, 0.999f}) {
      CAPTURE(p);
      SamplerOptions o = drawing();
      o.top_p = p;
      check_distribution(o, logits);
      o = drawing();
      o.typical_p = p;
      check_distribution(o, logits);
      o = drawing();
      o.min_p = p;
      check_distribution(o, logits);
    }
  }
}

TEST_CASE("links work together in their order") {
  SamplerOptions o = drawing();
  o.top_k = 80;
  o.typical_p = 0.95f;
  o.top_p = 0.9f;
  o.min_p = 0.02f;
  o.temperature = 1.5f;
  o.biases = {{3, 2.0f}, {4, -kInfinity}, {3, 1.0f}};
  check_distribution(o, random_logits(300, 9, 2));
}

TEST_CASE("top-k of equal logits keeps the lower ids") {
  SamplerOptions o = drawing();
  o.top_k = 3;
  Sampler s(o, 100);
  const std::vector<float> logits(100, 1.0f);
  std::set<int32_t> seen;
  for (int i = 0; i < 200; ++i) seen.insert(s.sample(logits.data()));
  CHECK(seen == std::set<int32_t>{0, 1, 2});
}

TEST_CASE("a flat vocabulary of 50000 is searched to the end") {
  SamplerOptions o = drawing();
  o.top_p = 0.99f;
  Sampler s(o, 50000);
  const std::vector<float> logits(50000, 0.0f);
  for (int i = 0; i < 20; ++i) CHECK(s.sample(logits.data()) < 49501);
}

TEST_CASE("penalties count recent tokens only, prompt included") {
  SamplerOptions o;
  o.repetition_penalty = 2;
  o.frequency_penalty = 0.5f;
  o.presence_penalty = 0.25f;
  o.penalty_last_n = 3;
  const std::vector<float> logits = {4, 3, -1, 2.9f};
  Sampler s(o, 4);
  // By hand: 0 -> 4 / 2 - 0.75 = 1.25 once taken; 1 -> 3 / 2 - 0.75 = 0.75; 3 -> 2.9 / 2 - 0.75 = 0.7.
  CHECK(s.sample(logits.data()) == 0);  // 4 3 -1 2.9
  CHECK(s.sample(logits.data()) == 1);  // 1.25 3 -1 2.9
  CHECK(s.sample(logits.data()) == 3);  // 1.25 0.75 -1 2.9
  CHECK(s.sample(logits.data()) == 0);  // 1.25 0.75 -1 0.7; now {1, 3, 0}
  s.accept(0);                          // {3, 0, 0}: 0 -> 4 / 2 - 1 - 0.25 = 0.75
  CHECK(s.sample(logits.data()) == 1);  // 0.75 3 -1 0.7

  SamplerOptions negative;
  negative.repetition_penalty = 2;
  Sampler t(negative, 2);
  t.accept(0);
  CHECK(t.sample(std::vector<float>{-1, -1.5f}.data()) == 1);  // -1 becomes -2
}

TEST_CASE("penalties agree with their definition over a long text") {
  SamplerOptions o;
  o.repetition_penalty = 1.3f;
  o.frequency_penalty = 0.2f;
  o.presence_penalty = 0.1f;
  o.penalty_last_n = 20;
  Sampler s(o, 40);
  std::vector<int32_t> all;
  for (uint32_t step = 0; step < 200; ++step) {
    const auto logits = random_logits(40, step, 1);
    const std::vector<int32_t> recent(all.size() > 20 ? all.end() - 20 : all.begin(), all.end());
    SamplerOptions at_one = o;
    at_one.temperature = 1;
    const auto p = by_definition(at_one, logits, recent);
    const auto best = std::max_element(p.begin(), p.end(), [](auto& a, auto& b) { return a.second < b.second; });
    all.push_back(s.sample(logits.data()));
    CHECK(all.back() == best->first);
  }
}

TEST_CASE("the same seed draws the same tokens, another seed others") {
  const auto logits = random_logits(500, 3);
  SamplerOptions o = drawing();
  o.seed = 7;
  const auto text = [&](Sampler& s) {
    std::vector<int32_t> tokens;
    for (int i = 0; i < 50; ++i) tokens.push_back(s.sample(logits.data()));
    return tokens;
  };
  Sampler a(o, 500), b(o, 500);
  const auto first = text(a);
  CHECK(text(b) == first);
  CHECK(text(a) != first);  // it goes on, not over again
  a.reset();
  CHECK(text(a) == first);
  o.seed = 8;
  Sampler c(o, 500);
  CHECK(text(c) != first);
  o.seed = 7 + (uint64_t{1} << 32);
  Sampler d(o, 500);
  CHECK(text(d) != first);
}

TEST_CASE("reset forgets what the penalties knew") {
  SamplerOptions o;
  o.presence_penalty = 10;
  Sampler s(o, 2);
  const float logits[] = {1, 0};
  CHECK(s.sample(logits) == 0);
  CHECK(s.sample(logits) == 1);
  s.reset();
  CHECK(s.sample(logits) == 0);
}

TEST_CASE("logits that are no numbers are an error and change nothing") {
  SamplerOptions o = drawing();
  o.presence_penalty = 0.5f;
  const auto good = random_logits(100, 5);
  Sampler s(o, 100), twin(o, 100);
  CHECK(s.sample(good.data()) == twin.sample(good.data()));
  auto bad = good;
  bad[37] = std::nanf("");
  CHECK_FAILS(BRIM_INVALID_ARGUMENT, "token 37 is nan", s.sample(bad.data()));
  bad[37] = kInfinity;
  CHECK_FAILS(BRIM_INVALID_ARGUMENT, "token 37 is inf", s.sample(bad.data()));
  const std::vector<float> nothing(100, -kInfinity);
  CHECK_FAILS(BRIM_INVALID_ARGUMENT, "no token to choose", s.sample(nothing.data()));
  for (int i = 0; i < 20; ++i) CHECK(s.sample(good.data()) == twin.sample(good.data()));
}

TEST_CASE("extreme logits and temperatures still choose") {
  SamplerOptions o = drawing();
  o.temperature = 1e-30f;
  Sampler cold(o, 3);
  CHECK(cold.sample(std::vector<float>{1, 1.0001f, 0}.data()) == 1);
  o.temperature = 100;
  Sampler hot(o, 3);
  const std::vector<float> far = {-3e38f, 3e38f, 0};
  CHECK(hot.sample(far.data()) == 1);
}

TEST_CASE("values out of range are refused by name") {
  const auto refused = [](const char* field, auto&& change) {
    SamplerOptions o;
    change(o);
    CHECK_FAILS(BRIM_INVALID_ARGUMENT, field, Sampler(o, 10));
  };
  refused("temperature", [](auto& o) { o.temperature = -1; });
  refused("temperature", [](auto& o) { o.temperature = std::nanf(""); });
  refused("temperature", [](auto& o) { o.temperature = kInfinity; });
  refused("top_p", [](auto& o) { o.top_p = 1.01f; });
  refused("min_p", [](auto& o) { o.min_p = -0.1f; });
  refused("typical_p", [](auto& o) { o.typical_p = 2; });
  refused("repetition_penalty", [](auto& o) { o.repetition_penalty = -1; });
  refused("frequency_penalty", [](auto& o) { o.frequency_penalty = std::nanf(""); });
  refused("presence_penalty", [](auto& o) { o.presence_penalty = kInfinity; });
  refused("penalty_last_n", [](auto& o) { o.penalty_last_n = 0xffffffff; });
  refused("bias of token 10", [](auto& o) { o.biases = {{10, 1.0f}}; });
  refused("bias of token -1", [](auto& o) { o.biases = {{-1, 1.0f}}; });
  refused("bias of token 1 is inf", [](auto& o) { o.biases = {{1, kInfinity}}; });
  CHECK_FAILS(BRIM_INVALID_ARGUMENT, "0 tokens", Sampler({}, 0));
  Sampler s({}, 10);
  CHECK_FAILS(BRIM_INVALID_ARGUMENT, "token 10 is outside", s.accept(10));
  CHECK_FAILS(BRIM_INVALID_ARGUMENT, "token -1 is outside", s.accept(-1));
}

TEST_CASE("sampling allocates nothing") {
  SamplerOptions o = drawing();
  o.top_k = 500;
  o.typical_p = 0.99f;
  o.top_p = 0.95f;
  o.min_p = 0.01f;
  o.repetition_penalty = 1.1f;
  o.penalty_last_n = 8;
  const auto logits = random_logits(5000, 11);
  Sampler s(o, 5000);
  const uint64_t before = allocations;
  for (int i = 0; i < 50; ++i) s.sample(logits.data());
  s.reset();
  s.sample(logits.data());
  CHECK(allocations == before);
}
