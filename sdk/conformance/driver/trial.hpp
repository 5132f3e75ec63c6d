// One test of one plugin, as it runs in a process of its own: what it is about, and where it says what it found.
//
// Findings are written down as they are made, so that a crash loses none. A test goes on after a finding; it ends early
// by stop() where nothing sensible can follow, and by skip() where the plugin has nothing that could be tested.
#pragma once

#include <fmt/format.h>

#include <atomic>
#include <cstdint>
#include <cstdio>
#include <memory>
#include <mutex>
#include <random>
#include <string>
#include <utility>
#include <vector>

namespace check {

// The plugin under test and what the command line says of it.
struct Target {
  std::string library, manifest;                              // paths; `manifest` is empty where there is none
  std::string model;                                          // a GGUF file; empty: none was given
  std::vector<std::pair<std::string, std::string>> settings;  // of every instance
  uint64_t seed = 0;
};

struct Stopped {};  // thrown by stop() and skip(): the test is over
// Thrown in place of a finding while failures are made to order: a call of the plugin that has to succeed did not.
struct Refused {
  const char* entry;
  uint32_t status;  // brim_status
  std::string text;
};

class Trial {
 public:
  // Results go to this file, one JSON object a line.
  Trial(Target target, const std::string& results);
  Trial(const Trial&) = delete;

  const Target& target() const { return target_; }
  std::mt19937_64& random() { return random_; }

  // A sin: what, expected, found.
  template <class... T>
  void fail(fmt::format_string<T...> text, T&&... args) {
    record("finding", fmt::format(text, std::forward<T>(args)...));
    if (++findings_ >= kMostFindings) stop();
  }
  template <class... T>
  bool expect(bool holds, fmt::format_string<T...> text, T&&... args) {
    if (!holds) fail(text, std::forward<T>(args)...);
    return holds;
  }
  // A number worth reading in the table; no finding.
  template <class... T>
  void note(fmt::format_string<T...> text, T&&... args) {
    record("note", fmt::format(text, std::forward<T>(args)...));
  }
  template <class... T>
  [[noreturn]] void skip(fmt::format_string<T...> text, T&&... args) {
    record("skipped", fmt::format(text, std::forward<T>(args)...));
    throw Stopped{};
  }
  // A row of the support table.
  void support(const std::string& row) { record("support", row); }
  [[noreturn]] void stop() { throw Stopped{}; }
  bool clean() const { return findings_ == 0; }
  // While calls are made to fail: must() throws Refused.
  void expect_refusals(bool yes) { refusals_ = yes; }
  bool expects_refusals() const { return refusals_; }
  void record(const char* kind, const std::string& text);

 private:
  static constexpr int kMostFindings = 12;  // what follows says little more
  Target target_;
  std::mt19937_64 random_;
  std::unique_ptr<std::FILE, int (*)(std::FILE*)> results_;
  std::atomic<int> findings_{0};
  std::atomic<bool> refusals_{false};
  std::mutex mutex_;
};

// What is tested. `kinds`: bits 1 << BRIM_KIND_*, 0 for every plugin.
struct Test {
  const char* name;       // "contract.stride-padding": group and check, stable
  const char* statement;  // what holds where it passes
  uint32_t kinds;
  double seconds;  // time limit
  void (*run)(Trial&);
};

// Every test, in the order in which they run. One function a group, in groups/.
const std::vector<Test>& all_tests();

}  // namespace check
