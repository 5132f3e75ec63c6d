// The step block's layout for one bucket, and a writer that fills a block of host memory from plain vectors. backend.h
// says what each array means and how it is padded.
#pragma once

#include <brim/backend.h>

#include <span>
#include <vector>

namespace brim::graph {

struct GroupShape {
  uint32_t max_blocks;
  uint32_t block_tokens;
};

// Owns the arrays that brim_step_layout points to; the C view is valid as long as this object stays in place.
class StepLayout {
 public:
  StepLayout(const brim_bucket& bucket, std::span<const GroupShape> groups);
  StepLayout(const StepLayout&) = delete;
  StepLayout& operator=(const StepLayout&) = delete;

  const brim_step_layout& view() const { return view_; }
  uint64_t bytes() const { return view_.bytes; }
  const brim_bucket& bucket() const { return bucket_; }
  std::span<const brim_group_layout> groups() const { return groups_; }

  // Array at `offset` of a block.
  static int32_t* at(void* block, uint64_t offset) {
    return reinterpret_cast<int32_t*>(static_cast<std::byte*>(block) + offset);
  }
  // Writes the header and every array's padding; the caller then overwrites the real entries. counts as in the header.
  void clear(void* block, const brim_step_header& counts) const;

 private:
  brim_bucket bucket_;
  std::vector<brim_group_layout> groups_;
  brim_step_layout view_{};
};

}  // namespace brim::graph
