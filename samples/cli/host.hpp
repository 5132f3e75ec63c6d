// From options to a runtime, a plan and a loaded model: what every command that computes does first.
#pragma once

#include <brim/brim.hpp>
#include <nlohmann/json.hpp>
#include <string>

#include "options.hpp"

namespace cli {

// The settings in force: defaults, then the file, then --set, then the flags.
brim::Config make_config(const RuntimeOptions& options, const PlanOptions& plan = {});

brim::Runtime make_runtime(const RuntimeOptions& options, const brim::Config& config);

struct Machine {
  brim::Config config;
  brim::Runtime runtime;

  explicit Machine(const RuntimeOptions& options, const PlanOptions& plan = {})
      : config(make_config(options, plan)), runtime(make_runtime(options, config)) {}
  nlohmann::json report() const { return nlohmann::json::parse(runtime.report()); }
};

// n_seqs: sequences alive at once; 0: as the configuration says.
brim::Plan make_plan(const Machine& machine, const brim::Model& model, const PlanOptions& options, uint32_t n_seqs = 0);

struct LoadedModel {
  brim::Model model;
  brim_model_info info;
  brim::Plan plan;
  brim_plan_info plan_info;
  double load_seconds = 0;
};
// Opens, plans and loads with a progress bar. Ctrl-C makes it throw Failure with CANCELLED.
LoadedModel load_model(const Machine& machine, const RuntimeOptions& options, const PlanOptions& plan,
                       const std::string& path, uint32_t n_seqs = 0);

// The number of a device in the report, by that number, its backend or its name. UsageError lists what there is.
uint32_t find_device(const nlohmann::json& report, const std::string& wanted);

// A field of the library's JSON as text; empty where it is absent or null.
std::string text_of(const nlohmann::json& object, const char* key);

// Whole content. HostError names the file.
std::string read_file(const std::string& path);
// In place of what was there; `what` is what the message calls it.
void write_file(const std::string& path, const std::string& text, const char* what);
std::string read_stdin();

}  // namespace cli
