// `brim quantize IN OUT TYPE`: a model file with smaller weights.
#include <fmt/format.h>

#include <chrono>
#include <filesystem>
#include <memory>
#include <string>

#include "commands.hpp"
#include "host.hpp"
#include "terminal.hpp"
#include "words.hpp"

namespace cli {

namespace {

struct QuantizeOptions {
  RuntimeOptions runtime;
  std::string in, out, type;
};

int quantize(const QuantizeOptions& options) {
  const auto start = std::chrono::steady_clock::now();
  const auto threads = static_cast<uint32_t>(std::stoul(make_config(options.runtime).value("runtime.threads")));
  ProgressBar bar(!options.runtime.quiet);
  brim::quantize(options.in, options.out, options.type, threads, &interrupt::token(), bar.callback());
  bar.clear();
  if (options.runtime.quiet) return kOk;
  const std::chrono::duration<double> took = std::chrono::steady_clock::now() - start;
  std::error_code unknown;
  const auto before = std::filesystem::file_size(options.in, unknown);
  const auto after = std::filesystem::file_size(options.out, unknown);
  if (!unknown && before > 0) {
    write_err(fmt::format("{}: {}, {:.0f} % of {}, in {}\n", options.out, bytes_text(after),
                          100.0 * static_cast<double>(after) / static_cast<double>(before), bytes_text(before),
                          seconds_text(took.count())));
  }
  return kOk;
}

}  // namespace

Command add_quantize(CLI::App& program) {
  auto options = std::make_shared<QuantizeOptions>();
  CLI::App* app = program.add_subcommand("quantize", "Make a model file smaller");
  explain(
      *app,
      "Writes a model file again with weights of another type. A type is one for all large weights (F16, BF16, Q8_0, "
      "Q4_0, Q4_K, ...) or a mix that keeps the sensitive ones larger (Q4_K_M, Q5_K_M, Q6_K, ...). Rows that no "
      "whole number of blocks fills get the nearest type that fits. OUT appears when it is complete; on failure or "
      "Ctrl-C nothing stays behind.");
  app->add_option("IN", options->in, "Model file to read (GGUF)")->required()->type_name("");
  app->add_option("OUT", options->out, "Model file to write")->required()->type_name("");
  app->add_option("TYPE", options->type, "Type or mix")->required()->type_name("");
  add_runtime_options(*app, options->runtime);
  app->footer(
      "Examples:\n"
      "  brim quantize model-f16.gguf model-q8.gguf Q8_0\n"
      "  brim quantize model-f16.gguf model-q4.gguf Q4_K_M -t 8");
  return {app, [options] { return quantize(*options); }};
}

}  // namespace cli
