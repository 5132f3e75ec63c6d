// `brim plan MODEL`: what loading would take, to the byte, and why. Allocates nothing.
#include <fmt/format.h>

#include <memory>

#include "commands.hpp"
#include "host.hpp"
#include "terminal.hpp"
#include "words.hpp"

namespace cli {

namespace {

struct PlanCommandOptions {
  RuntimeOptions runtime;
  PlanOptions plan;
  std::string model, format = "table";
};

const char* load_name(uint32_t load) {
  return load == BRIM_LOAD_MAP ? "map" : load == BRIM_LOAD_READ ? "read" : "auto";
}

int plan(const PlanCommandOptions& options) {
  const Machine machine(options.runtime, options.plan);
  const brim::Model model(machine.runtime, options.model);
  const brim::Plan plan = make_plan(machine, model, options.plan);
  const std::string explained = plan.explain();
  if (options.format == "json") {
    write_out(nlohmann::ordered_json::parse(explained).dump(2) + '\n');
    return kOk;
  }
  const brim_plan_info info = plan.info();
  const auto report = machine.report();
  const auto& names = report.at("pools");
  std::vector<std::vector<std::string>> rows = {
      {"bytes in", "weights", "mapped", "KV", "activations", "workspace", "step", "total", "free before"}};
  std::string bars;
  for (const brim_plan_pool& pool : plan.pools()) {
    const std::string name = pool.pool < names.size() ? names[pool.pool].value("name", "memory") : "memory";
    rows.push_back({name, exact_bytes_text(pool.weights), exact_bytes_text(pool.mapped), exact_bytes_text(pool.kv),
                    exact_bytes_text(pool.activations), exact_bytes_text(pool.workspace), exact_bytes_text(pool.step),
                    exact_bytes_text(pool.total), exact_bytes_text(pool.available)});
    if (pool.total + pool.mapped == 0) continue;
    bars += fmt::format("{}  {}\n", name,
                        memory_bar({{"weights", 'W', pool.weights + pool.mapped},
                                    {"KV", 'K', pool.kv},
                                    {"activations", 'A', pool.activations + pool.workspace + pool.step},
                                    {"free", '.', pool.available > pool.total ? pool.available - pool.total : 0}},
                                   40));
  }
  std::string out = table_text(rows, {false, true, true, true, true, true, true, true, true});
  out += '\n' + bars + '\n';
  out += table_text({{"context", fmt::format("{} tokens, {} at once, {} in all", info.n_ctx,
                                             info.n_seqs == 1 ? "1 sequence" : fmt::format("{} sequences", info.n_seqs),
                                             info.kv_tokens)},
                     {"batch", fmt::format("{} tokens", info.n_batch)},
                     {"KV cache", fmt::format("{}, {} bytes a token", brim_dtype_name(info.kv_dtype),
                                              exact_bytes_text(info.kv_bytes_per_token))},
                     {"numerics", info.numerics == BRIM_NUMERICS_STRICT ? "strict" : "fast"},
                     {"load", load_name(info.load)},
                     {"read per token", fmt::format("{} bytes", exact_bytes_text(info.bytes_per_token))},
                     {"decode, predicted", info.predicted_decode > 0
                                               ? fmt::format("{:.1f} tokens/s at memory speed", info.predicted_decode)
                                               : std::string("unknown")}},
                    {false, false});
  const auto json = nlohmann::json::parse(explained);
  if (const auto decisions = json.find("decisions"); decisions != json.end() && !decisions->empty()) {
    out += '\n';
    for (const auto& decision : *decisions) {
      out += wrapped(fmt::format("{}: {}, because {}", decision.value("what", ""), decision.value("choice", ""),
                                 decision.value("because", "")),
                     118, "    ") +
             '\n';
    }
  }
  write_out(out);
  return kOk;
}

}  // namespace

Command add_plan(CLI::App& program) {
  auto options = std::make_shared<PlanCommandOptions>();
  CLI::App* app = program.add_subcommand("plan", "What loading a model would take, and why");
  explain(
      *app,
      "Says what loading a model would take, without loading it: exact bytes in each memory, the choices that were "
      "made and the reason of each. Loading allocates these bytes and no others. \"mapped\" weights are read in "
      "place from the file and can be taken back by the system. A plan that does not fit is refused with numbers and "
      "with what would fit; nothing is lowered unasked.");
  add_model_argument(*app, options->model);
  app->add_option("-o,--output", options->format, "table or json (everything: tensors and where each lies)")
      ->check(CLI::IsMember({"table", "json"}))
      ->type_name("FORM");
  add_plan_options(*app, options->plan);
  add_runtime_options(*app, options->runtime);
  app->footer(
      "Examples:\n"
      "  brim plan model.gguf\n"
      "  brim plan model.gguf -c 32768 --kv q8_0\n"
      "  brim plan llama-3-70b:q4_k_m      a shape in place of a file; `brim plan list:` names all\n"
      "  brim plan model.gguf -o json | jq .decisions");
  return {app, [options] { return plan(*options); }};
}

}  // namespace cli
