// Guesses what a text goes on with from the text itself, so that one step can run several tokens: prompt-lookup
// decoding (A. Saxena 2023, after the n-gram drafts of arXiv:2304.04487). The place is looked for where the last
// tokens stood before, the longest match wins and of equal ones the latest; what followed there is the guess. Behind a
// token that was guessed wrong the copy is taken up where it was, once: in an edited text single words differ.
//
// A guess costs rows of a step and gains the tokens that turn out to be right. observe() keeps the recent average of
// tokens a step against what such steps cost, shortens guesses that fail, and where guessing loses it pauses, each time
// for twice as many tokens. It decides from the tokens alone, never from a clock, so that a text takes the same steps
// each time. It knows no model; whether guesses are right is the caller's to find out.
#pragma once

#include <algorithm>
#include <cstdint>
#include <span>

namespace brim::engine {

class Lookahead {
 public:
  // At most `most` tokens a step; 0: never.
  explicit Lookahead(uint32_t most) : most_(most), least_(std::min(most, 2u)), length_(std::min(most, kFirst)) {}

  // The guess of what follows `text`, a piece of it: at most `room` tokens, none where nothing is known or guessing
  // pauses. [tokens of text] compared at most.
  std::span<const int32_t> guess(std::span<const int32_t> text, uint32_t room) {
    const size_t wanted = std::min(length_, room);
    if (wanted == 0) return {};
    if (pause_ > 0) {
      --pause_;
      return {};
    }
    size_t best = 0, longest = kLeastMatch - 1;
    for (size_t at = text.size() - 1; at > longest; --at) {  // `at`: behind the candidate's last token
      size_t same = 0;
      while (same < at && same < kMostMatch && text[at - 1 - same] == text[text.size() - 1 - same]) ++same;
      if (same <= longest) continue;
      best = at;
      longest = same;
      if (same == kMostMatch) break;
    }
    if (best == 0) best = resume_;
    resume_ = 0;
    from_ = best;
    return best == 0 ? std::span<const int32_t>{} : text.subspan(best, std::min(wanted, text.size() - best));
  }

  // What became of a guess of `guessed` > 0 tokens.
  void observe(size_t guessed, size_t right) {
    if (right == guessed) {
      length_ = std::min(most_, 2 * length_);
    } else {
      length_ = std::max({least_, static_cast<uint32_t>(right), length_ / 2});
      if (right > 0) resume_ = from_ + right + 1;
    }
    const float gain = static_cast<float>(1 + right) / (1 + kRowCost * static_cast<float>(guessed));
    gain_ += (gain - gain_) * kMemory;
    if (gain_ >= 1) {
      next_pause_ = kFirstPause;
      return;
    }
    pause_ = next_pause_;
    next_pause_ = std::min(2 * next_pause_, kLongestPause);
    gain_ = 1;
  }

 private:
  // Tokens in a row that must have stood there before: two alone are common words. More than eight tell no more.
  static constexpr size_t kLeastMatch = 3, kMostMatch = 8;
  static constexpr uint32_t kFirst = 4;  // tokens of the first guess
  // A row's share of a step that reads all weights for it: 4-bit weights on AVX2, where eight rows cost three of one
  // (`matmul_bench q4_K`); others are cheaper.
  static constexpr float kRowCost = 0.3f, kMemory = 0.25f;
  static constexpr uint32_t kFirstPause = 8, kLongestPause = 512;

  uint32_t most_, least_, length_;
  float gain_ = 1;  // tokens a step in units of what the step costs, recent average
  uint32_t pause_ = 0, next_pause_ = kFirstPause;
  size_t from_ = 0, resume_ = 0;  // where in the text the last guess was taken; where to take one if nothing matches
};

}  // namespace brim::engine
