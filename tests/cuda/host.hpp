// The plugin opened by the loader on the test driver, which is told its class and its errors first.
#pragma once

#include <dlfcn.h>
#include <doctest/doctest.h>

#include <base/error.hpp>
#include <base/team.hpp>
#include <cstring>
#include <loader/loader.hpp>
#include <memory>
#include <string>
#include <vector>

#include "control.hpp"

namespace cuda_test {

class Bench {
 public:
  explicit Bench(const char* options = "") {
    driver().configure(options);
    brim::loader::Config config;
    config.directories = {BRIM_PLUGIN_FOLDER};
    config.team = brim::shared_team(1);
    config.settings["brim.cuda"] = {{"driver", BRIM_TEST_DRIVER}};
    loader_ = std::make_unique<brim::loader::Loader>(config);
    for (const auto& backend : loader_->backends()) {
      if (backend->plugin->id() == "brim.cuda") backend_ = backend;
    }
    REQUIRE_MESSAGE(backend_, "no CUDA plugin in " BRIM_PLUGIN_FOLDER);
    uint32_t n = 0;
    brim_str why{};
    check(api().device_count(backend_->plugin->instance(), &n, &why, &error));
    REQUIRE_MESSAGE(n == 1, std::string(why.ptr, why.len));
    check(api().device_open(backend_->plugin->instance(), 0, &device, &error));
  }
  ~Bench() {
    if (device) api().device_close(device);
  }

  const brim_backend& api() const { return backend_->api; }
  void check(brim_status status) { REQUIRE_MESSAGE(status == BRIM_OK, std::string(error.message)); }

  brim_buffer* buffer(uint32_t heap, uint64_t bytes) {
    brim_buffer* b = nullptr;
    check(api().buffer_alloc(device, heap, bytes, &b, &error));
    return b;
  }
  std::byte* map(brim_buffer* b) {
    void* p = nullptr;
    check(api().buffer_map(b, &p, &error));
    return static_cast<std::byte*>(p);
  }
  brim_queue* queue() {
    brim_queue* q = nullptr;
    check(api().queue_create(device, nullptr, &q, &error));
    return q;
  }
  brim_fence* fence(uint64_t initial = 0) {
    brim_fence* f = nullptr;
    check(api().fence_create(device, initial, &f, &error));
    return f;
  }
  void wait(brim_fence* f, uint64_t value) { check(api().fence_wait(f, value, 60'000'000'000, &error)); }
  brim_heap_info heap(uint32_t i) {
    brim_heap_info info{};
    info.struct_size = sizeof info;
    check(api().heap_info(device, i, &info, &error));
    return info;
  }

  brim_device* device = nullptr;
  brim_error error = brim::empty_error();

 private:
  std::unique_ptr<brim::loader::Loader> loader_;
  std::shared_ptr<const brim::loader::Backend> backend_;
};

}  // namespace cuda_test
