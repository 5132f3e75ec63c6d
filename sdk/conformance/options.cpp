// From options to a configured runtime.
#include <fmt/format.h>

#include <brim/find_device.hpp>
#include <filesystem>
#include <nlohmann/json.hpp>

#include "check.hpp"

namespace check {

namespace {

brim::Runtime make_runtime(const brim::Config& config, const std::vector<std::string>& plugin_dirs) {
  std::vector<std::string> absolute;
  for (const std::string& folder : plugin_dirs) {
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
  return brim::Runtime(settings);
}

// "cpu.isa=avx2" as a key of the configuration, "backend.cpu.isa": the kind is what the plugin itself says it is.
void set_plugin_option(brim::Config& config, const nlohmann::json& plugins, const std::string& option) {
  const size_t equals = option.find('=');
  const size_t dot = option.rfind('.', equals);
  if (equals == std::string::npos || dot == std::string::npos || dot == 0 || dot + 1 == equals) {
    throw UsageError(fmt::format("--option {}: expected PLUGIN.KEY=VALUE", option));
  }
  const std::string plugin = option.substr(0, dot);
  std::string there;
  for (const auto& one : plugins) {
    const auto id = one.at("id").get<std::string>();
    if (id == plugin || id == "brim." + plugin) {
      config.set(
          fmt::format("{}.{}.{}", one.at("kind").get<std::string>(), plugin, option.substr(dot + 1, equals - dot - 1)),
          option.substr(equals + 1));
      return;
    }
    there += (there.empty() ? "" : ", ") + id;
  }
  throw UsageError(fmt::format("--option {}: there is no plugin {}; there are {}", option, plugin, there));
}

}  // namespace

void add_subject_options(CLI::App& app, Subject& subject) {
  app.add_option("--device", subject.device,
                 "Run every layer on this device: its number, backend or name in `brim devices`")
      ->type_name("D");
  app.add_option("--numerics", subject.numerics, "strict (default) or fast")
      ->check(CLI::IsMember({"strict", "fast"}))
      ->type_name("MODE");
  app.add_option("--kv", subject.kv, "Type of the KV cache: f32 (default), f16 or q8_0")
      ->check(CLI::IsMember({"f32", "f16", "q8_0"}))
      ->type_name("TYPE");
  app.add_option("-t,--threads", subject.threads, "CPU threads; 0: one per core that this process may use")
      ->type_name("N");
  app.add_option("--option", subject.options, "A setting of a plugin, may be repeated")
      ->type_name("PLUGIN.KEY=VALUE")
      ->allow_extra_args(false);
  app.add_option("--plugins", subject.plugin_dirs,
                 "Folder to look for plugins in, in place of the installed ones; may be repeated")
      ->type_name("DIR")
      ->allow_extra_args(false);
}

Bench make_bench(const Subject& subject) {
  brim::Config config;
  config.set("runtime.threads", std::to_string(subject.threads));
  config.set("plan.numerics", subject.numerics);
  config.set("plan.kv_dtype", subject.kv);
  if (!subject.options.empty()) {
    const auto report = nlohmann::json::parse(make_runtime(config, subject.plugin_dirs).report());
    for (const std::string& option : subject.options) set_plugin_option(config, report.at("plugins"), option);
  }
  brim::Runtime runtime = make_runtime(config, subject.plugin_dirs);
  return {std::move(config), std::move(runtime)};
}

uint32_t find_device(const brim::Runtime& runtime, const std::string& wanted) {
  const auto report = nlohmann::json::parse(runtime.report());
  std::vector<brim::ListedDevice> devices;
  for (const auto& device : report.at("devices"))
    devices.push_back({device.value("name", ""), device.value("plugin", "")});
  std::string why;
  if (const auto found = brim::find_device(devices, wanted, why)) return *found;
  throw UsageError(fmt::format("--device {}: {}", wanted, why));
}

}  // namespace check
