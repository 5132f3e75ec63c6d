#include "options.hpp"

#include <cstdlib>
#include <filesystem>
#include <system_error>
#include <utility>

#include "words.hpp"

namespace cli {

namespace {

class Explained : public CLI::Formatter {
 public:
  explicit Explained(std::string text) : text_(std::move(text)) { column_width(kHelpColumn); }
  std::string make_description(const CLI::App*) const override { return wrapped(text_, 100, "") + '\n'; }

 private:
  std::string text_;
};

}  // namespace

void explain(CLI::App& app, std::string text) { app.formatter(std::make_shared<Explained>(std::move(text))); }

void add_runtime_options(CLI::App& app, RuntimeOptions& options) {
  const char* const group = "Runtime";
  app.add_option("--config", options.config_file,
                 "Settings to start from (TOML). Default: $XDG_CONFIG_HOME/brim/brim.toml or "
                 "~/.config/brim/brim.toml where there is one")
      ->type_name("FILE")
      ->group(group);
  app.add_option("--set", options.settings,
                 "One setting on top of the file, may be repeated; `brim config` lists them all")
      ->type_name("KEY=VALUE")
      ->allow_extra_args(false)
      ->group(group);
  app.add_option("-t,--threads", options.threads, "CPU threads; 0: one per core that this process may use")
      ->type_name("N")
      ->group(group);
  app.add_option("--plugins", options.plugin_dirs,
                 "Folder to look for plugins in, in place of the installed ones; may be repeated")
      ->type_name("DIR")
      ->allow_extra_args(false)
      ->group(group);
  app.add_option(
         "--architecture", options.architecture,
         "Architecture plugin for every model, by its id in `brim plugins`. Default: the one that knows the file "
         "best")
      ->type_name("ID")
      ->group(group);
  app.add_flag("-v,--verbose", options.verbosity, "Log to standard error; -vv: debugging, -vvv: everything")
      ->group(group);
  app.add_flag("--quiet", options.quiet, "Results only: no progress, no warnings, no summary")->group(group);
}

void add_machine_option(CLI::App& app, RuntimeOptions& options) {
  app.add_option("--on", options.machine,
                 "A described machine in place of this one: a file (*.toml), or one of those that are installed")
      ->type_name("FILE|NAME")
      ->group("Runtime");
}

void add_plan_options(CLI::App& app, PlanOptions& options) {
  const char* const group = "Plan";
  app.add_option("-c,--ctx,--context", options.context,
                 "Tokens that a text can hold. Default: what the model was trained for, at most 8192")
      ->type_name("TOKENS")
      ->check(CLI::PositiveNumber)
      ->group(group);
  app.add_option("-b,--batch", options.batch, "Rows of one step of the prefill, default 512")
      ->type_name("TOKENS")
      ->check(CLI::PositiveNumber)
      ->group(group);
  app.add_option("--kv", options.kv, "Type of the KV cache: f32, f16, q8_0 or auto: f16, f32 with strict numerics")
      ->type_name("TYPE")
      ->check(CLI::IsMember({"auto", "f32", "f16", "q8_0"}))
      ->group(group);
  app.add_option("--kv-least", options.kv_least,
                 "Where the plan does not fit, the KV cache may be lowered to f16 or q8_0. Default: it is not")
      ->type_name("TYPE")
      ->check(CLI::IsMember({"f16", "q8_0"}))
      ->group(group);
  app.add_option("--ctx-least", options.context_least,
                 "Where the plan does not fit, the context may be halved down to so many tokens. Default: it is not")
      ->type_name("TOKENS")
      ->check(CLI::PositiveNumber)
      ->group(group);
  app.add_option("--mix", options.mix, "What to be fast for: chat, agent (long prompts) or batch. Default chat")
      ->type_name("MIX")
      ->check(CLI::IsMember({"chat", "agent", "batch"}))
      ->group(group);
  app.add_option("--numerics", options.numerics,
                 "fast: 8-bit activations and whatever else makes speed; strict: F32 throughout. Default fast")
      ->type_name("MODE")
      ->check(CLI::IsMember({"fast", "strict"}))
      ->group(group);
  app.add_option("--load", options.load,
                 "map: read weights in place from the file; read: copy them into memory; direct: the same past the "
                 "system's file cache; auto: what suits each device's memory")
      ->type_name("HOW")
      ->check(CLI::IsMember({"auto", "map", "read", "direct"}))
      ->group(group);
  app.add_option("--device", options.device,
                 "Put every layer on this device: its number, backend or name in `brim devices`")
      ->type_name("DEVICE")
      ->group(group);
  app.add_flag("--unsafe-overcommit", options.unsafe_overcommit,
               "Go on although the memory there is does not suffice. The system may start to swap or end processes")
      ->group(group);
}

void add_model_argument(CLI::App& app, std::string& path) {
  app.add_option("MODEL", path, "Model file (GGUF); of a split model the first part")->required()->type_name("");
}

std::string default_config_file() {
  std::filesystem::path folder;
  if (const char* xdg = std::getenv("XDG_CONFIG_HOME"); xdg != nullptr && *xdg != '\0') {
    folder = xdg;
  } else if (const char* home = std::getenv("HOME"); home != nullptr && *home != '\0') {
    folder = std::filesystem::path(home) / ".config";
  } else {
    return {};
  }
  const std::filesystem::path file = folder / "brim" / "brim.toml";
  std::error_code ignored;
  return file.is_absolute() && std::filesystem::is_regular_file(file, ignored) ? file.string() : std::string{};
}

}  // namespace cli
