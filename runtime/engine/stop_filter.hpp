// Looks for stop strings in a text that comes in pieces. What could be the beginning of a stop string is held back
// until it is certain; the stop string itself and what follows it are never given out.
#pragma once

#include <algorithm>
#include <string>
#include <string_view>
#include <vector>

namespace brim::engine {

class StopFilter {
 public:
  explicit StopFilter(std::vector<std::string> stops) : stops_(std::move(stops)) {
    std::erase_if(stops_, [](const std::string& s) { return s.empty(); });
  }

  // What may be given out now; valid until the next call. Once stopped() nothing more comes.
  std::string_view push(std::string_view piece) {
    held_.erase(0, given_);
    held_ += piece;
    size_t end = held_.size();
    for (const std::string& stop : stops_) {
      const size_t at = held_.find(stop);
      if (at != std::string::npos) {
        end = std::min(end, at);
        stopped_ = true;
      }
    }
    if (!stopped_) end -= held_back();
    given_ = end;
    return std::string_view(held_).substr(0, end);
  }
  // The text ended: what was held back.
  std::string_view flush() {
    held_.erase(0, given_);
    if (stopped_) held_.clear();
    given_ = held_.size();
    return held_;
  }
  bool stopped() const { return stopped_; }

 private:
  // Length of the longest end of held_ that begins a stop string.
  size_t held_back() const {
    size_t longest = 0;
    for (const std::string& stop : stops_) {
      for (size_t n = std::min(stop.size() - 1, held_.size()); n > longest; --n) {
        if (std::string_view(held_).substr(held_.size() - n) == std::string_view(stop).substr(0, n)) longest = n;
      }
    }
    return longest;
  }

  std::vector<std::string> stops_;
  std::string held_;
  size_t given_ = 0;
  bool stopped_ = false;
};

}  // namespace brim::engine
