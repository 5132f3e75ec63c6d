// Nets that stand for what hosts run: a small decoder with two layers, a feed-forward block without states, and the
// smallest thing there is. Tests take the largest one that a device supports.
#pragma once

#include "blocks.hpp"
#include "program.hpp"

namespace check {

struct Sample {
  const char* name = "";
  Net net;
  brim_value input = 0;   // f32 [T, width] given by the host; 0: it reads tokens
  brim_value result = 0;  // f32 [rows, width]: rows of the outputs, or of the tokens
  bool per_output = false;
  uint32_t input_width = 0, width = 0, n_vocab = 0;
  bool has_kv = false;
};

Sample decoder(std::mt19937_64& random, uint32_t weight_dtype = BRIM_DTYPE_F32);
Sample feed_forward(std::mt19937_64& random, uint32_t weight_dtype = BRIM_DTYPE_F32);
Sample single_op(std::mt19937_64& random);
// Attention alone over rows given by the host: K is the row itself, V twice the row. window: 0 or tokens.
Sample attention_only(uint32_t window);
// A full state and one with a window, behind each other.
Sample two_groups();
// A causal convolution, and linear attention without decay: one slot a sequence.
Sample convolution(std::mt19937_64& random);
Sample linear_attention(std::mt19937_64& random);

// The largest sample that the device takes whole. Skips the test where it takes none.
Sample best_sample(Device& device, uint32_t numerics = BRIM_NUMERICS_STRICT, bool need_kv = false);

// What a run of a sample gives: the rows that are real, as bits.
std::vector<uint32_t> result_bits(Program& program, const Sample& sample, const Step& step);
uint32_t count_rows(const Step& step);
std::string first_difference(const std::vector<uint32_t>& a, const std::vector<uint32_t>& b, uint32_t width);

// Steps within a bucket for sequences that have blocks of their own: lengths, rows and outputs vary.
class StepMaker {
 public:
  StepMaker(const Program& program, const Sample& sample, uint32_t block_tokens, uint32_t n_blocks);
  // A fresh step: every sequence begins anew with its first rows.
  Step random_step(std::mt19937_64& random) const;
  // One sequence of `rows` rows that has `length_after` tokens afterwards; it lies in the first blocks.
  Step one(uint32_t rows, uint32_t length_after) const;
  void set_input(Program& program, const Step& step, uint64_t seed, float padding) const;

 private:
  const Sample& sample_;
  brim_bucket bucket_;
  uint32_t block_tokens_, n_blocks_;
};

}  // namespace check
