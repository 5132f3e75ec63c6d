// What an op's kernel sees: where its operands lie and how large they really are in this step.
//
// A Tensor is fixed when a program is created; its sizes may name counts of the step (tokens, sequences, outputs),
// which a Frame carries during a run. Storage and strides are the bucket's, sizes the step's: padding is never visited.
#pragma once

#include <cstddef>
#include <cstdint>

#include "brim/backend.h"

namespace brim_cpu {

inline constexpr int kSymbols = 5;  // BRIM_SYM_NONE .. BRIM_SYM_N_OUTPUTS

// One run of a program, as every step of it sees it.
struct Frame {
  const std::byte* step;     // the step block
  uint64_t count[kSymbols];  // by BRIM_SYM_*; of BRIM_SYM_NONE 1
  uint32_t team;             // members that may take part; results do not depend on it
};

inline uint64_t size_in(brim_dim dim, const Frame& frame) { return dim.k * frame.count[dim.sym]; }

// Team member `index` and the scratch bytes that are its own.
struct Member {
  uint32_t index;
  std::byte* scratch;
};

struct Tensor {
  const std::byte* data;  // an address, or with in_step an offset into the step block
  bool in_step;
  uint32_t dtype;
  uint32_t rank;
  brim_dim dim[BRIM_MAX_RANK];
  int64_t stride[BRIM_MAX_RANK];  // elements; the innermost is 0 or 1 except for COPY's input

  template <class T>
  T* at(const Frame& frame) const {
    const std::byte* p = in_step ? frame.step + reinterpret_cast<uintptr_t>(data) : data;
    return reinterpret_cast<T*>(const_cast<std::byte*>(p));
  }
};

// The rows of a tensor: every combination of all but the `inner` innermost dimensions, in row-major order.
class RowMap {
 public:
  RowMap(const Tensor& tensor, const Frame& frame, uint32_t inner = 1) : rank_(tensor.rank - inner) {
    for (uint32_t i = 0; i < rank_; ++i) {
      size_[i] = size_in(tensor.dim[i], frame);
      stride_[i] = tensor.stride[i];
      rows_ *= size_[i];
    }
  }
  uint64_t rows() const { return rows_; }

  // Elements from the start of the tensor to row r.
  int64_t offset(uint64_t r) const {
    int64_t at = 0;
    for (uint32_t i = rank_; i > 1; --i) {
      at += static_cast<int64_t>(r % size_[i - 1]) * stride_[i - 1];
      r /= size_[i - 1];
    }
    return rank_ == 0 ? 0 : at + static_cast<int64_t>(r) * stride_[0];
  }

 private:
  uint32_t rank_;
  uint64_t size_[BRIM_MAX_RANK];
  int64_t stride_[BRIM_MAX_RANK];
  uint64_t rows_ = 1;
};

inline uint64_t inner_size(const Tensor& tensor, const Frame& frame) {
  return size_in(tensor.dim[tensor.rank - 1], frame);
}

// How much a step has to do in this frame. Chunks may run in any order on any member; cost is a rough estimate of the
// nanoseconds on one thread, which decides whether sharing the step pays.
struct Work {
  uint32_t chunks;
  float cost;
};

// Units [begin, end) of chunk c, when `units` are cut as evenly as whole units allow.
struct Span {
  uint64_t begin, end;
};
inline Span cut(uint64_t units, uint32_t chunks, uint32_t c) {
  const uint64_t base = units / chunks, more = units % chunks;
  const uint64_t begin = base * c + (c < more ? c : more);
  return {begin, begin + base + (c < more ? 1 : 0)};
}

// A few chunks per member keep the team balanced beside a busy neighbour.
inline Work share(uint64_t units, float cost, const Frame& frame) {
  const uint64_t most = frame.team * 4ull;
  return {static_cast<uint32_t>(units < most ? units : most), cost};
}

// A step of a program: `args` belongs to the two functions. Neither fails, allocates or waits.
struct Step {
  Work (*plan)(const void* args, const Frame& frame);
  void (*work)(const void* args, const Frame& frame, const Member& member, uint32_t chunk, uint32_t chunks);
  const void* args;
};

// The Step of an argument struct that has plan(frame) and work(frame, member, chunk, chunks).
template <class Args>
Step step_of(const Args* args) {
  return {[](const void* a, const Frame& frame) { return static_cast<const Args*>(a)->plan(frame); },
          [](const void* a, const Frame& frame, const Member& member, uint32_t chunk, uint32_t chunks) {
            static_cast<const Args*>(a)->work(frame, member, chunk, chunks);
          },
          args};
}

}  // namespace brim_cpu
