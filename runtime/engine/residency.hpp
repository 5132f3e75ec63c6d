// The memory of a loaded model: every buffer that its plan names, allocated and filled as one transaction. Weights come
// in place from the mapped file, by positioned reads, or packed by the backend in ranges of rows; states, arena,
// outputs, step block and scratch are plain buffers that stay where they are until the model is unloaded.
#pragma once

#include <engine/device.hpp>
#include <engine/load_options.hpp>
#include <engine/weight_loader.hpp>
#include <graph/program_info.hpp>
#include <map>
#include <memory>
#include <negotiator/plan.hpp>
#include <vector>

namespace brim::engine {

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
    Buffer loading;  // staging while weights come in
    // Host addresses, where the buffer is in a host-visible heap; null otherwise.
    std::byte *arena_map = nullptr, *outputs_map = nullptr, *embedding_map = nullptr, *step_map = nullptr,
              *staging_map = nullptr;
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
  // Host address of a place; null where the host does not see it.
  std::byte* address(const graph::Place& place) const;
  // The other devices in whose memory the segment finds values.
  std::vector<uint32_t> owners(const negotiator::Variant& variant, const graph::Segment& segment) const;
  // Gives the memory of a group's block back, what it held is lost. Only of processors: other memories are drivers'.
  void discard_block(uint32_t group, int32_t block) noexcept;
  // A state's storage as backends see it.
  const brim_program_state& state(uint32_t index) const;

 private:
  void allocate(const LoadOptions& options);
  void import_outputs();
  void import_weights(uint32_t device);
  void load_weights(const LoadOptions& options);

  std::shared_ptr<const negotiator::Plan> plan_;
  std::vector<OnDevice> devices_;
  std::map<std::pair<uint32_t, uint32_t>, Buffer> views_;  // (device, owner): that device's view of the owner's outputs
  std::vector<Buffer> state_buffers_;                      // by state; empty where storage is shared
  std::vector<WeightPlace> weight_places_;                 // as plan.weights
};

}  // namespace brim::engine
