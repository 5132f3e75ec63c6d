#include "crowd.hpp"

#include <algorithm>
#include <bit>
#include <cmath>
#include <limits>
#include <numeric>

namespace check {

Setup crowded_setup() {
  Setup setup;
  setup.bucket = {sizeof(brim_bucket), 8, 4, 8, 64, 1};
  setup.n_blocks = 64;  // a sequence of n_kv tokens, should a block hold but one
  return setup;
}

Member random_member(const Sample& sample, uint32_t length, std::mt19937_64& random) {
  Member member;
  for (uint32_t i = 0; i < length; ++i) {
    member.tokens.push_back(sample.n_vocab ? static_cast<int32_t>(random() % sample.n_vocab) : 0);
  }
  member.rows = random_floats(uint64_t{length} * sample.input_width, random);
  return member;
}

void give_blocks(Member& member, const Program& program, uint32_t length, uint32_t first) {
  member.blocks.clear();
  for (uint32_t b = 0; b * program.store().block_tokens < length; ++b) member.blocks.push_back(first + b);
}

Step step_of(const Sample& sample, const Member& member, uint32_t first, uint32_t count) {
  Step step;
  Rows& rows = step.sequences.emplace_back();
  rows.count = count;
  rows.length_after = first + count;
  if (sample.has_kv) rows.blocks = member.blocks;
  step.tokens.assign(member.tokens.begin() + first, member.tokens.begin() + first + count);
  step.output_rows.resize(count);
  std::iota(step.output_rows.begin(), step.output_rows.end(), 0);
  return step;
}

std::vector<uint32_t> run_rows(Program& program, const Sample& sample, const Member& member, uint32_t first,
                               uint32_t count) {
  const Step step = step_of(sample, member, first, count);
  if (sample.input != 0) {
    const auto from = member.rows.begin() + static_cast<ptrdiff_t>(uint64_t{first} * sample.input_width);
    program.set(sample.input, {from, from + static_cast<ptrdiff_t>(uint64_t{count} * sample.input_width)});
  }
  must(program.trial(), "program_run", program.run(step));
  return result_bits(program, sample, step);
}

std::vector<uint32_t> run_alone(Program& program, const Sample& sample, const Member& member, uint32_t chunk) {
  Member alone = member;
  const auto length = static_cast<uint32_t>(member.tokens.size());
  give_blocks(alone, program, length);
  std::vector<uint32_t> out;
  for (uint32_t first = 0; first < length; first += chunk) {
    const std::vector<uint32_t> bits = run_rows(program, sample, alone, first, std::min(chunk, length - first));
    out.insert(out.end(), bits.begin(), bits.end());
  }
  return out;
}

std::string difference(Device& device, const std::vector<uint32_t>& got, const std::vector<uint32_t>& expected,
                       uint32_t width) {
  if (device.has_flag(BRIM_DEVICE_BATCH_INVARIANT) || got.size() != expected.size()) {
    return first_difference(got, expected, width);
  }
  constexpr double kLimit = 1e-4;  // of the row's largest value: sums of a few hundred terms in another order
  for (size_t row = 0; row < got.size(); row += width) {
    double largest = 0;
    for (size_t i = row; i < row + width; ++i) {
      largest = std::max(largest, std::fabs(static_cast<double>(std::bit_cast<float>(expected[i]))));
    }
    for (size_t i = row; i < row + width; ++i) {
      const double a = std::bit_cast<float>(got[i]), b = std::bit_cast<float>(expected[i]);
      if (!(std::fabs(a - b) <= kLimit * largest) && got[i] != expected[i]) {
        return fmt::format("row {}, column {}: {} against {}", row / width, i - row, a, b);
      }
    }
  }
  return {};
}

Crowd::Crowd(Device& device, const Sample& sample, Program& program, uint64_t seed)
    : device_(device), sample_(sample), program_(program), random_(seed), members_(program.bucket().n_seqs + 1) {
  free_.resize(program.store().n_blocks);
  std::iota(free_.begin(), free_.end(), 0u);
  std::shuffle(free_.begin(), free_.end(), random_);
}

// A block that nobody has; where all are taken, a sequence that is not in this step gives up its own.
bool Crowd::take_block(Member& member, size_t index) {
  for (size_t i = 0; free_.empty() && i < members_.size(); ++i) {
    const bool busy =
        i == index || std::any_of(parts_.begin(), parts_.end(), [&](const Part& p) { return p.member == i; });
    if (busy) continue;
    free_.insert(free_.end(), members_[i].blocks.begin(), members_[i].blocks.end());
    members_[i] = {};
  }
  if (free_.empty()) return false;
  member.blocks.push_back(free_.back());
  free_.pop_back();
  return true;
}

void Crowd::next() {
  const brim_bucket& bucket = program_.bucket();
  parts_.clear();
  step_ = {};
  std::vector<float> input;
  uint32_t left = 1 + static_cast<uint32_t>(random_() % bucket.n_tokens);
  std::vector<size_t> order(members_.size());
  std::iota(order.begin(), order.end(), size_t{0});
  std::shuffle(order.begin(), order.end(), random_);
  for (const size_t index : order) {
    if (left == 0 || parts_.size() == bucket.n_seqs) break;
    Member& member = members_[index];
    // Half of the sequences give one row, as in decoding.
    uint32_t count = random_() % 2 ? 1 : 1 + static_cast<uint32_t>(random_() % left);
    if (member.tokens.size() + count > bucket.n_kv || random_() % 16 == 0) {
      free_.insert(free_.begin(), member.blocks.begin(), member.blocks.end());
      member = {};
    }
    uint32_t got = 0;
    const Member more = random_member(sample_, count, random_);
    for (; got < count; ++got) {
      const uint64_t room = member.blocks.size() * uint64_t{program_.store().block_tokens};
      if (sample_.has_kv && member.tokens.size() == room && !take_block(member, index)) break;
      member.tokens.push_back(more.tokens[got]);
    }
    if (got == 0) continue;
    const auto end = more.rows.begin() + static_cast<ptrdiff_t>(uint64_t{got} * sample_.input_width);
    member.rows.insert(member.rows.end(), more.rows.begin(), end);
    input.insert(input.end(), more.rows.begin(), end);
    step_.tokens.insert(step_.tokens.end(), more.tokens.begin(), more.tokens.begin() + got);
    Rows& rows = step_.sequences.emplace_back();
    rows.count = got;
    rows.length_after = static_cast<uint32_t>(member.tokens.size());
    rows.blocks = member.blocks;
    parts_.push_back({index, got});
    left -= got;
  }
  // Some rows' outputs, in any order, one of them twice now and then, sometimes none.
  const uint32_t total = count_rows(step_);
  const uint32_t wanted = random_() % 8 == 0 ? 0 : 1 + static_cast<uint32_t>(random_() % bucket.n_outputs);
  for (uint32_t i = 0; i < wanted; ++i) step_.output_rows.push_back(static_cast<int32_t>(random_() % total));
  if (sample_.input != 0) {
    input.resize(uint64_t{bucket.n_tokens} * sample_.input_width, std::numeric_limits<float>::quiet_NaN());
    program_.set(sample_.input, input);
  }
  program_.fill(step_);
}

std::string Crowd::check(Program& judge) {
  std::vector<uint32_t> expected;  // of every row of the step
  for (const Part& part : parts_) {
    const Member& member = members_[part.member];
    const std::vector<uint32_t> all = run_alone(judge, sample_, member, judge.bucket().n_tokens);
    expected.insert(expected.end(), all.end() - static_cast<ptrdiff_t>(uint64_t{part.count} * sample_.width),
                    all.end());
  }
  if (sample_.per_output) {
    std::vector<uint32_t> wanted;
    for (const int32_t row : step_.output_rows) {
      const auto at = expected.begin() + static_cast<ptrdiff_t>(static_cast<uint64_t>(row) * sample_.width);
      wanted.insert(wanted.end(), at, at + sample_.width);
    }
    expected = std::move(wanted);
  }
  return difference(device_, result_bits(program_, sample_, step_), expected, sample_.width);
}

}  // namespace check
