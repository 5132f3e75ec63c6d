#include "summary.hpp"

#include <fmt/format.h>

#include <cmath>

#include "place.hpp"
#include "terminal.hpp"
#include "words.hpp"

namespace cli {

namespace {

double per_second(uint64_t count, uint64_t ns) {
  return ns == 0 ? 0 : static_cast<double>(count) * 1e9 / static_cast<double>(ns);
}

}  // namespace

std::string Summary::text(const brim_generate_result& result) {
  std::string out;
  const auto seconds = [](uint64_t ns) { return seconds_text(static_cast<double>(ns) * 1e-9); };
  if (result.prefill_ns > 0 && result.n_prompt > 0) {
    out += fmt::format("prefill  {:>6} tokens in {:>8}  {:>9.1f} tokens/s\n", result.n_prompt,
                       seconds(result.prefill_ns), per_second(result.n_prompt, result.prefill_ns));
  }
  const uint64_t tokens = result.n_generated > 1 ? result.n_generated - 1 : 0;
  if (tokens > 0 && result.decode_ns > 0) {
    const double speed = per_second(tokens, result.decode_ns);
    if (!bandwidth_) {
      const Place place = place_of(machine_.report(), nlohmann::json::parse(model_.plan.explain()));
      bandwidth_ = place.on_processors() ? machine_.runtime.bandwidth() : place.bandwidth;
    }
    const double used =
        static_cast<double>(model_.plan_info.bytes_per_token) * per_second(result.n_steps, result.decode_ns);
    out += fmt::format("decode   {:>6} tokens in {:>8}  {:>9.1f} tokens/s", tokens, seconds(result.decode_ns), speed);
    if (*bandwidth_ > 0) {
      out += fmt::format("  {:.0f} % of memory bandwidth ({:.1f} of {:.1f} GB/s)", 100 * used / *bandwidth_, used / 1e9,
                         *bandwidth_ / 1e9);
    }
    out += '\n';
    if (result.n_guessed > 0) {
      out += fmt::format("guessed  {:>6} tokens, {} of them right: {} steps\n", result.n_guessed, result.n_right,
                         result.n_steps);
    }
    if (result.n_guessed == 0) out += against_prediction(model_.plan, speed);
  }
  if (result.n_generated > 0) out += fmt::format("first token after {}\n", seconds(result.first_token_ns));
  return out + memory();
}

std::string Summary::memory() const {
  const nlohmann::json report = machine_.report();
  const auto& names = report.at("pools");
  std::string out;
  for (const brim_plan_pool& pool : model_.plan.pools()) {
    const uint64_t taken = pool.total + pool.mapped;
    if (taken == 0) continue;
    const uint64_t available = pool.available > pool.total ? pool.available - pool.total : 0;
    const std::string name = pool.pool < names.size() ? names[pool.pool].value("name", "memory") : "memory";
    out += fmt::format("{}  {}\n", name,
                       memory_bar({{"weights", 'W', pool.weights + pool.mapped},
                                   {"KV", 'K', pool.kv},
                                   {"activations", 'A', pool.activations + pool.workspace + pool.step},
                                   {"free", '.', available}},
                                  24));
  }
  return out;
}

std::string against_prediction(const brim::Plan& plan, double measured) {
  const auto json = nlohmann::json::parse(plan.explain());
  const auto& p = json.at("predicted");
  if (p.is_null()) return "predicted  nothing: runtime.learned names a file in which speeds are kept\n";
  const double predicted = p.at("decode_tps").get<double>(), off = 100 * (measured / predicted - 1);
  return fmt::format("predicted {:.1f} tokens/s ({:.1f} to {:.1f}, {}); measured {:.0f} % {}\n", predicted,
                     p.at("decode_low").get<double>(), p.at("decode_high").get<double>(),
                     p.at("provenance").get<std::string>(), std::abs(off), off < 0 ? "less" : "more");
}

std::string stop_sentence(const brim_generate_result& result, const brim_plan_info& plan) {
  if (result.stop != BRIM_STOP_CONTEXT) return {};
  return fmt::format("the context of {} tokens is full; -c TOKENS gives more", plan.n_ctx);
}

}  // namespace cli
