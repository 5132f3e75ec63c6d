// buffers: memory of a device, its budget, copies, imports, and the fences that order them.
#include <algorithm>
#include <chrono>
#include <numeric>
#include <thread>

#include "../bench/device.hpp"
#include "../os/os.hpp"
#include "groups.hpp"

namespace check {
namespace {

constexpr uint64_t kSecond = 1'000'000'000;

// A buffer as it is, without guard zones.
class Bare {
 public:
  Bare(Device& device, uint32_t heap, uint64_t bytes) : layer_(device.layer()) {
    must(device.trial(), "buffer_alloc", layer_.buffer_alloc(device.handle(), heap, bytes, &handle_));
  }
  ~Bare() { layer_.buffer_free(handle_); }
  Bare(const Bare&) = delete;
  brim_buffer* handle() const { return handle_; }

 private:
  Layer& layer_;
  brim_buffer* handle_ = nullptr;
};

void fill_pattern(std::byte* at, uint64_t bytes, uint64_t seed) {
  std::mt19937_64 random(seed);
  for (uint64_t i = 0; i < bytes; ++i) at[i] = static_cast<std::byte>(random());
}

bool holds_pattern(const std::byte* at, uint64_t bytes, uint64_t seed) {
  std::mt19937_64 random(seed);
  for (uint64_t i = 0; i < bytes; ++i) {
    if (at[i] != static_cast<std::byte>(random())) return false;
  }
  return true;
}

void alloc(Trial& trial) {
  Device device(trial);
  struct Piece {
    std::unique_ptr<Bare> buffer;
    std::byte* at;
    uint64_t bytes;
  };
  std::vector<Piece> pieces;
  for (uint32_t h = 0; h < device.info().n_heaps; ++h) {
    brim_heap_info heap{};
    must(trial, "heap_info", device.layer().heap_info(device.handle(), h, &heap));
    for (const uint64_t bytes : {1ull, 3ull, 64ull, 100ull, 4096ull, 65537ull, 1048576ull}) {
      if (bytes > heap.max_alloc) continue;
      auto buffer = std::make_unique<Bare>(device, h, bytes);
      std::byte* at = nullptr;
      if (heap.flags & BRIM_HEAP_HOST_VISIBLE) {
        void *first = nullptr, *second = nullptr;
        must(trial, "buffer_map", device.layer().buffer_map(buffer->handle(), &first));
        must(trial, "buffer_map a second time", device.layer().buffer_map(buffer->handle(), &second));
        trial.expect(first == second, "buffer_map gives another address the second time; the first stays valid");
        trial.expect(reinterpret_cast<uintptr_t>(first) % heap.alignment == 0,
                     "a buffer of {} bytes lies at an address that is no multiple of its heap's alignment {}", bytes,
                     heap.alignment);
        at = static_cast<std::byte*>(first);
        fill_pattern(at, bytes, pieces.size());
      }
      pieces.push_back({std::move(buffer), at, bytes});
    }
  }
  for (size_t i = 0; i < pieces.size(); ++i) {
    if (pieces[i].at == nullptr) continue;
    trial.expect(holds_pattern(pieces[i].at, pieces[i].bytes, i),
                 "what was written into a buffer of {} bytes is gone: it shares memory with another one",
                 pieces[i].bytes);
  }
}

void too_much(Trial& trial) {
  Device device(trial);
  for (uint32_t h = 0; h < device.info().n_heaps; ++h) {
    brim_heap_info heap{};
    must(trial, "heap_info", device.layer().heap_info(device.handle(), h, &heap));
    for (const uint64_t bytes : {heap.max_alloc + 1, UINT64_MAX / 2, UINT64_MAX - 63, UINT64_MAX}) {
      if (bytes == 0) continue;  // max_alloc is all there is
      brim_buffer* buffer = nullptr;
      const Answer answer = device.layer().buffer_alloc(device.handle(), h, bytes, &buffer);
      if (answer.ok()) device.layer().buffer_free(buffer);
      trial.expect(answer.status == BRIM_OUT_OF_MEMORY,
                   "buffer_alloc of {} bytes from heap {} (max_alloc {}): expected out of memory, found {}", bytes, h,
                   heap.max_alloc, answer.text());
      if (answer.status != BRIM_OUT_OF_MEMORY) continue;
      trial.expect(answer.error.detail[0] == h && answer.error.detail[1] >= bytes,
                   "buffer_alloc of {} bytes from heap {}: brim_error.detail is {{{}, {}, {}}}, not {{heap, requested, "
                   "available}}",
                   bytes, h, answer.error.detail[0], answer.error.detail[1], answer.error.detail[2]);
    }
    // And goes on as before.
    const Bare small(device, h, 64);
  }
}

void budget(Trial& trial) {
  Device device(trial);
  for (uint32_t h = 0; h < device.info().n_heaps; ++h) {
    brim_heap_info heap{};
    must(trial, "heap_info", device.layer().heap_info(device.handle(), h, &heap));
    // System memory is everybody's: its figures move by themselves. Other processes may use a card's too, and change
    // what is left of it in between: there one quiet moment is enough.
    const bool everybodys = heap.pool_id[0] == BRIM_POOL_SYSTEM;
    constexpr int kTries = 5;
    uint64_t before = 0, during = 0, after = 0, bytes = 0;
    for (int i = 0; i < kTries; ++i) {
      must(trial, "heap_budget", device.layer().heap_budget(device.handle(), h, &before));
      bytes = std::min({before, heap.max_alloc, uint64_t{16} << 20}) / 2;
      if (!trial.expect(bytes > 0, "heap_budget {}: {} bytes are available; nothing could be allocated", h, before))
        break;
      {
        const Bare one(device, h, bytes);  // the budget is a promise
        must(trial, "heap_budget", device.layer().heap_budget(device.handle(), h, &during));
      }
      must(trial, "heap_budget", device.layer().heap_budget(device.handle(), h, &after));
      if (everybodys || (during + bytes <= before + heap.alignment && after == before)) break;
      std::this_thread::sleep_for(std::chrono::milliseconds(50));
    }
    if (everybodys || bytes == 0) continue;
    trial.expect(during + bytes <= before + heap.alignment,
                 "heap_budget {}: {} bytes before and {} after {} of them were taken", h, before, during, bytes);
    trial.expect(after == before, "heap_budget {}: {} bytes before a buffer came and went, {} after", h, before, after);
  }
}

void many(Trial& trial) {
  Device device(trial);
  const uint64_t before = device.host().live_blocks();
  for (int round = 0; round < 20; ++round) {
    std::vector<std::unique_ptr<Bare>> buffers;
    for (uint64_t i = 0; i < 20; ++i) buffers.push_back(std::make_unique<Bare>(device, device.heap(), 1 + i * 777));
    std::shuffle(buffers.begin(), buffers.end(), trial.random());
    buffers.clear();
  }
  trial.expect(device.host().live_blocks() == before, "leak: {} blocks of host memory more after 400 buffers",
               device.host().live_blocks() - before);
}

void copies(Trial& trial) {
  Device device(trial);
  Layer& layer = device.layer();
  const Buffer from(device, 5000), to(device, 5000);
  fill_pattern(from.data(), from.bytes(), 1);
  std::vector<std::byte> expected(to.bytes(), std::byte{0x11});
  std::memset(to.data(), 0x11, to.bytes());
  const auto copy = [&](uint64_t to_at, uint64_t from_at, uint64_t n) {
    must(trial, "copy",
         layer.copy(device.queue(), to.handle(), to.offset() + to_at, from.handle(), from.offset() + from_at, n));
    std::copy_n(from.data() + from_at, n, expected.begin() + static_cast<ptrdiff_t>(to_at));
  };
  copy(0, 0, 0);
  copy(17, 1, 1);
  copy(64, 128, 64);
  copy(101, 203, 1021);
  copy(4990, 4000, 10);
  for (int i = 0; i < 40; ++i) {
    const uint64_t n = trial.random()() % 600;
    copy(trial.random()() % (to.bytes() - n), trial.random()() % (from.bytes() - n), n);
  }
  must(trial, "fence_wait behind copies", device.finish());
  trial.expect(std::equal(expected.begin(), expected.end(), to.data()),
               "copy: the target differs from what copies of any offset and length in their order leave");
  trial.expect(holds_pattern(from.data(), from.bytes(), 1), "copy: the source was changed");
  for (const Buffer* buffer : {&from, &to}) {
    trial.expect(buffer->damage().empty(), "copy: a buffer was {}", buffer->damage());
  }
}

// What the host cannot see it reaches through copies.
void chain(Trial& trial) {
  Device device(trial);
  const uint64_t bytes = 3000;
  const Buffer from(device, bytes), to(device, bytes);
  for (uint32_t h = 0; h < device.info().n_heaps; ++h) {
    const Bare between(device, h, bytes + 64);
    for (uint64_t round = 0; round < 20; ++round) {
      fill_pattern(from.data(), bytes, round);
      std::memset(to.data(), 0, bytes);
      Layer& layer = device.layer();
      must(trial, "copy", layer.copy(device.queue(), between.handle(), 64, from.handle(), from.offset(), bytes));
      must(trial, "copy", layer.copy(device.queue(), to.handle(), to.offset(), between.handle(), 64, bytes));
      must(trial, "fence_wait behind copies", device.finish());
      if (!trial.expect(holds_pattern(to.data(), bytes, round),
                        "two copies through a buffer of heap {} lose the bytes: work of one queue runs in order", h)) {
        break;
      }
    }
  }
}

// How fast the device copies within each heap, and between the heap that the host sees and each other.
void bandwidth(Trial& trial) {
  Device device(trial);
  Layer& layer = device.layer();
  constexpr int kCopies = 4, kRounds = 3;
  const auto most = [&](uint32_t h) {
    brim_heap_info heap{};
    uint64_t available = 0;
    must(trial, "heap_info", layer.heap_info(device.handle(), h, &heap));
    must(trial, "heap_budget", layer.heap_budget(device.handle(), h, &available));
    return std::min({uint64_t{64} << 20, heap.max_alloc / 4, available / 4});
  };
  const auto measure = [&](uint32_t from, uint32_t to) {
    const uint64_t bytes = std::min(most(from), most(to));
    if (bytes == 0) return;
    const Bare source(device, from, bytes), target(device, to, bytes);
    std::chrono::duration<double> least = std::chrono::hours(1);
    for (int round = 0; round < kRounds; ++round) {  // the first also meets pages that nobody has touched
      const auto begin = std::chrono::steady_clock::now();
      for (int i = 0; i < kCopies; ++i)
        must(trial, "copy", layer.copy(device.queue(), target.handle(), 0, source.handle(), 0, bytes));
      must(trial, "fence_wait behind copies", device.finish());
      least = std::min<std::chrono::duration<double>>(least, std::chrono::steady_clock::now() - begin);
    }
    trial.note("heap {} to heap {} {:.1f} GB/s", from, to, static_cast<double>(bytes) * kCopies / least.count() / 1e9);
  };
  for (uint32_t h = 0; h < device.info().n_heaps; ++h) {
    measure(h, h);
    if (h == device.heap()) continue;
    measure(device.heap(), h);
    measure(h, device.heap());
  }
}

void import(Trial& trial) {
  Device device(trial);
  Layer& layer = device.layer();
  bool offered = false;
  for (uint32_t h = 0; h < device.info().n_heaps; ++h) {
    brim_heap_info heap{};
    must(trial, "heap_info", layer.heap_info(device.handle(), h, &heap));
    offered = offered || (heap.flags & BRIM_HEAP_IMPORT_HOST) != 0;
  }
  if (layer.table().buffer_import == nullptr) {
    trial.expect(!offered, "a heap says IMPORT_HOST and the slot buffer_import is NULL");
    trial.skip("the device imports no host memory");
  }
  const uint64_t bytes = 3 * os::page_size() - 128;
  const Fenced memory(bytes, 64);
  fill_pattern(memory.data(), bytes, 7);
  const Buffer to(device, bytes);
  const uint64_t before = device.host().live_bytes();
  for (const bool read_only : {true, false}) {
    if (read_only) memory.seal();
    brim_buffer* imported = nullptr;
    const Answer answer = layer.buffer_import(device.handle(), memory.data(), bytes, read_only, &imported);
    if (answer.status == BRIM_UNSUPPORTED) {
      memory.open();
      trial.note("{} host memory is not imported", read_only ? "read-only" : "writable");
      continue;
    }
    must(trial, "buffer_import", answer);
    trial.expect(device.host().live_bytes() - before < bytes / 2,
                 "buffer_import takes {} bytes of host memory for {}: it copies", device.host().live_bytes() - before,
                 bytes);
    if (!read_only) fill_pattern(memory.data(), bytes, 8);  // seen, as no byte was copied
    must(trial, "copy from imported memory", layer.copy(device.queue(), to.handle(), to.offset(), imported, 0, bytes));
    must(trial, "fence_wait", device.finish());
    trial.expect(holds_pattern(to.data(), bytes, read_only ? 7 : 8),
                 "buffer_import: the device reads other bytes than the host wrote");
    if (!read_only) {
      fill_pattern(to.data(), bytes, 9);
      must(trial, "copy into imported memory",
           layer.copy(device.queue(), imported, 0, to.handle(), to.offset(), bytes));
      must(trial, "fence_wait", device.finish());
      trial.expect(holds_pattern(memory.data(), bytes, 9),
                   "buffer_import: the host reads other bytes than the device wrote");
    }
    layer.buffer_free(imported);
    memory.open();
    trial.expect(holds_pattern(memory.data(), bytes, read_only ? 7 : 9),
                 "buffer_free changed imported memory, which is the caller's");
  }
}

void fence_values(Trial& trial) {
  Device device(trial);
  Layer& layer = device.layer();
  brim_fence* fence = nullptr;
  must(trial, "fence_create", layer.fence_create(device.handle(), 5, &fence));
  const auto reached = [&](uint64_t value, bool is, const char* when) {
    const Answer answer = layer.fence_wait(fence, value, 0);
    const brim_status expected = is ? BRIM_OK : BRIM_DEADLINE;
    trial.expect(answer.status == expected, "{}: polling for {}: expected {}, found {}", when, value,
                 brim_status_name(expected), answer.text());
  };
  reached(0, true, "a fence that began with 5");
  reached(5, true, "a fence that began with 5");
  reached(6, false, "a fence that began with 5");
  must(trial, "fence_signal", layer.fence_signal(fence, 9));
  reached(9, true, "after fence_signal 9");
  reached(10, false, "after fence_signal 9");
  layer.fence_signal(fence, 3);  // refused or ignored
  reached(9, true, "after fence_signal 3, which is less than 9");
  must(trial, "queue_signal", layer.queue_signal(device.queue(), fence, 20));
  must(trial, "fence_wait", layer.fence_wait(fence, 20, 5 * kSecond));
  reached(UINT64_MAX, false, "after queue_signal 20");
  const auto start = std::chrono::steady_clock::now();
  const Answer late = layer.fence_wait(fence, 21, kSecond / 50);
  const double waited = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  trial.expect(late.status == BRIM_DEADLINE, "fence_wait for a value that nobody signals: expected deadline, found {}",
               late.text());
  trial.expect(waited > 0.015, "fence_wait with a timeout of 20 ms comes back after {:.1f} ms", waited * 1000);
  layer.fence_destroy(fence);
}

void fence_from_host(Trial& trial) {
  Device device(trial);
  Layer& layer = device.layer();
  brim_fence *gate = nullptr, *done = nullptr;
  must(trial, "fence_create", layer.fence_create(device.handle(), 0, &gate));
  must(trial, "fence_create", layer.fence_create(device.handle(), 0, &done));
  const Buffer from(device, 256), to(device, 256);
  for (uint64_t round = 1; round <= 20 && trial.clean(); ++round) {
    fill_pattern(from.data(), 256, round);
    std::memset(to.data(), 0, 256);
    must(trial, "queue_wait for what is not yet", layer.queue_wait(device.queue(), gate, round));
    // A synchronous device may hold its caller in copy until the gate opens: another thread does that.
    bool early = false;
    std::thread host([&] {
      std::this_thread::sleep_for(std::chrono::milliseconds(round % 5));
      early = holds_pattern(to.data(), 256, round);
      layer.fence_signal(gate, round);
    });
    const Answer copied = layer.copy(device.queue(), to.handle(), to.offset(), from.handle(), from.offset(), 256);
    const Answer told = layer.queue_signal(device.queue(), done, round);
    const Answer waited = layer.fence_wait(done, round, 5 * kSecond);
    host.join();
    must(trial, "copy behind queue_wait", copied);
    must(trial, "queue_signal", told);
    must(trial, "fence_wait", waited);
    trial.expect(!early, "a copy ran before the fence that its queue waits for was signalled");
    trial.expect(holds_pattern(to.data(), 256, round), "a copy behind queue_wait moved other bytes");
  }
  layer.fence_destroy(gate);
  layer.fence_destroy(done);
}

void fence_between_queues(Trial& trial) {
  Device device(trial), other(device);
  Layer& layer = device.layer();
  brim_fence* fence = nullptr;
  must(trial, "fence_create", layer.fence_create(device.handle(), 0, &fence));
  const Buffer a(device, 512), b(device, 512), c(device, 512);
  for (uint64_t round = 1; round <= 60 && trial.clean(); ++round) {
    fill_pattern(a.data(), 512, round);
    must(trial, "copy", layer.copy(device.queue(), b.handle(), b.offset(), a.handle(), a.offset(), 512));
    must(trial, "queue_signal", layer.queue_signal(device.queue(), fence, 2 * round - 1));
    must(trial, "queue_wait", layer.queue_wait(other.queue(), fence, 2 * round - 1));
    must(trial, "copy", layer.copy(other.queue(), c.handle(), c.offset(), b.handle(), b.offset(), 512));
    must(trial, "queue_signal", layer.queue_signal(other.queue(), fence, 2 * round));
    must(trial, "fence_wait", layer.fence_wait(fence, 2 * round, 5 * kSecond));
    trial.expect(holds_pattern(c.data(), 512, round),
                 "a queue that waits for another one's fence ran before it, or the fence was told too early (round {})",
                 round);
  }
  layer.fence_destroy(fence);
}

}  // namespace

void add_buffer_tests(std::vector<Test>& tests) {
  tests.insert(
      tests.end(),
      {{"buffers.alloc", "Buffers of every heap are aligned, mapped for good, and their own", kBackends, 20, alloc},
       {"buffers.too-much", "More than a heap has is out of memory, with figures, and changes nothing", kBackends, 20,
        too_much},
       {"buffers.budget", "What heap_budget promises can be had, and comes back", kBackends, 20, budget},
       {"buffers.many", "Buffers come and go in any order and leave nothing", kBackends, 20, many},
       {"buffers.copy", "Copies of any offset and length move those bytes and no other", kBackends, 20, copies},
       {"buffers.chain", "Copies of one queue follow each other, through every heap", kBackends, 20, chain},
       {"buffers.bandwidth", "Large copies come to an end, and how fast", kBackends, 60, bandwidth},
       {"buffers.import", "Imported memory is read and written in place and stays the caller's", kBackends, 20, import},
       {"buffers.fences", "Fences only grow, polls and waits end in time", kBackends, 20, fence_values},
       {"buffers.host-signal", "Work behind queue_wait runs when the host has signalled", kBackends, 30,
        fence_from_host},
       {"buffers.queues", "One queue waits for another's fence", kBackends, 30, fence_between_queues}});
}

}  // namespace check
