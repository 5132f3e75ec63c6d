// Devices, memory, queues and fences of the Vulkan plugin.
#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cstdio>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <thread>

#include "host.hpp"

using namespace vulkan_test;

TEST_CASE("software devices are offered only when they are asked for") {
  const Bench unasked(false);
  const Bench asked;
  if (!asked) return;
  CHECK(unasked.n_devices < asked.n_devices);
  if (unasked.n_devices == 0) CHECK(unasked.why.find("software = true") != std::string::npos);
}

TEST_CASE("the device says what it is, and its memory is the system's") {
  Bench bench;
  if (!bench) return;
  brim_device_info info{};
  info.struct_size = sizeof info;
  bench.check(bench.api().device_info(bench.device, &info, &bench.error));
  CHECK((info.flags & BRIM_DEVICE_LIVE) != 0);
  CHECK(info.subgroup >= 1);
  brim_heap_info heap{};
  heap.struct_size = sizeof heap;
  bench.check(bench.api().heap_info(bench.device, 0, &heap, &bench.error));
  CHECK((heap.flags & BRIM_HEAP_DEVICE_LOCAL) != 0);
  if (info.type != BRIM_DEVICE_DISCRETE) CHECK(heap.pool_id[0] == BRIM_POOL_SYSTEM);
  uint64_t available = 0;
  bench.check(bench.api().heap_budget(bench.device, 0, &available, &bench.error));
  CHECK(available <= heap.size);
  CHECK(bench.api().heap_info(bench.device, 7, &heap, &bench.error) == BRIM_INVALID_ARGUMENT);
}

TEST_CASE("what cannot be allocated is refused with numbers") {
  Bench bench;
  if (!bench) return;
  brim_buffer* b = nullptr;
  const uint64_t bytes = 1ull << 50;
  CHECK(bench.api().buffer_alloc(bench.device, 0, bytes, &b, &bench.error) == BRIM_OUT_OF_MEMORY);
  CHECK(bench.error.detail[0] == 0);
  CHECK(bench.error.detail[1] == bytes);
  CHECK(b == nullptr);
  bench.api().buffer_free(bench.buffer(64));  // and the device goes on
}

TEST_CASE("copies of one queue run in order and reach the host behind a fence") {
  Bench bench;
  if (!bench) return;
  const auto& api = bench.api();
  constexpr uint64_t kBytes = 1 << 20;
  brim_buffer *a = bench.buffer(kBytes), *b = bench.buffer(kBytes), *c = bench.buffer(kBytes);
  brim_queue* queue = bench.queue();
  brim_fence* fence = bench.fence();
  for (uint64_t i = 0; i < kBytes; ++i) bench.map(a)[i] = static_cast<std::byte>(i * 7 + i / 256);
  // More than the queue keeps command buffers for.
  for (int i = 0; i < 50; ++i) {
    bench.check(api.copy(queue, b, 0, a, 0, kBytes, &bench.error));
    bench.check(api.copy(queue, c, 1, b, 0, kBytes - 1, &bench.error));
  }
  bench.check(api.queue_signal(queue, fence, 5, &bench.error));
  bench.wait(fence, 5);
  CHECK(std::memcmp(bench.map(c) + 1, bench.map(a), kBytes - 1) == 0);
  CHECK(api.copy(queue, b, 1, a, 0, kBytes, &bench.error) == BRIM_INVALID_ARGUMENT);
  CHECK(api.copy(queue, b, 0, b, 1, 100, &bench.error) == BRIM_INVALID_ARGUMENT);
  api.queue_destroy(queue);
  api.fence_destroy(fence);
  for (brim_buffer* buffer : {a, b, c}) api.buffer_free(buffer);
}

TEST_CASE("a queue that waits for what comes later does not hold up the others") {
  Bench bench;
  if (!bench) return;
  const auto& api = bench.api();
  brim_queue *first = bench.queue(), *second = bench.queue();
  brim_fence *gate = bench.fence(), *done = bench.fence(), *other = bench.fence();
  brim_buffer *a = bench.buffer(4), *b = bench.buffer(4), *c = bench.buffer(4);
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
  bench.wait(done, 2);
  host.join();
  CHECK(api.fence_signal(gate, 1, &bench.error) == BRIM_OK);  // a timeline does not go back
  bench.wait(gate, 2);
  api.queue_destroy(first);
  api.queue_destroy(second);
  for (brim_fence* f : {gate, done, other}) api.fence_destroy(f);
  for (brim_buffer* x : {a, b, c}) api.buffer_free(x);
}

TEST_CASE("a mapped file is read in place, or refused so that the host copies") {
  Bench bench;
  if (!bench) return;
  const auto& api = bench.api();
  brim_heap_info heap{};
  heap.struct_size = sizeof heap;
  bench.check(api.heap_info(bench.device, 0, &heap, &bench.error));
  if ((heap.flags & BRIM_HEAP_IMPORT_HOST) == 0) {
    MESSAGE("skipped: the device reads no memory of the host in place");
    return;
  }
  constexpr uint64_t kBytes = 10'000;  // no whole number of pages, as files are
  std::FILE* file = std::tmpfile();
  REQUIRE(file != nullptr);
  std::vector<unsigned char> content(kBytes);
  for (uint64_t i = 0; i < kBytes; ++i) content[i] = static_cast<unsigned char>(i * 31);
  REQUIRE(std::fwrite(content.data(), 1, kBytes, file) == kBytes);
  REQUIRE(std::fflush(file) == 0);
  void* mapping = mmap(nullptr, kBytes, PROT_READ, MAP_SHARED, fileno(file), 0);
  REQUIRE(mapping != MAP_FAILED);
  brim_buffer* imported = nullptr;
  bench.check(api.buffer_import(bench.device, mapping, kBytes, 1, &imported, &bench.error));
  brim_buffer* copied = bench.buffer(kBytes);
  brim_queue* queue = bench.queue();
  brim_fence* fence = bench.fence();
  bench.check(api.copy(queue, copied, 0, imported, 0, kBytes, &bench.error));
  bench.check(api.queue_signal(queue, fence, 1, &bench.error));
  bench.wait(fence, 1);
  CHECK(std::memcmp(bench.map(copied), content.data(), kBytes) == 0);
  CHECK(api.copy(queue, imported, 0, copied, 0, 4, &bench.error) == BRIM_INVALID_ARGUMENT);  // read-only
  brim_buffer* odd = nullptr;
  CHECK(api.buffer_import(bench.device, static_cast<char*>(mapping) + 8, 100, 1, &odd, &bench.error) ==
        BRIM_UNSUPPORTED);
  api.queue_destroy(queue);
  api.fence_destroy(fence);
  api.buffer_free(copied);
  api.buffer_free(imported);
  munmap(mapping, kBytes);
  std::fclose(file);
}

TEST_CASE("compiled pipelines are kept from one start to the next, and a damaged file is replaced") {
  const auto folder = std::filesystem::temp_directory_path() / ("brim-pipelines-" + std::to_string(getpid()));
  std::filesystem::create_directory(folder);
  const auto content = [&] {  // of the one file there
    std::string all;
    for (const auto& entry : std::filesystem::directory_iterator(folder)) {
      std::ifstream file(entry.path(), std::ios::binary);
      all.append(std::istreambuf_iterator<char>(file), {});
    }
    return all;
  };
  const auto open_and_close = [&] { return static_cast<bool>(Bench(true, {{"cache", folder.string()}})); };
  if (!open_and_close()) return;
  const std::string first = content();
  if (first.empty()) {
    MESSAGE("skipped: the device runs no kernel when it is opened, so nothing was compiled");
    std::filesystem::remove_all(folder);
    return;
  }
  CHECK(first.size() > 40);  // more than the header before it: what the driver gave
  CHECK(open_and_close());
  CHECK(content() == first);
  const auto path = std::filesystem::directory_iterator(folder)->path();
  for (const size_t at :
       {size_t{3}, size_t{12}, size_t{26}, size_t{36}, first.size() - 1}) {  // each field, and the data
    std::string damaged = first;
    damaged[at] ^= 0x40;
    std::ofstream(path, std::ios::binary) << damaged;
    CHECK(open_and_close());
    CHECK(content() == first);
  }
  std::ofstream(path, std::ios::binary) << first.substr(0, 50);
  CHECK(open_and_close());
  CHECK(content() == first);
  std::filesystem::remove_all(folder);
  CHECK(open_and_close());  // no folder: a warning, and the device works
  CHECK(!std::filesystem::exists(folder));
}
