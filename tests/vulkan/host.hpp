// The plugin opened by the loader, with its software device; tests end early, and say so, where there is none.
#pragma once

#include <doctest/doctest.h>

#include <base/error.hpp>
#include <base/team.hpp>
#include <cstring>
#include <loader/loader.hpp>
#include <map>
#include <memory>
#include <string>
#include <vector>

namespace vulkan_test {

class Bench {
 public:
  explicit Bench(bool software = true, std::map<std::string, std::string> settings = {}) {
    brim::loader::Config config;
    config.directories = {BRIM_PLUGIN_FOLDER};
    config.team = brim::shared_team(1);
    if (software) settings["software"] = "true";
    config.settings["brim.vulkan"] = std::move(settings);
    loader_ = std::make_unique<brim::loader::Loader>(config);
    for (const auto& backend : loader_->backends()) {
      if (backend->plugin->id() == "brim.vulkan") backend_ = backend;
    }
    REQUIRE_MESSAGE(backend_, "no Vulkan plugin in " BRIM_PLUGIN_FOLDER);
    brim_str text{};
    REQUIRE(api().device_count(backend_->plugin->instance(), &n_devices, &text, &error) == BRIM_OK);
    why.assign(text.ptr, text.len);
    if (!software || n_devices == 0) {
      if (software) MESSAGE("skipped: " << why);
      return;
    }
    check(api().device_open(backend_->plugin->instance(), 0, &device, &error));
  }
  ~Bench() {
    if (device) api().device_close(device);
  }

  explicit operator bool() const { return device != nullptr; }
  const brim_backend& api() const { return backend_->api; }
  void check(brim_status status) { REQUIRE_MESSAGE(status == BRIM_OK, std::string(error.message)); }

  brim_buffer* buffer(uint64_t bytes) {
    brim_buffer* b = nullptr;
    check(api().buffer_alloc(device, 0, bytes, &b, &error));
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

  brim_device* device = nullptr;
  uint32_t n_devices = 0;
  std::string why;
  brim_error error = brim::empty_error();

 private:
  std::unique_ptr<brim::loader::Loader> loader_;
  std::shared_ptr<const brim::loader::Backend> backend_;
};

}  // namespace vulkan_test
