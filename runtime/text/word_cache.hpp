// Remembers the ids of words within one encode call: running text repeats its words, and merging is the slow part.
// It lives on the caller's stack, so encoding stays free of shared state and of locks.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>
#include <unordered_map>
#include <vector>

namespace brim::text {

class WordCache {
 public:
  // Appends the word's ids to out: those held, or what encode(word, out) appends. The word's characters must outlive
  // the cache.
  template <class Encode>
  void append(std::string_view word, std::vector<int32_t>& out, Encode encode) {
    if (word.size() > kLongest) return encode(word, out);
    const auto held = held_.find(word);
    if (held != held_.end()) {
      const auto first = ids_.begin() + static_cast<ptrdiff_t>(held->second.first);
      out.insert(out.end(), first, first + held->second.count);
      return;
    }
    const size_t before = out.size();
    encode(word, out);
    held_.emplace(word, Span{ids_.size(), static_cast<uint32_t>(out.size() - before)});
    ids_.insert(ids_.end(), out.begin() + static_cast<ptrdiff_t>(before), out.end());
  }

 private:
  static constexpr size_t kLongest = 48;  // bytes; longer words seldom come again
  struct Span {
    size_t first;
    uint32_t count;
  };
  std::unordered_map<std::string_view, Span> held_;
  std::vector<int32_t> ids_;
};

}  // namespace brim::text
