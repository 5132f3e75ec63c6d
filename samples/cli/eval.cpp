// `brim eval MODEL --text FILE`: perplexity over a text, and how far the model's distributions are from another
// model's.
//
// The text is cut into windows of N tokens whose beginnings are S tokens apart; a window is run from an empty context,
// with BOS in front where the file wants it, and scores its last S tokens (the first one all of its tokens that have a
// predecessor). So every token is scored once, with at least N - S tokens before it. Sums are in double precision.
#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <memory>

#include "commands.hpp"
#include "host.hpp"
#include "terminal.hpp"
#include "words.hpp"

namespace cli {

namespace {

struct EvalOptions {
  RuntimeOptions runtime;
  PlanOptions plan;
  std::string model, text, against;
  std::optional<uint32_t> stride;
};

// Mean and its standard error.
class Average {
 public:
  void add(double value) {
    ++n_;
    sum_ += value;
    squares_ += value * value;
  }
  uint64_t count() const { return n_; }
  double mean() const { return n_ == 0 ? 0 : sum_ / static_cast<double>(n_); }
  double error() const {
    if (n_ < 2) return 0;
    const auto n = static_cast<double>(n_);
    const double variance = std::max(0.0, squares_ / n - mean() * mean());
    return std::sqrt(variance / (n - 1));
  }

 private:
  uint64_t n_ = 0;
  double sum_ = 0, squares_ = 0;
};

double log_sum_exp(std::span<const float> logits) {
  const double top = *std::max_element(logits.begin(), logits.end());
  double sum = 0;
  for (const float logit : logits) sum += std::exp(logit - top);
  return top + std::log(sum);
}

size_t largest(std::span<const float> logits) {
  return static_cast<size_t>(std::max_element(logits.begin(), logits.end()) - logits.begin());
}

// KL(reference || other), nats.
double divergence(std::span<const float> reference, std::span<const float> other) {
  const double reference_sum = log_sum_exp(reference), other_sum = log_sum_exp(other);
  double out = 0;
  for (size_t i = 0; i < reference.size(); ++i) {
    const double log_p = reference[i] - reference_sum;
    if (std::isinf(log_p)) continue;
    out += std::exp(log_p) * (log_p - (other[i] - other_sum));
  }
  return out;
}

// Runs windows on one model. `score(i, logits)`: logits that predict token i of the window.
class Windows {
 public:
  explicit Windows(const LoadedModel& loaded)
      : session_(loaded.model),
        // Logits of one step stay within 64 MB, whatever the vocabulary.
        piece_(std::clamp<size_t>(size_t{64'000'000} / (sizeof(float) * std::max(1u, loaded.info.n_vocab)), 1,
                                  loaded.plan_info.n_batch)) {}
  ~Windows() {
    if (open_) brim_sequence_remove(session_.get(), sequence_, nullptr);
  }

  size_t piece() const { return piece_; }
  void begin() {
    if (open_) session_.remove(sequence_);
    open_ = false;
    sequence_ = session_.create_sequence();
    open_ = true;
  }
  // Rows [from, to) of the window; those from `first_output` on give logits.
  void run(std::span<const int32_t> window, size_t from, size_t to, size_t first_output) {
    std::vector<brim_row> rows(to - from);
    for (size_t i = from; i < to; ++i) {
      rows[i - from].token = window[i];
      rows[i - from].sequence = sequence_;
      rows[i - from].outputs = i >= first_output ? uint32_t{1} << BRIM_OUTPUT_LOGITS : 0u;
    }
    session_.step(rows, &interrupt::token());
  }
  std::span<const float> logits(size_t i) const {
    return session_.output(BRIM_OUTPUT_LOGITS, static_cast<uint32_t>(i));
  }

 private:
  brim::Session session_;
  size_t piece_;
  uint32_t sequence_ = 0;
  bool open_ = false;
};

double quantile(const std::vector<double>& sorted, double q) {
  return sorted[std::min(sorted.size() - 1, static_cast<size_t>(q * static_cast<double>(sorted.size())))];
}

std::string perplexity_line(const Average& loss) {
  const double perplexity = std::exp(loss.mean());
  return fmt::format("perplexity  {:.4f} ± {:.4f}  ({} tokens)\n", perplexity, perplexity * loss.error(), loss.count());
}

int eval(const EvalOptions& options) {
  PlanOptions plan = options.plan;
  if (!plan.context) plan.context = 512;
  const size_t context = *plan.context;
  const size_t stride = options.stride.value_or(static_cast<uint32_t>(std::max<size_t>(1, context / 2)));
  if (stride == 0 || stride >= context)
    throw UsageError(fmt::format("--stride {}: expected 1 .. {}", stride, context - 1));
  const std::string text = read_file(options.text);

  const Machine machine(options.runtime, plan);
  const LoadedModel loaded = load_model(machine, options.runtime, plan, options.model);
  std::optional<LoadedModel> other;
  if (!options.against.empty()) other.emplace(load_model(machine, options.runtime, plan, options.against));

  const std::vector<int32_t> tokens = loaded.model.tokenize(text, 0);
  const std::vector<int32_t> start = loaded.model.tokenize("", BRIM_TOKENIZE_SPECIAL);
  const int32_t bos = loaded.model.special(BRIM_TOKEN_BOS);
  const bool with_bos = !start.empty() && start.front() == bos && bos >= 0;
  if (tokens.size() < 2)
    throw HostError(fmt::format("{}: {} tokens; at least 2 are needed", options.text, tokens.size()));
  if (other && (other->info.n_vocab != loaded.info.n_vocab || other->model.tokenize(text, 0) != tokens)) {
    throw HostError(fmt::format("{} and {} do not share a vocabulary, so their distributions cannot be compared",
                                options.model, options.against));
  }

  const size_t head = with_bos ? 1 : 0;
  const size_t length = context - head;  // tokens of the text in one window
  const size_t windows = tokens.size() <= length ? 1 : 1 + (tokens.size() - length + stride - 1) / stride;
  Windows ours(loaded);
  std::optional<Windows> theirs;
  if (other) theirs.emplace(*other);
  Average loss, other_loss, kl, agreement;
  std::vector<double> divergences;
  const bool show = !options.runtime.quiet && stderr_is_terminal();

  for (size_t w = 0; w < windows; ++w) {
    const size_t begin = w * stride, end = std::min(tokens.size(), begin + length);
    std::vector<int32_t> window;
    if (with_bos) window.push_back(bos);
    window.insert(window.end(), tokens.begin() + static_cast<std::ptrdiff_t>(begin),
                  tokens.begin() + static_cast<std::ptrdiff_t>(end));
    // The token at place i is predicted by row i - 1. What the window before has scored ends at begin - stride +
    // length.
    const size_t first_scored = w == 0 ? 1 : head + length - stride;
    ours.begin();
    if (theirs) theirs->begin();
    const size_t piece = theirs ? std::min(ours.piece(), theirs->piece()) : ours.piece();
    const size_t rows = window.size() - 1;  // the last token predicts nothing that is scored
    for (size_t from = 0; from < rows; from += piece) {
      const size_t to = std::min(rows, from + piece);
      ours.run(window, from, to, first_scored - 1);
      if (theirs) theirs->run(window, from, to, first_scored - 1);
      for (size_t row = std::max(from, first_scored - 1), i = 0; row < to; ++row, ++i) {
        const auto target = static_cast<size_t>(window[row + 1]);
        const auto logits = ours.logits(i);
        loss.add(log_sum_exp(logits) - logits[target]);
        if (!theirs) continue;
        const auto reference = theirs->logits(i);
        other_loss.add(log_sum_exp(reference) - reference[target]);
        divergences.push_back(divergence(reference, logits));
        kl.add(divergences.back());
        agreement.add(largest(reference) == largest(logits) ? 1 : 0);
      }
    }
    if (show) {
      write_err(fmt::format("\r\033[Kwindow {} of {}  perplexity {:.4f}", w + 1, windows, std::exp(loss.mean())));
    }
  }
  if (show) write_err("\r\033[K");

  std::string out = fmt::format("{}, windows of {} tokens, {} apart\n", options.text, context, stride);
  out += perplexity_line(loss);
  if (theirs) {
    std::sort(divergences.begin(), divergences.end());
    out += fmt::format("against {}\n  {}", options.against, perplexity_line(other_loss));
    out +=
        fmt::format("  KL divergence, nats  mean {:.6f} ± {:.6f}, median {:.6f}, 99 % {:.6f}, largest {:.6f}\n",
                    kl.mean(), kl.error(), quantile(divergences, 0.5), quantile(divergences, 0.99), divergences.back());
    out += fmt::format("  same likeliest token {:.2f} ± {:.2f} %\n", 100 * agreement.mean(), 100 * agreement.error());
  }
  write_out(out);
  return kOk;
}

}  // namespace

Command add_eval(CLI::App& program) {
  auto options = std::make_shared<EvalOptions>();
  CLI::App* app = program.add_subcommand("eval", "Perplexity over a text; distance from another model");
  explain(
      *app,
      "Measures how well a model predicts a text: its perplexity (the exponential of the mean loss in nats a token, "
      "with the standard error), lower is better. With --against, also how far its distributions are from those of "
      "another model over the same tokens, for instance of a quantised file from the original: KL(other || model) in "
      "nats, and how often both find the same token likeliest. Windows of --context tokens move by --stride; every "
      "token is scored once.");
  add_model_argument(*app, options->model);
  app->add_option("--text", options->text, "Text file, UTF-8")->required()->type_name("FILE");
  app->add_option("--stride", options->stride, "Tokens from window to window, default half the context")
      ->type_name("TOKENS");
  app->add_option("--against", options->against, "Model to compare with; it is the reference")->type_name("MODEL2");
  add_plan_options(*app, options->plan);
  add_runtime_options(*app, options->runtime);
  app->footer(
      "The context is 512 tokens here unless -c says otherwise.\n"
      "Examples:\n"
      "  brim eval model-q4.gguf --text wiki.test.raw\n"
      "  brim eval model-q4.gguf --text wiki.test.raw --against model-f16.gguf -c 2048");
  return {app, [options] { return eval(*options); }};
}

}  // namespace cli
