// `brim selftest`: is a device right, and how fast is it? brim-check holds its plugin against the contract and every op
// against float64; a model's logits on the device are compared with the processors'; what was found goes into one file
// with the machine's description, to attach to a report and to plan from (--on).
#include <fmt/format.h>

#include <cmath>
#include <cstdlib>
#include <ctime>
#include <filesystem>
#include <memory>

#include "commands.hpp"
#include "host.hpp"
#include "run.hpp"
#include "terminal.hpp"
#include "words.hpp"

namespace cli {

namespace {

namespace fs = std::filesystem;

struct SelftestOptions {
  RuntimeOptions runtime;
  std::string device, model, save, checker = "brim-check", groups;
};

// What is printed and kept, line by line.
class Record {
 public:
  void add(const std::string& line) {
    write_out(line + '\n');
    lines_.push_back(line);
  }
  void fail(const std::string& line) {
    failed_ = true;
    add("FAILED: " + line);
  }
  bool failed() const { return failed_; }
  // As comments of a TOML file.
  std::string comments() const {
    std::string out;
    for (const std::string& line : lines_) out += "# " + line + '\n';
    return out;
  }

 private:
  std::vector<std::string> lines_;
  bool failed_ = false;
};

// One word of a command line for the system's shell.
std::string quoted(const std::string& word) {
#if defined(_WIN32)
  return '"' + word + '"';
#else
  std::string out = "'";
  for (const char c : word) out += c == '\'' ? std::string("'\\''") : std::string(1, c);
  return out + '\'';
#endif
}

const nlohmann::json& plugin_of(const nlohmann::json& report, const std::string& id) {
  for (const auto& plugin : report.at("plugins")) {
    if (text_of(plugin, "id") == id) return plugin;
  }
  throw HostError(fmt::format("{}: the plugin of the device is not in the report", id));
}

void check_plugin(const SelftestOptions& options, const Machine& machine, const nlohmann::json& report,
                  const std::string& id, Record& record) {
  const fs::path results = fs::temp_directory_path() / fmt::format("brim-selftest-{}.json", std::time(nullptr));
  std::string command = quoted(options.checker) + ' ' + quoted(text_of(plugin_of(report, id), "library")) + " --json " +
                        quoted(results.string());
  if (!options.groups.empty()) command += " --group " + quoted(options.groups);
  const std::string prefix = "backend." + id + '.';
  for (const auto& setting : nlohmann::json::parse(machine.config.describe())) {
    const std::string key = text_of(setting, "key");
    if (key.starts_with(prefix))
      command +=
          " --option " + quoted(fmt::format("{}.{}={}", id, key.substr(prefix.size()), text_of(setting, "value")));
  }
  // The tests' own table goes to the terminal as they run.
  const int code = std::system((command + (options.runtime.quiet ? " --only-failed" : "")).c_str());
  std::error_code none;
  if (!fs::exists(results, none)) {
    record.fail(fmt::format("{} did not run (exit code {}); name it with --checker", options.checker, code));
    return;
  }
  const auto tests = nlohmann::json::parse(read_file(results.string()));
  fs::remove(results, none);
  uint32_t passed = 0, skipped = 0;
  for (const auto& test : tests.at("tests")) {
    const std::string verdict = text_of(test, "verdict");
    if (text_of(test, "name") == "buffers.bandwidth") {
      for (const auto& note : test.at("notes")) record.add("copies from " + note.get<std::string>());
    }
    if (verdict == "passed" || verdict == "known") {
      ++passed;
    } else if (verdict == "skipped") {
      ++skipped;
    } else {
      const auto& findings = test.value("findings", nlohmann::json::array());
      record.fail(fmt::format("{}: {}", text_of(test, "name"),
                              findings.empty() ? "no finding" : findings.front().get<std::string>()));
    }
  }
  record.add(fmt::format("brim-check: {} tests passed, {} skipped", passed, skipped));
}

constexpr uint32_t kPrompt = 64, kTokens = 64;

struct Outcome {
  std::vector<float> logits;  // after the prompt
  double prefill = 0, decode = 0;
};

// The same prompt on any device: tokens of the vocabulary in an order that no text has.
Outcome run_model(const SelftestOptions& options, const Machine& machine, PlanOptions plan, const std::string& device) {
  plan.device = device;
  plan.context = 2 * (kPrompt + kTokens);
  const LoadedModel loaded = load_model(machine, options.runtime, plan, options.model);
  std::vector<int32_t> prompt(kPrompt);
  for (uint32_t i = 0; i < kPrompt; ++i) prompt[i] = static_cast<int32_t>((i * 2654435761u) % loaded.info.n_vocab);
  brim::Session session(loaded.model);
  Outcome out;
  std::vector<brim_row> rows(kPrompt, brim_row{});
  const uint32_t sequence = session.create_sequence();
  for (uint32_t i = 0; i < kPrompt; ++i) {
    rows[i].sequence = sequence;
    rows[i].token = prompt[i];
  }
  rows.back().outputs = 1u << BRIM_OUTPUT_LOGITS;
  session.step(rows, &interrupt::token());
  const std::span<const float> logits = session.output(BRIM_OUTPUT_LOGITS, 0);
  out.logits.assign(logits.begin(), logits.end());
  session.remove(sequence);

  brim::Generation what;
  what.sequence = session.create_sequence();
  what.prompt = prompt;
  what.max_tokens = kTokens;
  what.ignore_end = true;
  what.cancel = &interrupt::token();
  const brim::Generated result = session.generate(what);
  out.prefill = static_cast<double>(kPrompt) * 1e9 / static_cast<double>(result.prefill_ns);
  out.decode = static_cast<double>(result.n_generated - 1) * 1e9 / static_cast<double>(result.decode_ns);
  return out;
}

double relative_error(const std::vector<float>& got, const std::vector<float>& want) {
  double off = 0, size = 0;
  for (size_t i = 0; i < want.size(); ++i) {
    const double g = static_cast<double>(got[i]), w = static_cast<double>(want[i]);
    off += (g - w) * (g - w);
    size += w * w;
  }
  return std::sqrt(off / size);
}

void compare_model(const SelftestOptions& options, uint32_t device, const std::string& cpu, Record& record) {
  // Strict numerics differ by the order of sums only; fast ones by rounded activations too.
  constexpr struct {
    const char* numerics;
    double limit;
  } kModes[] = {{"strict", 1e-3}, {"fast", 5e-2}};
  for (const auto& mode : kModes) {
    PlanOptions plan;
    plan.numerics = mode.numerics;
    const Machine machine(options.runtime, plan);
    const Outcome here = run_model(options, machine, plan, std::to_string(device));
    if (cpu.empty()) {
      record.add(fmt::format("{} numerics: prefill {:.1f}, decode {:.1f} tokens/s; no processor to compare with",
                             mode.numerics, here.prefill, here.decode));
      continue;
    }
    const Outcome there = run_model(options, machine, plan, cpu);
    const double error = relative_error(here.logits, there.logits);
    const std::string line = fmt::format(
        "{} numerics: logits differ from the processors' by {:.2g} (RMS-relative, allowed {:.2g}); "
        "prefill {:.1f}, decode {:.1f} tokens/s; the processors {:.1f}, {:.1f}",
        mode.numerics, error, mode.limit, here.prefill, here.decode, there.prefill, there.decode);
    error <= mode.limit ? record.add(line) : record.fail(line);
  }
}

int selftest(const SelftestOptions& options) {
  const Machine machine(options.runtime);
  machine.runtime.bandwidth();  // measured once, the report and the file know it from then on
  const nlohmann::json report = machine.report();
  const auto& devices = report.at("devices");
  const uint32_t index = find_device(report, options.device);
  const auto& device = devices[index];
  if (!device.value("live", false))
    throw UsageError(fmt::format("--device {}: {} cannot run", options.device, text_of(device, "name")));
  Record record;
  record.add(fmt::format("brim {} selftest of {}: {}, {}, {}, {}", brim_version(), text_of(device, "name"),
                         text_of(device, "plugin"), text_of(device, "driver"), text_of(device, "architecture"),
                         text_of(device, "class")));
  for (const auto& link : report.at("links")) {
    if (link.value("device", index + 1) != index) continue;
    const double speed = link.value("bandwidth", 0.0) / 1e9;
    record.add(fmt::format("reads {} {} ({})", text_of(report["pools"][link.value("pool", 0)], "name"),
                           speed > 0 ? fmt::format("at {:.1f} GB/s, {}", speed, text_of(link, "bandwidth_from"))
                                     : "at a speed that nobody told",
                           text_of(link, "noncoherent")));
  }
  check_plugin(options, machine, report, text_of(device, "plugin"), record);
  if (options.model.empty()) {
    record.add("no model was named: nothing was run from end to end");
  } else {
    std::string cpu;
    for (uint32_t i = 0; i < devices.size() && cpu.empty(); ++i) {
      if (i != index && text_of(devices[i], "type") == "cpu" && devices[i].value("live", false))
        cpu = std::to_string(i);
    }
    compare_model(options, index, cpu, record);
  }
  if (!options.save.empty()) {
    write_file(options.save, record.comments() + machine.runtime.machine(fs::path(options.save).stem().string()),
               "the report");
    write_out(fmt::format("kept in {}\n", options.save));
  }
  write_out(record.failed() ? "the selftest FAILED\n" : "the selftest passed\n");
  return record.failed() ? kFailure : kOk;
}

}  // namespace

Command add_selftest(CLI::App& program) {
  auto options = std::make_shared<SelftestOptions>();
  CLI::App* app = program.add_subcommand("selftest", "Whether a device computes right, and how fast, as a report");
  explain(
      *app,
      "Holds the plugin of a device against its contract and every op against exact arithmetic (brim-check, on the "
      "first device of the plugin), then runs MODEL on the device and on the processors and compares their logits, in "
      "strict and in fast numerics. --save keeps what was found with this machine's description in one file: attach "
      "it to a report; `brim plan --on` takes it as well. Minutes on a GPU, longer in software.");
  app->add_option("--device", options->device,
                  "Number, backend (cuda, vulkan, cpu) or name of the device in `brim devices`")
      ->required()
      ->type_name("D");
  app->add_option("MODEL", options->model, "A model to run from end to end")->type_name("FILE");
  app->add_option("--save", options->save, "Write the report and the machine there")->type_name("FILE.toml");
  app->add_option("--group", options->groups, "Only these groups of brim-check, separated by commas")->type_name("G");
  app->add_option("--checker", options->checker, "brim-check, where it is not on the PATH")->type_name("FILE");
  add_runtime_options(*app, options->runtime);
  app->footer(
      "Examples:\n"
      "  brim selftest --device cuda model.gguf --save here.toml\n"
      "  brim selftest --device 1 --group ops,programs");
  return {app, [options] { return selftest(*options); }};
}

}  // namespace cli
