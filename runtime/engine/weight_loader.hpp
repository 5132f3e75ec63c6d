// Brings weights from the model's file into one device's memory by pieces of whole rows: straight to where the host
// sees it, else through a ring of staging memory, so that the next piece is read while the last is under way.
#pragma once

#include <base/direct_file.hpp>
#include <engine/device.hpp>
#include <engine/load_options.hpp>
#include <negotiator/plan.hpp>
#include <vector>

namespace brim::engine {

struct WeightPlace {
  brim_buffer* buffer = nullptr;
  uint64_t offset = 0;
};

struct Progress {
  const LoadOptions& options;
  uint64_t done, total;  // bytes of the file
  void add(uint32_t stage, uint64_t bytes) {
    done += bytes;
    if (options.progress) options.progress(stage, done, total);
  }
};

class WeightLoader {
 public:
  // `staging` is the plan's loading_bytes for the device, none where they are 0. All outlive this.
  WeightLoader(const negotiator::Plan& plan, uint32_t device, Device& on, const Buffer& staging);

  // What it submits may still be under way when it returns. Throws CANCELLED and what files and backends report.
  void load(const negotiator::WeightPlan& weight, const WeightPlace& place, Progress& progress);

 private:
  struct Slot {
    std::span<std::byte> memory;
    uint64_t offset = 0;  // in the staging buffer
    uint64_t busy = 0;    // the device's mark of what reads it; 0: nothing
  };

  // Reads into the slot and says where.
  std::span<std::byte> read(const model::Tensor& tensor, uint64_t offset, size_t bytes, Slot& slot);
  void pack(const negotiator::WeightPlan& weight, const model::Tensor& tensor, uint64_t row, uint64_t n,
            const WeightPlace& place, const Slot& slot);

  const negotiator::Plan& plan_;
  const negotiator::DevicePlan& device_plan_;
  const bool visible_;  // the host sees the device's memory
  Device& device_;
  const Buffer& staging_;
  std::vector<Slot> slots_;
  size_t next_ = 0;
  std::vector<DirectFile> files_;  // of the model, where reads go past the system's cache
};

}  // namespace brim::engine
