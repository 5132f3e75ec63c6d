// What kernels and runtimes rely on when they work with the team: everybody is there at once, everything is done when
// run() returns, two callers never mix, and an idle team costs nothing.
#include <doctest/doctest.h>

#include <base/os/machine.hpp>
#include <base/team.hpp>

#if defined(__linux__)
#include <sys/resource.h>
#endif

#include <algorithm>
#include <atomic>
#include <barrier>
#include <chrono>
#include <ctime>
#include <set>
#include <thread>
#include <vector>

using brim::Team;

namespace {

double process_cpu_seconds() { return static_cast<double>(std::clock()) / CLOCKS_PER_SEC; }

}  // namespace

TEST_CASE("a team of one runs the task on the caller") {
  Team team(1);
  CHECK(team.size() == 1);
  const auto caller = std::this_thread::get_id();
  uint32_t calls = 0;
  CHECK(team.run(8, [&](uint32_t index, uint32_t count) {
    CHECK(index == 0);
    CHECK(count == 1);
    CHECK(std::this_thread::get_id() == caller);
    ++calls;
  }) == 1);
  CHECK(calls == 1);
  CHECK(Team(0).size() == 1);
}

TEST_CASE("every index runs once, on a thread of its own, the caller is index 0") {
  Team team(4);
  REQUIRE(team.size() == 4);
  for (uint32_t want = 0; want <= 6; ++want) {
    std::vector<std::thread::id> ran(6);
    std::atomic<uint32_t> calls{0};
    const uint32_t got = team.run(want, [&](uint32_t index, uint32_t count) {
      ran[index] = std::this_thread::get_id();
      calls += count;  // everyone is told the same count
    });
    CHECK(got == std::min(std::max(1u, want), 4u));
    CHECK(calls == got * got);
    CHECK(ran[0] == std::this_thread::get_id());
    CHECK(std::set<std::thread::id>(ran.begin(), ran.begin() + got).size() == got);
    for (uint32_t i = got; i < 6; ++i) CHECK(ran[i] == std::thread::id());
  }
}

TEST_CASE("a task may use barriers, because all of its threads are live at once") {
  Team team(3);
  std::vector<uint64_t> cells(3, 1);
  uint64_t total = 0;
  std::barrier meet(3);
  team.run(3, [&](uint32_t index, uint32_t count) {
    for (int round = 0; round < 200; ++round) {
      const uint64_t right = cells[(index + 1) % count];
      meet.arrive_and_wait();
      cells[index] += right % 1000;
      meet.arrive_and_wait();
    }
    if (index == 0)
      for (const uint64_t cell : cells) total += cell;
  });
  std::vector<uint64_t> expected(3, 1);
  for (int round = 0; round < 200; ++round) {
    const std::vector<uint64_t> old = expected;
    for (size_t i = 0; i < 3; ++i) expected[i] += old[(i + 1) % 3] % 1000;
  }
  CHECK(cells == expected);
  CHECK(total == expected[0] + expected[1] + expected[2]);
}

TEST_CASE("what a task wrote is visible when run returns, ten thousand times") {
  Team team(4);
  std::vector<uint32_t> plain(4, 0);  // no atomics: run() itself must order the accesses
  for (uint32_t i = 1; i <= 10000; ++i) {
    const uint32_t want = 1 + i % 4;
    const uint32_t got = team.run(want, [&](uint32_t index, uint32_t) { plain[index] = i; });
    REQUIRE(got == want);
    for (uint32_t k = 0; k < got; ++k) REQUIRE(plain[k] == i);
  }
}

TEST_CASE("callers from several threads take turns") {
  Team team(3);
  // Plain variables: if two runs overlapped, counts would be lost and the race detector would speak.
  uint64_t cells[3] = {};
  std::atomic<int> inside{0};
  std::atomic<bool> mixed{false};
  const auto caller = [&](int me) {
    for (int i = 0; i < 2000; ++i) {
      team.run(3, [&](uint32_t index, uint32_t) {
        ++cells[index];
        if (index != 0) return;
        if (inside.exchange(me) != 0) mixed = true;
        inside = 0;
      });
    }
  };
  std::thread a(caller, 1), b(caller, 2);
  a.join();
  b.join();
  CHECK_FALSE(mixed);
  for (const uint64_t cell : cells) CHECK(cell == 4000);
}

TEST_CASE("a task that calls its own team is served alone instead of waiting for itself") {
  Team team(3);
  std::atomic<uint32_t> alone{0};
  team.run(3, [&](uint32_t, uint32_t) {
    const uint32_t got = team.run(3, [&](uint32_t index, uint32_t count) { alone += index == 0 && count == 1; });
    CHECK(got == 1);
  });
  CHECK(alone == 3);
}

TEST_CASE("an idle team sleeps") {
  Team team(4);
  team.run(4, [](uint32_t, uint32_t) {});
  std::this_thread::sleep_for(std::chrono::milliseconds(20));
  const double before = process_cpu_seconds();
  std::this_thread::sleep_for(std::chrono::milliseconds(500));
  CHECK(process_cpu_seconds() - before < 0.01);
}

TEST_CASE("a caller that waits for a slow worker sleeps too") {
  Team team(2);
  const double before = process_cpu_seconds();
  team.run(2, [](uint32_t index, uint32_t) {
    if (index == 1) std::this_thread::sleep_for(std::chrono::milliseconds(300));
  });
  CHECK(process_cpu_seconds() - before < 0.05);
}

TEST_CASE("the process has one shared team, sized by the first who asks, as long as someone holds it") {
  auto first = brim::shared_team(3);
  CHECK(first->size() == 3);
  auto second = brim::shared_team(7);
  CHECK(second == first);
  first.reset();
  second.reset();
  CHECK(brim::shared_team(2)->size() == 2);
  CHECK(brim::shared_team(0)->size() == brim::os::usable_cores());
}

TEST_CASE("the host program's own threads serve in place of the library's") {
  struct Pool {
    uint32_t wanted = 0;
    static uint32_t BRIM_CALL run(void* user, uint32_t want, brim_task_fn fn, void* arg) {
      static_cast<Pool*>(user)->wanted = want;
      std::thread other([&] { fn(arg, 1, 2); });
      fn(arg, 0, 2);
      other.join();
      return 2;
    }
  } pool;
  Team team(brim::HostTeam{&Pool::run, &pool, 5});
  CHECK(team.size() == 5);
  std::atomic<uint32_t> mask{0};
  CHECK(team.run(9, [&](uint32_t index, uint32_t count) { mask |= index + 1 + (count << 8); }) == 2);
  CHECK(pool.wanted == 5);
  CHECK(mask == ((2u << 8) | 1u | 2u));
}

#if defined(__linux__) && !defined(__SANITIZE_THREAD__) && !defined(__SANITIZE_ADDRESS__)
TEST_CASE("where no thread is to be had the team is smaller and works") {
  rlimit old{};
  REQUIRE(getrlimit(RLIMIT_AS, &old) == 0);
  rlimit tight = old;
  tight.rlim_cur = 1;  // no new mapping: thread stacks cannot be had
  if (setrlimit(RLIMIT_AS, &tight) != 0) return;
  {
    Team team(8);
    setrlimit(RLIMIT_AS, &old);
    CHECK(team.size() < 8);
    uint32_t got = team.run(8, [](uint32_t, uint32_t) {});
    CHECK(got == team.size());
  }
  setrlimit(RLIMIT_AS, &old);
}
#endif
