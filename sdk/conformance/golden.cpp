// `brim-check golden`: reference cases of small models, one or a folder full of them.
#include <fmt/format.h>

#include <algorithm>
#include <cstdio>
#include <filesystem>
#include <memory>

#include "check.hpp"
#include "compare.hpp"
#include "golden_case.hpp"
#include "golden_run.hpp"

namespace check {

namespace {

struct GoldenOptions {
  Subject subject;
  std::string folder, out, all, match = "*";
};

// What the limits say about a case; an empty list: they hold.
struct Verdict {
  bool judged = false;
  Distance total;  // over all runs without a limit of their own
  std::vector<std::string> over;
};

void print(const std::string& line) { std::fwrite(line.data(), 1, line.size(), stdout); }

// strict is held to "exact", fast to "quantised_activations" where the case has that. Limits are those of an F32 KV
// cache.
const GoldenLimits* limits_for(const GoldenCase& golden, const Subject& subject) {
  if (subject.kv != "f32") return nullptr;
  const auto found = golden.limits.find(subject.numerics == "strict" ? "exact" : "quantised_activations");
  return found == golden.limits.end() ? nullptr : &found->second;
}

Verdict judge(const GoldenCase& golden, const std::vector<float>& ours, const std::vector<float>& reference,
              const GoldenLimits* limits) {
  Verdict out;
  out.judged = limits != nullptr;
  const bool logits = golden.kind == "logits";
  std::vector<float> kept_ours, kept_reference;
  for (const GoldenRun& run : golden.runs) {
    const auto rows = [&](const std::vector<float>& values) {
      return std::span(values).subspan(run.first_row * golden.width, run.rows * golden.width);
    };
    const auto own = limits != nullptr ? limits->runs.find(run.name) : std::map<std::string, double>::const_iterator{};
    if (limits != nullptr && own != limits->runs.end()) {
      const Distance d = distance(rows(ours), rows(reference), golden.width, logits);
      if (!d.finite || d.max_abs > own->second) {
        out.over.push_back(fmt::format("run {}: max abs {:.3g} > {:.3g}", run.name, d.max_abs, own->second));
      }
      continue;
    }
    kept_ours.insert(kept_ours.end(), rows(ours).begin(), rows(ours).end());
    kept_reference.insert(kept_reference.end(), rows(reference).begin(), rows(reference).end());
  }
  out.total = distance(kept_ours, kept_reference, golden.width, logits);
  if (!out.total.finite) {
    out.over.push_back("not finite");
    return out;
  }
  if (limits == nullptr) return out;
  const auto test = [&](const char* name, double value, const std::optional<double>& limit) {
    if (limit && !(value <= *limit)) out.over.push_back(fmt::format("{} {:.3g} > {:.3g}", name, value, *limit));
  };
  test("max abs", out.total.max_abs, limits->max_abs);
  test("rel rms", out.total.rel_rms, limits->rel_rms);
  if (logits) test("KL", out.total.kl_max, limits->kl_max);
  return out;
}

std::string joined(const std::vector<std::string>& parts) {
  std::string out;
  for (const std::string& part : parts) out += (out.empty() ? "" : ", ") + part;
  return out;
}

int one_case(const GoldenOptions& options) {
  const GoldenCase golden = read_case(options.folder);
  const Bench bench = make_bench(options.subject);
  const std::vector<float> ours = run_case(golden, bench, options.subject);
  if (!options.out.empty()) write_outputs(options.out, ours);
  const auto reference = read_outputs(golden, "logits.bin");
  if (!reference) {
    print(fmt::format("{}: {} rows of {} values; no logits.bin to compare with\n", golden.name, golden.rows,
                      golden.width));
    return kHolds;
  }
  const bool logits = golden.kind == "logits";
  for (const GoldenRun& run : golden.runs) {
    const auto rows = [&](const std::vector<float>& values) {
      return std::span(values).subspan(run.first_row * golden.width, run.rows * golden.width);
    };
    print(fmt::format("{:<14} rows {:>4}  {}\n", run.name, run.rows,
                      distance(rows(ours), rows(*reference), golden.width, logits).text(logits)));
  }
  const Verdict verdict = judge(golden, ours, *reference, limits_for(golden, options.subject));
  print(fmt::format("{:<14} rows {:>4}  {}\n", "all", golden.rows,
                    distance(ours, *reference, golden.width, logits).text(logits)));
  print(!verdict.over.empty() ? fmt::format("OVER THE LIMIT: {}\n", joined(verdict.over))
        : verdict.judged      ? std::string("OK\n")
                              : std::string("the case has no limits for these numerics and this KV type\n"));
  return verdict.over.empty() ? kHolds : kFails;
}

// '*' and '?' as in a shell.
bool matches(std::string_view pattern, std::string_view name) {
  if (pattern.empty()) return name.empty();
  if (pattern.front() == '*')
    return matches(pattern.substr(1), name) || (!name.empty() && matches(pattern, name.substr(1)));
  return !name.empty() && (pattern.front() == '?' || pattern.front() == name.front()) &&
         matches(pattern.substr(1), name.substr(1));
}

int all_cases(const GoldenOptions& options) {
  std::vector<std::filesystem::path> folders;
  std::error_code error;
  for (const auto& entry : std::filesystem::directory_iterator(options.all, error)) {
    if (matches(options.match, entry.path().filename().string()) &&
        std::filesystem::exists(entry.path() / "case.json")) {
      folders.push_back(entry.path());
    }
  }
  if (error) throw BadInput(fmt::format("{}: {}", options.all, error.message()));
  if (folders.empty())
    throw BadInput(fmt::format("{}: no folder with a case.json matches \"{}\"", options.all, options.match));
  std::sort(folders.begin(), folders.end());

  const Bench bench = make_bench(options.subject);
  size_t held = 0, failed = 0, unsupported = 0;
  print(fmt::format("{:<22} {:>5} {:>10} {:>10} {:>10} {:>7}  {}\n", "case", "rows", "max abs", "rel rms", "KL",
                    "argmax", "verdict"));
  for (const auto& folder : folders) {
    const std::string name = folder.filename().string();
    try {
      const GoldenCase golden = read_case(folder.string());
      const std::vector<float> ours = run_case(golden, bench, options.subject);
      const auto reference = read_outputs(golden, "logits.bin");
      if (!reference) throw BadInput("no logits.bin to compare with");
      const Verdict verdict = judge(golden, ours, *reference, limits_for(golden, options.subject));
      const bool logits = golden.kind == "logits";
      print(fmt::format("{:<22} {:>5} {:>10.3g} {:>10.3g} {:>10} {:>7}  {}\n", name, golden.rows, verdict.total.max_abs,
                        verdict.total.rel_rms, logits ? fmt::format("{:.3g}", verdict.total.kl_max) : "-",
                        logits ? fmt::format("{:.1f} %", 100 * verdict.total.argmax) : "-",
                        !verdict.over.empty() ? "OVER: " + joined(verdict.over)
                        : verdict.judged      ? "ok"
                                              : "no limits"));
      verdict.over.empty() ? ++held : ++failed;
    } catch (const Unsupported& reason) {
      print(fmt::format("{:<22} UNSUPPORTED: {}\n", name, reason.what()));
      ++unsupported;
    } catch (const std::exception& reason) {
      print(fmt::format("{:<22} FAILED: {}\n", name, reason.what()));
      ++failed;
    }
    std::fflush(stdout);
  }
  print(fmt::format("{} held, {} failed, {} unsupported\n", held, failed, unsupported));
  return failed > 0 ? kFails : held > 0 ? kHolds : kUnsupported;
}

}  // namespace

Group add_golden(CLI::App& program) {
  auto options = std::make_shared<GoldenOptions>();
  CLI::App* app = program.add_subcommand("golden", "Outputs of small models against reference outputs");
  app->description(
      "Runs the token plan of a reference case (case.json beside a model) and writes its outputs as rows of float32, "
      "little-endian, "
      "in the case's order; where the folder has logits.bin, compares with it: largest difference, RMS-relative error, "
      "largest KL of a row in nats. strict numerics are held to the case's limits \"exact\", fast ones to "
      "\"quantised_activations\" where the case has them.");
  CLI::Option* folder = app->add_option("CASE_DIR", options->folder, "Folder of one case")->type_name("");
  app->add_option("--out", options->out, "File for the outputs")->type_name("FILE")->needs(folder);
  CLI::Option* all = app->add_option("--all", options->all, "Run every case folder in here and print a table");
  all->type_name("DIR")->excludes(folder);
  app->add_option("--match", options->match, "With --all: names to take, * and ? as in a shell")
      ->type_name("PATTERN")
      ->needs(all);
  add_subject_options(*app, options->subject);
  app->footer(
      "Exit codes: 0 the limits hold, 1 they do not or the run failed, 2 wrong usage, 3 the case needs what is not "
      "supported.\n"
      "Examples:\n"
      "  brim-check golden cases/llama --out llama.bin\n"
      "  brim-check golden --all cases --match 'llama-q*' --numerics fast");
  return {app, [options] {
            if (options->folder.empty() && options->all.empty()) throw UsageError("golden takes CASE_DIR or --all DIR");
            return options->all.empty() ? one_case(*options) : all_cases(*options);
          }};
}

}  // namespace check
