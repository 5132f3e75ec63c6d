// `brim config`: every setting there is, its default, the value in force, and what it does.
#include <fmt/format.h>

#include <memory>

#include "commands.hpp"
#include "host.hpp"
#include "terminal.hpp"
#include "words.hpp"

namespace cli {

namespace {

struct ConfigOptions {
  RuntimeOptions runtime;
  std::string format = "table";
};

std::string plain(const nlohmann::json& value) { return value.is_string() ? value.get<std::string>() : value.dump(); }

int show_config(const ConfigOptions& options) {
  const std::string description = make_config(options.runtime).describe();
  if (options.format == "json") {
    write_out(description + '\n');
    return kOk;
  }
  const Style& style = out_style();
  const std::string file = options.runtime.config_file.empty() ? default_config_file() : options.runtime.config_file;
  std::string out = file.empty() ? "# no configuration file; defaults and --set\n" : fmt::format("# from {}\n", file);
  for (const auto& option : nlohmann::json::parse(description)) {
    const std::string value = plain(option.at("value")), normal = plain(option.at("default"));
    out += fmt::format("\n{}{}{} = {}", style.bold, option.at("key").get<std::string>(), style.off, value);
    out += fmt::format("    ({}{})\n", plain(option.at("type")),
                       value == normal ? "" : fmt::format(", default {}", normal));
    out += "    " + wrapped(plain(option.at("help")), 110, "    ") + '\n';
  }
  write_out(out);
  return kOk;
}

}  // namespace

Command add_config(CLI::App& program) {
  auto options = std::make_shared<ConfigOptions>();
  CLI::App* app = program.add_subcommand("config", "Every setting, its value and what it does");
  explain(*app,
          "Lists every setting that a configuration file or --set may name, with the value in force, its default where "
          "that differs, and what it does. The file is TOML: \"plan.context = 4096\" or a table [plan] with context = "
          "4096. A key that is not known is an error that names the nearest one.");
  app->add_option("-o,--output", options->format, "table or json")
      ->check(CLI::IsMember({"table", "json"}))
      ->type_name("FORM");
  add_runtime_options(*app, options->runtime);
  app->footer(
      "Examples:\n"
      "  brim config\n"
      "  brim config --set sampling.temperature=0.7 | grep -A1 sampling");
  return {app, [options] { return show_config(*options); }};
}

}  // namespace cli
