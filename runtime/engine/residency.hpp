// The memory of a loaded model: every buffer that its plan names, allocated and filled as one transaction. Weights come
// in place from the mapped file, by positioned reads, or packed by the backend in ranges of rows; states, arena,
// outputs, step block and scratch are plain buffers that stay where they are until the model is unloaded.
#pragma once

#include <atomic>
#include <engine/device.hpp>
#include <functional>
#include <graph/program_info.hpp>
#include <memory>
#include <negotiator/plan.hpp>
#include <vector>

namespace brim::engine {

struct LoadOptions {
  const std::atomic<uint32_t>* cancel = nullptr;                                // nonzero: stop
  std::function<void(uint32_t stage, uint64_t done, uint64_t total)> progress;  // BRIM_STAGE_*; may be empty
  std::function<uint64_t()> memory_left;  // bytes, in place of what the system says, for tests; may be empty

  void stop_if_cancelled() const {
    if (cancel && cancel->load(std::memory_order_relaxed)) fail(BRIM_CANCELLED, "loading was cancelled");
  }
};

class Residency {
 public:
  // [control] All or nothing. Throws CANCELLED, FAILED_PRECONDITION for a file that changed, OUT_OF_MEMORY and what
  // backends report.
  Residency(std::shared_ptr<const negotiator::Plan> plan, const LoadOptions& options);

  struct OnDevice {
    OnDevice() = default;
    OnDevice(OnDevice&&) = default;
    // A load that failed may leave copies under way; buffers go when they are done.
    ~OnDevice() {
      if (device) device->stop();
    }

    std::unique_ptr<Device> device;
    Buffer arena, workspace, outputs, embedding, step, staging;
    Buffer loading;  // staging while weights come in, where it has to be larger than what is kept
    // Host addresses, where the buffer is in a host-visible heap; null otherwise.
    std::byte *arena_map = nullptr, *outputs_map = nullptr, *embedding_map = nullptr, *step_map = nullptr,
              *staging_map = nullptr, *loading_map = nullptr;
    std::vector<Buffer> windows;             // of the mapped files, imported
    std::vector<Buffer> weights;             // of what is copied
    std::vector<brim_program_state> states;  // of those that live here, with their buffers
  };

  const negotiator::Plan& plan() const { return *plan_; }
  OnDevice& on(uint32_t device) { return devices_[device]; }
  uint32_t n_devices() const { return static_cast<uint32_t>(devices_.size()); }

  // The info of a segment's program in that step layout, every value bound. The info refers to what is given.
  std::unique_ptr<graph::ProgramInfo> program_info(const negotiator::Variant& variant, const graph::Segment& segment,
                                                   const graph::StepLayout& step);
  // Gives the memory of a group's block back, what it held is lost. Only of processors: other memories are drivers'.
  void discard_block(uint32_t group, int32_t block) noexcept;
  // A state's storage as backends see it.
  const brim_program_state& state(uint32_t index) const;

 private:
  struct WeightPlace {
    brim_buffer* buffer = nullptr;
    uint64_t offset = 0;
  };

  void allocate(const LoadOptions& options);
  void import_weights(uint32_t device);
  void load_weights(const LoadOptions& options);
  void copy_weight(uint32_t index, const LoadOptions& options, uint64_t* done, uint64_t total);

  std::shared_ptr<const negotiator::Plan> plan_;
  std::vector<OnDevice> devices_;
  std::vector<Buffer> state_buffers_;       // by state; empty where storage is shared
  std::vector<WeightPlace> weight_places_;  // as plan.weights
};

}  // namespace brim::engine
