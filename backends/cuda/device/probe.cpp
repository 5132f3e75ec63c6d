#include "device/probe.hpp"

#include "device/buffer.hpp"

namespace brim_cuda {
namespace {

constexpr uint32_t kWords = 4096;  // of four bytes: several pages
constexpr uint32_t kRounds = 3;

uint32_t pattern(uint32_t round, uint32_t i) { return (i + 1) * 2654435761u + round; }

class Trial {
 public:
  explicit Trial(Device* device) : device_(device), own_(device->host()) {
    seen_ = allocate_buffer(device, 1, kWords * sizeof(uint32_t));
    try {
      own_.resize(kWords);
      const Current current(device);
      check_on(device, device->cu().StreamCreate(&stream_, CU_STREAM_NON_BLOCKING), "trying the host's memory");
      kernel_ = device->modules.copy_words();
    } catch (...) {
      close();
      throw;
    }
  }
  ~Trial() { close(); }
  Trial(const Trial&) = delete;
  Trial& operator=(const Trial&) = delete;

  bool works() {
    auto* seen = reinterpret_cast<uint32_t*>(seen_->mapped);
    for (uint32_t round = 0; round < kRounds; ++round) {
      for (uint32_t i = 0; i < kWords; ++i) own_[i] = pattern(round, i);
      copy(own_.data(), seen);
      if (std::memcmp(seen, own_.data(), kWords * sizeof(uint32_t)) != 0) return false;
      for (uint32_t i = 0; i < kWords; ++i) seen[i] = ~pattern(round, i);
      copy(seen, own_.data());
      if (std::memcmp(seen, own_.data(), kWords * sizeof(uint32_t)) != 0) return false;
    }
    // Images are part of the library's file and were mapped with it.
    uint32_t n = 0;
    const Image& image = *images(&n);
    const auto words = static_cast<uint32_t>(std::min<uint64_t>(kWords, image.bytes / sizeof(uint32_t)));
    copy(image.data, seen, words);
    return std::memcmp(seen, image.data, words * sizeof(uint32_t)) == 0;
  }

 private:
  void copy(const void* from, void* to, uint32_t n = kWords) {
    const Current current(device_);
    uint64_t addresses[] = {reinterpret_cast<uint64_t>(from), reinterpret_cast<uint64_t>(to)};
    void* arguments[] = {&addresses[0], &addresses[1], &n};
    const Driver& cu = device_->cu();
    check_on(device_, cu.LaunchKernel(kernel_, 8, 1, 1, 64, 1, 1, 0, stream_, arguments, nullptr),
             "trying the host's memory");
    check_on(device_, cu.StreamSynchronize(stream_), "trying the host's memory");
  }
  void close() noexcept {
    if (stream_ != nullptr) {
      const Releasing current(device_);
      device_->cu().StreamDestroy(stream_);
    }
    free_buffer(seen_);
  }

  Device* device_;
  brim::backend::Array<uint32_t> own_;  // where the host program's memory comes from
  brim_buffer* seen_ = nullptr;         // pinned, what every device can reach
  CUstream stream_ = nullptr;
  CUfunction kernel_ = nullptr;
};

void reopen(Device* device) {
  {
    const Releasing current(device);
    device->modules.close();
  }
  device->cu().DevicePrimaryCtxRelease(device->ordinal);
  device->context = nullptr;
  check(device->cu().DevicePrimaryCtxRetain(&device->context, device->ordinal), "opening the device again");
  device->lost = false;
}

}  // namespace

bool host_memory_works(Device* device) {
  try {
    return Trial(device).works();
  } catch (const Failure&) {
    if (device->lost) reopen(device);
    return false;
  }
}

}  // namespace brim_cuda
