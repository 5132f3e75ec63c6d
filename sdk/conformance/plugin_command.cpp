// `brim-check PLUGIN`: holds one plugin's library against the ABI, every test in a process of its own.
#include <fmt/format.h>

#include <algorithm>
#include <cstdio>
#include <filesystem>
#include <memory>
#include <nlohmann/json.hpp>
#include <random>
#include <set>

#include "bench/manifest.hpp"
#include "check.hpp"
#include "driver/outcome.hpp"
#include "driver/report.hpp"
#include "groups/groups.hpp"

namespace check {
namespace {

struct PluginOptions {
  std::string plugin, model, json, junit, support_csv, seed;
  std::vector<std::string> groups, settings, plugin_dirs, expected_failures;
  bool only_failed = false, list = false;
  std::string one, results;  // of a child
};

void print(const std::string& text) {
  std::fwrite(text.data(), 1, text.size(), stdout);
  std::fflush(stdout);
}

void write_file(const std::string& path, const std::string& text) {
  std::unique_ptr<std::FILE, int (*)(std::FILE*)> file(std::fopen(path.c_str(), "wb"), &std::fclose);
  if (!file || std::fwrite(text.data(), 1, text.size(), file.get()) != text.size() ||
      std::fclose(file.release()) != 0) {
    throw BadInput(fmt::format("{}: cannot write", path));
  }
}

std::string library_of_id(const PluginOptions& options) {
  Subject subject;
  subject.plugin_dirs = options.plugin_dirs;
  const auto report = nlohmann::json::parse(make_bench(subject).runtime.report());
  std::string there;
  for (const auto& one : report.at("plugins")) {
    const auto id = one.at("id").get<std::string>();
    if (id == options.plugin) return one.at("library").get<std::string>();
    there += (there.empty() ? "" : ", ") + id;
  }
  throw UsageError(fmt::format("{}: no such file, and no installed plugin of that id; there are: {}", options.plugin,
                               there.empty() ? "none" : there));
}

// PLUGIN.KEY=VALUE, cut apart as `brim` does it: the key is what stands between the last dot and the "=".
struct Option {
  std::string plugin, key, value;
};
Option cut_option(const std::string& text) {
  const size_t equals = text.find('='), dot = text.rfind('.', equals);
  if (equals == std::string::npos || dot == std::string::npos || dot == 0 || dot + 1 == equals) {
    throw UsageError(fmt::format("--option {}: expected PLUGIN.KEY=VALUE", text));
  }
  return {text.substr(0, dot), text.substr(dot + 1, equals - dot - 1), text.substr(equals + 1)};
}

void add_settings(const PluginOptions& options, Target& target) {
  for (const std::string& text : options.settings) {
    Option option = cut_option(text);
    target.settings.emplace_back(std::move(option.key), std::move(option.value));
  }
}

void expect_own_options(const PluginOptions& options, const Identity& identity) {
  for (const std::string& text : options.settings) {
    const std::string plugin = cut_option(text).plugin;
    if (plugin == identity.id || "brim." + plugin == identity.id) continue;
    throw UsageError(fmt::format("--option {}: the plugin under test is {}", text, identity.id));
  }
}

Target target_of(const PluginOptions& options) {
  namespace fs = std::filesystem;
  Target target;
  std::error_code error;
  fs::path path = options.plugin;
  if (fs::is_regular_file(path, error) && path.extension() == ".toml") {
    path = path.parent_path() / read_manifest(path.string()).library;
  }
  if (!fs::is_regular_file(path, error)) {
    if (options.plugin.find_first_of("/\\") != std::string::npos) {
      throw UsageError(fmt::format("{}: there is no such file", path.string()));
    }
    path = library_of_id(options);
  }
  target.library = fs::absolute(path).lexically_normal().string();
  target.manifest = find_manifest(target.library);
  if (!options.model.empty()) {
    if (!fs::is_regular_file(options.model, error)) {
      throw UsageError(fmt::format("--model {}: there is no such file", options.model));
    }
    target.model = fs::absolute(options.model).string();
  }
  add_settings(options, target);
  if (options.seed.empty()) {
    target.seed = std::random_device()();
  } else {
    try {
      target.seed = std::stoull(options.seed);
    } catch (const std::exception&) {
      throw UsageError(fmt::format("--seed {}: expected a whole number", options.seed));
    }
  }
  return target;
}

std::string group_of(const Test& test) {
  const std::string name = test.name;
  return name.substr(0, name.find('.'));
}

// A group's name chooses its tests, a test's name itself.
std::vector<const Test*> chosen_tests(const std::vector<std::string>& wanted) {
  std::vector<const Test*> out;
  std::set<std::string> unknown(wanted.begin(), wanted.end()), groups;
  for (const Test& test : all_tests()) {
    const std::string group = group_of(test);
    groups.insert(group);
    bool take = wanted.empty();
    for (const std::string& name : wanted) {
      if (name != group && name != test.name) continue;
      take = true;
      unknown.erase(name);
    }
    if (take) out.push_back(&test);
  }
  if (!unknown.empty()) {
    std::string known;
    for (const std::string& group : groups) known += (known.empty() ? "" : ", ") + group;
    throw UsageError(fmt::format("--group {}: no group or test of that name; there are: {}", *unknown.begin(), known));
  }
  return out;
}

int list_tests(const std::vector<const Test*>& tests) {
  for (const Test* test : tests) print(fmt::format("{:<36} {}\n", test->name, test->statement));
  return kHolds;
}

std::set<std::string> expected_failures(const PluginOptions& options) {
  for (const std::string& name : options.expected_failures) {
    const auto& all = all_tests();
    if (std::any_of(all.begin(), all.end(), [&](const Test& test) { return name == test.name; })) continue;
    throw UsageError(fmt::format("--xfail {}: no test of that name (see --list)", name));
  }
  return {options.expected_failures.begin(), options.expected_failures.end()};
}

// A failure that was foretold is a test that tells nothing; one that does not come is news.
void turn(Outcome& outcome) {
  if (outcome.verdict == Verdict::kFailed) {
    outcome.verdict = Verdict::kSkipped;
    outcome.skipped = "fails, as --xfail says: " + outcome.findings.front();
    outcome.findings.clear();
  } else if (outcome.verdict == Verdict::kPassed) {
    outcome.verdict = Verdict::kFailed;
    outcome.findings.push_back("passes, though --xfail says that it fails; take it off the list");
  }
}

int run_one(const PluginOptions& options) {
  Target target;
  target.library = options.plugin;
  target.manifest = find_manifest(target.library);
  target.model = options.model;
  add_settings(options, target);
  target.seed = std::stoull(options.seed);
  if (options.one == "identify") {
    run_here(identity_test(), target, options.results);
    return kHolds;
  }
  for (const Test& test : all_tests()) {
    if (options.one == test.name) {
      run_here(test, target, options.results);
      return kHolds;
    }
  }
  throw UsageError(fmt::format("--one {}: no test of that name", options.one));
}

int run_plugin(const PluginOptions& options) {
  if (!options.one.empty()) return run_one(options);
  const std::vector<const Test*> tests = chosen_tests(options.groups);
  if (options.list) return list_tests(tests);
  if (options.plugin.empty()) throw UsageError("PLUGIN is missing: a library's path or an installed plugin's id");
  const Target target = target_of(options);
  if (!target.manifest.empty()) {
    const std::vector<std::string> missing = missing_features(read_manifest(target.manifest));
    if (!missing.empty()) {
      throw Unsupported(fmt::format("{} requires {}, which this processor lacks", target.manifest, missing.front()));
    }
  }
  const Identity identity = identify(target);
  if (!identity.id.empty()) expect_own_options(options, identity);
  print(fmt::format("{} {}\n{}\nseed {}\n", identity.id.empty() ? "a library that does not say its id" : identity.id,
                    identity.version, target.library, target.seed));
  if (!identity.trouble.empty()) print(fmt::format("it does not get far: {}\n", identity.trouble));
  const std::set<std::string> expected = expected_failures(options);
  std::vector<Outcome> outcomes;
  for (const Test* test : tests) {
    // A library that cannot be asked for its kind is held to what concerns every plugin.
    if (test->kinds != 0 && (identity.kind >= 32 || (test->kinds >> identity.kind & 1) == 0)) continue;
    outcomes.push_back(run_apart(*test, target));
    if (expected.contains(test->name)) turn(outcomes.back());
    if (!options.only_failed || outcomes.back().verdict == Verdict::kFailed) print(table_line(outcomes.back()));
  }
  print(summary_line(outcomes));
  if (!options.json.empty()) write_file(options.json, as_json(target, identity, outcomes));
  if (!options.junit.empty()) write_file(options.junit, as_junit(target, outcomes));
  if (!options.support_csv.empty()) write_file(options.support_csv, as_support_csv(outcomes));
  const bool failed =
      std::any_of(outcomes.begin(), outcomes.end(), [](const Outcome& o) { return o.verdict == Verdict::kFailed; });
  const bool checked =
      std::any_of(outcomes.begin(), outcomes.end(), [](const Outcome& o) { return o.verdict == Verdict::kPassed; });
  return failed ? kFails : checked ? kHolds : kUnsupported;
}

}  // namespace

Group add_plugin(CLI::App& program) {
  const auto options = std::make_shared<PluginOptions>();
  CLI::App* app = &program;
  app->add_option("PLUGIN", options->plugin,
                  "Path of the library or of its manifest, or the id of an installed plugin");
  app->add_option("--group", options->groups, "Only these groups or tests, separated by commas")
      ->delimiter(',')
      ->type_name("G");
  app->add_option("--xfail", options->expected_failures,
                  "Tests that are known to fail, separated by commas; one that passes is a failure then")
      ->delimiter(',')
      ->type_name("T");
  app->add_flag("--list", options->list, "List the tests and what each states");
  app->add_flag("--only-failed", options->only_failed, "Print failed tests only");
  app->add_option("--seed", options->seed, "Seed of everything random; it is printed, to repeat a run")->type_name("N");
  app->add_option("--model", options->model, "A GGUF file of the family, for plugins that describe architectures")
      ->type_name("FILE");
  app->add_option("--option", options->settings, "A setting of the plugin, may be repeated")
      ->type_name("PLUGIN.KEY=VALUE")
      ->allow_extra_args(false);
  app->add_option("--json", options->json, "Write the results as JSON")->type_name("FILE");
  app->add_option("--junit", options->junit, "Write the results in JUnit's format")->type_name("FILE");
  app->add_option("--support-csv", options->support_csv, "Write what a backend takes of the op suite, from group ops")
      ->type_name("FILE");
  app->add_option("--plugins", options->plugin_dirs, "Folder to look for the id in; may be repeated")
      ->type_name("DIR")
      ->allow_extra_args(false);
  app->add_option("--one", options->one)->group("");
  app->add_option("--results", options->results)->group("");
  return {app, [options] { return run_plugin(*options); }};
}

}  // namespace check
