// The options that several commands share, spelt and explained in one place so that they mean the same everywhere.
#pragma once

#include <CLI/CLI.hpp>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <optional>
#include <stdexcept>
#include <string>
#include <vector>

namespace cli {

inline constexpr int kOk = 0;
inline constexpr int kFailure = 1;
inline constexpr int kWrongUsage = 2;
inline constexpr int kInterrupted = 130;

inline constexpr size_t kHelpColumn = 34;  // where --help explains an option

// An option's value that makes no sense, found after parsing: exit code 2.
struct UsageError : std::runtime_error {
  using std::runtime_error::runtime_error;
};
// The host's own failure (a file that cannot be read): exit code 1.
struct HostError : std::runtime_error {
  using std::runtime_error::runtime_error;
};

// One of the program's commands: its parser and what it does, giving the exit code.
struct Command {
  CLI::App* app;
  std::function<int()> run;
};

// What `brim COMMAND --help` says above the options. The list of commands in `brim --help` has the line that
// add_subcommand was given.
void explain(CLI::App& app, std::string text);

// Of every command.
struct RuntimeOptions {
  std::string config_file;
  std::vector<std::string> settings;  // KEY=VALUE
  std::optional<uint32_t> threads;
  std::vector<std::string> plugin_dirs;
  std::optional<std::string> architecture;
  std::string machine;         // described, in place of this one
  bool require_device = true;  // false: the command works where no backend can be used
  int verbosity = 0;
  bool quiet = false;
};
void add_runtime_options(CLI::App& app, RuntimeOptions& options);
// Of the commands that need no machine to be here.
void add_machine_option(CLI::App& app, RuntimeOptions& options);

// Of every command that plans.
struct PlanOptions {
  std::optional<uint32_t> context, batch, sequences, context_least;
  std::optional<std::string> kv, kv_least, numerics, load, mix;
  std::string device;
  bool unsafe_overcommit = false;
};
void add_plan_options(CLI::App& app, PlanOptions& options);

void add_model_argument(CLI::App& app, std::string& path);

// $XDG_CONFIG_HOME/brim/brim.toml or ~/.config/brim/brim.toml where it exists, else empty. Never a file of the working
// directory.
std::string default_config_file();

}  // namespace cli
