// `brim devices`: the processors that backends bring, the memories, and how fast each reaches each, as a table and a
// picture.
#include <fmt/format.h>

#include <memory>

#include "commands.hpp"
#include "host.hpp"
#include "terminal.hpp"
#include "words.hpp"

namespace cli {

namespace {

struct DevicesOptions {
  RuntimeOptions runtime;
  std::string format = "table";
};

using Json = nlohmann::json;

std::string bandwidth_text(const Json& value) {
  const double bytes = value.is_number() ? value.get<double>() : 0;
  return bytes > 0 ? fmt::format("{:.1f} GB/s", bytes / 1e9) : "unknown";
}

// Each memory as a bar of what is used and free, and under it the devices that reach it.
std::string picture(const Json& report) {
  const auto& pools = report.at("pools");
  const auto& devices = report.at("devices");
  std::string out;
  for (size_t p = 0; p < pools.size(); ++p) {
    const uint64_t bytes = pools[p].value("bytes", uint64_t{0});
    const uint64_t available = std::min(bytes, pools[p].value("available", uint64_t{0}));
    out += fmt::format("\n{}\n  {}\n", pools[p].value("name", "memory"),
                       memory_bar({{"in use", '#', bytes - available}, {"free", '.', available}}, 40));
    for (const Json& link : report.at("links")) {
      if (link.value("pool", size_t{0}) != p) continue;
      const auto device = link.value("device", size_t{0});
      if (device >= devices.size()) continue;
      out += fmt::format("   |-- {}: {}  ({})\n", device, devices[device].value("name", "device"),
                         bandwidth_text(link.value("bandwidth", Json(0))));
    }
  }
  return out;
}

int devices(const DevicesOptions& options) {
  const Machine machine(options.runtime);
  const Json report = machine.report();
  if (options.format == "json") {
    const Json chosen = {
        {"devices", report.at("devices")}, {"pools", report.at("pools")}, {"links", report.at("links")}};
    write_out(chosen.dump(2) + '\n');
    return kOk;
  }
  std::vector<std::vector<std::string>> rows = {{"#", "device", "type", "plugin", "driver", "architecture", "state"}};
  const auto& list = report.at("devices");
  for (size_t i = 0; i < list.size(); ++i) {
    const Json& device = list[i];
    const auto live = device.find("live");
    const bool alive = live == device.end() || (live->is_boolean() ? live->get<bool>() : *live != Json(0));
    rows.push_back({std::to_string(i), text_of(device, "name"), text_of(device, "type"), text_of(device, "plugin"),
                    text_of(device, "driver"), text_of(device, "architecture"), alive ? "live" : "plans only"});
  }
  std::string out = table_text(rows, {true, false, false, false, false, false, false});
  out += picture(report);
  out += fmt::format("\nsystem memory reads at {:.1f} GB/s, measured now with every thread of the team\n",
                     machine.runtime.bandwidth() / 1e9);
  for (const Json& pool : report.at("pools")) {
    if (const std::string limit = text_of(pool, "limited_by"); !limit.empty()) {
      out += fmt::format("{} is limited by {}\n", pool.value("name", "a memory"), limit);
    }
  }
  write_out(out);
  return kOk;
}

}  // namespace

Command add_devices(CLI::App& program) {
  auto options = std::make_shared<DevicesOptions>();
  CLI::App* app = program.add_subcommand("devices", "Processors and memories of this machine");
  explain(
      *app,
      "Shows the devices that the backends found, the memories, and which device reaches which memory how fast. The "
      "numbers in the first column are what --device takes. Sizes are decimal (1 GB = 10^9 bytes); the bandwidth of "
      "system memory is measured, which takes about 0.3 s.");
  app->add_option("-o,--output", options->format, "table or json")
      ->check(CLI::IsMember({"table", "json"}))
      ->type_name("FORM");
  add_runtime_options(*app, options->runtime);
  app->footer(
      "Examples:\n"
      "  brim devices\n"
      "  brim devices -o json");
  return {app, [options] { return devices(*options); }};
}

}  // namespace cli
