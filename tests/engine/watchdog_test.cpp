// What a model does where the system's memory goes while it serves: gives back what no sequence holds, then refuses to
// touch more, and goes on when there is memory again.
#include <atomic>
#include <chrono>
#include <engine/session.hpp>
#include <thread>
#include <vector>

#include "../negotiator/machine.hpp"
#include "../support/failure.hpp"
#include "../support/resident.hpp"
#include "../support/temp_folder.hpp"
#include "small_model.hpp"

using namespace brim;
using brim::test::resident;
using brim::engine::Watchdog;

namespace {

constexpr double kGiB = 1024.0 * 1024 * 1024;

negotiator::Plan plan_with(uint64_t reserve, uint64_t floor) {
  negotiator::Plan plan;
  negotiator::PoolCharge c;
  c.reserve = reserve;
  c.floor = floor;
  plan.pools.push_back(c);
  return plan;
}

}  // namespace

TEST_CASE("memory that falls from 29 to 6 GiB in 11 seconds is seen to be short before 8 GiB are left") {
  // As an engine's start was seen to do it on GB10, where everything stands still from 7 GiB on.
  const negotiator::Plan plan = plan_with(static_cast<uint64_t>(12 * kGiB), static_cast<uint64_t>(8 * kGiB));
  for (const int phase_ms : {0, 30, 60, 99}) {
    double seconds = 0, short_at = 0, dry_at = 0;
    int looks = 0;
    Watchdog dog(plan, [&] {
      ++looks;
      return static_cast<uint64_t>((28.97 - (28.97 - 6.27) * seconds / 11) * kGiB);
    });
    const Watchdog::Clock::time_point begin{std::chrono::milliseconds(phase_ms)};
    for (int ms = phase_ms; ms < 11000; ms += 7) {  // a step of 7 ms
      seconds = ms / 1000.0;
      const auto memory = dog.look(begin + std::chrono::milliseconds(ms));
      const double left = 28.97 - (28.97 - 6.27) * seconds / 11;
      if (memory != Watchdog::Memory::kEnough && short_at == 0) short_at = left;
      if (memory == Watchdog::Memory::kDry && dry_at == 0) dry_at = left;
    }
    CHECK(short_at > 11.7);
    CHECK(dry_at > 7.7);
    CHECK(looks <= 111);
  }
}

TEST_CASE("where the system's memory goes, freed KV goes back first, then growing is refused, and later goes on") {
  test::TempFolder folder;
  const std::string path = folder / "model.gguf";
  test::SmallModel small;
  small.layers = 4;
  small.width = 256;
  small.kv_heads = 4;
  small.context = 4096;
  small.write(path);
  negotiator::Request request;
  request.n_ctx = 4096;
  request.n_seqs = 2;
  request.kv_dtype = BRIM_DTYPE_F32;
  const auto plan = negotiator::make_plan(negotiator::open_model(test::machine(), path, ""), request);
  REQUIRE(plan->pools.size() == 1);
  std::atomic<uint64_t> left{UINT64_MAX};
  engine::LoadOptions options;
  options.memory_left = [&] { return left.load(); };
  const auto engine = std::make_shared<engine::Engine>(plan, options);
  engine::Session session(engine);
  const auto run = [&](uint32_t sequence, uint32_t n) {
    std::this_thread::sleep_for(Watchdog::kBetweenLooks);  // so that memory is looked at
    std::vector<brim_row> rows(n);
    for (brim_row& row : rows) row.token = 5, row.sequence = sequence;
    rows.back().outputs = 1u << BRIM_OUTPUT_LOGITS;
    brim_step step{};
    step.struct_size = sizeof(step);
    step.rows = rows.data();
    step.n_rows = n;
    step.row_stride = sizeof(brim_row);
    session.submit(step, nullptr);
    session.wait(UINT64_MAX);
  };
  const uint32_t long_one = session.create_sequence(), short_one = session.create_sequence();
  run(long_one, 4000);
  run(short_one, 40);
  const std::vector<float> before(session.output(BRIM_OUTPUT_LOGITS, 0).begin(),
                                  session.output(BRIM_OUTPUT_LOGITS, 0).end());
  session.remove(long_one);

  // Below the reserve: what the removed sequence held goes back to the system, and work goes on.
  const uint64_t full = resident();
  left = plan->pools[0].reserve - 1;
  run(short_one, 1);
  const uint64_t kv = plan->pools[0].kv / 2;  // of one sequence
  INFO("resident ", full, ", then ", resident(), "; KV of a sequence ", kv);
  CHECK(full - resident() > kv / 4 * 3);

  // Below the floor: nothing is begun that takes further blocks; what fits into those there are runs.
  left = plan->pools[0].floor - 1;
  CHECK_FAILS(BRIM_OUT_OF_MEMORY, "have to stay free", run(short_one, 600));
  CHECK(session.length(short_one) == 41);
  run(short_one, 1);

  // There is memory again; sequences are as they were, and blocks that were given back serve as before.
  left = UINT64_MAX;
  session.trim(short_one, 0);
  run(short_one, 40);
  const auto after = session.output(BRIM_OUTPUT_LOGITS, 0);
  CHECK(std::equal(before.begin(), before.end(), after.begin(), after.end()));
  run(short_one, 4000);
  CHECK(session.length(short_one) == 4040);
}

TEST_CASE("a plan that was forced is not watched") {
  negotiator::Plan plan = plan_with(12, 8);
  plan.request.unsafe_overcommit = true;
  Watchdog dog(plan, [] { return uint64_t{0}; });
  CHECK(dog.look(Watchdog::Clock::now()) == Watchdog::Memory::kEnough);
}
