// A test plugin: a backend with one device that works behind the host's back. What is submitted runs later, on a thread
// per queue, after delays drawn from a seed; queues overtake each other. Heap 0 cannot be seen by the host, heap 1 can.
// Fresh buffers, outputs before they are computed and all padding hold NaN. Programs are bound to a bucket's n_kv,
// weights come in small pieces, Q8_0 weights in a layout of its own (weights.cpp), states in blocks of 16 tokens
// (state.cpp).
//
// What the host does against the contract is remembered: it is logged as HOST_MISUSE, and every later call on the
// device gives INTERNAL with the words. Failures are made to order by settings (struct Settings).
//
// This header: what all files share, that is the instance, its objects, and how a call begins and fails.
#pragma once

#include <brim/backend.h>

#include <algorithm>
#include <atomic>
#include <cstdio>
#include <cstring>
#include <mutex>
#include <new>
#include <set>
#include <string>

namespace brim_async {

struct Failure {
  brim_status code;
  std::string message;
  uint64_t detail[3] = {};
};

struct Settings {
  uint64_t seed = 1;
  uint64_t delay_us = 50;         // the longest delay before a piece of work
  uint64_t fail_at = 0;           // the n-th call that allocates, submits, waits or compiles fails; 0: none
  uint64_t starve_at = 0;         // the n-th buffer is not given: out of memory; 0: never
  uint64_t lost_at = 0;           // the device is lost at the n-th copy, packing or program that it executes; 0: never
  uint64_t budget = 64ull << 20;  // bytes of heap 0
  uint64_t max_alloc = 4ull << 20;  // largest buffer of heap 0
  uint64_t max_binding = 16384;     // bytes
  uint64_t import = 0;              // 1: reads host memory in place, and packs nothing
  uint64_t unified = 0;             // 1: heap 0 is the system's memory too

  uint64_t alignment() const { return import ? 32 : 64; }  // of offsets in buffers; 32 is the files'
  bool packs(const brim_value_desc& weight) const {
    return !import && weight.dtype == BRIM_DTYPE_Q8_0 && weight.rank == 2;
  }
};

constexpr uint64_t kVisibleAlloc = 256ull << 20;  // largest buffer of heap 1
constexpr uint32_t kBlockTokens = 16;
constexpr uint64_t kWorkspace = 4096;  // that every program asks for
constexpr uint64_t kPackedLayout = 0xA51;

}  // namespace brim_async

struct brim_plugin {
  const brim_host_api* api = nullptr;
  brim_host* host = nullptr;
  brim_async::Settings settings;

  std::mutex mutex;
  std::set<const void*> live;  // objects that the host may use
  std::string misuse;          // the first breach of the contract
  bool lost = false;           // of the device, for all its handles
  bool starved = false;        // work found no memory: what it should have written is not there
  std::atomic<uint64_t> calls{0}, buffers{0}, works{0};  // counted for fail_at, starve_at and lost_at
  uint64_t used = 0;                                     // bytes of heap 0

  // Remembers a breach by the host and tells it.
  void breach(const std::string& words) {
    {
      const std::lock_guard lock(mutex);
      if (misuse.empty()) misuse = words;
    }
    api->log(host, BRIM_LOG_HOST_MISUSE, {words.data(), words.size()});
  }
  [[noreturn]] void refuse(const std::string& words) {
    breach(words);
    throw brim_async::Failure{BRIM_INTERNAL, "the host broke the contract: " + words};
  }
  // What sticks to the device: a loss, or a breach.
  void check_well() {
    const std::lock_guard lock(mutex);
    if (lost) throw brim_async::Failure{BRIM_DEVICE_LOST, "the async device was lost"};
    if (starved) throw brim_async::Failure{BRIM_OUT_OF_MEMORY, "no memory"};
    if (!misuse.empty()) throw brim_async::Failure{BRIM_INTERNAL, "the host broke the contract: " + misuse};
  }
  void want_live(const void* object, const char* what) {
    bool known = false;
    {
      const std::lock_guard lock(mutex);
      known = live.count(object) != 0;
    }
    if (!known) refuse(std::string(what) + " was used that is not alive");
  }
  // The beginning of a call that may be told to fail.
  void count_call() {
    check_well();
    const uint64_t n = ++calls;
    if (n == settings.fail_at)
      throw brim_async::Failure{BRIM_IO, "call " + std::to_string(n) + " fails, as it was told to"};
  }
};

struct brim_device {
  brim_plugin* plugin;
};

struct brim_buffer {
  brim_plugin* plugin = nullptr;
  std::byte* data = nullptr;
  uint64_t bytes = 0;
  uint32_t heap = 0;
  bool imported = false;
  std::atomic<uint32_t> pending{0};  // pieces of submitted work that use it
};

namespace brim_async {

// Objects lie in the host's memory, so that the host's books show what is not given back.
template <class T, class... Args>
T* make(brim_plugin* plugin, Args&&... args) {
  void* memory = plugin->api->alloc(plugin->host, sizeof(T), alignof(T));
  if (!memory) throw Failure{BRIM_OUT_OF_MEMORY, "no host memory", {0, sizeof(T), 0}};
  T* object = nullptr;
  try {
    object = new (memory) T{std::forward<Args>(args)...};
  } catch (...) {
    plugin->api->free(plugin->host, memory, sizeof(T), alignof(T));
    throw;
  }
  try {
    const std::lock_guard lock(plugin->mutex);
    plugin->live.insert(object);
  } catch (...) {
    object->~T();
    plugin->api->free(plugin->host, memory, sizeof(T), alignof(T));
    throw;
  }
  return object;
}
template <class T>
void unmake(brim_plugin* plugin, T* object) {
  {
    const std::lock_guard lock(plugin->mutex);
    plugin->live.erase(object);
  }
  object->~T();
  plugin->api->free(plugin->host, object, sizeof(T), alignof(T));
}

// Runs a call; what it throws becomes its status.
template <class F>
brim_status guard(brim_error* error, const F& f) noexcept {
  Failure failure{BRIM_OK, {}};
  try {
    f();
    return BRIM_OK;
  } catch (Failure& e) {
    failure = std::move(e);  // a copy would want memory
  } catch (const std::bad_alloc&) {
    failure.code = BRIM_OUT_OF_MEMORY;
    failure.message = "no memory";
  } catch (const std::exception&) {
    failure.code = BRIM_INTERNAL;
    failure.message = "an exception";
  }
  if (error) {
    brim_error full{};
    full.struct_size = error->struct_size;
    full.code = failure.code;
    full.domain = BRIM_DOMAIN_BACKEND;
    std::memcpy(full.detail, failure.detail, sizeof(failure.detail));
    const size_t size = std::min<size_t>(full.struct_size, sizeof(full)), at = offsetof(brim_error, message);
    if (size > at) std::snprintf(full.message, size - at, "%s", failure.message.c_str());
    std::memcpy(error, &full, size);
  }
  return failure.code;
}

// What a caller sent, which may be smaller or larger: missing fields read as zero.
template <class T>
T taken(const T* from, size_t bytes) {
  T own{};
  std::memcpy(static_cast<void*>(&own), from, std::min(bytes, sizeof(T)));
  return own;
}
template <class T>
T element(const void* array, uint32_t stride, uint64_t i) {
  return taken(BRIM_ELEM(T, array, stride, i), stride);
}

// [offset, offset + bytes) of a buffer.
inline std::byte* range(brim_buffer* buffer, uint64_t offset, uint64_t bytes, const char* what) {
  if (offset > buffer->bytes || bytes > buffer->bytes - offset) {
    buffer->plugin->refuse(std::string(what) + " reaches beyond its buffer of " + std::to_string(buffer->bytes) +
                           " bytes: " + std::to_string(bytes) + " from " + std::to_string(offset));
  }
  return buffer->data + offset;
}

}  // namespace brim_async
