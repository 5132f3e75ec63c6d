// `brim plan MODEL`: what loading would take, to the byte, and why. Allocates nothing.
#include <fmt/format.h>

#include <map>
#include <memory>
#include <optional>

#include "commands.hpp"
#include "host.hpp"
#include "remote.hpp"
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
  static constexpr const char* kNames[] = {"auto", "map", "read", "direct"};
  return load < std::size(kNames) ? kNames[load] : "?";
}

// "layers 0 to 42", "layers 43 to 79 and experts of 5 layers" by device, from the explanation.
std::string layers_text(const nlohmann::json& plan) {
  std::map<uint64_t, std::string> names;
  for (const auto& d : plan.at("devices")) names[d.at("device")] = d.value("name", "");
  std::string out;
  const auto& layers = plan.at("layers");
  for (size_t i = 0; i < layers.size();) {
    const uint64_t device = layers[i].at("device");
    size_t end = i, apart = 0;
    for (; end < layers.size() && layers[end].at("device") == device; ++end) apart += layers[end].contains("experts");
    out += fmt::format("{}{} to {} on {}", out.empty() ? "" : ", ", i, end - 1, names[device]);
    if (apart) out += fmt::format(" (experts of {} elsewhere)", apart);
    i = end;
  }
  return out;
}

std::string predicted_text(const nlohmann::json& plan) {
  const auto& p = plan.at("predicted");
  if (p.is_null()) return "unknown: nothing is known of the bandwidth of a memory";
  return fmt::format("{:.1f} tokens/s, {:.1f} to {:.1f} in nine of ten cases; {:.1f} at a full context ({})",
                     p.at("decode_tps").get<double>(), p.at("decode_low").get<double>(),
                     p.at("decode_high").get<double>(), p.at("decode_full_context_tps").get<double>(),
                     p.at("provenance").get<std::string>());
}

// Every reading of a memory, the one that binds marked; what stays free; what was planned.
std::string readings_text(const nlohmann::json& pools) {
  std::string out;
  for (const auto& pool : pools) {
    out += fmt::format("{}: {} may be planned with, {} stay free for others\n", pool.value("name", "memory"),
                       bytes_text(pool.at("budget_bytes").get<uint64_t>()),
                       bytes_text(pool.at("reserve_bytes").get<uint64_t>()));
    for (const auto& r : pool.at("readings")) {
      const std::string note = r.value("note", "");
      out += fmt::format("  {} {} {}{}\n", r.value("binds", false) ? '>' : ' ', r.value("name", ""),
                         bytes_text(r.at("bytes").get<uint64_t>()), note.empty() ? "" : "  (" + note + ")");
    }
  }
  return out;
}

// What did not win and what less quality would give, a line each.
std::string others_text(const nlohmann::json& plan) {
  std::string out;
  for (const auto& r : plan.at("rejected")) {
    out += wrapped(fmt::format("not taken: {}: {}", r.value("what", ""), r.value("because", "")), 118, "    ") + '\n';
  }
  for (const auto& r : plan.at("next_rungs")) {
    out += fmt::format("a rung lower: {} would hold {} of KV", r.value("what", ""),
                       bytes_text(r.at("kv_bytes").get<uint64_t>()));
    if (r.contains("decode_full_context_tps")) {
      out += fmt::format(", {:.1f} tokens/s at a full context", r.at("decode_full_context_tps").get<double>());
    }
    out += '\n';
  }
  return out;
}

// A refusal in the form of a plan: what was wanted, what there is and what would fit.
std::string refusal_json(const brim::Failure& failure) {
  const auto& detail = failure.error().detail;
  nlohmann::ordered_json json, pool;
  pool["id"] = detail[0];
  pool["budget_bytes"] = detail[2];
  pool["planned_bytes"] = detail[1];
  json["fits"] = false;
  json["pools"].push_back(pool);
  json["reasons"].push_back(failure.what());
  return json.dump(2) + '\n';
}

int plan(const PlanCommandOptions& options) {
  const Machine machine(options.runtime, options.plan);
  std::optional<RemoteHeader> remote;
  if (is_url(options.model)) remote.emplace(options.model);
  const brim::Model model = remote ? remote->open(machine.runtime) : brim::Model(machine.runtime, options.model);
  if (remote && !options.runtime.quiet) write_err(remote->fetched() + '\n');
  std::optional<brim::Plan> made;
  try {
    made = make_plan(machine, model, options.plan);
  } catch (const brim::Failure& failure) {
    if (options.format == "json" && failure.code() == BRIM_OUT_OF_MEMORY) write_out(refusal_json(failure));
    throw;
  }
  const brim::Plan& plan = *made;
  const std::string explained = plan.explain();
  if (options.format == "json") {
    write_out(nlohmann::ordered_json::parse(explained).dump(2) + '\n');
    return kOk;
  }
  const auto json = nlohmann::json::parse(explained);
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
    const uint64_t planned = pool.total + pool.mapped;
    if (planned == 0) continue;
    bars += fmt::format("{}  {}\n", name,
                        memory_bar({{"weights", 'W', pool.weights + pool.mapped},
                                    {"KV", 'K', pool.kv},
                                    {"activations", 'A', pool.activations + pool.workspace + pool.step},
                                    {"free", '.', pool.available > planned ? pool.available - planned : 0}},
                                   40));
  }
  std::string out = table_text(rows, {false, true, true, true, true, true, true, true, true});
  out += '\n' + bars + '\n' + readings_text(json.at("pools")) + '\n';
  std::string prefill = "unknown";
  if (const auto& p = json.at("predicted"); !p.is_null()) {
    prefill = fmt::format("{:.0f} tokens/s", p.at("prefill_tps").get<double>());
  }
  out += table_text({{"context", fmt::format("{} tokens, {} at once, {} in all", info.n_ctx,
                                             info.n_seqs == 1 ? "1 sequence" : fmt::format("{} sequences", info.n_seqs),
                                             info.kv_tokens)},
                     {"layers", layers_text(json)},
                     {"batch", fmt::format("{} tokens", info.n_batch)},
                     {"KV cache", fmt::format("{}, {} bytes a token", brim_dtype_name(info.kv_dtype),
                                              exact_bytes_text(info.kv_bytes_per_token))},
                     {"numerics", info.numerics == BRIM_NUMERICS_STRICT ? "strict" : "fast"},
                     {"load", load_name(info.load)},
                     {"read per token", fmt::format("{} bytes", exact_bytes_text(info.bytes_per_token))},
                     {"decode, predicted", predicted_text(json)},
                     {"prefill, predicted", prefill}},
                    {false, false});
  out += '\n' + others_text(json);
  for (const auto& decision : json.at("decisions")) {
    out += wrapped(fmt::format("{}: {}, because {}", decision.value("what", ""), decision.value("choice", ""),
                               decision.value("because", "")),
                   118, "    ") +
           '\n';
  }
  for (const auto& device : report.at("devices")) {
    if (const std::string assumed = text_of(device, "assumed"); !assumed.empty())
      out += wrapped(fmt::format("{} is assumed: {}", text_of(device, "name"), assumed), 118, "    ") + '\n';
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
  app->add_flag_callback(
      "--json", [options] { options->format = "json"; }, "The same as -o json");
  app->add_option("--seqs", options->plan.sequences, "Texts alive at once, default 1")
      ->type_name("N")
      ->check(CLI::PositiveNumber);
  add_plan_options(*app, options->plan);
  add_runtime_options(*app, options->runtime);
  add_machine_option(*app, options->runtime);
  app->footer(
      "Examples:\n"
      "  brim plan model.gguf\n"
      "  brim plan model.gguf -c 32768 --kv q8_0\n"
      "  brim plan llama-3-70b:q4_k_m      a shape in place of a file; `brim plan list:` names all\n"
      "  brim plan llama-3-70b:q4_k_m --on rtx-spark\n"
      "  brim plan https://.../model.gguf  its header is fetched, some MB\n"
      "  brim plan model.gguf -o json | jq .decisions");
  return {app, [options] { return plan(*options); }};
}

}  // namespace cli
