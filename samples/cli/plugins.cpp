// `brim plugins`: every candidate that was met, taken or refused, with the reason.
#include <fmt/format.h>

#include <memory>

#include "commands.hpp"
#include "host.hpp"
#include "terminal.hpp"
#include "words.hpp"

namespace cli {

namespace {

struct PluginsOptions {
  RuntimeOptions runtime;
  std::string format = "table";
};

int plugins(const PluginsOptions& options) {
  const Machine machine(options.runtime);
  const auto report = machine.report();
  if (options.format == "json") {
    const nlohmann::json chosen = {{"plugins", report.at("plugins")}, {"refused", report.at("refused")}};
    write_out(chosen.dump(2) + '\n');
    return kOk;
  }
  const Style& style = out_style();
  std::vector<std::vector<std::string>> rows = {{"plugin", "kind", "version", "license", "ABI", "library"}};
  for (const auto& plugin : report.at("plugins")) {
    rows.push_back({plugin.value("id", ""), plugin.value("kind", ""), plugin.value("version", ""),
                    plugin.value("license", ""), fmt::format("{}.{}", BRIM_ABI_MAJOR, plugin.value("abi_minor", 0)),
                    plugin.value("library", "")});
  }
  std::string out = table_text(rows, {false, false, false, false, false, false});
  const auto& refused = report.at("refused");
  if (!refused.empty()) out += fmt::format("\n{}refused{}\n", style.bold, style.off);
  for (const auto& one : refused) {
    out += wrapped(fmt::format("{}: {}", one.value("who", ""), one.value("reason", "")), 118, "    ") + '\n';
  }
  write_out(out);
  return kOk;
}

}  // namespace

Command add_plugins(CLI::App& program) {
  auto options = std::make_shared<PluginsOptions>();
  CLI::App* app =
      program.add_subcommand("plugins", "Backends and architectures: what was taken, what was refused and why");
  app->description(
      "Lists the plugins of this installation: backends, which bring devices, and architectures, which teach model "
      "families. "
      "Every candidate that was met is there, with the reason where it was refused. Plugins lie in the folder "
      "brim/plugins "
      "beside the library, or in the folders given by --plugins; no other place is searched. A plugin is code that "
      "runs with your "
      "rights: install none that you do not trust.");
  app->add_option("-o,--output", options->format, "table or json")
      ->check(CLI::IsMember({"table", "json"}))
      ->type_name("FORM");
  add_runtime_options(*app, options->runtime);
  app->footer(
      "Examples:\n"
      "  brim plugins\n"
      "  brim plugins --plugins ./my-plugin/build/brim/plugins");
  return {app, [options] { return plugins(*options); }};
}

}  // namespace cli
