// Instances, devices, buffers, queues and fences.
#include <chrono>

#include "net.hpp"

using namespace cpu_test;

TEST_CASE("the header names the plugin and this ABI") {
  for (const Variant& variant : variants()) {
    CAPTURE(variant.name);
    const brim_plugin_header& header = header_of(variant);
    CHECK(header.magic == BRIM_PLUGIN_MAGIC);
    CHECK(header.major == BRIM_ABI_MAJOR);
    CHECK(header.kind == BRIM_KIND_BACKEND);
    CHECK(std::string(header.id.ptr, header.id.len) == "brim.cpu");
  }
}

TEST_CASE("a hundred instances come and go, two at a time, and nothing stays") {
  for (const Variant& variant : variants()) {
    Host host(2);
    for (int i = 0; i < 100; ++i) {
      brim_plugin *a = nullptr, *b = nullptr;
      REQUIRE(create(variant, host, {}, &a, nullptr) == BRIM_OK);
      REQUIRE(create(variant, host, {{"threads", "1"}}, &b, nullptr) == BRIM_OK);
      CHECK(header_of(variant).get_interface(a, str("brim.backend/2")) == nullptr);
      header_of(variant).destroy(a);
      header_of(variant).destroy(b);
    }
    CHECK(host.live == 0);
  }
}

TEST_CASE("an unknown setting is refused by the name of the nearest one, a wrong value with its range") {
  for (const Variant& variant : variants()) {
    Host host(2);
    brim_plugin* plugin = nullptr;
    brim_error error{};
    error.struct_size = sizeof error;
    CHECK(create(variant, host, {{"thread", "2"}}, &plugin, &error) == BRIM_INVALID_ARGUMENT);
    CHECK(std::string(error.message).find("'threads'") != std::string::npos);
    CHECK(create(variant, host, {{"threads", "many"}}, &plugin, &error) == BRIM_INVALID_ARGUMENT);
    CHECK(create(variant, host, {{"threads", "0"}}, &plugin, &error) == BRIM_INVALID_ARGUMENT);
    CHECK(plugin == nullptr);
    CHECK(host.live == 0);
  }
}

TEST_CASE("a failing allocation is OUT_OF_MEMORY with its size, wherever it strikes, and nothing stays") {
  const Variant variant = variants().front();
  Net net;
  const brim_value x = net.embedding({tokens(), n(64)});
  const Floats weights = random_floats(64 * 64, 1);
  const brim_value w = net.weight({n(64), n(64)}, weights);
  const brim_value y = net.output({tokens(), n(64)});
  net.node(BRIM_OP_MATMUL, {w, x}, {y});
  Machine machine(variant);
  Program program(machine, net, bucket_of(4));
  REQUIRE(program.create() == BRIM_OK);
  int failures = 0;
  for (int limit = 0;; ++limit) {
    brim_program_info info = program.info(true);
    brim_program* made = nullptr;
    const int64_t before = machine.host.live;
    machine.host.refuse_after = limit;
    const brim_status status = machine.backend->program_create(machine.device, &info, &made, &machine.error);
    machine.host.refuse_after = -1;
    if (status == BRIM_OK) {
      machine.backend->program_destroy(made);
      break;
    }
    ++failures;
    CHECK(status == BRIM_OUT_OF_MEMORY);
    CHECK(machine.error.detail[1] > 0);
    CHECK(machine.host.live == before);
  }
  CHECK(failures > 3);
}

TEST_CASE("the device is the processor, its heap the system's memory") {
  for (const Variant& variant : variants()) {
    Machine machine(variant);
    brim_device_info info{};
    info.struct_size = sizeof info;
    REQUIRE(machine.backend->device_info(machine.device, &info, &machine.error) == BRIM_OK);
    CHECK(info.type == BRIM_DEVICE_CPU);
    CHECK(info.flags ==
          (BRIM_DEVICE_LIVE | BRIM_DEVICE_SYNCHRONOUS | BRIM_DEVICE_ANY_KV | BRIM_DEVICE_BATCH_INVARIANT));
    CHECK(info.name.len > 0);
    brim_heap_info heap{};
    heap.struct_size = sizeof heap;
    REQUIRE(machine.backend->heap_info(machine.device, 0, &heap, &machine.error) == BRIM_OK);
    CHECK(heap.pool_id[0] == BRIM_POOL_SYSTEM);
    uint64_t available = 0;
    REQUIRE(machine.backend->heap_budget(machine.device, 0, &available, &machine.error) == BRIM_OK);
    CHECK(available > 0);
    CHECK(available <= heap.size);
    CHECK(machine.backend->heap_info(machine.device, 1, &heap, &machine.error) == BRIM_INVALID_ARGUMENT);
    brim_device_info older{};  // a host that knows the first three fields only
    older.struct_size = BRIM_SIZE_THROUGH(brim_device_info, flags);
    older.n_heaps = 77;
    REQUIRE(machine.backend->device_info(machine.device, &older, &machine.error) == BRIM_OK);
    CHECK(older.n_heaps == 77);
  }
}

TEST_CASE("a described device plans and refuses to work") {
  Machine machine(variants().front());
  const std::string keys[] = {"name", "memory", "bandwidth", "threads"},
                    values[] = {"Big one", "68719476736", "90000000000", "8"};
  std::vector<brim_setting> settings;
  for (int i = 0; i < 4; ++i) settings.push_back({str(keys[i]), str(values[i])});
  brim_device* device = nullptr;
  REQUIRE(machine.backend->device_describe(machine.plugin, settings.data(), 4, sizeof settings[0], &device,
                                           &machine.error) == BRIM_OK);
  brim_heap_info heap{};
  heap.struct_size = sizeof heap;
  REQUIRE(machine.backend->heap_info(device, 0, &heap, &machine.error) == BRIM_OK);
  CHECK(heap.size == 68719476736u);
  CHECK(heap.read_bandwidth == 90000000000u);
  brim_buffer* buffer = nullptr;
  CHECK(machine.backend->buffer_alloc(device, 0, 64, &buffer, &machine.error) == BRIM_FAILED_PRECONDITION);
  brim_queue* queue = nullptr;
  CHECK(machine.backend->queue_create(device, nullptr, &queue, &machine.error) == BRIM_FAILED_PRECONDITION);
  const brim_state_desc state = kv_state(2, 64, 64);
  brim_state_layout layout{};
  layout.struct_size = sizeof layout;
  CHECK(machine.backend->state_layout(device, &state, BRIM_DTYPE_F16, &layout, &machine.error) == BRIM_OK);
  CHECK(layout.block_bytes >= 2 * 2 * 64 * 32 * 2);
  machine.backend->device_close(device);
}

TEST_CASE("imported memory is the buffer, and read-only memory is no destination") {
  Machine machine(variants().front());
  alignas(64) unsigned char memory[128] = {1, 2, 3};
  brim_buffer *imported = nullptr, *copy = machine.buffer(128);
  REQUIRE(machine.backend->buffer_import(machine.device, memory, 128, 1, &imported, &machine.error) == BRIM_OK);
  CHECK(reinterpret_cast<unsigned char*>(machine.map(imported)) == memory);
  CHECK(machine.backend->copy(machine.queue, copy, 0, imported, 0, 128, &machine.error) == BRIM_OK);
  CHECK(std::memcmp(machine.map(copy), memory, 128) == 0);
  CHECK(machine.backend->copy(machine.queue, imported, 0, copy, 0, 1, &machine.error) == BRIM_INVALID_ARGUMENT);
  CHECK(machine.backend->copy(machine.queue, copy, 1, imported, 0, 128, &machine.error) == BRIM_INVALID_ARGUMENT);
  CHECK(machine.backend->copy(machine.queue, copy, UINT64_MAX, imported, 0, 2, &machine.error) ==
        BRIM_INVALID_ARGUMENT);
  machine.backend->buffer_free(imported);
  machine.backend->buffer_free(copy);
}

TEST_CASE("a weight packed by a team, in any ranges, is the one packed eight rows at a time") {
  constexpr uint64_t kRows = 4104, kBytes = kRows * 2176;  // Q8_0 rows of 2,048: more than a member takes at a time
  std::vector<std::byte> file(kBytes);
  std::mt19937 generator(7);
  for (std::byte& b : file) b = static_cast<std::byte>(generator());
  Net net;
  const brim_value x = net.embedding({tokens(), n(2048)});
  const brim_value w = net.weight({n(kRows), n(2048)}, BRIM_DTYPE_Q8_0, file.data(), file.size());
  net.node(BRIM_OP_MATMUL, {w, x}, {net.output({tokens(), n(kRows)})});
  const brim_graph graph = net.graph();
  for (const Variant& variant : variants()) {
    CAPTURE(variant.name);
    Machine machine(variant, 4);
    uint64_t bytes = 0, layout = 0;
    REQUIRE(machine.backend->pack_size(machine.device, &graph, w, &bytes, &layout, &machine.error) == BRIM_OK);
    REQUIRE(bytes == kBytes);
    brim_buffer* source = machine.buffer(kBytes);
    std::copy(file.begin(), file.end(), machine.map(source));
    const auto packed = [&](const std::vector<uint64_t>& borders) {
      brim_buffer* target = machine.buffer(kBytes);
      const uint64_t dims[] = {kRows, 2048};
      for (size_t i = 0; i + 1 < borders.size(); ++i) {
        const uint64_t first = borders[i];
        REQUIRE(machine.backend->pack(machine.queue, BRIM_DTYPE_Q8_0, dims, 2, layout, first, borders[i + 1] - first,
                                      source, first * 2176, target, 0, &machine.error) == BRIM_OK);
      }
      const std::byte* at = machine.map(target);
      std::vector<std::byte> all(at, at + kBytes);
      machine.backend->buffer_free(target);
      return all;
    };
    std::vector<uint64_t> eights;
    for (uint64_t row = 0; row <= kRows; row += 8) eights.push_back(row);
    const std::vector<std::byte> expected = packed(eights);
    CHECK(packed({0, kRows}) == expected);
    CHECK(packed({0, 1003, 2005, kRows}) == expected);
    machine.backend->buffer_free(source);
  }
}

TEST_CASE("fences order work: polls, time-outs, waits that were submitted before their signal") {
  Machine machine(variants().front());
  const brim_backend& b = *machine.backend;
  brim_fence *a = nullptr, *done = nullptr;
  REQUIRE(b.fence_create(machine.device, 3, &a, &machine.error) == BRIM_OK);
  REQUIRE(b.fence_create(machine.device, 0, &done, &machine.error) == BRIM_OK);
  CHECK(b.fence_wait(a, 3, 0, &machine.error) == BRIM_OK);
  CHECK(b.fence_wait(a, 4, 0, &machine.error) == BRIM_DEADLINE);
  CHECK(b.fence_wait(a, 4, 1'000'000, &machine.error) == BRIM_DEADLINE);

  // Neither the wait nor the signal behind it blocks; the signal comes through when the wait is over.
  REQUIRE(b.queue_wait(machine.queue, a, 5, &machine.error) == BRIM_OK);
  REQUIRE(b.queue_signal(machine.queue, done, 1, &machine.error) == BRIM_OK);
  CHECK(b.fence_wait(done, 1, 0, &machine.error) == BRIM_DEADLINE);
  REQUIRE(b.fence_signal(a, 5, &machine.error) == BRIM_OK);
  CHECK(b.fence_wait(done, 1, UINT64_MAX, &machine.error) == BRIM_OK);

  // A copy behind a wait is done when it returns, and not before the signal.
  brim_buffer *from = machine.buffer(64), *to = machine.buffer(64);
  std::memset(machine.map(from), 0, 64);
  REQUIRE(b.queue_wait(machine.queue, a, 6, &machine.error) == BRIM_OK);
  std::thread other([&] {
    std::this_thread::sleep_for(std::chrono::milliseconds(20));
    std::memset(machine.map(from), 7, 64);
    b.fence_signal(a, 6, nullptr);
  });
  CHECK(b.copy(machine.queue, to, 0, from, 0, 64, &machine.error) == BRIM_OK);
  CHECK(machine.map(to)[63] == std::byte{7});
  other.join();
  b.buffer_free(from);
  b.buffer_free(to);
  b.fence_destroy(a);
  b.fence_destroy(done);
}

TEST_CASE("states that are not kept here are UNSUPPORTED") {
  Machine machine(variants().front());
  brim_state_layout layout{};
  layout.struct_size = sizeof layout;
  brim_state_desc state = kv_state(2, 64, 64);
  CHECK(machine.backend->state_layout(machine.device, &state, BRIM_DTYPE_BF16, &layout, &machine.error) ==
        BRIM_UNSUPPORTED);
  state.kind = BRIM_STATE_KV_CROSS;
  CHECK(machine.backend->state_layout(machine.device, &state, BRIM_DTYPE_F32, &layout, &machine.error) ==
        BRIM_UNSUPPORTED);
  state.kind = BRIM_STATE_KV_LATENT;  // with a V
  CHECK(machine.backend->state_layout(machine.device, &state, BRIM_DTYPE_F32, &layout, &machine.error) ==
        BRIM_INVALID_ARGUMENT);
  state.kind = BRIM_STATE_RECURRENT;
  CHECK(machine.backend->state_layout(machine.device, &state, BRIM_DTYPE_F32, &layout, &machine.error) ==
        BRIM_INVALID_ARGUMENT);  // of no values
  state.elements = 100;
  CHECK(machine.backend->state_layout(machine.device, &state, BRIM_DTYPE_F16, &layout, &machine.error) ==
        BRIM_UNSUPPORTED);
  REQUIRE(machine.backend->state_layout(machine.device, &state, BRIM_DTYPE_F32, &layout, &machine.error) == BRIM_OK);
  CHECK(layout.block_tokens == 1);
  CHECK(layout.block_bytes == 448);
}
