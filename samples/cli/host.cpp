#include "host.hpp"

#include <fmt/format.h>

#include <brim/find_device.hpp>
#include <cerrno>
#include <chrono>
#include <cstdio>
#include <cstring>
#include <filesystem>

#include "terminal.hpp"

namespace cli {

namespace {

void BRIM_CALL log_to_stderr(void*, uint32_t level, brim_str source, brim_str message) {
  static constexpr std::string_view kNames[] = {"trace", "debug",       "info",         "warning",
                                                "error", "host misuse", "plugin misuse"};
  const std::string_view name = level < std::size(kNames) ? kNames[level] : "log";
  write_err(fmt::format("brim: {}: {}: {}\n", name, brim::view(source), brim::view(message)));
}

std::string read_all(std::FILE* file, const std::string& name) {
  std::string out;
  char chunk[65536];
  size_t n = 0;
  while ((n = std::fread(chunk, 1, sizeof chunk, file)) > 0) out.append(chunk, n);
  if (std::ferror(file) != 0) throw HostError(fmt::format("{}: cannot read: {}", name, std::strerror(errno)));
  return out;
}

}  // namespace

brim::Config make_config(const RuntimeOptions& options, const PlanOptions& plan) {
  brim::Config config;
  const std::string file = options.config_file.empty() ? default_config_file() : options.config_file;
  if (!file.empty()) config.load(file);
  for (const std::string& setting : options.settings) {
    const size_t equals = setting.find('=');
    if (equals == std::string::npos || equals == 0) {
      throw UsageError(fmt::format("--set {}: expected KEY=VALUE, for instance plan.context=4096", setting));
    }
    config.set(setting.substr(0, equals), setting.substr(equals + 1));
  }
  if (options.threads) config.set("runtime.threads", std::to_string(*options.threads));
  if (options.architecture) config.set("runtime.architecture", *options.architecture);
  if (!options.machine.empty()) config.set("runtime.machine", options.machine);
  if (!options.require_device) config.set("runtime.require_device", "false");
  if (options.verbosity > 0) {
    config.set("runtime.log_level", options.verbosity == 1 ? "info" : options.verbosity == 2 ? "debug" : "trace");
  }
  if (plan.unsafe_overcommit) config.set("plan.unsafe_overcommit", "true");
  if (plan.context) config.set("plan.context", std::to_string(*plan.context));
  if (plan.batch) config.set("plan.batch", std::to_string(*plan.batch));
  if (plan.kv) config.set("plan.kv_dtype", *plan.kv);
  if (plan.sequences) config.set("plan.sequences", std::to_string(*plan.sequences));
  if (plan.kv_least) config.set("plan.kv_least", *plan.kv_least);
  if (plan.context_least) config.set("plan.context_least", std::to_string(*plan.context_least));
  if (plan.mix) config.set("plan.mix", *plan.mix);
  if (plan.numerics) config.set("plan.numerics", *plan.numerics);
  if (plan.load) config.set("load.io", *plan.load);
  return config;
}

brim::Runtime make_runtime(const RuntimeOptions& options, const brim::Config& config) {
  std::vector<std::string> absolute;
  for (const std::string& folder : options.plugin_dirs) {
    std::error_code error;
    const auto path = std::filesystem::absolute(folder, error);
    if (error || !std::filesystem::is_directory(path, error)) {
      throw UsageError(fmt::format("--plugins {}: there is no such folder", folder));
    }
    absolute.push_back(path.lexically_normal().string());
  }
  std::vector<brim_str> folders;
  for (const std::string& folder : absolute) folders.push_back(brim::str(folder));

  auto settings = brim::sized<brim_runtime_config>();
  settings.config = config.get();
  settings.plugin_dirs = folders.data();
  settings.n_plugin_dirs = static_cast<uint32_t>(folders.size());
  settings.log = options.quiet ? nullptr : &log_to_stderr;
  return brim::Runtime(settings);
}

uint32_t find_device(const nlohmann::json& report, const std::string& wanted) {
  std::vector<brim::ListedDevice> devices;
  for (const auto& device : report.at("devices"))
    devices.push_back({text_of(device, "name"), text_of(device, "plugin")});
  std::string why;
  if (const auto found = brim::find_device(devices, wanted, why)) return *found;
  throw UsageError(fmt::format("--device {}: {}", wanted, why));
}

brim::Plan make_plan(const Machine& machine, const brim::Model& model, const PlanOptions& options, uint32_t n_seqs) {
  auto request = brim::sized<brim_plan_request>();
  request.config = machine.config.get();
  request.n_seqs = n_seqs;
  auto placement = brim::sized<brim_placement>();
  if (!options.device.empty()) {
    placement.device = find_device(machine.report(), options.device);
    placement.n_layers = model.info().n_layers;
    request.placements = &placement;
    request.n_placements = 1;
    request.placement_stride = sizeof placement;
  }
  return brim::Plan(model, request);
}

LoadedModel load_model(const Machine& machine, const RuntimeOptions& options, const PlanOptions& plan_options,
                       const std::string& path, uint32_t n_seqs) {
  brim::Model model(machine.runtime, path);
  const brim_model_info info = model.info();
  brim::Plan plan = make_plan(machine, model, plan_options, n_seqs);
  const auto start = std::chrono::steady_clock::now();
  ProgressBar bar(!options.quiet);
  model.load(plan, &interrupt::token(), bar.callback());
  bar.clear();
  plan = model.plan();  // lower than what was planned, where memory was refused on the way
  const brim_plan_info plan_info = plan.info();
  const std::chrono::duration<double> took = std::chrono::steady_clock::now() - start;
  return {std::move(model), info, std::move(plan), plan_info, took.count()};
}

std::string text_of(const nlohmann::json& object, const char* key) {
  const auto found = object.find(key);
  if (found == object.end() || found->is_null()) return "";
  return found->is_string() ? found->get<std::string>() : found->dump();
}

std::string read_file(const std::string& path) {
  const std::unique_ptr<std::FILE, int (*)(std::FILE*)> file(std::fopen(path.c_str(), "rb"), &std::fclose);
  if (!file) throw HostError(fmt::format("{}: cannot open: {}", path, std::strerror(errno)));
  return read_all(file.get(), path);
}

void write_file(const std::string& path, const std::string& text, const char* what) {
  const std::unique_ptr<std::FILE, int (*)(std::FILE*)> file(std::fopen(path.c_str(), "wb"), &std::fclose);
  if (!file || std::fwrite(text.data(), 1, text.size(), file.get()) != text.size() || std::fflush(file.get()) != 0)
    throw HostError(fmt::format("{}: cannot write {} there", path, what));
}

std::string read_stdin() { return read_all(stdin, "standard input"); }

}  // namespace cli
