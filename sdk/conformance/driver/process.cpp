// A test as a child process: `brim-check PLUGIN --one TEST --results FILE --seed N`.
#include <chrono>
#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>

#include "../os/os.hpp"
#include "outcome.hpp"

namespace check {
namespace {

using Json = nlohmann::json;

std::vector<Json> take_results(const std::string& path) {
  std::vector<Json> lines;
  {
    std::ifstream in(path, std::ios::binary);
    for (std::string line; std::getline(in, line);) {
      Json one = Json::parse(line, nullptr, false);
      if (one.is_object()) lines.push_back(std::move(one));
    }
  }
  std::error_code error;
  std::filesystem::remove(path, error);
  return lines;
}

std::vector<std::string> arguments_for(const std::string& test, const Target& target, const std::string& results) {
  std::vector<std::string> out = {
      target.library, "--one", test, "--results", results, "--seed", std::to_string(target.seed)};
  if (!target.model.empty()) out.insert(out.end(), {"--model", target.model});
  for (const auto& [key, value] : target.settings) {
    out.insert(out.end(), {"--option", fmt::format("plugin.{}={}", key, value)});
  }
  return out;
}

}  // namespace

Outcome run_apart(const Test& test, const Target& target) {
  Outcome out;
  out.test = &test;
  const std::string results = os::temporary_path();
  const auto start = std::chrono::steady_clock::now();
  const os::Ended ended = os::run_self(arguments_for(test.name, target, results), test.seconds);
  out.seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  bool done = false;
  std::string crashed_in;
  for (const Json& line : take_results(results)) {
    if (line.contains("finding")) out.findings.push_back(line["finding"].get<std::string>());
    if (line.contains("note")) out.notes.push_back(line["note"].get<std::string>());
    if (line.contains("support")) out.support.push_back(line["support"].get<std::string>());
    if (line.contains("skipped")) out.skipped = line["skipped"].get<std::string>();
    if (line.contains("crashed_in")) crashed_in = line["crashed_in"].get<std::string>();
    if (line.contains("done")) done = true;
  }
  const std::string where = crashed_in.empty() ? "" : " in " + crashed_in;
  if (ended.timed_out) {
    out.findings.push_back(fmt::format("hangs{}: the test did not end within {} s", where, test.seconds));
  } else if (!ended.signal.empty()) {
    out.findings.push_back(fmt::format("the process died of {}{}", ended.signal, where));
  } else if (!done) {
    out.findings.push_back(
        fmt::format("the process ended with code {}{} in the middle of the test: a plugin may not end its host",
                    ended.code, where));
  }
  if (!ended.printed.empty()) {
    const std::string shown = ended.printed.substr(0, 160);
    if (done) {
      out.findings.push_back(
          fmt::format("something was written to the standard streams, where a plugin has no business (it has log): {}",
                      Json(shown).dump(-1, ' ', true, Json::error_handler_t::replace)));
    } else {
      out.notes.push_back("printed: " + Json(shown).dump(-1, ' ', true, Json::error_handler_t::replace));
    }
  }
  out.verdict = !out.findings.empty() ? Verdict::kFailed : !out.skipped.empty() ? Verdict::kSkipped : Verdict::kPassed;
  return out;
}

void run_here(const Test& test, const Target& target, const std::string& results) {
  os::report_crashes_to(results);
  Trial trial(target, results);
  try {
    test.run(trial);
  } catch (const Stopped&) {
  } catch (const std::exception& error) {
    // The tool's own trouble must not pass for a test that holds.
    trial.record("finding", std::string("the checker could not go on: ") + error.what());
  }
  trial.record("done", "");
}

Identity identify(const Target& target) {
  const std::string results = os::temporary_path();
  const os::Ended ended = os::run_self(arguments_for("identify", target, results), 30);
  Identity out;
  for (const Json& line : take_results(results)) {
    if (line.contains("kind")) out.kind = static_cast<uint32_t>(std::stoul(line["kind"].get<std::string>()));
    if (line.contains("id")) out.id = line["id"].get<std::string>();
    if (line.contains("version")) out.version = line["version"].get<std::string>();
    if (line.contains("finding")) out.trouble = line["finding"].get<std::string>();
    if (line.contains("done")) out.answered = true;
  }
  if (ended.timed_out) out.trouble = "opening it and asking for its header does not come back";
  if (!ended.signal.empty()) out.trouble = "opening it and asking for its header ends in " + ended.signal;
  return out;
}

}  // namespace check
