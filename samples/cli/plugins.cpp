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

using Json = nlohmann::json;

int plugins(const PluginsOptions& options) {
  const Machine machine(options.runtime);
  const auto report = machine.report();
  if (options.format == "json") {
    const Json chosen = {{"plugins", report.at("plugins")}, {"refused", report.at("refused")}};
    write_out(chosen.dump(2) + '\n');
    return kOk;
  }
  const Style& style = out_style();
  const auto paragraph = [](const Json& one, std::string_view shown) {
    const std::string reason = text_of(one, "reason");
    return fmt::format("{}\n    {}\n", shown, text_of(one, "library")) +
           (reason.empty() ? "" : "    " + wrapped(reason, 112, "    ") + '\n');
  };
  std::string out = fmt::format("{}taken{}\n", style.bold, style.off);
  for (const auto& plugin : report.at("plugins")) {
    out += paragraph(
        plugin, fmt::format("{} {}, {}", text_of(plugin, "id"), text_of(plugin, "version"), text_of(plugin, "kind")));
  }
  const auto& refused = report.at("refused");
  if (!refused.empty()) out += fmt::format("\n{}refused{}\n", style.bold, style.off);
  for (const auto& one : refused) {
    // A plugin whose manifest could not be read has no id, a device that could not be opened no library.
    std::string name = text_of(one, "id");
    if (name.empty()) name = text_of(one, "who");
    if (name.empty()) name = text_of(one, "manifest");
    out += paragraph(one, name);
  }
  write_out(out);
  return kOk;
}

}  // namespace

Command add_plugins(CLI::App& program) {
  auto options = std::make_shared<PluginsOptions>();
  CLI::App* app =
      program.add_subcommand("plugins", "Backends and architectures: what was taken, what was refused and why");
  explain(*app,
          "Lists the plugins of this installation: backends, which bring devices, and architectures, which teach model "
          "families. Every candidate that was met is there, with the reason where it was refused. Plugins lie in the "
          "folder brim/plugins beside the library, or in the folders given by --plugins; no other place is searched. A "
          "plugin is code that runs with your rights: install none that you do not trust.");
  app->add_option("-o,--output", options->format, "table or json")
      ->check(CLI::IsMember({"table", "json"}))
      ->type_name("FORM");
  add_runtime_options(*app, options->runtime);
  options->runtime.require_device = false;
  app->footer(
      "Examples:\n"
      "  brim plugins\n"
      "  brim plugins --plugins ./my-plugin/build/brim/plugins");
  return {app, [options] { return plugins(*options); }};
}

}  // namespace cli
