// The block ids of one KV group: a free list and reference counts. Ids only; the bytes are the backends'.
#pragma once

#include <cstdint>
#include <vector>

namespace brim::engine {

class BlockPool {
 public:
  explicit BlockPool(uint32_t n_blocks) : references_(n_blocks, 0), written_(n_blocks, 0) {
    free_.reserve(n_blocks);
    for (uint32_t b = n_blocks; b-- > 0;) free_.push_back(static_cast<int32_t>(b));
  }

  uint32_t n_free() const { return static_cast<uint32_t>(free_.size()); }
  // A block with one reference; n_free() is not 0.
  int32_t take() {
    const int32_t block = free_.back();
    free_.pop_back();
    references_[block] = 1;
    written_[block] = 1;
    return block;
  }
  // Calls f with every free block that was taken since the last time.
  template <class F>
  void each_used_free(const F& f) {
    for (const int32_t block : free_) {
      if (written_[block]) f(block);
      written_[block] = 0;
    }
  }
  void share(int32_t block) { ++references_[block]; }
  void release(int32_t block) {
    if (--references_[block] == 0) free_.push_back(block);
  }
  bool shared(int32_t block) const { return references_[block] > 1; }

 private:
  std::vector<uint32_t> references_;
  std::vector<uint8_t> written_;
  std::vector<int32_t> free_;
};

}  // namespace brim::engine
