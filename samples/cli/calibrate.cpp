// `brim calibrate MODEL`: measures how fast this machine decodes the model's weight format and keeps it where plans
// find it. The library learns from every generation of some length; this makes a few that nothing disturbs.
#include <fmt/format.h>

#include <memory>

#include "commands.hpp"
#include "host.hpp"
#include "run.hpp"
#include "terminal.hpp"

namespace cli {

namespace {

struct CalibrateOptions {
  RuntimeOptions runtime;
  PlanOptions plan;
  std::string model;
  uint32_t tokens = 64, repetitions = 5;
};

int calibrate(const CalibrateOptions& options) {
  const Machine machine(options.runtime, options.plan);
  const std::string file = machine.config.value("runtime.learned");
  if (file.empty()) {
    throw UsageError("nothing is kept: name a file, --set runtime.learned=FILE or [runtime] learned in brim.toml");
  }
  std::string out;
  {
    const LoadedModel loaded = load_model(machine, options.runtime, options.plan, options.model);
    const std::vector<int32_t> start = tokens_of_start(loaded.model, "");
    brim::Session session(loaded.model);
    for (uint32_t i = 0; i < options.repetitions; ++i) {
      brim::Generation what;
      what.sequence = session.create_sequence();
      what.prompt = start;
      what.max_tokens = options.tokens;
      what.ignore_end = true;
      what.cancel = &interrupt::token();
      const brim::Generated result = session.generate(what);
      session.remove(what.sequence);
      if (result.cancelled) return kInterrupted;
      const double speed = static_cast<double>(result.n_generated - 1) * 1e9 / static_cast<double>(result.decode_ns);
      out += fmt::format("decode {:.2f} tokens/s\n", speed);
    }
  }
  const brim::Model model(machine.runtime, options.model);
  const brim_plan_info after = make_plan(machine, model, options.plan).info();
  out += fmt::format("plans now predict {:.2f} tokens/s; kept in {}\n", after.predicted_decode, file);
  write_out(out);
  return kOk;
}

}  // namespace

Command add_calibrate(CLI::App& program) {
  auto options = std::make_shared<CalibrateOptions>();
  CLI::App* app = program.add_subcommand("calibrate", "Measure this machine's speed for plans to predict from");
  explain(
      *app,
      "Decodes with a model a few times and keeps how fast this machine was, by device, driver and weight format, in "
      "the file that runtime.learned names. Plans of other models in that format are predicted from it. `brim run` "
      "and every program that uses the library keep what they see in the same way.");
  add_model_argument(*app, options->model);
  app->add_option("-n,--n-gen", options->tokens, "Tokens of a generation, default 64, at least 17")
      ->check(CLI::Range(17, 65536))
      ->type_name("N");
  app->add_option("-r,--repetitions", options->repetitions, "Generations, default 5")
      ->check(CLI::PositiveNumber)
      ->type_name("N");
  add_plan_options(*app, options->plan);
  add_runtime_options(*app, options->runtime);
  app->footer("Examples:\n  brim calibrate model.gguf --set runtime.learned=$HOME/.cache/brim-speeds");
  return {app, [options] { return calibrate(*options); }};
}

}  // namespace cli
