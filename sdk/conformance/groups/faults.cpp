// faults: memory that is not there, at every single allocation, and a device that goes away.
#include <algorithm>
#include <cmath>

#include "../bench/crowd.hpp"
#include "../bench/pace.hpp"
#include "../os/os.hpp"
#include "groups.hpp"

namespace check {
namespace {

// What a host does with a backend, from create to destroy; everything is given back whatever fails on the way.
void whole_life(Trial& trial, Host& host, const Sample& sample) {
  Device device(trial, host);
  Layer& layer = device.layer();
  {
    const Buffer from(device, 64), to(device, 64);
    must(trial, "copy", layer.copy(device.queue(), to.handle(), to.offset(), from.handle(), from.offset(), 64));
    must(trial, "fence_wait", device.finish());
  }
  const auto or_unsupported = [&](const char* entry, const Answer& answer) {
    if (answer.status != BRIM_UNSUPPORTED && answer.status != BRIM_INVALID_ARGUMENT) must(trial, entry, answer);
    return answer.ok();
  };
  if (layer.table().buffer_import != nullptr) {
    const Fenced memory(4096, 4096);
    brim_buffer* imported = nullptr;
    if (or_unsupported("buffer_import", layer.buffer_import(device.handle(), memory.data(), 4096, true, &imported))) {
      layer.buffer_free(imported);
    }
  }
  if (layer.table().device_describe != nullptr) {
    brim_device* described = nullptr;
    const Settings description = {{"name", "a described device"}, {"memory", "1073741824"}};
    if (or_unsupported("device_describe", layer.device_describe(description, &described)))
      layer.device_close(described);
  }
  Setup setup;
  setup.pieces = 2;
  Program program(device, sample.net, setup);
  const StepMaker maker(program, sample, program.store().block_tokens, setup.n_blocks);
  const Step step = maker.one(3, 3);
  maker.set_input(program, step, 1, 0);
  must(trial, "program_run", program.run(step));
  if (sample.has_kv) {
    const brim_state_desc& desc = sample.net.states.front();
    const Fenced values(uint64_t{3} * desc.n_head * (desc.k_width + desc.v_width) * sizeof(float), 4);
    const brim_program_state storage = program.store().program_state(0, 0);
    must(trial, "state_export",
         device.layer().state_export(device.queue(), desc, storage, {0, 1, 2}, 0, 3, BRIM_DTYPE_F32, values.data()));
    must(trial, "state_import",
         device.layer().state_import(device.queue(), desc, storage, {0, 1, 2}, 0, 3, BRIM_DTYPE_F32, values.data()));
  }
}

// Runs `life` with the n-th allocation failing, for every n, until nothing is left to fail. Where that would take
// longer than `most_seconds`, as on devices that take long to open, for every k-th, from one on that the seed draws.
// taken(): how many allocations there were since arm().
template <class Arm, class Taken, class Failed, class Life>
void every_allocation(Trial& trial, const char* what, double most_seconds, Arm arm, Taken taken, Failed failed,
                      Life life) {
  constexpr int kMost = 20000;
  double all = 0, one = 0;
  for (int i = 0; i < 2; ++i) {  // the first one warms up
    const Pace pace;
    arm(kMost);
    life();
    all = static_cast<double>(taken());
    one = pace.seconds();
    failed();
  }
  arm(-1);
  // A life that ends early is shorter: by half, on the whole.
  const int step = std::max(1, static_cast<int>(std::min(std::ceil(one / 2 * all / most_seconds), 1000.0)));
  int n = step == 1 ? 0 : static_cast<int>(trial.random()() % static_cast<unsigned>(step)), survived = 0, failures = 0;
  for (; n < kMost && trial.clean(); n += step) {
    arm(n);
    trial.expect_refusals(true);
    bool refused = false;
    try {
      life();
    } catch (const Refused& refusal) {
      refused = true;
      arm(-1);
      trial.expect_refusals(false);
      trial.expect(refusal.status == BRIM_OUT_OF_MEMORY, "{} {} failed in {}: expected out of memory, found {}", what,
                   n, refusal.entry, refusal.text);
    }
    trial.expect_refusals(false);
    if (!failed()) {
      trial.expect(!refused, "{}: a call failed though no allocation did", what);
      break;
    }
    ++failures;
    survived += !refused;
  }
  arm(-1);
  trial.note(
      "{} failures, {} of them survived{}", failures, survived,
      step == 1 ? "" : fmt::format("; one in {} of {:.0f} allocations, as a whole run takes {:.2f} s", step, all, one));
}

// Another instance keeps its device open the while, so that a driver that takes long to start does so once.
void host_memory(Trial& trial) {
  Device keeper(trial);
  const Sample sample = best_sample(keeper);
  for (const bool and_all_later : {false, true}) {
    std::unique_ptr<Host> host;
    every_allocation(
        trial, and_all_later ? "host allocation (and all later ones)" : "host allocation", 60,
        [&](int n) {
          if (n < 0) {
            if (host) host->refuse(-1);
            return;
          }
          host = std::make_unique<Host>();
          host->refuse(n, and_all_later);
        },
        [&] { return host->allocations(); },
        [&] {
          trial.expect(host->live_blocks() == 0, "leak: {} blocks of host memory are left after an allocation failed",
                       host->live_blocks());
          return host->refused();
        },
        [&] { whole_life(trial, *host, sample); });
  }
}

// Of the plugin's own calls: what a driver below it does with failing memory is not the plugin's to answer for.
void process_memory(Trial& trial) {
  Device keeper(trial);
  const Sample sample = best_sample(keeper);
  const auto* const plugin = reinterpret_cast<const void*>(keeper.layer().table().program_run);
  os::start_counting(plugin);
  if (!os::stop_counting().known) trial.skip("this build of the checker cannot refuse the process's allocations");
  every_allocation(
      trial, "allocation (malloc and its kin)", 100,
      [&](int n) {
        count_in_calls(n >= 0);
        if (n < 0) return;
        os::start_counting(plugin);
        os::stop_counting();
        os::fail_allocation(n);
      },
      [] { return os::stop_counting().allocations; }, [] { return os::fail_allocation(-1); },
      [&] {
        Host host;
        whole_life(trial, host, sample);
      });
}

void program_memory(Trial& trial) {
  Device device(trial);
  const Sample sample = best_sample(device);
  const Member member = random_member(sample, 4, trial.random());
  const Setup setup = crowded_setup();
  std::vector<uint32_t> expected;
  {
    Program program(device, sample.net, setup);
    expected = run_alone(program, sample, member, 4);
  }
  const uint64_t before = device.host().live_blocks();
  uint64_t armed = 0;
  every_allocation(
      trial, "host allocation while a program is made", 60,
      [&](int n) {
        device.host().refuse(n);
        armed = device.host().allocations();
      },
      [&] { return device.host().allocations() - armed; }, [&] { return device.host().refused(); },
      [&] { Program program(device, sample.net, setup); });
  trial.expect(device.host().live_blocks() == before,
               "leak: {} blocks of host memory more after programs that could not be made",
               device.host().live_blocks() - before);
  // The device goes on as if nothing had been.
  Program program(device, sample.net, setup);
  const std::string wrong = difference(device, run_alone(program, sample, member, 4), expected, sample.width);
  trial.expect(wrong.empty(), "a program made after failures gives another result: {}", wrong);
}

// Backends that can pretend take a setting "lost_at": the n-th piece of work finds the device gone.
void device_lost(Trial& trial) {
  {
    Host host;
    Answer answer;
    brim_plugin* plugin = Instance::create(trial, host, {{"lost_at", "1000000"}}, true, &answer);
    if (plugin == nullptr) trial.skip("the plugin has no setting lost_at, which would make a device go away");
    open_header(trial).destroy(plugin);
  }
  Device well(trial);
  const Sample sample = best_sample(well);
  int losses = 0;
  for (int n = 1; n < 200 && trial.clean(); ++n) {
    Device::Options options;
    options.settings = {{"lost_at", std::to_string(n)}};
    bool lost = false;
    Device device(trial, options);
    trial.expect_refusals(true);
    std::unique_ptr<Program> program;
    try {
      program = std::make_unique<Program>(device, sample.net, Setup{});
      const StepMaker maker(*program, sample, program->store().block_tokens, 8);
      for (int i = 0; i < 3; ++i) {
        const Step step = maker.one(1, 1);
        maker.set_input(*program, step, 1, 0);
        must(trial, "program_run", program->run(step));
      }
    } catch (const Refused& refusal) {
      lost = true;
      trial.expect_refusals(false);
      trial.expect(refusal.status == BRIM_DEVICE_LOST, "a lost device: {}: expected device lost, found {}",
                   refusal.entry, refusal.text);
    }
    trial.expect_refusals(false);
    if (!lost) break;
    ++losses;
    // It sticks.
    brim_buffer* buffer = nullptr;
    brim_fence* fence = nullptr;
    const auto gone = [&](const char* entry, const Answer& answer) {
      trial.expect(answer.status == BRIM_DEVICE_LOST, "{} on a device that was lost: expected device lost, found {}",
                   entry, answer.text());
    };
    gone("buffer_alloc", device.layer().buffer_alloc(device.handle(), device.heap(), 64, &buffer));
    gone("fence_create", device.layer().fence_create(device.handle(), 0, &fence));
    if (program && program->created()) gone("program_run", program->submit(device.queue()));
  }
  trial.expect(losses > 0, "with lost_at = 1 nothing was lost");
  // Another instance's device is another one.
  Program program(well, sample.net, Setup{});
  const StepMaker maker(program, sample, program.store().block_tokens, 8);
  const Step step = maker.one(1, 1);
  maker.set_input(program, step, 1, 0);
  must(trial, "program_run on the device of another instance", program.run(step));
  trial.note("{} losses", losses);
}

}  // namespace

void add_fault_tests(std::vector<Test>& tests) {
  tests.insert(
      tests.end(),
      {{"faults.host-memory", "The host refuses memory, every allocation once: out of memory, and nothing is left",
        kBackends, 240, host_memory},
       {"faults.process-memory", "malloc fails, every call of the plugin's once: out of memory, and nothing is left",
        kBackends, 240, process_memory},
       {"faults.program-memory", "A program that cannot be made leaves its device as it was", kBackends, 120,
        program_memory},
       {"faults.device-lost", "A lost device says so in every call and lets itself be closed", kBackends, 60,
        device_lost}});
}

}  // namespace check
