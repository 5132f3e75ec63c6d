// The placement of layers: never worse than trying everything, never worse than what other programs do, fast enough to
// be asked for every rung of a ladder, and steady: more memory or speed never gives a slower plan.
#include <doctest/doctest.h>
#include <fmt/format.h>

#include <algorithm>
#include <ctime>
#include <negotiator/solver.hpp>
#include <random>

using namespace brim::negotiator;

namespace {

using Random = std::mt19937_64;

uint64_t draw(Random& random, uint64_t from, uint64_t to) {
  return std::uniform_int_distribution<uint64_t>(from, to)(random);
}

bool contiguous(const std::vector<uint32_t>& device, size_t n_devices) {
  std::vector<bool> left(n_devices);
  for (size_t i = 1; i < device.size(); ++i) {
    if (device[i] == device[i - 1]) continue;
    left[device[i - 1]] = true;
    if (left[device[i]]) return false;
  }
  return true;
}

bool may_part(const Chain& c, uint32_t item, uint32_t d) {
  return c.home != kNoDevice && d != c.home && c.pool[d] != c.pool[c.home] && c.items[item].expert_bytes != 0;
}

// Every assignment of devices that keeps runs whole, with every set of experts apart.
double by_trying(const Chain& c) {
  const size_t n = c.items.size(), d = c.pool.size();
  double best = kNever;
  std::vector<uint32_t> device(n);
  for (;;) {
    if (contiguous(device, d)) {
      for (uint32_t set = 0; set < (1u << n); ++set) {
        std::vector<bool> apart(n);
        bool allowed = true;
        for (uint32_t i = 0; i < n; ++i) {
          apart[i] = set >> i & 1;
          allowed = allowed && (!apart[i] || may_part(c, i, device[i]));
        }
        if (allowed) best = std::min(best, seconds_of(c, device, apart));
      }
    }
    size_t at = 0;
    while (at < n && ++device[at] == d) device[at++] = 0;
    if (at == n) return best;
  }
}

// Few items with any numbers; pools that are shared, tight or large; devices that cannot run an item.
Chain small_chain(Random& random) {
  Chain c;
  const uint64_t n = draw(random, 1, 6), d = draw(random, 1, 3), pools = d;
  for (uint64_t i = 0; i < d; ++i) {
    c.pool.push_back(static_cast<uint32_t>(draw(random, 0, 2) ? i : draw(random, 0, pools - 1)));
    c.base.push_back(draw(random, 0, 3));
    c.crossing.emplace_back();
    for (uint64_t j = 0; j < d; ++j) c.crossing.back().push_back(static_cast<double>(draw(random, 0, 8)));
  }
  for (uint64_t p = 0; p < pools; ++p) c.room.push_back(draw(random, 0, n * 12));
  const bool mixture = draw(random, 0, 1) != 0;
  if (mixture) c.home = static_cast<uint32_t>(draw(random, 0, d - 1));
  const uint64_t classes = draw(random, 1, n);
  std::vector<ChainItem> kinds;
  for (uint64_t k = 0; k < classes; ++k) {
    ChainItem item;
    if (mixture && draw(random, 0, 3) != 0) item.expert_bytes = draw(random, 1, 8);
    for (uint64_t i = 0; i < d; ++i) {
      item.bytes.push_back(item.expert_bytes + draw(random, 1, 8));
      item.seconds.push_back(draw(random, 0, 12) == 0 ? kNever : static_cast<double>(draw(random, 1, 20)));
      item.apart_seconds.push_back(static_cast<double>(draw(random, 1, 40)));
    }
    kinds.push_back(item);
  }
  for (uint64_t i = 0; i < n; ++i) c.items.push_back(kinds[draw(random, 0, classes - 1)]);
  return c;
}

// A machine of so many GPUs and a processor, and a model of some layers, in bytes and seconds.
struct Machine {
  std::vector<uint64_t> memory;   // the processor's last
  std::vector<double> bandwidth;  // bytes/s that decoding reaches
  bool one_pool = false;
};
struct Model {
  uint64_t layers, layer_bytes, odd_bytes;  // every third layer has odd_bytes more
  uint64_t expert_bytes = 0;                // of layer_bytes
  double active = 1;                        // share of the experts that a token reads
};

Chain chain_of(const Machine& m, const Model& model) {
  Chain c;
  const auto d = static_cast<uint32_t>(m.memory.size());
  for (uint32_t i = 0; i < d; ++i) {
    c.pool.push_back(m.one_pool ? 0 : i);
    c.base.push_back(300'000'000);
    c.crossing.emplace_back(d, 30e-6);
  }
  c.room = m.memory;
  if (m.one_pool) c.room.resize(1);
  if (model.expert_bytes) c.home = d - 1;
  for (uint64_t l = 0; l < model.layers + 2; ++l) {
    const bool outside = l == 0 || l == model.layers + 1;
    const uint64_t bytes = model.layer_bytes + (l % 3 == 2 ? model.odd_bytes : 0);
    ChainItem item;
    if (!outside) item.expert_bytes = model.expert_bytes;
    const double experts = static_cast<double>(item.expert_bytes) * model.active;
    const double rest = static_cast<double>(bytes - item.expert_bytes);
    for (uint32_t i = 0; i < d; ++i) {
      const double layer = i + 1 == d ? 20e-6 : 45e-6;
      item.bytes.push_back(bytes);
      item.seconds.push_back(l == 0 ? 1e-6 : (rest + experts) / m.bandwidth[i] + layer);
      item.apart_seconds.push_back(rest / m.bandwidth[i] + layer + experts / m.bandwidth[d - 1] + 170e-6);
    }
    c.items.push_back(item);
  }
  return c;
}

struct Answer {
  std::vector<uint32_t> device;
  std::vector<bool> apart;
};

// llama.cpp's way: the last layers go to the GPUs until they are full, what is left to the processor; of a mixture all
// experts leave the GPU first and come back layer by layer, from the last one on.
Answer fill(const Chain& c) {
  const size_t n = c.items.size(), d = c.pool.size();
  const auto cpu = static_cast<uint32_t>(d - 1);
  Answer a{std::vector<uint32_t>(n, cpu), std::vector<bool>(n, false)};
  std::vector<uint64_t> left = c.room;
  size_t at = n;
  for (uint32_t gpu = 0; gpu < cpu && at > 0; ++gpu) {
    const uint64_t margin = (1ull << 30) + c.base[gpu];
    uint64_t room = left[c.pool[gpu]] > margin ? left[c.pool[gpu]] - margin : 0;
    const size_t end = at;
    while (at > 0) {
      const uint64_t dense = c.items[at - 1].bytes[gpu] - c.items[at - 1].expert_bytes;
      if (dense > room) break;
      room -= dense;
      --at;
      a.device[at] = gpu;
      a.apart[at] = c.items[at].expert_bytes != 0 && c.pool[gpu] != c.pool[cpu];
    }
    for (size_t i = end; i > at; --i) {
      if (!a.apart[i - 1] || c.items[i - 1].expert_bytes > room) continue;
      room -= c.items[i - 1].expert_bytes;
      a.apart[i - 1] = false;
    }
  }
  return a;
}

// accelerate's way: in the order of the modules, each device until it is full, at nine tenths of its memory.
Answer first_fit(const Chain& c) {
  const size_t n = c.items.size(), d = c.pool.size();
  Answer a{std::vector<uint32_t>(n, static_cast<uint32_t>(d - 1)), std::vector<bool>(n, false)};
  size_t at = 0;
  for (uint32_t i = 0; i < d && at < n; ++i) {
    uint64_t room = c.room[c.pool[i]] / 10 * 9;
    while (at < n && c.items[at].bytes[i] <= room) {
      room -= c.items[at].bytes[i];
      a.device[at++] = i;
    }
  }
  return a;
}

// exo's way: layers in proportion to memory.
Answer proportional(const Chain& c) {
  const size_t n = c.items.size(), d = c.pool.size();
  double all = 0, before = 0;
  for (uint32_t i = 0; i < d; ++i) all += static_cast<double>(c.room[c.pool[i]]);
  Answer a{std::vector<uint32_t>(n, static_cast<uint32_t>(d - 1)), std::vector<bool>(n, false)};
  for (uint32_t i = 0; i < d; ++i) {
    const double share = static_cast<double>(c.room[c.pool[i]]) / all;
    for (size_t l = 0; l < n; ++l) {
      const double place = (static_cast<double>(l) + 0.5) / static_cast<double>(n);
      if (place >= before && place < before + share) a.device[l] = i;
    }
    before += share;
  }
  return a;
}

// What a person finds who tries every number of layers whose experts stay with the processor, all else on one GPU
// (--n-cpu-moe, best of the sweep).
Answer best_of_sweep(const Chain& c) {
  const size_t n = c.items.size(), d = c.pool.size();
  Answer best{std::vector<uint32_t>(n, static_cast<uint32_t>(d - 1)), std::vector<bool>(n, false)};
  double least = seconds_of(c, best.device, best.apart);
  for (uint32_t gpu = 0; gpu + 1 < d; ++gpu) {
    Answer a{std::vector<uint32_t>(n, gpu), std::vector<bool>(n, false)};
    for (size_t k = 0; k <= n; ++k) {
      if (k > 0) a.apart[k - 1] = may_part(c, static_cast<uint32_t>(k - 1), gpu);
      if (const double t = seconds_of(c, a.device, a.apart); t < least) least = t, best = a;
    }
  }
  return best;
}

double seconds(const std::optional<ChainPlan>& plan) { return plan ? plan->seconds : kNever; }

// Of processor time: a busy machine does not make the solver slower.
double milliseconds_since(std::clock_t begin) {
  return 1000.0 * static_cast<double>(std::clock() - begin) / CLOCKS_PER_SEC;
}

bool equal(double a, double b) { return a == b || std::abs(a - b) <= 1e-9 * std::max(a, b); }

Machine random_machine(Random& random) {
  Machine m;
  for (uint64_t gpus = draw(random, 1, 3); gpus > 0; --gpus) {
    m.memory.push_back(draw(random, 4, 80) << 30);
    m.bandwidth.push_back(static_cast<double>(draw(random, 80, 1800)) * 1e9);
  }
  m.memory.push_back(draw(random, 16, 256) << 30);
  m.bandwidth.push_back(static_cast<double>(draw(random, 20, 120)) * 1e9);
  m.one_pool = draw(random, 0, 5) == 0;
  return m;
}

Model random_model(Random& random) {
  Model m{};
  m.layers = draw(random, 16, 96);
  m.layer_bytes = draw(random, 80, 900) * 1'000'000;
  m.odd_bytes = draw(random, 0, 1) * m.layer_bytes / 8;
  if (draw(random, 0, 2) == 0) {
    m.expert_bytes = m.layer_bytes / 10 * 9;
    m.active = 1.0 / static_cast<double>(draw(random, 4, 32));
  }
  return m;
}

}  // namespace

TEST_CASE("the chosen placement equals the best of all on 10,000 small instances") {
  Random random(1);
  uint64_t feasible = 0, apart = 0, split = 0;
  for (int i = 0; i < 10000; ++i) {
    const Chain chain = small_chain(random);
    const auto plan = solve(chain);
    const double expected = by_trying(chain);
    REQUIRE(equal(seconds(plan), expected));
    if (!plan) continue;
    // The plan is what it says.
    REQUIRE(equal(seconds_of(chain, plan->device, plan->apart), expected));
    REQUIRE(contiguous(plan->device, chain.pool.size()));
    ++feasible;
    apart += std::count(plan->apart.begin(), plan->apart.end(), true) > 0;
    split += plan->device.front() != plan->device.back();
  }
  MESSAGE(fmt::format("{} of 10000 fit, {} on several devices, {} with experts apart", feasible, split, apart));
  CHECK(feasible > 3000);
  CHECK(apart > 300);
  CHECK(split > 500);
}

TEST_CASE("more memory or bandwidth never gives a slower plan, and the same question the same answer") {
  Random random(2);
  for (int i = 0; i < 200; ++i) {
    Machine m = random_machine(random);
    const Model model = random_model(random);
    const auto before = solve(chain_of(m, model));
    const auto again = solve(chain_of(m, model));
    REQUIRE(seconds(before) == seconds(again));
    if (before) REQUIRE((before->device == again->device && before->apart == again->apart));
    Machine larger = m, faster = m;
    larger.memory[draw(random, 0, m.memory.size() - 1)] += 4ull << 30;
    faster.bandwidth[draw(random, 0, m.memory.size() - 1)] *= 1.2;
    const double limit = seconds(before) * (1 + 1e-12);
    CHECK(seconds(solve(chain_of(larger, model))) <= limit);
    CHECK(seconds(solve(chain_of(faster, model))) <= limit);
  }
}

TEST_CASE(
    "never slower than filling, first fit, shares by memory or the best of all --n-cpu-moe, on 1,000 machines and "
    "models") {
  Random random(3);
  struct Way {
    const char* name;
    Answer (*answer)(const Chain&);
    std::vector<double> gain{};
    int does_not_fit = 0;
  };
  Way ways[] = {{"llama.cpp fill", fill},
                {"first fit", first_fit},
                {"proportional to memory", proportional},
                {"best of --n-cpu-moe", best_of_sweep}};
  int feasible = 0;
  for (int i = 0; i < 1000; ++i) {
    const Chain chain = chain_of(random_machine(random), random_model(random));
    const auto plan = solve(chain);
    feasible += plan.has_value();
    for (Way& way : ways) {
      const Answer answer = way.answer(chain);
      const double theirs = seconds_of(chain, answer.device, answer.apart);
      if (theirs == kNever) {
        way.does_not_fit += plan.has_value();
        continue;
      }
      REQUIRE(plan.has_value());
      CHECK(plan->seconds <= theirs * (1 + 1e-12));
      way.gain.push_back(theirs / plan->seconds);
    }
  }
  for (Way& way : ways) {
    std::sort(way.gain.begin(), way.gain.end());
    REQUIRE(way.gain.size() > 100);
    const auto at = [&](double q) {
      return way.gain[static_cast<size_t>(q * static_cast<double>(way.gain.size() - 1))];
    };
    MESSAGE(
        fmt::format("{:22}: predicted gain p10 {:.2f} median {:.2f} p90 {:.2f} most {:.1f}; {} of {} that fit did "
                    "not fit its way",
                    way.name, at(0.1), at(0.5), at(0.9), at(1), way.does_not_fit, feasible));
  }
}

TEST_CASE("126 layers on four devices, for every rung of a ladder, within 50 ms") {
  Machine m;
  for (const uint64_t gb : {96, 80, 48, 256}) m.memory.push_back(gb << 30);
  m.bandwidth = {1500e9, 900e9, 700e9, 80e9};
  const std::clock_t begin = std::clock();
  int solved = 0;
  for (const uint64_t kv : {64ull << 30, 32ull << 30, 16ull << 30, 8ull << 30, 4ull << 30}) {
    solved += solve(chain_of(m, {126, 1'793'000'000 + kv / 126, 229'000'000})).has_value();
  }
  const double took = milliseconds_since(begin);
  MESSAGE(fmt::format("five rungs in {:.1f} ms", took));
  CHECK(solved == 5);
#if defined(NDEBUG) && !defined(BRIM_TEST_EMULATED)
  CHECK(took < 50);
#endif
}

TEST_CASE("a mixture of 94 layers with its experts partly apart is placed in no time either") {
  Machine m;
  m.memory = {24ull << 30, 192ull << 30};
  m.bandwidth = {850e9, 60e9};
  const std::clock_t begin = std::clock();
  const auto plan = solve(chain_of(m, {94, 1'500'000'000, 60'000'000, 1'450'000'000, 1.0 / 16}));
  const double took = milliseconds_since(begin);
  REQUIRE(plan.has_value());
  const auto apart = std::count(plan->apart.begin(), plan->apart.end(), true);
  MESSAGE(fmt::format("{:.1f} ms, experts of {} layers apart", took, apart));
  CHECK(apart > 60);
  CHECK(std::count(plan->device.begin(), plan->device.end(), 0u) > 90);
}
