// `brim show MODEL`: what a model file says about itself. Reads headers only, so it works on files that no plugin
// knows.
#include <fmt/format.h>

#include <map>
#include <memory>

#include "commands.hpp"
#include "host.hpp"
#include "terminal.hpp"
#include "words.hpp"

namespace cli {

namespace {

struct ShowOptions {
  RuntimeOptions runtime;
  std::string model, format = "table";
  bool tensors = false;
};

std::string shape_text(const nlohmann::json& shape) {
  std::string out;
  for (const auto& dim : shape) out += fmt::format("{}{}", out.empty() ? "" : " x ", dim.dump());
  return out;
}

int show(const ShowOptions& options) {
  const Machine machine(options.runtime);
  const brim::Model model(machine.runtime, options.model);
  const std::string description = model.describe();
  if (options.format == "json") {
    write_out(description + '\n');
    return kOk;
  }
  const brim_model_info info = model.info();
  const auto json = nlohmann::json::parse(description);
  const auto text = [](brim_str value, std::string_view absent) {
    return value.len > 0 ? std::string(brim::view(value)) : std::string(absent);
  };
  std::string out =
      table_text({{"name", text(info.name, "(none)")},
                  {"architecture", text(info.architecture, "(none)")},
                  {"plugin", text(info.architecture_plugin, "none of those installed knows this architecture")},
                  {"weights", text(info.file_type, "(unknown)")},
                  {"parameters", count_text(info.n_parameters)},
                  {"file", bytes_text(info.file_bytes)},
                  {"layers", std::to_string(info.n_layers)},
                  {"width", std::to_string(info.width)},
                  {"trained context", fmt::format("{} tokens", info.n_ctx_train)},
                  {"vocabulary", fmt::format("{} tokens", info.n_tokens)},
                  {"tensors", std::to_string(info.n_tensors)}},
                 {false, false});

  struct Kind {
    uint64_t count = 0, bytes = 0;
  };
  std::map<std::string, Kind> kinds;
  for (const auto& tensor : json.at("tensors")) {
    Kind& kind = kinds[tensor.at("dtype").get<std::string>()];
    ++kind.count;
    kind.bytes += tensor.at("bytes").get<uint64_t>();
  }
  if (!kinds.empty()) {
    std::vector<std::vector<std::string>> rows = {{"type", "tensors", "size"}};
    for (const auto& [name, kind] : kinds) rows.push_back({name, std::to_string(kind.count), bytes_text(kind.bytes)});
    out += '\n' + table_text(rows, {false, true, true});
  }

  out += '\n';
  for (const auto& [key, value] : json.at("metadata").items()) {
    std::string shown = value.is_string() ? value.get<std::string>() : value.dump();
    for (size_t at = 0; (at = shown.find('\n', at)) != std::string::npos; at += 2) shown.replace(at, 1, "\\n");
    if (shown.size() > 200) {
      size_t cut = 200;
      while (cut > 0 && (static_cast<unsigned char>(shown[cut]) & 0xc0) == 0x80) --cut;
      shown = shown.substr(0, cut) + " ...";
    }
    out += fmt::format("{} = {}\n", key, shown);
  }
  if (options.tensors) {
    std::vector<std::vector<std::string>> rows = {{"tensor", "type", "shape", "bytes"}};
    for (const auto& tensor : json.at("tensors")) {
      rows.push_back({tensor.at("name").get<std::string>(), tensor.at("dtype").get<std::string>(),
                      shape_text(tensor.at("shape")), exact_bytes_text(tensor.at("bytes").get<uint64_t>())});
    }
    out += '\n' + table_text(rows, {false, false, false, true});
  }
  write_out(out);
  return kOk;
}

}  // namespace

Command add_show(CLI::App& program) {
  auto options = std::make_shared<ShowOptions>();
  CLI::App* app = program.add_subcommand("show", "What a model file says about itself");
  explain(*app,
          "Prints what a model file says about itself: name, architecture, sizes, types of its weights, metadata, and "
          "which installed plugin would run it. Only headers are read, so it is quick and works on any GGUF file, also "
          "on one that holds a vocabulary only. Shapes are outermost first, sizes are decimal.");
  add_model_argument(*app, options->model);
  app->add_flag("--tensors", options->tensors, "List every tensor with type, shape and bytes");
  app->add_option("-o,--output", options->format, "table or json")
      ->check(CLI::IsMember({"table", "json"}))
      ->type_name("FORM");
  add_runtime_options(*app, options->runtime);
  options->runtime.require_device = false;
  app->footer(
      "Examples:\n"
      "  brim show model.gguf\n"
      "  brim show model.gguf --tensors\n"
      "  brim show model.gguf -o json | jq .chat_template");
  return {app, [options] { return show(*options); }};
}

}  // namespace cli
