// The `brim` command: a host of the SDK like any other. It parses, runs one command, and turns every failure into a
// sentence on standard error and an exit code: 0 done, 1 failed, 2 wrong usage, 130 interrupted.
#include <fmt/format.h>

#include <brim/brim.hpp>
#include <clocale>
#include <cstring>
#include <new>

#include "commands.hpp"
#include "terminal.hpp"

namespace cli {
namespace {

void complain(std::string_view message) {
  write_err(fmt::format("{}brim:{} {}\n", err_style().red, err_style().off, message));
}

int run_command(const Command& command) {
  try {
    interrupt::install();
    const int code = command.run();
    write_out("");  // a failure to flush is a failure
    return code;
  } catch (const brim::Failure& failure) {
    if (failure.code() == BRIM_CANCELLED) {
      complain("interrupted");
      return kInterrupted;
    }
    complain(failure.what());
  } catch (const UsageError& error) {
    complain(error.what());
    return kWrongUsage;
  } catch (const OutputClosed& closed) {
    if (!closed.silent) complain(fmt::format("cannot write to standard output: {}", std::strerror(closed.error)));
  } catch (const std::bad_alloc&) {
    complain("out of memory");
  } catch (const std::exception& error) {
    complain(error.what());
  }
  return kFailure;
}

int program(int argc, char** argv) {
  std::setlocale(LC_CTYPE, "");
  ignore_closed_pipes();
  CLI::App app(
      "Runs language models on this computer: text to text, with nothing hidden.\n"
      "Sizes are decimal (1 GB = 10^9 bytes), lengths are tokens, speeds are tokens/s.",
      "brim");
  app.set_version_flag("--version", fmt::format("brim {} (ABI {}.{})", brim_version(), BRIM_ABI_MAJOR, BRIM_ABI_MINOR));
  app.require_subcommand(1);
  app.get_formatter()->column_width(kHelpColumn);
  app.footer(
      "`brim COMMAND --help` explains a command with examples.\n"
      "Settings come from $XDG_CONFIG_HOME/brim/brim.toml or ~/.config/brim/brim.toml, then --set, then the flags.\n"
      "Exit codes: 0 done, 1 failed (the reason is on standard error), 2 wrong usage, 130 interrupted.");
  const std::vector<Command> commands = {add_run(app),      add_show(app),  add_plugins(app),   add_devices(app),
                                         add_plan(app),     add_bench(app), add_calibrate(app), add_selftest(app),
                                         add_tokenize(app), add_eval(app),  add_quantize(app),  add_config(app)};
  try {
    app.parse(argc, argv);
  } catch (const CLI::CallForHelp& help) {
    return app.exit(help);
  } catch (const CLI::CallForVersion& version) {
    return app.exit(version);
  } catch (const CLI::ParseError& error) {
    const auto used = app.get_subcommands();
    const bool unknown = used.empty() && argc > 1 && argv[1][0] != '-';
    complain(fmt::format("{}\nTry: brim {}--help",
                         unknown ? fmt::format("there is no command {}", argv[1]) : error.what(),
                         used.empty() ? "" : used.front()->get_name() + " "));
    return kWrongUsage;
  }
  for (const Command& command : commands) {
    if (command.app->parsed()) return run_command(command);
  }
  return kWrongUsage;
}

}  // namespace
}  // namespace cli

int main(int argc, char** argv) { return cli::program(argc, argv); }
