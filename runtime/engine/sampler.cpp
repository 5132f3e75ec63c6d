#include <algorithm>
#include <base/error.hpp>
#include <cmath>
#include <engine/sampler.hpp>
#include <limits>
#include <utility>

namespace brim::engine {
namespace {

constexpr uint32_t kMostRecent = 1u << 20;
constexpr uint32_t kDefaultRecent = 64;
// How many candidates are sorted at first when a share of the probability is looked for; four times as many each time.
constexpr size_t kFirstPrefix = 64;

void check_range(const char* name, float value, float low, float high) {
  if (value >= low && value <= high) return;
  fail(BRIM_INVALID_ARGUMENT, "sampling {} is {}; expected a value from {} to {}", name, value, low, high);
}

}  // namespace

double uniform(uint64_t seed, uint64_t counter) {
  uint32_t x[4] = {static_cast<uint32_t>(counter), static_cast<uint32_t>(counter >> 32), 0, 0};
  uint32_t key[2] = {static_cast<uint32_t>(seed), static_cast<uint32_t>(seed >> 32)};
  for (int round = 0; round < 10; ++round) {
    const uint64_t a = uint64_t{0xD2511F53} * x[0], b = uint64_t{0xCD9E8D57} * x[2];
    const uint32_t next[4] = {static_cast<uint32_t>(b >> 32) ^ x[1] ^ key[0], static_cast<uint32_t>(b),
                              static_cast<uint32_t>(a >> 32) ^ x[3] ^ key[1], static_cast<uint32_t>(a)};
    std::copy(next, next + 4, x);
    key[0] += 0x9E3779B9;
    key[1] += 0xBB67AE85;
  }
  return static_cast<double>((uint64_t{x[0]} << 32 | x[1]) >> 11) * 0x1p-53;
}

Sampler::Sampler(SamplerOptions options, uint32_t n_vocab) : options_(std::move(options)), n_vocab_(n_vocab) {
  if (n_vocab == 0 || n_vocab > static_cast<uint32_t>(std::numeric_limits<int32_t>::max())) {
    fail(BRIM_INVALID_ARGUMENT, "a sampler for {} tokens; expected 1 to 2147483647", n_vocab);
  }
  SamplerOptions& o = options_;
  check_range("temperature", o.temperature, 0, 100);
  check_range("top_p", o.top_p, 0, 1);
  check_range("min_p", o.min_p, 0, 1);
  check_range("typical_p", o.typical_p, 0, 1);
  check_range("repetition_penalty", o.repetition_penalty, 0, 100);
  check_range("frequency_penalty", o.frequency_penalty, -100, 100);
  check_range("presence_penalty", o.presence_penalty, -100, 100);
  if (o.penalty_last_n > kMostRecent) {
    fail(BRIM_INVALID_ARGUMENT, "sampling penalty_last_n is {}; expected at most {}", o.penalty_last_n, kMostRecent);
  }
  for (const auto& [token, bias] : o.biases) {
    if (token < 0 || static_cast<uint32_t>(token) >= n_vocab) {
      fail(BRIM_INVALID_ARGUMENT, "sampling bias of token {}; the vocabulary has {} tokens", token, n_vocab);
    }
    if (std::isnan(bias) || bias == std::numeric_limits<float>::infinity()) {
      fail(BRIM_INVALID_ARGUMENT, "sampling bias of token {} is {}; expected a number or -infinity", token, bias);
    }
  }
  if (o.top_p == 0) o.top_p = 1;
  if (o.typical_p == 0) o.typical_p = 1;
  if (o.repetition_penalty == 0) o.repetition_penalty = 1;
  if (o.penalty_last_n == 0) o.penalty_last_n = kDefaultRecent;
  penalties_ = o.repetition_penalty != 1 || o.frequency_penalty != 0 || o.presence_penalty != 0;
  candidates_.reserve(n_vocab);
  weights_.resize(n_vocab);
  if (penalties_) {
    recent_.reserve(o.penalty_last_n);
    count_.resize(n_vocab);
  }
}

int32_t Sampler::sample(const float* logits) {
  gather(logits);
  int32_t token;
  if (options_.temperature == 0) {
    token = std::ranges::max_element(candidates_, {}, &Candidate::logit)->id;  // the first, so the lowest id
  } else {
    keep_top_k();
    keep_typical();
    keep_top_p();
    keep_min_p();
    token = draw();
    ++draws_;
  }
  accept(token);
  return token;
}

void Sampler::accept(int32_t token) {
  if (token < 0 || static_cast<uint32_t>(token) >= n_vocab_) {
    fail(BRIM_INVALID_ARGUMENT, "token {} is outside the vocabulary of {} tokens", token, n_vocab_);
  }
  if (!penalties_) return;
  ++count_[token];
  if (recent_.size() < options_.penalty_last_n) {
    recent_.push_back(token);
    return;
  }
  --count_[std::exchange(recent_[oldest_], token)];
  oldest_ = (oldest_ + 1) % options_.penalty_last_n;
}

void Sampler::reset() {
  recent_.clear();
  std::ranges::fill(count_, 0u);
  oldest_ = 0;
  draws_ = 0;
}

// Logits with biases and penalties, those of -infinity left out, in order of ids.
void Sampler::gather(const float* logits) {
  candidates_.resize(n_vocab_);
  for (uint32_t i = 0; i < n_vocab_; ++i) candidates_[i] = {logits[i], static_cast<int32_t>(i)};
  for (const auto& [token, bias] : options_.biases) candidates_[token].logit += bias;
  if (penalties_) penalize();
  for (const Candidate& c : candidates_) {
    if (std::isnan(c.logit) || c.logit == std::numeric_limits<float>::infinity()) {
      fail(BRIM_INVALID_ARGUMENT, "the logit of token {} is {}; the model file is damaged, or a hook wrote it", c.id,
           c.logit);
    }
  }
  std::erase_if(candidates_, [](const Candidate& c) { return c.logit == -std::numeric_limits<float>::infinity(); });
  if (candidates_.empty()) {
    fail(BRIM_INVALID_ARGUMENT, "every one of the {} logits is -infinity: there is no token to choose", n_vocab_);
  }
}

void Sampler::penalize() {
  // A token that is in the ring several times is penalised at its first place; the mark is its candidate's id.
  for (const int32_t token : recent_) {
    Candidate& c = candidates_[token];
    if (c.id < 0) continue;
    c.id = -1;
    c.logit = c.logit > 0 ? c.logit / options_.repetition_penalty : c.logit * options_.repetition_penalty;
    c.logit -= static_cast<float>(count_[token]) * options_.frequency_penalty + options_.presence_penalty;
  }
  for (const int32_t token : recent_) candidates_[token].id = token;
}

namespace {

constexpr auto kLikelier = [](const auto& a, const auto& b) {
  return a.logit != b.logit ? a.logit > b.logit : a.id < b.id;
};

}  // namespace

float Sampler::largest() const { return std::ranges::max_element(candidates_, {}, &Candidate::logit)->logit; }

// Fills the candidates' weights and returns their sum, added up in the order of the list.
double Sampler::weigh(float temperature) {
  const double most = largest();
  double sum = 0;
  for (const Candidate& c : candidates_) {
    const double weight = std::exp((static_cast<double>(c.logit) - most) / static_cast<double>(temperature));
    weights_[c.id] = weight;
    sum += weight;
  }
  return sum;
}

void Sampler::keep_top_k() {
  if (options_.top_k == 0 || options_.top_k >= candidates_.size()) return;
  const auto end = candidates_.begin() + options_.top_k;
  std::nth_element(candidates_.begin(), end, candidates_.end(), kLikelier);
  candidates_.erase(end, candidates_.end());
  std::sort(candidates_.begin(), candidates_.end(), kLikelier);
}

// Keeps the first candidates in the order of `better`, a total one, whose weights come to `wanted`; at least one.
template <class Better>
void Sampler::keep_mass(double wanted, const Better& better) {
  size_t sorted = 0, kept = 0;
  double mass = 0;
  while (kept < candidates_.size() && (kept == 0 || mass < wanted)) {
    if (kept == sorted) {
      const auto begin = candidates_.begin() + static_cast<std::ptrdiff_t>(sorted);
      sorted = std::min(candidates_.size(), std::max(kFirstPrefix, 4 * sorted));
      const auto end = candidates_.begin() + static_cast<std::ptrdiff_t>(sorted);
      if (end != candidates_.end()) std::nth_element(begin, end, candidates_.end(), better);
      std::sort(begin, end, better);
    }
    mass += weights_[candidates_[kept++].id];
  }
  candidates_.erase(candidates_.begin() + static_cast<std::ptrdiff_t>(kept), candidates_.end());
  std::sort(candidates_.begin(), candidates_.end(), kLikelier);
}

// Typical is what surprises about as much as the distribution does on average: |-ln p - entropy| small.
void Sampler::keep_typical() {
  if (options_.typical_p == 1) return;
  const double sum = weigh(1);
  const double most = largest(), log_sum = std::log(sum);
  const auto surprise = [&](const Candidate& c) { return log_sum + most - static_cast<double>(c.logit); };
  double entropy = 0;
  for (const Candidate& c : candidates_) entropy += weights_[c.id] / sum * surprise(c);
  keep_mass(static_cast<double>(options_.typical_p) * sum, [&](const Candidate& a, const Candidate& b) {
    const double x = std::fabs(surprise(a) - entropy), y = std::fabs(surprise(b) - entropy);
    return x != y ? x < y : a.id < b.id;
  });
}

void Sampler::keep_top_p() {
  if (options_.top_p == 1) return;
  const double sum = weigh(1);
  keep_mass(static_cast<double>(options_.top_p) * sum, kLikelier);
}

void Sampler::keep_min_p() {
  if (options_.min_p == 0) return;
  const double least = static_cast<double>(largest()) + std::log(static_cast<double>(options_.min_p));
  std::erase_if(candidates_, [&](const Candidate& c) { return static_cast<double>(c.logit) < least; });
}

int32_t Sampler::draw() {
  const double target = uniform(options_.seed, draws_) * weigh(options_.temperature);
  double passed = 0;
  int32_t last = candidates_.front().id;
  for (const Candidate& c : candidates_) {
    const double weight = weights_[c.id];
    if (weight == 0) continue;
    passed += weight;
    last = c.id;
    if (passed > target) break;
  }
  return last;
}

}  // namespace brim::engine
