// Sequences that share a program: each step a few of them go on by a few rows. What a sequence gives in company must be
// what it gives alone, so every result has an oracle: the same rows, step by step, in a program that nobody else uses.
#pragma once

#include "samples.hpp"

namespace check {

// One sequence: all rows that it has had, and the blocks that hold them.
struct Member {
  std::vector<int32_t> tokens;
  std::vector<float> rows;  // [tokens, input_width] of samples that read rows
  std::vector<uint32_t> blocks;
};

// A bucket with room for several sequences and every row's output.
Setup crowded_setup();

class Crowd {
 public:
  Crowd(Device& device, const Sample& sample, Program& program, uint64_t seed);

  // Draws a step and writes inputs and step block; padding rows of inputs are NaN.
  void next();
  const Step& step() const { return step_; }
  // What the last step gave, held against every sequence alone. "" where it is the same.
  std::string check(Program& judge);

 private:
  struct Part {
    size_t member;
    uint32_t count;
  };
  bool take_block(Member& member, size_t index);
  Device& device_;
  const Sample& sample_;
  Program& program_;
  std::mt19937_64 random_;
  std::vector<Member> members_;
  std::vector<uint32_t> free_;
  std::vector<Part> parts_;
  Step step_;
};

// Tokens and rows at random.
Member random_member(const Sample& sample, uint32_t length, std::mt19937_64& random);
// Runs all rows of a sequence alone, in chunks of at most `chunk`, in blocks 0, 1, ..; gives [rows, width] bits.
std::vector<uint32_t> run_alone(Program& program, const Sample& sample, const Member& member, uint32_t chunk);
// One step of one sequence: its rows [first, first + count), of which all outputs are wanted.
Step step_of(const Sample& sample, const Member& member, uint32_t first, uint32_t count);
// Runs such a step and gives its bits. The member's blocks are used as they are.
std::vector<uint32_t> run_rows(Program& program, const Sample& sample, const Member& member, uint32_t first,
                               uint32_t count);
// Blocks for so many tokens, counted up from `first`.
void give_blocks(Member& member, const Program& program, uint32_t length, uint32_t first = 0);

// "" where both are the same: bit by bit on a BATCH_INVARIANT device, else within what another order of sums makes.
std::string difference(Device& device, const std::vector<uint32_t>& got, const std::vector<uint32_t>& expected,
                       uint32_t width);

}  // namespace check
