// Picks tokens from logits: the chain documented at brim_sampling. Each link narrows a list of candidates whose order
// is a function of the logits alone, so that sums, and with them draws, are the same whatever the standard library
// does. Selection is by nth_element over growing prefixes, not by sorting the vocabulary. Randomness is Philox4x32-10
// (Salmon et al. 2011), counter-based: draw n of a seed is the same on every platform.
//
// One thread at a time. sample() and accept() allocate nothing. It knows no model and no text.
#pragma once

#include <cstdint>
#include <utility>
#include <vector>

namespace brim::engine {

// Neutral values leave their link out; see brim_sampling for each.
struct SamplerOptions {
  float temperature = 0;
  uint32_t top_k = 0;
  float top_p = 1, min_p = 0, typical_p = 1;
  float repetition_penalty = 1, frequency_penalty = 0, presence_penalty = 0;
  uint32_t penalty_last_n = 64;
  uint64_t seed = 0;
  std::vector<std::pair<int32_t, float>> biases;  // of one token several are added up
};

class Sampler {
 public:
  // Throws INVALID_ARGUMENT naming the field that is out of range.
  Sampler(SamplerOptions options, uint32_t n_vocab);

  // The next token from logits [n_vocab], remembered for the penalties. INVALID_ARGUMENT where a logit is NaN or
  // infinity, or where nothing is left to choose from; the sampler is then as before.
  int32_t sample(const float* logits);
  // Makes a token known to the penalties. INVALID_ARGUMENT for an id outside the vocabulary.
  void accept(int32_t token);
  // As newly made.
  void reset();

  uint32_t n_vocab() const { return n_vocab_; }

 private:
  struct Candidate {
    float logit;
    int32_t id;
  };

  void gather(const float* logits);
  void penalize();
  void keep_top_k();
  void keep_typical();
  void keep_top_p();
  void keep_min_p();
  int32_t draw();

  float largest() const;
  double weigh(float temperature);
  template <class Better>
  void keep_mass(double wanted, const Better& better);

  SamplerOptions options_;
  uint32_t n_vocab_;
  bool penalties_;
  std::vector<Candidate> candidates_;  // capacity n_vocab
  std::vector<double> weights_;        // per token id, of the candidates: exp((logit - largest) / temperature)
  // Recent tokens: a ring of penalty_last_n, and how often each token of the vocabulary is in it.
  std::vector<int32_t> recent_;
  std::vector<uint32_t> count_;
  uint32_t oldest_ = 0;
  uint64_t draws_ = 0;
};

// Two words of Philox4x32-10 with the seed as key and `counter` as counter, as a number in [0, 1) of 53 bits.
double uniform(uint64_t seed, uint64_t counter);

}  // namespace brim::engine
