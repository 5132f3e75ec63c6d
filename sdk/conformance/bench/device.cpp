#include "device.hpp"

#include <algorithm>

namespace check {
namespace {

constexpr uint64_t kZone = 256;  // bytes of guard on either side, at least
// As a 32-bit number 1: a kernel that reads an index too many finds one that it can follow.
std::byte guard(uint64_t at) { return std::byte{at % 4 == 0}; }

uint64_t rounded(uint64_t bytes, uint64_t step) { return (bytes + step - 1) / step * step; }

}  // namespace

Device::Device(Trial& trial) : Device(trial, Options{}) {}

Device::Device(Trial& trial, const Options& options)
    : trial_(trial),
      own_host_(std::make_unique<Host>(options.host)),
      own_instance_(std::make_unique<Instance>(trial, *own_host_, options.settings, options.padded)),
      own_layer_(std::make_unique<Layer>(trial, *own_instance_)),
      host_(own_host_.get()),
      layer_(own_layer_.get()) {
  open();
}

Device::Device(Trial& trial, Host& host)
    : trial_(trial),
      own_instance_(std::make_unique<Instance>(trial, host)),
      own_layer_(std::make_unique<Layer>(trial, *own_instance_)),
      host_(&host),
      layer_(own_layer_.get()) {
  open();
}

Device::Device(Device& sibling) : trial_(sibling.trial_), host_(sibling.host_), layer_(sibling.layer_) { open(); }

void Device::open() try {
  uint32_t n = 0;
  brim_str why{};
  must(trial_, "device_count", layer_->device_count(&n, &why));
  if (n == 0) trial_.skip("no device is here: {}", view(why));
  must(trial_, "device_open", layer_->device_open(0, &device_));
  must(trial_, "device_info", layer_->device_info(device_, &info_));
  if ((info_.flags & BRIM_DEVICE_LIVE) == 0) trial_.skip("device 0 is not live");
  for (; heap_ < info_.n_heaps; ++heap_) {
    must(trial_, "heap_info", layer_->heap_info(device_, heap_, &heap_info_));
    if (heap_info_.flags & BRIM_HEAP_HOST_VISIBLE) break;
  }
  if (heap_ == info_.n_heaps) trial_.skip("device 0 has no heap that the host sees");
  const Answer answer = layer_->queue_create(device_, &queue_);
  if (answer.status == BRIM_UNSUPPORTED) trial_.skip("device 0 has no queues: {}", answer.text());
  must(trial_, "queue_create", answer);
} catch (...) {
  close();
  throw;
}

void Device::close() {
  if (queue_ != nullptr) layer_->queue_destroy(std::exchange(queue_, nullptr));
  if (device_ != nullptr) layer_->device_close(std::exchange(device_, nullptr));
}

Device::~Device() { close(); }

Answer Device::finish() { return finish(queue_); }

Answer Device::finish(brim_queue* queue) {
  brim_fence* fence = nullptr;
  Answer answer = layer_->fence_create(device_, 0, &fence);
  if (!answer.ok()) return answer;
  answer = layer_->queue_signal(queue, fence, 1);
  if (answer.ok()) answer = layer_->fence_wait(fence, 1, UINT64_MAX);
  layer_->fence_destroy(fence);
  return answer;
}

Buffer::Buffer(Device& device, uint64_t bytes, bool zone_behind) : device_(device), bytes_(bytes) {
  const uint64_t alignment = std::max<uint64_t>(device.heap_info().alignment, 64);
  offset_ = rounded(kZone, alignment);
  whole_ = offset_ + bytes + (zone_behind ? kZone : 0);
  must(device.trial(), "buffer_alloc", device.layer().buffer_alloc(device.handle(), device.heap(), whole_, &buffer_));
  void* at = nullptr;
  const Answer mapped = device.layer().buffer_map(buffer_, &at);
  if (!mapped.ok() || at == nullptr) {
    device.layer().buffer_free(std::exchange(buffer_, nullptr));
    must(device.trial(), "buffer_map", mapped);
    device.trial().fail("buffer_map: returned ok and no address");
    device.trial().stop();
  }
  auto* whole = static_cast<std::byte*>(at);
  for (uint64_t i = 0; i < offset_; ++i) whole[i] = guard(i);
  for (uint64_t i = offset_ + bytes; i < whole_; ++i) whole[i] = guard(i - offset_ - bytes);
  data_ = whole + offset_;
  std::memset(data_, 0xff, bytes);
}

Buffer::~Buffer() {
  if (buffer_ != nullptr) device_.layer().buffer_free(buffer_);
}

std::string Buffer::damage() const {
  const std::byte* whole = data_ - offset_;
  for (uint64_t i = offset_; i-- > 0;) {
    if (whole[i] != guard(i)) return fmt::format("written {} bytes before its begin", offset_ - i);
  }
  for (uint64_t i = offset_ + bytes_; i < whole_; ++i) {
    if (whole[i] != guard(i - offset_ - bytes_))
      return fmt::format("written {} bytes behind its end", i - offset_ - bytes_);
  }
  return {};
}

}  // namespace check
