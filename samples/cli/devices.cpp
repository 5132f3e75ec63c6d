// `brim devices`: the processors that backends bring, the memories with every reading of them, and how fast each
// processor reaches each memory, as a table and a picture; of this machine or of a described one.
#include <fmt/format.h>

#include <algorithm>
#include <memory>

#include "commands.hpp"
#include "host.hpp"
#include "terminal.hpp"
#include "words.hpp"

namespace cli {

namespace {

struct DevicesOptions {
  RuntimeOptions runtime;
  std::string format = "table", save;
};

using Json = nlohmann::json;

uint64_t number_of(const Json& object, const char* key) { return object.value(key, uint64_t{0}); }

std::string bandwidth_text(const Json& object, const char* key) {
  const auto bytes = static_cast<double>(number_of(object, key));
  if (bytes <= 0) return "unknown speed";
  return fmt::format("{:.{}f} GB/s {}", bytes / 1e9, bytes < 1e11 ? 1 : 0, text_of(object, "bandwidth_from"));
}

std::string device_table(const Json& devices) {
  std::vector<std::vector<std::string>> rows = {
      {"#", "device", "type", "memory class", "plugin", "driver", "architecture", "state"}};
  for (size_t i = 0; i < devices.size(); ++i) {
    const Json& d = devices[i];
    const bool live = d.value("live", false), described = d.value("described", false);
    std::string name = text_of(d, "name");
    if (d.contains("same_as") && !d["same_as"].is_null()) name += fmt::format(" (the same as {})", d["same_as"].dump());
    rows.push_back({std::to_string(i), name, text_of(d, "type"), text_of(d, "class"), text_of(d, "plugin"),
                    text_of(d, "driver"), text_of(d, "architecture"),
                    live        ? "live"
                    : described ? text_of(d, "assumed").empty() ? "described" : "described, assumed"
                                : "plans only"});
  }
  return table_text(rows, {true, false, false, false, false, false, false, false});
}

// A memory as a bar of what is used, kept for others and free, its readings, and the devices that reach it.
std::string picture(const Json& report) {
  const auto& pools = report.at("pools");
  const auto& devices = report.at("devices");
  std::string out;
  for (size_t p = 0; p < pools.size(); ++p) {
    const Json& pool = pools[p];
    const uint64_t bytes = number_of(pool, "bytes"), budget = number_of(pool, "budget");
    const uint64_t available = std::min(bytes, number_of(pool, "available"));
    out += fmt::format("\n{}: {}", text_of(pool, "name"), bytes_text(bytes));
    if (const uint64_t nominal = number_of(pool, "nominal_bandwidth"))
      out += fmt::format(", {:.0f} GB/s by its data sheet", static_cast<double>(nominal) / 1e9);
    out += fmt::format("\n  {}\n", memory_bar({{"in use", '#', bytes - available},
                                               {"kept for others", 'o', available - std::min(available, budget)},
                                               {"to plan with", '.', budget}},
                                              40));
    const auto& readings = pool.at("readings");
    for (size_t r = 0; r < readings.size(); ++r) {
      const bool binds = pool.at("binding") == Json(r);
      const std::string note = text_of(readings[r], "note");
      out += fmt::format("   {} {} {}{}{}\n",
                         binds                                ? '*'
                         : readings[r].value("bounds", false) ? '<'
                                                              : ' ',
                         bytes_text(number_of(readings[r], "bytes")), text_of(readings[r], "name"),
                         binds ? "  <- binds" : "", note.empty() ? "" : "  (" + note + ")");
    }
    for (const Json& link : report.at("links")) {
      const auto device = link.value("device", size_t{0});
      if (link.value("pool", size_t{0}) != p || device >= devices.size()) continue;
      out += fmt::format("   |-- {}: {}  ({}, {}{})\n", device, text_of(devices[device], "name"),
                         bandwidth_text(link, "bandwidth"), text_of(link, "noncoherent"),
                         link.value("host_coherent", false) ? ", coherent" : "");
    }
  }
  return out;
}

// Why devices have their class, are the same or are assumed; why others are not here.
std::string reasons(const Json& report) {
  std::string out;
  const auto line = [&out](const std::string& text) { out += wrapped(text, 118, "    ") + '\n'; };
  const auto& devices = report.at("devices");
  for (size_t i = 0; i < devices.size(); ++i) {
    const Json& d = devices[i];
    line(fmt::format("{} is {}: {}", i, text_of(d, "class"), text_of(d, "class_because")));
    if (const std::string same = text_of(d, "same_because"); !same.empty())
      line(fmt::format("{} is the same hardware as {}: {}", i, d["same_as"].dump(), same));
    if (const std::string assumed = text_of(d, "assumed"); !assumed.empty())
      line(fmt::format("{} is assumed: {}", i, assumed));
  }
  for (const Json& refused : report.at("refused")) {
    if (refused.contains("library")) continue;  // a plugin: `brim plugins` shows it
    line(fmt::format("{} is left out: {}", text_of(refused, "id"), text_of(refused, "reason")));
  }
  return out;
}

void save(const Machine& machine, const std::string& path) {
  std::string name = path.substr(path.find_last_of("/\\") + 1);
  name = name.substr(0, name.rfind(".toml"));
  write_file(path, machine.runtime.machine(name), "the machine");
}

int devices(const DevicesOptions& options) {
  const Machine machine(options.runtime);
  if (options.runtime.machine.empty() && (options.format != "json" || !options.save.empty()))
    machine.runtime.bandwidth();  // measured once, the report knows it from then on
  const Json report = machine.report();
  if (!options.save.empty()) save(machine, options.save);
  if (options.format == "json") {
    const Json chosen = {
        {"devices", report.at("devices")}, {"pools", report.at("pools")}, {"links", report.at("links")}};
    write_out(chosen.dump(2) + '\n');
    return kOk;
  }
  std::string out = device_table(report.at("devices"));
  out += picture(report);
  out +=
      "\n* binds, < is a bound too, others are no bound; speeds: reported by a backend, described, measured (probe), "
      "or\n"
      "a share of the data sheet's that similar machines reach (prior)\n\n";
  out += reasons(report);
  for (const Json& pool : report.at("pools")) {
    if (const std::string limit = text_of(pool, "limited_by"); !limit.empty()) {
      out += fmt::format("{} is limited by {}\n", text_of(pool, "name"), limit);
    }
  }
  write_out(out);
  return kOk;
}

}  // namespace

Command add_devices(CLI::App& program) {
  auto options = std::make_shared<DevicesOptions>();
  CLI::App* app = program.add_subcommand("devices", "Processors and memories of this machine");
  explain(*app,
          "Shows the devices that the backends found, the memories with every reading of them and what may be planned "
          "with, "
          "and which device reaches which memory how fast. --device takes the numbers in the first column, a plugin "
          "that brings "
          "one device only, or a name. Sizes are decimal (1 GB = 10^9 bytes); the bandwidth of system memory is "
          "measured, which takes about 0.3 s.");
  app->add_option("-o,--output", options->format, "table or json")
      ->check(CLI::IsMember({"table", "json"}))
      ->type_name("FORM");
  app->add_option("--save", options->save, "Write this machine as a description, for --on")->type_name("FILE.toml");
  add_runtime_options(*app, options->runtime);
  add_machine_option(*app, options->runtime);
  options->runtime.require_device = false;
  app->footer(
      "Examples:\n"
      "  brim devices\n"
      "  brim devices --on rtx-spark\n"
      "  brim devices --save here.toml\n"
      "  brim devices -o json");
  return {app, [options] { return devices(*options); }};
}

}  // namespace cli
