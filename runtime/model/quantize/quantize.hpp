// From one model file to another with smaller (or larger) tensors. Tensors stream through: memory is bounded by a slab
// of rows, not by the model. Rows are shared out to worker threads; the result does not depend on their number. The
// output is one GGUF version 3 file, whatever number of parts the input has, and appears whole or not at all.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <string>
#include <string_view>

namespace brim::model {

// One tensor, before its first slab is written.
struct QuantizeProgress {
  size_t tensor = 0, tensors = 0;  // 0-based, and how many there are
  std::string_view name, from, to;
  bool fell_back = false;                    // the recipe's type does not divide the tensor's rows
  uint64_t bytes_done = 0, bytes_total = 0;  // of the output's tensors
};

struct QuantizeOptions {
  uint32_t threads = 0;  // 0: as many as the machine has processors
  // Called on the calling thread. May throw; the output is then removed.
  std::function<void(const QuantizeProgress&)> progress;
  // Nonzero stops; looked at between slabs.
  const std::atomic<uint32_t>* cancel = nullptr;
};

struct QuantizeResult {
  uint64_t bytes_in = 0, bytes_out = 0;             // of the files
  size_t quantized = 0, copied = 0, fell_back = 0;  // tensors
};

// `recipe` is a name of recipes(), in any case. Input tensors may be of any type that decode() knows; quantising what
// is quantised already adds both errors. Throws CANCELLED; DATA_CORRUPT for a weight that is no finite number;
// INVALID_ARGUMENT for an unknown recipe and for an output that is the input; UNSUPPORTED for a tensor of an unusable
// type; what opening, reading and writing throw. Nothing is left behind on failure. [control]
QuantizeResult quantize_file(const std::string& input, const std::string& output, std::string_view recipe,
                             const QuantizeOptions& options = {});

}  // namespace brim::model
