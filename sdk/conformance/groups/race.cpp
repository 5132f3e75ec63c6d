// race: what the thread roles allow at once, done at once. A sanitizer build of the plugin sees more here.
#include <algorithm>
#include <atomic>
#include <thread>

#include "../bench/crowd.hpp"
#include "groups.hpp"

namespace check {
namespace {

constexpr int kThreads = 4;

// Runs fn(0 .. kThreads-1) on as many threads at once; a test that stops in one of them stops.
template <class F>
void at_once(Trial& trial, F fn) {
  std::atomic<int> ready{0};
  std::atomic<bool> stopped{false};
  std::vector<std::thread> threads;
  for (int t = 0; t < kThreads; ++t) {
    threads.emplace_back([&, t] {
      ++ready;
      while (ready < kThreads) std::this_thread::yield();
      try {
        fn(t);
      } catch (const Stopped&) {
        stopped = true;
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  if (stopped) trial.stop();
}

void devices(Trial& trial) {
  Device device(trial);
  const Sample sample = best_sample(device);
  struct One {
    One(Device& of, const Sample& sample, uint64_t seed)
        : device(of),
          program(device, sample.net, crowded_setup()),
          judge(device, sample.net, crowded_setup()),
          crowd(device, sample, program, seed) {}
    Device device;
    Program program, judge;
    Crowd crowd;
  };
  std::vector<std::unique_ptr<One>> all;
  for (int t = 0; t < kThreads; ++t)
    all.push_back(std::make_unique<One>(device, sample, trial.target().seed + static_cast<uint64_t>(t)));
  at_once(trial, [&](int t) {
    One& one = *all[static_cast<size_t>(t)];
    for (int i = 0; i < 40 && trial.clean(); ++i) {
      one.crowd.next();
      must(trial, "program_run beside other threads", one.program.submit(one.device.queue()));
      must(trial, "fence_wait", one.device.finish());
      const std::string wrong = one.crowd.check(one.judge);
      trial.expect(wrong.empty(), "{} programs on as many threads, queues and handles disturb each other: {}", kThreads,
                   wrong);
    }
  });
}

void queues(Trial& trial) {
  Device device(trial);
  Layer& layer = device.layer();
  const Sample sample = best_sample(device);
  const Setup setup = crowded_setup();
  struct One {
    std::unique_ptr<Program> program;
    brim_queue* queue;
    brim_fence* fence;
    Member member;
    std::vector<uint32_t> expected;
  };
  std::vector<One> all(kThreads);
  for (One& one : all) {
    one.program = std::make_unique<Program>(device, sample.net, setup);
    must(trial, "queue_create", layer.queue_create(device.handle(), &one.queue));
    must(trial, "fence_create", layer.fence_create(device.handle(), 0, &one.fence));
    one.member = random_member(sample, 8, trial.random());
    give_blocks(one.member, *one.program, 8);
    one.expected = run_rows(*one.program, sample, one.member, 0, 8);
  }
  // Submissions, signals and waits are all that the threads do; what is [control] was done before.
  at_once(trial, [&](int t) {
    One& one = all[static_cast<size_t>(t)];
    const Step step = step_of(sample, one.member, 0, 8);
    for (uint64_t i = 1; i <= 100 && trial.clean(); ++i) {
      one.program->soil(std::byte{0xff});
      must(trial, "program_run beside other threads", one.program->submit(one.queue));
      must(trial, "queue_signal", layer.queue_signal(one.queue, one.fence, i));
      must(trial, "fence_wait", layer.fence_wait(one.fence, i, UINT64_MAX));
      const std::string wrong = difference(device, result_bits(*one.program, sample, step), one.expected, sample.width);
      trial.expect(wrong.empty(), "{} queues of one device on as many threads disturb each other: {}", kThreads, wrong);
    }
  });
  for (One& one : all) {
    one.program->inspect("program_run from several threads");
    layer.queue_destroy(one.queue);
    layer.fence_destroy(one.fence);
  }
}

void instances(Trial& trial) {
  const Sample sample = [&] {
    Device device(trial);
    return best_sample(device);
  }();
  const Member member = random_member(sample, 20, trial.random());
  std::vector<std::vector<uint32_t>> results(kThreads);
  at_once(trial, [&](int t) {
    for (int i = 0; i < 3; ++i) {
      Device device(trial);
      Program program(device, sample.net, crowded_setup());
      results[static_cast<size_t>(t)] = run_alone(program, sample, member, 8);
    }
  });
  for (const auto& one : results) {
    const std::string wrong = first_difference(one, results.front(), sample.width);
    trial.expect(wrong.empty(), "instances on several threads give different results: {}", wrong);
  }
}

void planning(Trial& trial) {
  Device device(trial);
  Layer& layer = device.layer();
  const Sample sample = best_sample(device);
  Program program(device, sample.net, crowded_setup());
  const Image image(sample.net, Strides{});
  std::vector<brim_support> expected(sample.net.nodes.size());
  for (uint32_t i = 0; i < expected.size(); ++i) {
    must(trial, "support", layer.support(device.handle(), image.graph(), i, BRIM_NUMERICS_STRICT, &expected[i]));
  }
  at_once(trial, [&](int t) {
    for (int round = 0; round < 30 && trial.clean(); ++round) {
      for (uint32_t i = 0; i < expected.size(); ++i) {
        const uint32_t node = (i + static_cast<uint32_t>(t)) % static_cast<uint32_t>(expected.size());
        brim_support answer{};
        must(trial, "support", layer.support(device.handle(), image.graph(), node, BRIM_NUMERICS_STRICT, &answer));
        trial.expect(std::memcmp(&answer, &expected[node], sizeof(answer)) == 0,
                     "support of node {} is answered differently while other threads plan", node);
      }
      brim_program_cost cost{};
      must(trial, "program_measure", program.measure(&cost));
      trial.expect(cost.workspace == program.cost().workspace && cost.persistent == program.cost().persistent,
                   "program_measure answers differently while other threads plan");
      brim_device_info info{};
      brim_heap_info heap{};
      uint64_t budget = 0;
      must(trial, "device_info", layer.device_info(device.handle(), &info));
      must(trial, "heap_info", layer.heap_info(device.handle(), device.heap(), &heap));
      must(trial, "heap_budget", layer.heap_budget(device.handle(), device.heap(), &budget));
      trial.expect(view(info.name) == view(device.info().name),
                   "device_info answers differently while other threads plan");
      if (!sample.has_kv) continue;
      brim_state_layout layout{};
      must(trial, "state_layout",
           layer.state_layout(device.handle(), sample.net.states.front(), BRIM_DTYPE_F32, &layout));
      trial.expect(layout.block_bytes == program.store().layouts.front().block_bytes,
                   "state_layout answers differently while other threads plan");
    }
  });
}

void memory(Trial& trial) {
  Device device(trial);
  Layer& layer = device.layer();
  const uint64_t before = device.host().live_blocks();
  at_once(trial, [&](int t) {
    for (uint64_t i = 0; i < 200 && trial.clean(); ++i) {
      const uint64_t bytes = 64 + i * 37 % 5000;
      brim_buffer* buffer = nullptr;
      void* at = nullptr;
      must(trial, "buffer_alloc", layer.buffer_alloc(device.handle(), device.heap(), bytes, &buffer));
      must(trial, "buffer_map", layer.buffer_map(buffer, &at));
      std::memset(at, t, bytes);
      std::this_thread::yield();
      const auto* b = static_cast<const std::byte*>(at);
      trial.expect(std::all_of(b, b + bytes, [&](std::byte x) { return x == static_cast<std::byte>(t); }),
                   "buffers that several threads allocated at once share memory");
      layer.buffer_free(buffer);
    }
  });
  trial.expect(device.host().live_blocks() == before,
               "leak: {} blocks of host memory more after 800 buffers from 4 threads",
               device.host().live_blocks() - before);
}

void fences(Trial& trial) {
  Device device(trial);
  Layer& layer = device.layer();
  std::vector<brim_fence*> all(kThreads);
  for (brim_fence*& fence : all) must(trial, "fence_create", layer.fence_create(device.handle(), 0, &fence));
  // A ring: each thread waits for its own fence and signals the next one's.
  at_once(trial, [&](int t) {
    const auto own = static_cast<size_t>(t), next = (own + 1) % kThreads;
    for (uint64_t i = 1; i <= 50; ++i) {
      if (t == 0) layer.fence_signal(all[next], i);
      const Answer answer = layer.fence_wait(all[own], i, 20'000'000'000);
      if (!trial.expect(answer.ok(), "fence_wait for a value that another thread signals: {}", answer.text())) return;
      if (t != 0) layer.fence_signal(all[next], i);
    }
  });
  for (brim_fence* fence : all) layer.fence_destroy(fence);
}

}  // namespace

void add_race_tests(std::vector<Test>& tests) {
  tests.insert(tests.end(),
               {{"race.devices",
                 "Handles of one device, each with program and queue on its own thread, do not disturb each other",
                 kBackends, 120, devices},
                {"race.queues", "Queues of one handle work for several threads at once", kBackends, 120, queues},
                {"race.instances", "Instances live on several threads at once", kBackends, 120, instances},
                {"race.planning", "Planning calls come from any thread", kBackends, 60, planning},
                {"race.memory", "Buffers come and go on any thread", kBackends, 60, memory},
                {"race.fences", "Fences are signalled and awaited on any thread", kBackends, 60, fences}});
}

}  // namespace check
