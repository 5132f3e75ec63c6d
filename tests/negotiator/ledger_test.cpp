// Promises of memory: what one load counts on, no other counts on, in this process or in another.
#include <doctest/doctest.h>

#include <atomic>
#include <chrono>
#include <filesystem>
#include <fstream>
#include <negotiator/ledger.hpp>
#include <thread>

#ifndef _WIN32
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>
#endif

#include "../support/failure.hpp"
#include "../support/temp_folder.hpp"

using namespace brim;
using namespace brim::negotiator;
using brim::test::TempFolder;

namespace {

constexpr LedgerPool kPool = {0, 7}, kOther = {1, 7};

Ledger::Promise take(const std::shared_ptr<Ledger>& ledger, uint64_t bytes, uint64_t room, LedgerPool pool = kPool) {
  return ledger->promise({{pool, bytes}}, [&](const LedgerPool&) { return room; });
}

size_t files_in(const TempFolder& folder) {
  size_t n = 0;
  for (const auto& entry : std::filesystem::directory_iterator(folder.path()))
    n += entry.path().extension() == ".promises";
  return n;
}

}  // namespace

TEST_CASE("what is promised cannot be promised again, and comes back when the promise goes") {
  const auto ledger = std::make_shared<Ledger>("");
  {
    auto first = take(ledger, 600, 1000);
    CHECK(ledger->promised(kPool) == 600);
    CHECK(ledger->promised(kOther) == 0);
    CHECK_FAILS(BRIM_OUT_OF_MEMORY, "600 of them are promised", take(ledger, 401, 1000));
    CHECK(ledger->promised(kPool) == 600);
    auto second = take(ledger, 400, 1000);
    CHECK(ledger->promised(kPool) == 1000);
    first.settle({{kPool, 100}});
    CHECK(ledger->promised(kPool) == 500);
    second = {};
    CHECK(ledger->promised(kPool) == 100);
  }
  CHECK(ledger->promised(kPool) == 0);
}

TEST_CASE("a load of several memories promises all of them or none") {
  const auto ledger = std::make_shared<Ledger>("");
  const auto room = [](const LedgerPool& pool) { return pool == kPool ? 1000u : 10u; };
  CHECK_FAILS(BRIM_OUT_OF_MEMORY, "20 bytes", ledger->promise({{kPool, 500}, {kOther, 20}}, room));
  CHECK(ledger->promised(kPool) == 0);
}

TEST_CASE("a ledger of a folder is one for the process, of another process one that sees it") {
  const TempFolder folder;
  const std::string path = folder.path().string();
  CHECK(Ledger::of_folder(path) == Ledger::of_folder(path));
  // Locks belong to handles, so a second ledger over the folder is what a second process is.
  const auto here = std::make_shared<Ledger>(path);
  auto there = std::make_shared<Ledger>(path);
  auto mine = take(here, 600, 1000);
  CHECK(there->promised(kPool) == 600);
  CHECK_FAILS(BRIM_OUT_OF_MEMORY, "promised", take(there, 500, 1000));
  auto theirs = take(there, 300, 1000);
  CHECK(here->promised(kPool) == 900);
  CHECK(files_in(folder) == 2);
  theirs = {};
  there.reset();
  CHECK(here->promised(kPool) == 600);
  CHECK(files_in(folder) == 1);
}

TEST_CASE("what a process left that ended is worth nothing and is removed; nonsense is no promise") {
  const TempFolder folder;
  const auto here = std::make_shared<Ledger>(folder.path().string());
  std::ofstream(folder / "9.promises") << "0 7 500\n";
  CHECK(here->promised(kPool) == 0);
  CHECK(files_in(folder) == 1);
  const os::Handle held = os::open_or_create(folder / "8.promises");
  REQUIRE(os::try_lock(held));
  for (const std::string text : {"0 7 500\n1 7 20\nx\n0 7\n", "\n\n", "0 7 99999999999999999999999\n"}) {
    os::rewrite(held, text.data(), text.size(), "8.promises");
    CHECK(here->promised(kPool) == (text[0] == '0' && text[4] == '5' ? 500 : 0));
  }
  os::close_handle(held);
}

#ifndef _WIN32
TEST_CASE("processes that promise at once never promise more than there is, and one that is killed leaves nothing") {
  const TempFolder folder;
  const auto here = std::make_shared<Ledger>(folder.path().string());
  std::vector<pid_t> children;
  for (int p = 0; p < 3; ++p) {
    const pid_t child = fork();
    if (child == 0) {
      // Nothing of the test's may run here: not even a destructor.
      try {
        const auto ledger = std::make_shared<Ledger>(folder.path().string());
        for (;;) {
          try {
            const auto promise = take(ledger, 300, 1000);
            if (ledger->promised(kPool) > 1000) _exit(1);
          } catch (const Error& e) {
            if (e.code != BRIM_OUT_OF_MEMORY) _exit(2);
          }
        }
      } catch (...) {
        _exit(3);
      }
    }
    REQUIRE(child > 0);
    children.push_back(child);
  }
  uint64_t most = 0, mine = 0;
  const auto end = std::chrono::steady_clock::now() + std::chrono::milliseconds(500);
  while (std::chrono::steady_clock::now() < end || mine < 5) {
    try {
      const auto promise = take(here, 300, 1000);
      ++mine;
      most = std::max(most, here->promised(kPool));
    } catch (const Error& e) {
      CHECK(e.code == BRIM_OUT_OF_MEMORY);
    }
  }
  for (const pid_t child : children) {
    int status = 0;
    CHECK(waitpid(child, &status, WNOHANG) == 0);  // none saw too much
    kill(child, SIGKILL);
    waitpid(child, &status, 0);
  }
  CHECK(most <= 900);
  CHECK(here->promised(kPool) == 0);
  CHECK(files_in(folder) == 1);
}
#endif

TEST_CASE("however many take at once, no more is promised than there is") {
  const TempFolder folder;
  std::atomic<uint64_t> held{0}, most{0}, taken{0};
  std::vector<std::thread> threads;
  for (int t = 0; t < 4; ++t) {
    threads.emplace_back([&] {
      const auto ledger = std::make_shared<Ledger>(folder.path().string());
      for (int i = 0; i < 50; ++i) {
        try {
          const auto promise = take(ledger, 300, 1000);
          const uint64_t now = held += 300;
          for (uint64_t seen = most; seen < now && !most.compare_exchange_weak(seen, now);) {
          }
          ++taken;
          held -= 300;
        } catch (const Error& e) {
          CHECK(e.code == BRIM_OUT_OF_MEMORY);
        }
      }
    });
  }
  for (auto& t : threads) t.join();
  CHECK(most <= 1000);
  CHECK(taken > 50);
}
