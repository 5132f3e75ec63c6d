// The engine on a device that works behind its back (tests/fakes_async), alone and together with the CPU. Whatever the
// delays, the results are the CPU's; whatever fails, the error is typed, nothing is left behind, and neither side
// breaks the contract.
#include <cmath>

#include "host.hpp"

using namespace brim::test;

namespace {

Settings async(std::initializer_list<std::pair<const char*, uint64_t>> values) {
  Settings s;
  for (const auto& [key, value] : values) s[std::string("backend.test.async.") + key] = std::to_string(value);
  return s;
}

double largest_difference(const std::vector<Logits>& a, const std::vector<Logits>& b) {
  REQUIRE(a.size() == b.size());
  double most = 0;
  for (size_t i = 0; i < a.size(); ++i) {
    for (size_t j = 0; j < a[i].size(); ++j) {
      const double d = std::fabs(double(a[i][j]) - b[i][j]);
      most = std::isnan(d) ? INFINITY : std::max(most, d);
    }
  }
  return most;
}

// A prompt, some single tokens, a fork that diverges: logits of all rows.
std::vector<Logits> scenario(const Model& model) {
  Session session(model);
  session.create();
  auto out = session.run(prompt(41, 1));
  const auto add = [&](const std::vector<Logits>& more) { out.insert(out.end(), more.begin(), more.end()); };
  for (int32_t i = 0; i < 10; ++i) add(session.run(Tokens{20 + i}));
  const uint32_t fork = session.fork(0);
  std::vector<brim_row> both;
  for (int32_t i = 0; i < 3; ++i) {
    both.push_back(row(30 + i, 0, true));
    both.push_back(row(60 + i, fork, true));
  }
  add(session.run(both));
  const auto saved = session.save(fork);
  session.remove(fork);
  const uint32_t restored = session.restore(saved);
  add(session.run(Tokens{7, 8}, restored));
  return out;
}

// The scenario on a model of three layers gives the wanted logits, split as `layers` says, and nobody breaks the
// contract. `prepare(model, request)` comes before the load.
template <class F>
void check_split(const std::string& path, const std::vector<Logits>& wanted, const Settings& settings, uint32_t layers,
                 const F& prepare) {
  std::shared_ptr<Misuse> misuse;
  {
    const Runtime runtime(2, true, settings);
    misuse = runtime.misuse;
    Placed placed(runtime, layers, 3, strict(128, 2));
    Model model(runtime, path);
    prepare(model, placed.request);
    model.load(placed.request);
    // What the device adds in another order than the processor's vectors differs in the last bits: 1e-5 of AVX-512's.
    CHECK(largest_difference(wanted, scenario(model)) < 5e-5);
  }
  CHECK(misuse->said() == "");
}

SmallModel three_layers(bool q8_0) {
  SmallModel m;
  m.layers = 3;
  m.q8_0 = q8_0;
  m.biases = m.factors = true;
  return m;
}

}  // namespace

TEST_CASE("layers split between an asynchronous device and the CPU give the CPU's logits, for any seed") {
  for (const bool q8_0 : {false, true}) {
    const File file(three_layers(q8_0));
    Runtime cpu;
    const Model reference(cpu, file.path, strict(128, 2));
    const auto wanted = scenario(reference);
    for (const uint32_t layers : {0b111u, 0b001u, 0b010u, 0b110u, 0b101u}) {
      CAPTURE(layers);
      for (const uint64_t seed : {1, 2, 3}) {
        check_split(file.path, wanted, async({{"seed", seed}, {"delay_us", 200}}), layers, [](auto&&...) {});
      }
    }
  }
}

TEST_CASE("where device and CPU compute in one memory, nothing that crosses is copied, and nobody is early") {
  const File file(three_layers(false));
  Runtime cpu;
  const Model reference(cpu, file.path, strict(128, 2));
  const auto wanted = scenario(reference);
  for (const bool unified : {false, true}) {
    for (const uint32_t layers : {0b001u, 0b010u, 0b110u, 0b101u}) {
      CAPTURE(layers);
      for (const uint64_t seed : {1, 2, 3}) {
        check_split(
            file.path, wanted,
            async({{"seed", seed}, {"delay_us", 400}, {"unified", unified}, {"budget", 16ull << 30}}), layers,
            [&](const Model& model, const brim_plan_request& request) {
              const std::string why = Plan(model.get(), request).explain();
              CHECK((why.find(" in place, because both compute in one memory") != std::string::npos) == unified);
              CHECK((why.find(" copied each step, because") != std::string::npos) == !unified);
            });
      }
    }
  }
}

TEST_CASE("weights that come by pieces, through the system's cache or past it, are the weights") {
  SmallModel m = three_layers(true);
  m.width = 256;
  m.ff = 512;
  const File quantised(m);
  m.q8_0 = false;
  const File plain(m);
  for (const File* file : {&quantised, &plain}) {
    Runtime cpu;
    const Model reference(cpu, file->path, strict(128, 2));
    const auto wanted = scenario(reference);
    for (const uint32_t load : {BRIM_LOAD_READ, BRIM_LOAD_DIRECT}) {
      for (const uint32_t layers : {0b000u, 0b010u, 0b111u}) {
        CAPTURE(load);
        CAPTURE(layers);
        check_split(file->path, wanted, async({{"delay_us", 300}, {"max_alloc", 64 << 20}}), layers,
                    [&](const Model& model, brim_plan_request& request) {
                      request.load = load;
                      CHECK(Plan(model.get(), request).info().load == load);
                    });
      }
    }
  }
}

TEST_CASE("a file larger than one buffer of the device is read in place, window by window") {
  SmallModel m = three_layers(true);
  m.width = 256;
  m.ff = 512;
  const File file(m);
  Runtime cpu;
  const Model reference(cpu, file.path, strict(128, 2));
  const auto wanted = scenario(reference);
  const uint64_t most = 512 << 10;
  REQUIRE(std::filesystem::file_size(file.path) > 2 * most);
  check_split(file.path, wanted, async({{"import", 1}, {"max_alloc", most}}), 0b111,
              [](const Model&, brim_plan_request& request) {
                request.n_batch = 48;  // states and activations have to fit a buffer as well
              });
}

TEST_CASE("what is placed on the accelerator lies in the accelerator's own pool, in plans too") {
  const File file;
  const Runtime runtime(2, true);
  Model model(runtime, file.path);
  const Placed placed(runtime, 0b11, 2, strict());
  const Plan plan(model.get(), placed.request);
  uint64_t weights = 0;
  for (const brim_plan_pool& p : plan.pools()) {
    if (p.pool != 0) weights += p.weights;
    if (p.pool == 0) CHECK(p.kv == 0);
  }
  CHECK(weights > 0);
}

TEST_CASE("programs of every bucket of visible context give the same logits") {
  // The device's programs are bound to n_kv: 256 first, then 512.
  SmallModel m;
  m.context = 600;
  const File file(m);
  const Runtime runtime(2, true, async({{"delay_us", 0}}));
  Runtime cpu;
  const Model a(runtime, file.path, strict(600)), b(cpu, file.path, strict(600));
  Session sa(a), sb(b);
  sa.create();
  sb.create();
  const Tokens text = prompt(250, 1), more = prompt(12, 2);
  CHECK(largest_difference(sb.run(rows(text, 0, false)), sa.run(rows(text, 0, false))) < 1e-5);
  for (const int32_t t : more) CHECK(largest_difference(sb.run(Tokens{t}), sa.run(Tokens{t})) < 1e-5);
  CHECK(runtime.misuse->said() == "");
}

TEST_CASE("a device that is lost gives typed errors; a model on another device goes on") {
  const File file;
  for (const uint64_t at : {1, 5, 20, 21, 22, 23, 24, 25, 30}) {
    CAPTURE(at);
    std::shared_ptr<Misuse> misuse;
    {
      const Runtime runtime(2, true, async({{"lost_at", at}}));
      misuse = runtime.misuse;
      const Model steady(runtime, file.path, Placed(runtime, 0b00, 2, strict()).request);
      Session going_on(steady);
      going_on.create();
      const auto before = going_on.run(prompt(10, 1));
      Model model(runtime, file.path);
      Failed failed;
      try {
        model.load(Placed(runtime, 0b01, 2, strict()).request);
        Session session(model);
        session.create();
        for (int i = 0; i < 20 && !failed.code; ++i) {
          const uint32_t held = session.length(0);
          failed = session.try_run(rows(prompt(4, 1)));
          CHECK(session.length(0) == (failed.code ? held : held + 4));
        }
        // It stays lost.
        CHECK(session.try_run(rows(prompt(4, 1))).code == BRIM_DEVICE_LOST);
      } catch (const Stopped& stopped) {
        failed = stopped.failed;
      }
      CHECK(failed.code == BRIM_DEVICE_LOST);
      CHECK(failed.message.find("async fake") != std::string::npos);
      going_on.trim(0, 0);
      CHECK(same_bits(before, going_on.run(prompt(10, 1))));
    }
    CHECK(misuse->said() == "");
  }
}

TEST_CASE("whichever call of a backend fails, the error comes out and nothing is left behind") {
  SmallModel small;
  small.q8_0 = true;
  const File file(small);
  bool ended = false;
  uint64_t failures = 0;
  for (uint64_t n = 1; !ended; ++n) {
    CAPTURE(n);
    REQUIRE(n < 500);
    std::shared_ptr<Misuse> misuse;
    try {
      const Runtime runtime(1, true, async({{"fail_at", n}, {"delay_us", n % 3 * 100}}));
      misuse = runtime.misuse;
      const Model model(runtime, file.path, Placed(runtime, n % 2 ? 0b11 : 0b01, 2, strict(64, 2)).request);
      scenario(model);
      ended = true;
    } catch (const Stopped& stopped) {
      ++failures;
      CHECK(stopped.failed.code == BRIM_IO);
      CHECK(stopped.failed.message.find("async fake") != std::string::npos);
    }
    CHECK(misuse->said() == "");
  }
  CHECK(failures > 50);
}

TEST_CASE("a step that fails changes nothing, also where it was to copy a shared block") {
  const File file;
  Runtime cpu;
  const Model reference(cpu, file.path, strict(64, 2));
  const auto after = [](Session& session, uint32_t s) { return session.run(Tokens{50, 51, 52}, s); };
  Session plain(reference);
  plain.create();
  plain.run(prompt(21, 1));
  const auto wanted = after(plain, 0);
  int failed_steps = 0;
  bool through = false;
  for (uint64_t n = 20; !through; ++n) {
    CAPTURE(n);
    REQUIRE(n < 500);
    const Runtime runtime(1, true, async({{"fail_at", n}}));
    try {
      const Model model(runtime, file.path, Placed(runtime, 0b01, 2, strict(64, 2)).request);
      Session session(model);
      session.create();
      session.run(prompt(21, 1));
      const uint32_t fork = session.fork(0);
      const Failed failed = session.try_run(rows(Tokens{90, 91}, fork));
      if (!failed.code) {
        through = true;
        break;
      }
      ++failed_steps;
      CHECK(session.length(fork) == 21);
      CHECK(largest_difference(wanted, after(session, fork)) < 1e-5);
      CHECK(largest_difference(wanted, after(session, 0)) < 1e-5);
    } catch (const Stopped&) {
      // It failed earlier: not what is looked at here.
    }
    CHECK(runtime.misuse->said() == "");
  }
  CHECK(failed_steps > 4);
}

TEST_CASE("a plan that does not fit the device's memory is refused before anything is allocated") {
  const File file;
  const Runtime runtime(1, true, async({{"budget", 400'000}}));
  const Model model(runtime, file.path);
  const Placed all(runtime, 0b11, 2, strict());
  brim_plan* plan = nullptr;
  const Failed f = call([&](brim_error* e) { return brim_plan_create(model.get(), &all.request, &plan, e); });
  CHECK(f.code == BRIM_OUT_OF_MEMORY);
  CHECK(f.message.find("async fake") != std::string::npos);
  brim_plan_request forced = all.request;
  forced.flags = BRIM_PLAN_UNSAFE_OVERCOMMIT;
  const Plan overcommitted(model.get(), forced);
  const Failed g = call([&](brim_error* e) { return brim_model_load(model.get(), overcommitted.get(), nullptr, e); });
  CHECK(g.code == BRIM_OUT_OF_MEMORY);
  CHECK(runtime.misuse->said() == "");
}
