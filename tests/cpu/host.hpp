// A host of the tests' own, for one backend plugin opened by path: an allocator that counts and can refuse, a team of
// plain threads, and an instance with its device and queue. Nothing of runtime/ is in it.
#pragma once

#include <dlfcn.h>
#include <doctest/doctest.h>

#include <atomic>
#include <cstdlib>
#include <cstring>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "brim/backend.h"

namespace cpu_test {

struct Variant {
  std::string name, path;
};

// The variants that were built for this processor family and that this machine can run.
inline std::vector<Variant> variants() {
  std::vector<Variant> all;
  const std::string text = BRIM_CPU_VARIANTS;  // "name=path|name=path"
  for (size_t at = 0; at < text.size();) {
    const size_t end = std::min(text.find('|', at), text.size()), equals = text.find('=', at);
    all.push_back({text.substr(at, equals - at), text.substr(equals + 1, end - equals - 1)});
    at = end + 1;
  }
  std::erase_if(all, []([[maybe_unused]] const Variant& v) {
#if defined(__x86_64__)
    if (v.name == "avx2") return !__builtin_cpu_supports("avx2") || !__builtin_cpu_supports("fma");
    if (v.name == "avx512") {
      return !__builtin_cpu_supports("avx512f") || !__builtin_cpu_supports("avx512bw") ||
             !__builtin_cpu_supports("avx512vl") || !__builtin_cpu_supports("avx512vnni") ||
             !__builtin_cpu_supports("avx512bf16");
    }
#endif
    return false;
  });
  return all;
}

class Host {
 public:
  explicit Host(uint32_t threads) : threads_(threads) {
    api.struct_size = sizeof api;
    api.abi_minor = BRIM_ABI_MINOR;
    api.alloc = [](brim_host* host, uint64_t bytes, uint64_t alignment) -> void* {
      Host& self = *reinterpret_cast<Host*>(host);
      if (self.refuse_after >= 0 && self.refuse_after-- == 0) {
        self.refuse_after = 0;
        return nullptr;
      }
      const uint64_t rounded = (bytes + alignment - 1) / alignment * alignment;
      void* p =
          std::aligned_alloc(std::max<uint64_t>(alignment, sizeof(void*)), std::max<uint64_t>(rounded, alignment));
      if (p != nullptr) {
        std::memset(p, 0xff, bytes);  // NaN everywhere: what is not written must not be read
        self.live += bytes;
        ++self.allocations;
      }
      return p;
    };
    api.free = [](brim_host* host, void* p, uint64_t bytes, uint64_t) {
      if (p == nullptr) return;
      reinterpret_cast<Host*>(host)->live -= bytes;
      std::free(p);
    };
    api.log = [](brim_host*, uint32_t, brim_str) {};
    api.team_run = [](brim_host* host, uint32_t want, brim_task_fn fn, void* arg) -> uint32_t {
      const uint32_t got = std::max(1u, std::min(want, reinterpret_cast<Host*>(host)->threads_));
      std::vector<std::thread> others;
      for (uint32_t i = 1; i < got; ++i) others.emplace_back([=] { fn(arg, i, got); });
      fn(arg, 0, got);
      for (std::thread& other : others) other.join();
      return got;
    };
    api.team_size = [](brim_host* host) { return reinterpret_cast<Host*>(host)->threads_; };
    api.get_interface = [](brim_host*, brim_str) -> const void* { return nullptr; };
  }
  brim_host* handle() { return reinterpret_cast<brim_host*>(this); }

  brim_host_api api{};
  std::atomic<int64_t> live{0};           // bytes
  std::atomic<int64_t> allocations{0};    // ever
  std::atomic<int64_t> refuse_after{-1};  // allocations that still succeed; -1: no limit

 private:
  uint32_t threads_;
};

inline brim_str str(const std::string& s) { return {s.data(), s.size()}; }

inline const brim_plugin_header& header_of(const Variant& variant) {
  void* library = dlopen(variant.path.c_str(), RTLD_NOW | RTLD_LOCAL);
  if (library == nullptr) throw std::runtime_error(dlerror());
  auto query = reinterpret_cast<brim_plugin_query_fn>(dlsym(library, BRIM_PLUGIN_QUERY_SYMBOL));
  return *query(BRIM_ABI_MAJOR);
}

using Settings = std::vector<std::pair<std::string, std::string>>;

inline brim_status create(const Variant& variant, Host& host, const Settings& settings, brim_plugin** out,
                          brim_error* error) {
  std::vector<brim_setting> plain;
  for (const auto& [key, value] : settings) plain.push_back({str(key), str(value)});
  brim_create_info info{};
  info.struct_size = sizeof info;
  info.n_settings = static_cast<uint32_t>(plain.size());
  info.settings = plain.data();
  info.setting_stride = sizeof(brim_setting);
  return header_of(variant).create(&host.api, host.handle(), &info, out, error);
}

// An instance with its device and a queue.
struct Machine {
  Host host;
  const brim_plugin_header* header;
  const brim_backend* backend = nullptr;
  brim_plugin* plugin = nullptr;
  brim_device* device = nullptr;
  brim_queue* queue = nullptr;
  brim_error error{};

  explicit Machine(const Variant& variant, uint32_t threads = 2) : host(threads), header(&header_of(variant)) {
    error.struct_size = sizeof error;
    REQUIRE(create(variant, host, {}, &plugin, &error) == BRIM_OK);
    backend = static_cast<const brim_backend*>(header->get_interface(plugin, str(BRIM_BACKEND_INTERFACE)));
    REQUIRE(backend->device_open(plugin, 0, &device, &error) == BRIM_OK);
    REQUIRE(backend->queue_create(device, nullptr, &queue, &error) == BRIM_OK);
  }
  ~Machine() {
    backend->queue_destroy(queue);
    backend->device_close(device);
    header->destroy(plugin);
    CHECK(host.live == 0);
  }
  Machine(const Machine&) = delete;

  brim_buffer* buffer(uint64_t bytes) {
    brim_buffer* made = nullptr;
    const brim_status status = backend->buffer_alloc(device, 0, bytes, &made, &error);
    REQUIRE_MESSAGE(status == BRIM_OK, error.message);
    return made;
  }
  std::byte* map(brim_buffer* of) {
    void* at = nullptr;
    backend->buffer_map(of, &at, &error);
    return static_cast<std::byte*>(at);
  }
};

}  // namespace cpu_test
