// brim-check: holds a plugin that somebody wrote against the ABI, and what is installed against reference outputs.
// `brim-check PLUGIN` is the first, `brim-check golden` the second. Exit codes: 0 everything holds, 1 something does
// not, 2 wrong usage, 3 not supported.
#include <fmt/format.h>

#include <cstdio>

#include "check.hpp"

namespace check {
namespace {

int complain(std::string_view message, int code) {
  const std::string line = fmt::format("brim-check: {}\n", message);
  std::fwrite(line.data(), 1, line.size(), stderr);
  return code;
}

}  // namespace

int program(int argc, char** argv) {
  CLI::App app("Holds plugins of Brim against their contract and against reference outputs.", "brim-check");
  app.set_version_flag("--version",
                       fmt::format("brim-check {} (ABI {}.{})", brim_version(), BRIM_ABI_MAJOR, BRIM_ABI_MINOR));
  app.require_subcommand(0, 1);
  app.get_formatter()->column_width(34);
  const Group plugin = add_plugin(app), golden = add_golden(app);
  try {
    app.parse(argc, argv);
  } catch (const CLI::Success& asked) {
    return app.exit(asked);
  } catch (const CLI::ParseError& error) {
    return complain(error.what(), kWrongUsage);
  }
  try {
    const int code = golden.app->parsed() ? golden.run() : plugin.run();
    if (std::fflush(stdout) != 0) return complain("cannot write to standard output", kFails);
    return code;
  } catch (const UsageError& error) {
    return complain(error.what(), kWrongUsage);
  } catch (const Unsupported& reason) {
    return complain(fmt::format("UNSUPPORTED: {}", reason.what()), kUnsupported);
  } catch (const std::exception& error) {
    return complain(error.what(), kFails);
  }
}

}  // namespace check

int main(int argc, char** argv) { return check::program(argc, argv); }
