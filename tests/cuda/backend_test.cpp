// Devices, memory, queues and fences of the CUDA plugin on the test driver.
#include <cuda.h>

#include <thread>

#include "host.hpp"

using namespace cuda_test;

TEST_CASE("each class of machine shows its memory as it is") {
  struct {
    const char* options;
    bool one_pool;
    uint32_t type;
    double gigabytes;  // a second, by the data sheet; 0: not known
  } machines[] = {
      {"class=gb10", true, BRIM_DEVICE_INTEGRATED, 0},           {"class=jetson", true, BRIM_DEVICE_INTEGRATED, 0},
      {"class=gh200", false, BRIM_DEVICE_DISCRETE, 4023},        {"class=discrete", false, BRIM_DEVICE_DISCRETE, 1792},
      {"class=discrete-hmm", false, BRIM_DEVICE_DISCRETE, 1792}, {"class=windows", false, BRIM_DEVICE_DISCRETE, 0}};
  for (const auto& machine : machines) {
    INFO(machine.options);
    {
      Bench bench(machine.options);
      brim_device_info info{};
      info.struct_size = sizeof info;
      bench.check(bench.api().device_info(bench.device, &info, &bench.error));
      CHECK(info.type == machine.type);
      CHECK(info.pci == (15ull << 32 | 1ull << 16));
      REQUIRE(info.n_heaps == 2);
      const brim_heap_info own = bench.heap(0), host = bench.heap(1);
      CHECK(own.flags == BRIM_HEAP_DEVICE_LOCAL);
      CHECK(static_cast<double>(own.read_bandwidth) / 1e9 == doctest::Approx(machine.gigabytes).epsilon(0.001));
      CHECK((host.flags & BRIM_HEAP_HOST_VISIBLE) != 0);
      CHECK(host.pool_id[0] == BRIM_POOL_SYSTEM);
      CHECK((own.pool_id[0] == BRIM_POOL_SYSTEM) == machine.one_pool);
      if (!machine.one_pool) CHECK(own.pool_id[0] == info.uuid[0]);
      // What is read for every token lies in device allocations, in every class.
      const uint64_t pinned = driver().calls("cuMemHostAlloc");
      bench.api().buffer_free(bench.buffer(0, 1000));
      CHECK(driver().calls("cuMemAlloc_v2") == 1);
      CHECK(driver().calls("cuMemHostAlloc") == pinned);
      uint64_t available = 0;
      bench.check(bench.api().heap_budget(bench.device, 0, &available, &bench.error));
      CHECK(available > 0);
      CHECK(available <= own.size);
    }
    CHECK(driver().live() == 0);
  }
}

TEST_CASE("host memory is read in place where that was promised and then seen to work") {
  struct {
    const char* options;
    bool promised, works;
  } machines[] = {{"class=gb10", true, true},           {"class=gh200", true, true},
                  {"class=jetson", false, false},       {"class=discrete-hmm", false, false},
                  {"class=windows", false, false},      {"class=gb10,host=stale", true, false},
                  {"class=gb10,host=none", true, false}};
  for (const auto& machine : machines) {
    INFO(machine.options);
    {
      Bench bench(machine.options);
      const auto& api = bench.api();
      CHECK((driver().calls("cuLaunchKernel") > 0) == machine.promised);
      CHECK((bench.heap(1).flags & BRIM_HEAP_IMPORT_HOST) == (machine.works ? BRIM_HEAP_IMPORT_HOST : 0));
      CHECK((bench.heap(0).flags & BRIM_HEAP_IMPORT_HOST) == 0);  // which is faster
      alignas(64) static std::byte memory[1000];
      std::memset(memory, 5, sizeof memory);
      brim_buffer* imported = nullptr;
      const brim_status status = api.buffer_import(bench.device, memory, sizeof memory, 1, &imported, &bench.error);
      CHECK(status == (machine.works ? BRIM_OK : BRIM_UNSUPPORTED));
      CHECK(api.buffer_import(bench.device, memory + 1, 10, 1, &imported, &bench.error) == BRIM_UNSUPPORTED);
      // The device goes on either way, also after a trial that cost it its context.
      brim_buffer *to = bench.buffer(0, 1000), *back = bench.buffer(1, 1000);
      brim_queue* queue = bench.queue();
      brim_fence* fence = bench.fence();
      std::memset(bench.map(back), 0, 1000);
      if (imported == nullptr) {
        imported = bench.buffer(1, 1000);
        std::memset(bench.map(imported), 5, 1000);
      }
      bench.check(api.copy(queue, to, 0, imported, 0, 1000, &bench.error));
      bench.check(api.copy(queue, back, 0, to, 0, 1000, &bench.error));
      bench.check(api.queue_signal(queue, fence, 1, &bench.error));
      bench.wait(fence, 1);
      CHECK(std::memcmp(bench.map(back), memory, 1000) == 0);
      api.queue_destroy(queue);
      api.fence_destroy(fence);
      for (brim_buffer* b : {imported, to, back}) api.buffer_free(b);
      CHECK(memory[999] == std::byte{5});
    }
    CHECK(driver().live() == 0);
  }
}

TEST_CASE("real devices are offered when they are asked for") {
  driver().configure("");
  brim::loader::Config config;
  config.directories = {BRIM_PLUGIN_FOLDER};
  config.team = brim::shared_team(1);
  config.settings["brim.cuda"] = {{"driver", "/no/such/libcuda.so.1"}};
  const brim::loader::Loader loader(config);
  for (const auto& backend : loader.backends()) {
    if (backend->plugin->id() != "brim.cuda") continue;
    uint32_t n = 7;
    brim_str why{};
    REQUIRE(backend->api.device_count(backend->plugin->instance(), &n, &why, nullptr) == BRIM_OK);
    CHECK(n == 0);
    CHECK(std::string(why.ptr, why.len) == "no CUDA driver (/no/such/libcuda.so.1 not found)");
  }
}

TEST_CASE("what cannot be allocated is refused with numbers") {
  Bench bench("total=1048576");
  brim_buffer* b = nullptr;
  brim_buffer* held = bench.buffer(0, 1000000);
  CHECK(bench.api().buffer_alloc(bench.device, 0, 100000, &b, &bench.error) == BRIM_OUT_OF_MEMORY);
  CHECK(bench.error.detail[0] == 0);
  CHECK(bench.error.detail[1] == 100000);
  CHECK(bench.error.detail[2] == 48576);
  CHECK(bench.error.native_code == 2);
  CHECK(b == nullptr);
  bench.api().buffer_free(held);
  bench.api().buffer_free(bench.buffer(0, 1000000));
}

TEST_CASE("copies of one queue run in order and reach the host behind a fence") {
  Bench bench;
  const auto& api = bench.api();
  constexpr uint64_t kBytes = 1 << 16;
  brim_buffer *a = bench.buffer(1, kBytes), *b = bench.buffer(0, kBytes), *c = bench.buffer(1, kBytes);
  brim_queue* queue = bench.queue();
  brim_fence* fence = bench.fence();
  for (uint64_t i = 0; i < kBytes; ++i) bench.map(a)[i] = static_cast<std::byte>(i * 7 + i / 256);
  for (int i = 0; i < 50; ++i) {
    bench.check(api.copy(queue, b, 0, a, 0, kBytes, &bench.error));
    bench.check(api.copy(queue, c, 1, b, 0, kBytes - 1, &bench.error));
  }
  bench.check(api.queue_signal(queue, fence, 5, &bench.error));
  bench.wait(fence, 5);
  CHECK(std::memcmp(bench.map(c) + 1, bench.map(a), kBytes - 1) == 0);
  CHECK(api.copy(queue, b, 1, a, 0, kBytes, &bench.error) == BRIM_INVALID_ARGUMENT);
  CHECK(api.copy(queue, b, 0, b, 1, 100, &bench.error) == BRIM_INVALID_ARGUMENT);
  void* p = nullptr;
  CHECK(api.buffer_map(b, &p, &bench.error) == BRIM_FAILED_PRECONDITION);
  api.queue_destroy(queue);
  api.fence_destroy(fence);
  for (brim_buffer* buffer : {a, b, c}) api.buffer_free(buffer);
}

TEST_CASE("a queue that waits for what comes later does not hold up the others") {
  Bench bench;
  const auto& api = bench.api();
  brim_queue *first = bench.queue(), *second = bench.queue();
  brim_fence *gate = bench.fence(), *done = bench.fence(), *other = bench.fence();
  brim_buffer *a = bench.buffer(1, 4), *b = bench.buffer(1, 4), *c = bench.buffer(1, 4);
  std::memset(bench.map(a), 1, 4);
  std::memset(bench.map(b), 2, 4);
  std::memset(bench.map(c), 0, 4);
  // The first queue copies b, but only after the second has written it.
  bench.check(api.queue_wait(first, gate, 1, &bench.error));
  bench.check(api.copy(first, c, 0, b, 0, 4, &bench.error));
  bench.check(api.queue_signal(first, done, 1, &bench.error));
  CHECK(api.fence_wait(done, 1, 20'000'000, &bench.error) == BRIM_DEADLINE);
  bench.check(api.copy(second, b, 0, a, 0, 4, &bench.error));
  bench.check(api.queue_signal(second, other, 3, &bench.error));
  bench.wait(other, 3);
  bench.check(api.queue_signal(second, gate, 1, &bench.error));
  bench.wait(done, 1);
  CHECK(bench.map(c)[0] == std::byte{1});

  // The same with the host as the one who opens the gate, from another thread.
  bench.check(api.queue_wait(first, gate, 2, &bench.error));
  bench.check(api.queue_signal(first, done, 2, &bench.error));
  std::thread host([&] { CHECK(api.fence_signal(gate, 2, nullptr) == BRIM_OK); });
  bench.check(api.fence_wait(done, 2, UINT64_MAX, &bench.error));
  host.join();
  CHECK(api.fence_signal(gate, 1, &bench.error) == BRIM_OK);  // a timeline does not go back
  bench.wait(gate, 2);
  api.queue_destroy(first);
  api.queue_destroy(second);
  for (brim_fence* f : {gate, done, other}) api.fence_destroy(f);
  for (brim_buffer* x : {a, b, c}) api.buffer_free(x);
}

TEST_CASE("a fence in steady use makes no events") {
  Bench bench;
  const auto& api = bench.api();
  brim_queue* queue = bench.queue();
  brim_fence* fence = bench.fence();
  const uint64_t before = driver().calls("cuEventCreate");
  for (uint64_t i = 1; i <= 100; ++i) {
    bench.check(api.queue_signal(queue, fence, i, &bench.error));
    bench.wait(fence, i);
  }
  CHECK(driver().calls("cuEventCreate") == before);
  api.queue_destroy(queue);
  api.fence_destroy(fence);
}

namespace {

// The program that the plugin runs in, with work of its own on the same device.
class HostProgram {
 public:
  HostProgram() : library_(dlopen(BRIM_TEST_DRIVER, RTLD_NOW | RTLD_LOCAL)) {
    REQUIRE(call<decltype(cuDevicePrimaryCtxRetain)>("cuDevicePrimaryCtxRetain", &context_, 0) == CUDA_SUCCESS);
    const Current current(*this);
    REQUIRE(call<decltype(cuStreamCreate)>("cuStreamCreate", &stream, 0) == CUDA_SUCCESS);
  }
  ~HostProgram() {
    {
      const Current current(*this);
      CHECK(call<CUresult(CUstream)>("cuStreamDestroy_v2", stream) == CUDA_SUCCESS);
    }
    CHECK(call<CUresult(CUdevice)>("cuDevicePrimaryCtxRelease_v2", 0) == CUDA_SUCCESS);
  }
  void copy(std::byte* to, const std::byte* from, size_t bytes) {
    const Current current(*this);
    CHECK(call<decltype(cuMemcpyAsync)>("cuMemcpyAsync", reinterpret_cast<CUdeviceptr>(to),
                                        reinterpret_cast<CUdeviceptr>(from), bytes, stream) == CUDA_SUCCESS);
  }
  void finish() {
    const Current current(*this);
    CHECK(call<decltype(cuStreamSynchronize)>("cuStreamSynchronize", stream) == CUDA_SUCCESS);
  }

  CUstream stream = nullptr;

 private:
  struct Current {
    explicit Current(const HostProgram& of) : host(of) {
      REQUIRE(host.call<CUresult(CUcontext)>("cuCtxPushCurrent_v2", host.context_) == CUDA_SUCCESS);
    }
    ~Current() {
      CUcontext popped = nullptr;
      CHECK(host.call<CUresult(CUcontext*)>("cuCtxPopCurrent_v2", &popped) == CUDA_SUCCESS);
      CHECK(popped == host.context_);  // what is current in the host's thread is the host's affair
    }
    const HostProgram& host;
  };
  template <class F, class... A>
  CUresult call(const char* name, A... arguments) const {
    return reinterpret_cast<F*>(dlsym(library_, name))(arguments...);
  }

  void* library_;
  CUcontext context_ = nullptr;
};

}  // namespace

TEST_CASE("a queue on the host's own stream stands in line with the host's work, and the stream stays the host's") {
  {
    Bench bench("reversed=1");  // streams that nothing orders run the other way round
    const auto& api = bench.api();
    constexpr uint64_t kBytes = 1 << 16;
    std::vector<brim_buffer*> buffers;
    for (int i = 0; i < 5; ++i) buffers.push_back(bench.buffer(1, kBytes));
    const auto at = [&](size_t i) { return bench.map(buffers[i]); };
    for (size_t i = 0; i < buffers.size(); ++i) std::memset(at(i), 0, kBytes);
    for (uint64_t i = 0; i < kBytes; ++i) at(0)[i] = static_cast<std::byte>(i * 7 + i / 256);
    HostProgram host;
    const uint64_t streams = driver().calls("cuStreamCreate"), destroyed = driver().calls("cuStreamDestroy_v2");
    brim_queue* queue = nullptr;
    bench.check(api.queue_create(bench.device, host.stream, &queue, &bench.error));
    brim_fence *fence = bench.fence(), *gate = bench.fence();

    // The host's, the queue's, the host's; each needs what the one before it made.
    host.copy(at(1), at(0), kBytes);
    bench.check(api.copy(queue, buffers[2], 0, buffers[1], 0, kBytes, &bench.error));
    bench.check(api.queue_signal(queue, fence, 1, &bench.error));
    host.copy(at(3), at(2), kBytes);
    bench.wait(fence, 1);
    CHECK(std::memcmp(at(2), at(0), kBytes) == 0);
    host.finish();
    CHECK(std::memcmp(at(3), at(0), kBytes) == 0);

    // Another queue's work, too, comes before what the host appends, once the wait for it has been handed over.
    brim_queue* other = bench.queue();
    std::memset(at(1), 3, kBytes);
    bench.check(api.copy(other, buffers[2], 0, buffers[1], 0, kBytes, &bench.error));
    bench.check(api.queue_signal(other, gate, 1, &bench.error));
    bench.check(api.queue_wait(queue, gate, 1, &bench.error));
    host.copy(at(3), at(2), kBytes);
    host.copy(at(4), at(3), kBytes);

    // Its end waits for what is on the stream and takes nothing along.
    api.queue_destroy(queue);
    CHECK(std::memcmp(at(4), at(1), kBytes) == 0);
    api.queue_destroy(other);
    CHECK(driver().calls("cuStreamCreate") - streams == 1);
    CHECK(driver().calls("cuStreamDestroy_v2") - destroyed == 1);  // the other's
    host.copy(at(0), at(4), kBytes);
    host.finish();
    CHECK(at(0)[kBytes - 1] == std::byte{3});
    for (brim_fence* f : {fence, gate}) api.fence_destroy(f);
    for (brim_buffer* b : buffers) api.buffer_free(b);
  }
  CHECK(driver().live() == 0);
}
