// One open device with a queue and a fence, and buffers with guard zones on it.
#pragma once

#include <memory>

#include "layer.hpp"

namespace check {

// Instance, layer and the first device that can run; what every test of a backend begins with. Everything is given back
// and looked at when it ends.
class Device {
 public:
  struct Options {
    Host::Shape host;
    bool padded = true;
    Settings settings;  // beside those of the command line
  };
  // Skips the test where no device is here, or none has memory that the host sees.
  explicit Device(Trial& trial);
  Device(Trial& trial, const Options& options);
  // With services of a host that others look after.
  Device(Trial& trial, Host& host);
  // Another handle on the same device of the same instance, with a queue of its own.
  explicit Device(Device& sibling);
  ~Device();
  Device(const Device&) = delete;

  Trial& trial() { return trial_; }
  Host& host() { return *host_; }
  Layer& layer() { return *layer_; }
  brim_device* handle() { return device_; }
  brim_queue* queue() { return queue_; }
  const brim_device_info& info() const { return info_; }
  bool has_flag(uint32_t flag) const { return (info_.flags & flag) != 0; }
  uint32_t heap() const { return heap_; }  // a heap that the host sees
  const brim_heap_info& heap_info() const { return heap_info_; }

  // All work of the queue so far is done. The answer holds errors of that work.
  Answer finish();
  Answer finish(brim_queue* queue);

 private:
  void open();
  void close();
  Trial& trial_;
  std::unique_ptr<Host> own_host_;
  std::unique_ptr<Instance> own_instance_;
  std::unique_ptr<Layer> own_layer_;
  Host* host_;
  Layer* layer_;
  brim_device* device_ = nullptr;
  brim_queue* queue_ = nullptr;
  brim_device_info info_{};
  brim_heap_info heap_info_{};
  uint32_t heap_ = 0;
};

// Bytes of a buffer with guard zones before and behind; the guards are looked at when asked. Without the zone behind, the
// bytes end where the allocation does, so that reads behind them, too, show where somebody watches allocations.
class Buffer {
 public:
  Buffer(Device& device, uint64_t bytes, bool zone_behind = true);
  ~Buffer();
  Buffer(const Buffer&) = delete;

  brim_buffer* handle() const { return buffer_; }
  uint64_t offset() const { return offset_; }
  uint64_t bytes() const { return bytes_; }
  std::byte* data() const { return data_; }
  template <class T>
  T* as() const {
    return reinterpret_cast<T*>(data_);
  }
  // "" where both guards are whole, else where and how far a write went astray.
  std::string damage() const;

 private:
  Device& device_;
  brim_buffer* buffer_ = nullptr;
  uint64_t offset_ = 0, bytes_ = 0, whole_ = 0;
  std::byte* data_ = nullptr;
};

}  // namespace check
