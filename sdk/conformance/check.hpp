// What every group of brim-check shares: exit codes, options that choose what is tested, and how a group is added.
#pragma once

#include <CLI/CLI.hpp>
#include <brim/brim.hpp>
#include <functional>
#include <stdexcept>
#include <string>
#include <vector>

namespace check {

inline constexpr int kHolds = 0;
inline constexpr int kFails = 1;
inline constexpr int kWrongUsage = 2;
inline constexpr int kUnsupported = 3;  // nothing was found wrong, but nothing could be checked either

struct UsageError : std::runtime_error {
  using std::runtime_error::runtime_error;
};
// Something that brim.h, a plugin or the model cannot do at all; not a failure.
struct Unsupported : std::runtime_error {
  using std::runtime_error::runtime_error;
};
// A file that is not what it should be.
struct BadInput : std::runtime_error {
  using std::runtime_error::runtime_error;
};

// Which plugins, device and settings are under test.
struct Subject {
  std::string device, numerics = "strict", kv = "f32";
  uint32_t threads = 0;
  std::vector<std::string> options;  // PLUGIN.KEY=VALUE
  std::vector<std::string> plugin_dirs;
};
void add_subject_options(CLI::App& app, Subject& subject);

struct Bench {
  brim::Config config;
  brim::Runtime runtime;
};
Bench make_bench(const Subject& subject);
// The device's number in the runtime's report, by that number, its backend or its name.
uint32_t find_device(const brim::Runtime& runtime, const std::string& wanted);

// A command: where it is parsed, and what it does then.
struct Group {
  CLI::App* app;
  std::function<int()> run;
};
Group add_golden(CLI::App& program);  // a subcommand
Group add_plugin(CLI::App& program);  // the program itself, where no subcommand is named

}  // namespace check
