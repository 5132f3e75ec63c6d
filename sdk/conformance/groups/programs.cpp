// programs: one program, a thousand steps; what it costs, what it reads and writes, and what must not change its
// results.
#include <algorithm>
#include <bit>
#include <cmath>
#include <limits>

#include "../bench/crowd.hpp"
#include "../bench/pace.hpp"
#include "groups.hpp"

namespace check {
namespace {

// Runs a member's rows in one program, whole, and gives their bits.
std::vector<uint32_t> bits_of(Device& device, const Sample& sample, const Setup& setup, const Member& member,
                              const char* after) {
  Program program(device, sample.net, setup);
  program.soil(std::byte{0xff});
  std::vector<uint32_t> out = run_alone(program, sample, member, setup.bucket.n_tokens);
  program.inspect(after);
  return out;
}

void thousand_runs(Trial& trial) {
  Device device(trial);
  const Sample sample = best_sample(device);
  const Setup setup = crowded_setup();
  Program program(device, sample.net, setup), judge(device, sample.net, setup);
  Crowd crowd(device, sample, program, trial.target().seed);
  for (int i = 0; i < 1000 && trial.clean(); ++i) {
    crowd.next();
    program.soil(std::byte{0xff});
    must(trial, "program_run", program.submit(device.queue()));
    must(trial, "fence_wait behind a run", device.finish());
    program.inspect("program_run");
    if (i % 10 != 9) continue;
    const std::string wrong = crowd.check(judge);
    trial.expect(wrong.empty(), "run {}: rows of several sequences give other results than each sequence alone: {}", i,
                 wrong);
  }
  trial.note("{}", sample.name);
}

void no_allocation(Trial& trial) {
  Device device(trial);
  const Sample sample = best_sample(device);
  Program program(device, sample.net, crowded_setup());
  Crowd crowd(device, sample, program, trial.target().seed);
  device.layer().count_runs();
  constexpr int kLeast = 50;  // where a step takes long
  const Pace pace;
  int i = 0;
  for (; i < 1000 && trial.clean() && (i < kLeast || pace.seconds() < 10); ++i) {
    crowd.next();
    const uint64_t before = device.host().allocations();
    must(trial, "program_run", program.submit(device.queue()));
    const uint64_t taken = device.host().allocations() - before;
    must(trial, "fence_wait behind a run", device.finish());
    const os::Counted& counted = device.layer().last_run();
    trial.expect(taken == 0,
                 "program_run takes host memory ({} times in run {}); what it needs belongs into program_create", taken,
                 i);
    if (!counted.known) continue;
    trial.expect(counted.allocations == 0, "program_run allocates (malloc and its kin: {} calls in run {})",
                 counted.allocations, i);
    trial.expect(counted.maps == 0, "program_run maps memory ({} calls in run {})", counted.maps, i);
    trial.expect(counted.environment == 0, "program_run reads the environment ({} calls)", counted.environment);
    trial.expect(counted.threads == 0, "program_run starts {} threads; team_run is where a plugin's threads come from",
                 counted.threads);
  }
  if (i < 1000) trial.note("{} steps", i);
}

void measured(Trial& trial) {
  Device device(trial);
  const Sample sample = best_sample(device);
  for (const brim_bucket& bucket :
       {brim_bucket{sizeof(brim_bucket), 1, 1, 1, 16, 1}, brim_bucket{sizeof(brim_bucket), 8, 4, 8, 64, 1},
        brim_bucket{sizeof(brim_bucket), 128, 8, 16, 256, 1}}) {
    for (const uint32_t numerics : {BRIM_NUMERICS_STRICT, BRIM_NUMERICS_FAST}) {
      if (!supported(device, sample.net, numerics)) continue;
      Setup setup;
      setup.bucket = bucket;
      setup.numerics = numerics;
      setup.n_blocks = bucket.n_tokens;
      Program program(device, sample.net, setup);
      const brim_program_cost& cost = program.cost();
      trial.expect(
          program.held() <= cost.persistent,
          "program_measure says persistent {} for a bucket of {} tokens; the program holds {} bytes of host memory",
          cost.persistent, bucket.n_tokens, program.held());
      trial.expect(
          program.peak() <= cost.persistent + cost.build_peak,
          "program_measure says persistent {} + build_peak {} for a bucket of {} tokens; building it took {} bytes "
          "of host memory",
          cost.persistent, cost.build_peak, bucket.n_tokens, program.peak());
      const uint64_t before = device.host().live_bytes();
      const Member member = random_member(sample, bucket.n_tokens, trial.random());
      program.soil(std::byte{0xff});
      run_alone(program, sample, member, bucket.n_outputs);
      program.inspect("program_run");
      trial.expect(device.host().live_bytes() <= before, "a program takes {} bytes more of host memory while it runs",
                   device.host().live_bytes() - before);
      trial.note("{} tokens: workspace {}, persistent {} (held {})", bucket.n_tokens, cost.workspace, cost.persistent,
                 program.held());
    }
  }
}

void padding(Trial& trial) {
  Device device(trial);
  const Sample sample = best_sample(device);
  const Setup setup = crowded_setup();
  Program program(device, sample.net, setup);
  for (int round = 0; round < 10 && trial.clean(); ++round) {
    const Member member = random_member(sample, 1 + static_cast<uint32_t>(trial.random()() % 7), trial.random());
    const auto length = static_cast<uint32_t>(member.tokens.size());
    std::vector<std::vector<uint32_t>> results;
    for (const uint32_t fill : {0xffu, 0x00u, 0x7fu, 0x44u}) {
      program.soil(static_cast<std::byte>(fill));
      if (sample.input != 0) {
        float value;
        const uint32_t bits = fill * 0x01010101u;
        std::memcpy(&value, &bits, sizeof(value));
        program.set(sample.input, std::vector<float>(uint64_t{setup.bucket.n_tokens} * sample.input_width, value));
      }
      Member alone = member;
      give_blocks(alone, program, length);
      results.push_back(run_rows(program, sample, alone, 0, length));
      const std::string wrong = first_difference(results.front(), results.back(), sample.width);
      trial.expect(
          wrong.empty(),
          "what lies in padding rows, temporaries and workspace before a run (bytes of {:#x} or NaN) reaches the "
          "result: {}",
          fill, wrong);
    }
    for (const uint32_t bits : results.front()) {
      if (!trial.expect(std::isfinite(std::bit_cast<float>(bits)),
                        "the result holds {}: padding rows or memory that nobody wrote were read",
                        std::bit_cast<float>(bits))) {
        break;
      }
    }
  }
}

void info_gone(Trial& trial) {
  Device device(trial);
  const Sample sample = best_sample(device);
  Program program(device, sample.net, crowded_setup());
  const Member member = random_member(sample, 5, trial.random());
  const std::vector<uint32_t> before = run_alone(program, sample, member, 5);
  // Touching any of it from here on ends the process, and the report names the call.
  program.forget_info();
  for (int i = 0; i < 3; ++i) {
    program.soil(std::byte{0xff});
    const std::string wrong = first_difference(before, run_alone(program, sample, member, 5), sample.width);
    trial.expect(wrong.empty(), "the results changed after what program_create was given had gone: {}", wrong);
  }
}

void step_order(Trial& trial) {
  Device device(trial);
  const Sample sample = best_sample(device);
  const Member member = random_member(sample, 20, trial.random());
  Setup setup = crowded_setup();
  const std::vector<uint32_t> expected = bits_of(device, sample, setup, member, "program_run");
  for (int i = 0; i < 6 && trial.clean(); ++i) {
    setup.step_seed = 1 + trial.random()() % 1000000;
    const std::string wrong =
        difference(device, bits_of(device, sample, setup, member, "program_run"), expected, sample.width);
    trial.expect(
        wrong.empty(),
        "another order of the step block's arrays changes the result: their places are what brim_step_layout says: {}",
        wrong);
  }
}

void pieces(Trial& trial) {
  Device device(trial);
  for (const uint32_t dtype : {BRIM_DTYPE_F32, BRIM_DTYPE_Q8_0, BRIM_DTYPE_Q4_0}) {
    std::mt19937_64 random(trial.target().seed);
    Sample sample = decoder(random, dtype);
    if (!supported(device, sample.net, BRIM_NUMERICS_STRICT)) sample = feed_forward(random, dtype);
    if (!supported(device, sample.net, BRIM_NUMERICS_STRICT)) continue;
    const Member member = random_member(sample, 9, random);
    Setup setup = crowded_setup();
    const std::vector<uint32_t> whole = bits_of(device, sample, setup, member, "program_run");
    for (const uint32_t n : {2u, 3u, 7u}) {
      setup.pieces = n;
      const std::string wrong = difference(
          device, bits_of(device, sample, setup, member, "program_run with weights in pieces"), whole, sample.width);
      trial.expect(wrong.empty(), "weights of {} bound in {} pieces give another result than whole ones: {}",
                   brim_dtype_name(dtype), n, wrong);
    }
  }
}

// A program of one of two independent chains leaves the other's output alone.
void subset(Trial& trial) {
  Device device(trial);
  Net net;
  const brim_value x = net.embedding(32), y = net.output({tokens(), fixed(32)}), z = net.output({tokens(), fixed(32)});
  brim_copy_attr attr{};
  attr.dtype = BRIM_DTYPE_F32;
  brim_binary_attr twice{};
  twice.kind = BRIM_BINARY_ADD;
  net.node(BRIM_OP_BINARY, {x, x}, {y}, twice);
  net.node(BRIM_OP_COPY, {x}, {z}, attr);
  if (!supported(device, net, BRIM_NUMERICS_STRICT)) trial.skip("BINARY and COPY are not supported");
  const std::vector<float> input = random_floats(32 * 4, trial.random());
  for (const uint32_t node : {0u, 1u}) {
    Setup setup;
    setup.nodes = {node};
    Program program(device, net, setup);
    program.set(x, input);
    program.soil(std::byte{0xff});
    Step step;
    step.sequences = {Rows{3, 3, {}}};
    must(trial, "program_run", program.run(step));
    program.inspect("program_run");
    const std::vector<float> done = program.floats(node == 0 ? y : z, 96),
                             other = program.floats(node == 0 ? z : y, 128);
    for (size_t i = 0; i < 96; ++i) {
      const float expected = node == 0 ? 2 * input[i] : input[i];
      if (!trial.expect(done[i] == expected, "node {}: element {} is {} in place of {}", node, i, done[i], expected))
        break;
    }
    trial.expect(std::all_of(other.begin(), other.end(), [](float v) { return std::isnan(v); }),
                 "a program of node {} alone also ran the graph's other node: `nodes` says which are its own", node);
  }
}

void team(Trial& trial) {
  Device device(trial);
  const Sample sample = best_sample(device);
  Setup setup = crowded_setup();
  setup.bucket = {sizeof(brim_bucket), 64, 4, 64, 64, 1};
  Program program(device, sample.net, setup);
  const Member member = random_member(sample, 60, trial.random());
  std::vector<uint32_t> first;
  const uint64_t before = device.host().team_runs();
  for (const uint32_t most : {1u, 2u, 3u}) {
    device.host().limit_team(most);
    program.soil(std::byte{0xff});
    const std::vector<uint32_t> bits = run_alone(program, sample, member, 60);
    if (most == 1) first = bits;
    const std::string wrong = first_difference(bits, first, sample.width);
    trial.expect(wrong.empty(),
                 "with {} threads the results are other bits than with 1: they must not depend on it: {}", most, wrong);
  }
  trial.note("{} team runs", device.host().team_runs() - before);
}

void buckets(Trial& trial) {
  Device device(trial);
  const Sample sample = best_sample(device, BRIM_NUMERICS_STRICT, true);
  Setup setup = crowded_setup();
  StateStore store(device, sample.net.states, setup.kv_dtype, setup.n_blocks);
  Program prefill(device, sample.net, setup, &store), judge(device, sample.net, setup);
  // Programs for single rows; their bound of n_kv is their own.
  Setup one = setup, narrow = setup;
  one.bucket = {sizeof(brim_bucket), 1, 1, 1, 64, 1};
  narrow.bucket = {sizeof(brim_bucket), 2, 2, 2, 32, 1};
  Program decode(device, sample.net, one, &store), small(device, sample.net, narrow, &store);
  Member member = random_member(sample, 40, trial.random());
  const std::vector<uint32_t> expected = run_alone(judge, sample, member, 8);
  give_blocks(member, prefill, 40, 3);
  std::vector<uint32_t> got;
  for (uint32_t at = 0; at < 40;) {
    // By turns: 8 rows, single ones, 2 rows while they fit.
    Program& next = at % 16 == 0 ? prefill : at < 30 && at % 2 == 0 ? small : decode;
    const uint32_t count = std::min(next.bucket().n_tokens, 40 - at);
    const std::vector<uint32_t> bits = run_rows(next, sample, member, at, count);
    got.insert(got.end(), bits.begin(), bits.end());
    at += count;
  }
  const std::string wrong = difference(device, got, expected, sample.width);
  trial.expect(wrong.empty(),
               "a sequence that programs of several buckets work on by turns differs from one program's: {}", wrong);
}

void two_programs(Trial& trial) {
  Device device(trial), other(device);
  const Sample sample = best_sample(device);
  const Setup setup = crowded_setup();
  Program one(device, sample.net, setup), two(device, sample.net, setup), judge(device, sample.net, setup);
  Crowd first(device, sample, one, trial.target().seed), second(device, sample, two, trial.target().seed + 1);
  for (int i = 0; i < 60 && trial.clean(); ++i) {
    // Both are under way at once where the device is asynchronous; queues change.
    first.next();
    second.next();
    must(trial, "program_run", one.submit(i % 2 ? device.queue() : other.queue()));
    must(trial, "program_run of a second program", two.submit(i % 3 ? other.queue() : device.queue()));
    must(trial, "fence_wait", device.finish(device.queue()));
    must(trial, "fence_wait", device.finish(other.queue()));
    for (const std::string& wrong : {first.check(judge), second.check(judge)}) {
      trial.expect(wrong.empty(), "two programs on two queues disturb each other (step {}): {}", i, wrong);
    }
  }
}

void formats(Trial& trial) {
  Device device(trial);
  std::string list;
  for (const uint32_t dtype : {BRIM_DTYPE_F16, BRIM_DTYPE_BF16, BRIM_DTYPE_Q4_0, BRIM_DTYPE_Q4_1, BRIM_DTYPE_Q5_0,
                               BRIM_DTYPE_Q5_1, BRIM_DTYPE_Q8_0, BRIM_DTYPE_IQ4_NL, BRIM_DTYPE_MXFP4}) {
    for (const uint32_t numerics : {BRIM_NUMERICS_STRICT, BRIM_NUMERICS_FAST}) {
      const Sample sample = feed_forward(trial.random(), dtype);
      if (!supported(device, sample.net, numerics)) continue;
      Setup setup = crowded_setup();
      setup.numerics = numerics;
      const Member member = random_member(sample, 8, trial.random());
      const std::vector<uint32_t> bits = bits_of(device, sample, setup, member, "program_run");
      const bool finite =
          std::all_of(bits.begin(), bits.end(), [](uint32_t b) { return std::isfinite(std::bit_cast<float>(b)); });
      trial.expect(finite, "a block with weights of {} gives NaN or infinity", brim_dtype_name(dtype));
      // Row by row, in the same numerics.
      setup.bucket = {sizeof(brim_bucket), 1, 1, 1, 64, 1};
      const std::vector<uint32_t> single = bits_of(device, sample, setup, member, "program_run");
      if (numerics == BRIM_NUMERICS_STRICT || device.has_flag(BRIM_DEVICE_BATCH_INVARIANT)) {
        const std::string wrong = difference(device, bits, single, sample.width);
        trial.expect(wrong.empty(), "8 rows at once with weights of {} differ from 8 single rows: {}",
                     brim_dtype_name(dtype), wrong);
      }
      if (numerics == BRIM_NUMERICS_STRICT) list += (list.empty() ? "" : " ") + std::string(brim_dtype_name(dtype));
    }
  }
  if (list.empty()) trial.skip("no weight format but f32 is supported");
  trial.note("{}", list);
}

void not_a_number(Trial& trial) {
  Device device(trial);
  std::mt19937_64& random = trial.random();
  Sample sample = feed_forward(random);
  if (!supported(device, sample.net, BRIM_NUMERICS_STRICT)) sample = single_op(random);
  if (!supported(device, sample.net, BRIM_NUMERICS_STRICT)) trial.skip("no program that reads rows can be built");
  Program program(device, sample.net, crowded_setup());
  Member member = random_member(sample, 6, random);
  const std::vector<uint32_t> clean = run_alone(program, sample, member, 6);
  constexpr uint32_t kRow = 2;
  member.rows[kRow * sample.input_width + 5] = std::numeric_limits<float>::quiet_NaN();
  std::vector<uint32_t> got = run_alone(program, sample, member, 6);
  const auto begin = got.begin() + kRow * sample.width, end = begin + sample.width;
  trial.expect(std::any_of(begin, end, [](uint32_t b) { return std::isnan(std::bit_cast<float>(b)); }),
               "a NaN in row {} of the input does not reach row {} of the result", kRow, kRow);
  std::copy_n(clean.begin() + kRow * sample.width, sample.width, begin);
  const std::string wrong = difference(device, got, clean, sample.width);
  trial.expect(wrong.empty(), "a NaN in row {} of the input changes another row: {}", kRow, wrong);
}

}  // namespace

void add_program_tests(std::vector<Test>& tests) {
  tests.insert(
      tests.end(),
      {{"programs.thousand-runs", "1,000 steps of one program: nothing written astray, each sequence as if alone",
        kBackends, 240, thousand_runs},
       {"programs.no-allocation",
        "1,000 steps take no memory, from the host or the system, and start no thread by the plugin's doing", kBackends,
        60, no_allocation},
       {"programs.measured", "What a program holds and takes is within what program_measure said", kBackends, 60,
        measured},
       {"programs.padding", "What lies in padding, temporaries and workspace before a run changes nothing", kBackends,
        60, padding},
       {"programs.info-gone", "A program needs nothing of what program_create was given any more", kBackends, 30,
        info_gone},
       {"programs.step-order", "The step block's arrays are found where its layout says", kBackends, 30, step_order},
       {"programs.pieces", "Weights bound in pieces are the same weights", kBackends, 60, pieces},
       {"programs.subset", "A program runs the nodes that it was given and no others", kBackends, 30, subset},
       {"programs.team", "Results do not depend on how many threads the host gives", kBackends, 60, team},
       {"programs.buckets", "Programs of several buckets work on one sequence by turns", kBackends, 30, buckets},
       {"programs.two", "Two programs on two queues do not know each other", kBackends, 60, two_programs},
       {"programs.formats", "Programs with weights of every supported format run, rows together as alone", kBackends,
        60, formats},
       {"programs.nan", "A NaN in a row stays in its row", kBackends, 30, not_a_number}});
}

}  // namespace check
