// `brim bench MODEL`: tokens/s of prefill and of decode, each from an empty context, as mean and standard deviation of
// repetitions after one that is not counted. Tokens are drawn by a fixed generator: their values do not matter for
// speed, and no text has to be found. Decode steps ask for logits, as a generation does, and choose nothing from them.
// Where the processors compute all of the model, their limits are measured before each repetition (probe.hpp): what a
// virtual machine can do drifts. A plan on one other device is held against what is known of its memory, one on several
// against nothing.
#include <fmt/format.h>

#include <chrono>
#include <cmath>
#include <memory>
#include <optional>
#include <thread>

#include "commands.hpp"
#include "host.hpp"
#include "per_op.hpp"
#include "place.hpp"
#include "probe.hpp"
#include "summary.hpp"
#include "terminal.hpp"
#include "words.hpp"

#if defined(__linux__)
#include <sched.h>
#endif

namespace cli {

namespace {

struct BenchOptions {
  RuntimeOptions runtime;
  PlanOptions plan;
  std::string model, format = "table";
  uint32_t n_prompt = 512, n_gen = 64, depth = 0, sequences = 1, repetitions = 5;
  bool per_op = false;
};

struct Speed {
  double mean = 0, deviation = 0;  // tokens/s
};

Speed speed_of(const std::vector<double>& values) {
  Speed out;
  if (values.empty()) return out;
  for (const double value : values) out.mean += value;
  out.mean /= static_cast<double>(values.size());
  if (values.size() < 2) return out;
  for (const double value : values) out.deviation += (value - out.mean) * (value - out.mean);
  out.deviation = std::sqrt(out.deviation / static_cast<double>(values.size() - 1));
  return out;
}

// Weights that every token of a prefill meets: all matrices but the table of embeddings, and the output's, of which one
// row is wanted. 0 for mixtures, where a token meets some only.
double macs_per_token(const LoadedModel& loaded) {
  double macs = 0;
  const auto model = nlohmann::json::parse(loaded.model.describe());
  for (const auto& tensor : model.at("tensors")) {
    const auto& shape = tensor.at("shape");
    const std::string name = tensor.at("name");
    if (shape.size() > 2) return 0;
    if (shape.size() < 2 || name.starts_with("token_embd") || name.starts_with("output")) continue;
    macs += shape[0].get<double>() * shape[1].get<double>();
  }
  return macs;
}

class Bench {
 public:
  // Everything is measured behind `depth` tokens, decoding with so many sequences side by side.
  Bench(const LoadedModel& loaded, uint32_t depth, uint32_t sequences)
      : session_(loaded.model), n_vocab_(loaded.info.n_vocab), depth_(depth), sequences_(sequences) {}

  // Tokens/s of n tokens in one call.
  double prefill(uint32_t n) {
    return timed(1, n, [&](std::span<const uint32_t> s) { session_.step(prompt(s[0], n), &interrupt::token()); });
  }

  // Where the time of one step of n tokens goes, and that of a token behind them.
  void per_op(uint32_t n, PerOp& prefill, PerOp& decode) {
    const uint32_t sequence = filled(1)[0];
    session_.step(prompt(sequence, n), prefill.begin_step(), &interrupt::token());
    const brim_row row = next_row(sequence, uint32_t{1} << BRIM_OUTPUT_LOGITS);
    session_.step(std::span(&row, 1), decode.begin_step(), &interrupt::token());
    cut_back();
  }

  // Tokens/s, of all sequences together, of n steps of one token each.
  double decode(uint32_t n) {
    std::vector<brim_row> rows(sequences_);
    return timed(sequences_, n, [&](std::span<const uint32_t> s) {
      for (uint32_t i = 0; i < n; ++i) {
        for (uint32_t k = 0; k < sequences_; ++k) rows[k] = next_row(s[k], uint32_t{1} << BRIM_OUTPUT_LOGITS);
        session_.step(rows, &interrupt::token());
      }
    });
  }

 private:
  std::vector<brim_row> prompt(uint32_t sequence, uint32_t n) {
    std::vector<brim_row> rows(n);
    for (brim_row& row : rows) row = next_row(sequence, 0);
    rows.back().outputs = uint32_t{1} << BRIM_OUTPUT_LOGITS;
    return rows;
  }
  brim_row next_row(uint32_t sequence, uint32_t outputs) {
    state_ = state_ * 6364136223846793005u + 1442695040888963407u;  // Knuth's MMIX generator
    brim_row row{};
    row.token = static_cast<int32_t>((state_ >> 33) % n_vocab_);
    row.sequence = sequence;
    row.outputs = outputs;
    return row;
  }

  template <class Work>
  double timed(uint32_t sequences, uint32_t n, Work&& work) {
    const std::span<const uint32_t> all = filled(sequences);
    const auto start = std::chrono::steady_clock::now();
    work(all);
    const std::chrono::duration<double> took = std::chrono::steady_clock::now() - start;
    cut_back();
    return double(sequences) * n / took.count();
  }

  // So many sequences of depth_ tokens.
  std::span<const uint32_t> filled(uint32_t sequences) {
    while (filled_.size() < sequences) {
      filled_.push_back(session_.create_sequence());
      if (depth_ > 0) session_.step(prompt(filled_.back(), depth_), &interrupt::token());
    }
    return std::span(filled_).first(sequences);
  }

  // Long contexts take long to fill: they are cut back to their depth, and filled anew only where a model's state does
  // not go back.
  void cut_back() {
    for (const uint32_t sequence : filled_) {
      if (brim_sequence_trim(session_.get(), sequence, depth_, nullptr) == BRIM_OK) continue;
      for (const uint32_t each : filled_) session_.remove(each);
      filled_.clear();
      return;
    }
  }

  brim::Session session_;
  uint32_t n_vocab_, depth_, sequences_;
  std::vector<uint32_t> filled_;
  uint64_t state_ = 1;
};

uint32_t threads_in_use(const Machine& machine) {
  const auto wanted = std::stoul(machine.config.value("runtime.threads"));
  if (wanted > 0) return static_cast<uint32_t>(wanted);
#if defined(__linux__)
  cpu_set_t allowed;
  CPU_ZERO(&allowed);
  if (sched_getaffinity(0, sizeof allowed, &allowed) == 0) return static_cast<uint32_t>(CPU_COUNT(&allowed));
#endif
  return std::max(1u, std::thread::hardware_concurrency());
}

// As llama-bench writes it, so that tables of both can be put together.
std::string mebibytes(uint64_t bytes) {
  const double mib = static_cast<double>(bytes) / 1048576.0;
  return mib >= 1024 ? fmt::format("{:.2f} GiB", mib / 1024) : fmt::format("{:.2f} MiB", mib);
}

int bench(const BenchOptions& options) {
  if (options.n_prompt == 0 && options.n_gen == 0) throw UsageError("nothing to measure: -p and -n are both 0");
  PlanOptions plan = options.plan;
  if (!plan.context) {
    plan.context = options.depth + std::max(options.n_prompt + (options.per_op ? 1 : 0), options.n_gen);
  }
  const Machine machine(options.runtime, plan);
  const LoadedModel loaded = load_model(machine, options.runtime, plan, options.model, options.sequences);
  const Place place = place_of(machine.report(), nlohmann::json::parse(loaded.plan.explain()));
  const uint32_t threads = place.processors ? threads_in_use(machine) : 0;
  Bench bench(loaded, options.depth, options.sequences);
  std::optional<Probe> probe;
  if (place.on_processors()) probe.emplace(threads);
  Limits limits;
  if (!probe) limits.bandwidth = place.bandwidth, limits.pattern = place.bandwidth_from;
  std::vector<double> prefill_runs, decode_runs;
  for (uint32_t i = 0; i <= options.repetitions; ++i) {
    if (!options.runtime.quiet && stderr_is_terminal()) {
      write_err(i == 0 ? "\r\033[Kwarming up" : fmt::format("\r\033[Kround {} of {}", i, options.repetitions));
    }
    if (probe) limits.raise(probe->measure());
    const double prefill = options.n_prompt > 0 ? bench.prefill(options.n_prompt) : 0;
    const double decode = options.n_gen > 0 ? bench.decode(options.n_gen) : 0;
    if (i == 0) continue;
    if (options.n_prompt > 0) prefill_runs.push_back(prefill);
    if (options.n_gen > 0) decode_runs.push_back(decode);
  }
  if (!options.runtime.quiet && stderr_is_terminal()) write_err("\r\033[K");

  // The steps of a prompt longer than a batch are several; one is looked into.
  const uint32_t in_step = std::min(std::max(options.n_prompt, 1u), loaded.plan_info.n_batch);
  PerOp prefill_ops, decode_ops, first_prefill, first_decode;
  if (options.per_op) bench.per_op(in_step, first_prefill, first_decode);
  for (uint32_t i = 0; options.per_op && i < options.repetitions; ++i) bench.per_op(in_step, prefill_ops, decode_ops);

  const Speed prefill = speed_of(prefill_runs), decode = speed_of(decode_runs);
  const double bandwidth = limits.bandwidth;
  // A step reads the weights once for all its sequences.
  const double used = static_cast<double>(loaded.plan_info.bytes_per_token) * decode.mean / options.sequences;
  const double macs = macs_per_token(loaded);
  const std::string type(brim::view(loaded.info.file_type));
  const std::string name = fmt::format("{} {}", brim::view(loaded.info.architecture), type);

  if (options.format == "json") {
    const auto speed_or_null = [](const std::vector<double>& runs, double value) {
      return runs.empty() ? nlohmann::json(nullptr) : nlohmann::json(value);
    };
    const auto limit_or_null = [](double value) { return value > 0 ? nlohmann::json(value) : nlohmann::json(nullptr); };
    nlohmann::json out = {
        {"model", options.model},
        {"name", brim::view(loaded.info.name)},
        {"architecture", brim::view(loaded.info.architecture)},
        {"type", type},
        {"size_bytes", loaded.info.file_bytes},
        {"n_parameters", loaded.info.n_parameters},
        {"backend", place.backends},
        {"threads", place.processors ? nlohmann::json(threads) : nlohmann::json(nullptr)},
        {"numerics", loaded.plan_info.numerics == BRIM_NUMERICS_STRICT ? "strict" : "fast"},
        {"kv", brim_dtype_name(loaded.plan_info.kv_dtype)},
        {"n_batch", loaded.plan_info.n_batch},
        {"n_prompt", options.n_prompt},
        {"n_gen", options.n_gen},
        {"depth", options.depth},
        {"sequences", options.sequences},
        {"repetitions", options.repetitions},
        {"prefill_tps", speed_or_null(prefill_runs, prefill.mean)},
        {"prefill_tps_sd", speed_or_null(prefill_runs, prefill.deviation)},
        {"decode_tps", speed_or_null(decode_runs, decode.mean)},
        {"decode_tps_sd", speed_or_null(decode_runs, decode.deviation)},
        {"bytes_per_token", loaded.plan_info.bytes_per_token},
        {"bandwidth_gbs", limit_or_null(bandwidth / 1e9)},
        {"bandwidth_pattern", bandwidth > 0 ? nlohmann::json(limits.pattern) : nlohmann::json(nullptr)},
        {"macs_per_token", macs},
        {"peak_integer_gmacs", limit_or_null(limits.integer_macs / 1e9)},
        {"peak_float_gmacs", limit_or_null(limits.float_macs / 1e9)},
        {"peak_bfloat_gmacs", limit_or_null(limits.bfloat_macs / 1e9)},
        {"bandwidth_used",
         bandwidth > 0 && !decode_runs.empty() ? nlohmann::json(used / bandwidth) : nlohmann::json(nullptr)},
        {"load_seconds", loaded.load_seconds},
        {"version", brim_version()}};
    if (options.per_op) out["per_op"] = {{"prefill", prefill_ops.json()}, {"decode", decode_ops.json()}};
    write_out(out.dump(2) + '\n');
    return kOk;
  }

  std::vector<std::vector<std::string>> rows;
  const auto add = [&](const std::string& test, const Speed& speed) {
    rows.push_back({name, mebibytes(loaded.info.file_bytes), count_text(loaded.info.n_parameters), place.backends,
                    place.processors ? std::to_string(threads) : "-", test,
                    fmt::format("{:.2f} ± {:.2f}", speed.mean, speed.deviation)});
  };
  const std::string behind = options.depth > 0 ? fmt::format(" @ d{}", options.depth) : "";
  const std::string together = options.sequences > 1 ? fmt::format(" x{}", options.sequences) : "";
  if (options.n_prompt > 0) add(fmt::format("pp{}{}", options.n_prompt, behind), prefill);
  if (options.n_gen > 0) add(fmt::format("tg{}{}{}", options.n_gen, together, behind), decode);
  if (options.format == "md") {
    std::string out =
        "| model | size | params | backend | threads | test | t/s |\n"
        "| --- | ---: | ---: | --- | ---: | ---: | ---: |\n";
    for (const auto& row : rows) {
      for (const std::string& cell : row) out += "| " + cell + ' ';
      out += "|\n";
    }
    write_out(out);
    return kOk;
  }
  rows.insert(rows.begin(), {"model", "size", "params", "backend", "threads", "test", "tokens/s"});
  std::string out = table_text(rows, {false, true, true, false, true, true, true});
  if (options.n_prompt > 0 && macs > 0 && limits.float_macs > 0) {
    const double made = macs * prefill.mean;
    const auto share = [&](double peak, const char* how) {
      return peak > 0 ? fmt::format(", {:.0f} % of {:.0f} ({})", 100 * made / peak, peak / 1e9, how) : std::string{};
    };
    out += fmt::format("prefill multiplies {:.2f} G weights a token: {:.1f} GMAC/s{}{}{}\n", macs / 1e9, made / 1e9,
                       share(limits.integer_macs, limits.integer_how), share(limits.bfloat_macs, limits.bfloat_how),
                       share(limits.float_macs, limits.float_how));
  }
  if (options.n_gen > 0 && bandwidth > 0) {
    out += fmt::format("decode reads {} of weights a step: {:.1f} of {:.1f} GB/s ({}), {:.0f} % of memory bandwidth\n",
                       bytes_text(loaded.plan_info.bytes_per_token), used / 1e9, bandwidth / 1e9, limits.pattern,
                       100 * used / bandwidth);
  }
  if (options.n_gen > 0 && options.depth == 0 && options.sequences == 1)
    out += against_prediction(loaded.plan, decode.mean);
  if (options.per_op) {
    out += '\n' + prefill_ops.table(fmt::format("pp{}{}", in_step, behind)) + '\n' + decode_ops.table("tg1" + behind);
  }
  write_out(out);
  return kOk;
}

}  // namespace

Command add_bench(CLI::App& program) {
  auto options = std::make_shared<BenchOptions>();
  CLI::App* app = program.add_subcommand("bench", "Measure tokens/s");
  explain(
      *app,
      "Measures the speed of a model in tokens/s: \"pp512\" is a prefill of 512 tokens, \"tg64\" a generation of 64, "
      "each from an empty context, or behind --depth tokens. One round warms up, the others give mean and standard "
      "deviation. Decoding reads every weight once a token, so it is also given as a share of the memory bandwidth, "
      "and "
      "prefill as a share of what the processor's multiply-add instructions could do; both limits are measured between "
      "the rounds. Where a GPU computes all of the model the bandwidth is its memory's, where that is known; where "
      "several devices do, no limit is given.");
  add_model_argument(*app, options->model);
  app->add_option("-p,--n-prompt", options->n_prompt, "Tokens of the prefill, default 512; 0: leave it out")
      ->type_name("N");
  app->add_option("-n,--n-gen", options->n_gen, "Tokens of the generation, default 64; 0: leave it out")
      ->type_name("N");
  app->add_option("-d,--depth", options->depth, "Tokens of context in front of all that is measured, default 0")
      ->type_name("N");
  app->add_option("-s,--seqs", options->sequences,
                  "Texts that decode side by side, default 1: tokens/s of all together")
      ->check(CLI::PositiveNumber)
      ->type_name("N");
  app->add_option("-r,--repetitions", options->repetitions, "Rounds that count, default 5")
      ->check(CLI::PositiveNumber)
      ->type_name("N");
  app->add_option("-o,--output", options->format, "table, json, or md: the columns that people paste from llama-bench")
      ->check(CLI::IsMember({"table", "json", "md"}))
      ->type_name("FORM");
  app->add_flag("--per-op", options->per_op,
                "Also run every node of the model alone and tell where the time goes, by op and weight");
  add_plan_options(*app, options->plan);
  add_runtime_options(*app, options->runtime);
  app->footer(
      "Examples:\n"
      "  brim bench model.gguf -t 8\n"
      "  brim bench model.gguf -p 2048 -n 128 -r 3 -o md\n"
      "  brim bench model.gguf -p 0 -s 8 -d 4096\n"
      "  brim bench model.gguf --per-op\n"
      "  brim bench model.gguf -o json | jq .decode_tps");
  return {app, [options] { return bench(*options); }};
}

}  // namespace cli
