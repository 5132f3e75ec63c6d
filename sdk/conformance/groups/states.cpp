// states: what a sequence has behind it. KV in blocks that tables point at, convolutions and recurrences in slots that
// a step reads and writes; all of it must survive sharing, trimming, moving and cancelling.
#include <algorithm>
#include <atomic>
#include <bit>
#include <chrono>
#include <cmath>
#include <numeric>
#include <thread>

#include "../bench/crowd.hpp"
#include "groups.hpp"

namespace check {
namespace {

using Bits = std::vector<uint32_t>;
using Bytes = std::vector<std::byte>;

// Attention over states of this device, or the test is skipped.
Sample attention_sample(Device& device, uint32_t window = 0) {
  Sample sample = attention_only(window);
  std::string why;
  if (!supported(device, sample.net, BRIM_NUMERICS_STRICT, &why)) {
    device.trial().skip("{} cannot be built: {}", sample.name, why);
  }
  return sample;
}

void append(Bits& to, const Bits& more) { to.insert(to.end(), more.begin(), more.end()); }
Bits rows_of(const Bits& bits, uint32_t width, uint32_t first) {
  return {bits.begin() + static_cast<ptrdiff_t>(uint64_t{first} * width), bits.end()};
}
// Both begin with the same rows; what follows is the second one's.
Member joined(const Member& head, uint32_t length, const Member& tail, uint32_t width) {
  Member out;
  out.tokens.assign(head.tokens.begin(), head.tokens.begin() + length);
  out.tokens.insert(out.tokens.end(), tail.tokens.begin(), tail.tokens.end());
  out.rows.assign(head.rows.begin(), head.rows.begin() + static_cast<ptrdiff_t>(uint64_t{length} * width));
  out.rows.insert(out.rows.end(), tail.rows.begin(), tail.rows.end());
  return out;
}

// All bytes of every state's storage.
std::vector<Bytes> snapshot(const StateStore& store) {
  std::vector<Bytes> out;
  for (const auto& buffer : store.buffers) out.emplace_back(buffer->data(), buffer->data() + buffer->bytes());
  return out;
}
// The first block (or slot) outside of `allowed` that has changed: "" where none has.
std::string stray_write(const StateStore& store, const std::vector<Bytes>& before,
                        const std::vector<uint32_t>& allowed) {
  for (size_t i = 0; i < store.buffers.size(); ++i) {
    const uint64_t bytes = store.layouts[i].block_bytes;
    for (uint32_t b = 0; b < store.n_blocks; ++b) {
      if (std::find(allowed.begin(), allowed.end(), b) != allowed.end()) continue;
      if (std::memcmp(before[i].data() + b * bytes, store.buffers[i]->data() + b * bytes, bytes) != 0) {
        return fmt::format("block {} of state {}", b, i);
      }
    }
  }
  return {};
}

void copy_block(Device& device, const StateStore& store, uint32_t from, uint32_t to) {
  for (size_t i = 0; i < store.buffers.size(); ++i) {
    const uint64_t bytes = store.layouts[i].block_bytes;
    const Buffer& b = *store.buffers[i];
    must(device.trial(), "copy of a block",
         device.layer().copy(device.queue(), b.handle(), b.offset() + to * bytes, b.handle(), b.offset() + from * bytes,
                             bytes));
  }
  must(device.trial(), "fence_wait", device.finish());
}

// Values of tokens [first, first + n) in canonical F32.
std::vector<float> exported(Device& device, const StateStore& store, uint32_t state,
                            const std::vector<uint32_t>& blocks, uint64_t first, uint64_t n) {
  const brim_state_desc& desc = store.descs[state];
  const bool slot = desc.kind == BRIM_STATE_CONV || desc.kind == BRIM_STATE_RECURRENT;
  const uint64_t count = slot ? desc.elements : n * desc.n_head * (uint64_t{desc.k_width} + desc.v_width);
  const Fenced out(count * sizeof(float), 4);
  must(device.trial(), "state_export",
       device.layer().state_export(device.queue(), desc, store.program_state(state, slot ? UINT32_MAX : 0), blocks,
                                   first, n, BRIM_DTYPE_F32, out.data()));
  return {out.as<float>(), out.as<float>() + count};
}
void imported(Device& device, const StateStore& store, uint32_t state, const std::vector<uint32_t>& blocks,
              uint64_t first, uint64_t n, const std::vector<float>& values) {
  const brim_state_desc& desc = store.descs[state];
  const bool slot = desc.kind == BRIM_STATE_CONV || desc.kind == BRIM_STATE_RECURRENT;
  const Fenced in(values.data(), values.size() * sizeof(float), 4);
  in.seal();
  must(device.trial(), "state_import",
       device.layer().state_import(device.queue(), desc, store.program_state(state, slot ? UINT32_MAX : 0), blocks,
                                   first, n, BRIM_DTYPE_F32, in.data()));
}

bool same_values(const std::vector<float>& a, const std::vector<float>& b) {
  return a.size() == b.size() && std::memcmp(a.data(), b.data(), a.size() * sizeof(float)) == 0;
}

void layouts(Trial& trial) {
  Device device(trial);
  Layer& layer = device.layer();
  if (layer.table().state_layout == nullptr) trial.skip("the plugin has no states");
  std::string list;
  std::vector<std::pair<uint32_t, uint64_t>> seen;
  for (const uint32_t dtype : {BRIM_DTYPE_F32, BRIM_DTYPE_F16, BRIM_DTYPE_Q8_0}) {
    brim_state_layout layout{}, again{};
    const Answer answer = layer.state_layout(device.handle(), kv_state(2, 32, 32), dtype, &layout);
    if (answer.status == BRIM_UNSUPPORTED) continue;
    must(trial, "state_layout", answer);
    must(trial, "state_layout", layer.state_layout(device.handle(), kv_state(2, 32, 32), dtype, &again));
    trial.expect(std::memcmp(&layout, &again, sizeof(layout)) == 0, "state_layout answers differently the second time");
    trial.expect(layout.block_tokens != 0 && (layout.block_tokens & (layout.block_tokens - 1)) == 0,
                 "state_layout: {} tokens a block; a power of two was expected", layout.block_tokens);
    trial.expect(layout.layout_id != 0, "state_layout: layout_id is 0");
    const uint64_t least = layout.block_tokens * 2 * 2 * brim_dtype_row_bytes(dtype, 32);
    trial.expect(layout.block_bytes >= least, "state_layout: a block of {} bytes cannot hold {} tokens of {} bytes",
                 layout.block_bytes, layout.block_tokens, least / std::max(1u, layout.block_tokens));
    for (const auto& [other, id] : seen) {
      trial.expect(id != layout.layout_id, "state_layout: {} and {} have one layout_id; equal ids mean equal bytes",
                   brim_dtype_name(other), brim_dtype_name(dtype));
    }
    seen.emplace_back(dtype, layout.layout_id);
    list += fmt::format("{}{}: {} tokens", list.empty() ? "" : ", ", brim_dtype_name(dtype), layout.block_tokens);
  }
  for (const Sample& sample : {convolution(trial.random()), linear_attention(trial.random())}) {
    const brim_state_desc& desc = sample.net.states.front();
    brim_state_layout layout{};
    const Answer answer = layer.state_layout(device.handle(), desc, BRIM_DTYPE_F32, &layout);
    if (answer.status == BRIM_UNSUPPORTED) continue;
    must(trial, "state_layout", answer);
    trial.expect(layout.block_tokens == 1, "state_layout of a {}'s state: {} tokens a block; a slot is 1", sample.name,
                 layout.block_tokens);
    trial.expect(layout.block_bytes >= desc.elements * 4, "state_layout of a {}'s state: {} bytes for {} f32 values",
                 sample.name, layout.block_bytes, desc.elements);
  }
  trial.note("{}", list);
}

void untouched(Trial& trial) {
  Device device(trial);
  const Sample sample = best_sample(device, BRIM_NUMERICS_STRICT, true);
  Program program(device, sample.net, crowded_setup());
  const StateStore& store = program.store();
  Crowd crowd(device, sample, program, trial.target().seed);
  for (int i = 0; i < 60 && trial.clean(); ++i) {
    crowd.next();
    const std::vector<Bytes> before = snapshot(store);
    std::vector<uint32_t> allowed;
    for (const Rows& rows : crowd.step().sequences) {
      for (uint32_t t = rows.length_after - rows.count; t < rows.length_after; ++t) {
        allowed.push_back(rows.blocks[t / store.block_tokens]);
      }
    }
    must(trial, "program_run", program.submit(device.queue()));
    must(trial, "fence_wait", device.finish());
    const std::string stray = stray_write(store, before, allowed);
    trial.expect(stray.empty(), "program_run wrote into {}, which no kv_slot of the step names", stray);
  }
  // Rows that are discarded go nowhere.
  const Member member = random_member(sample, 4, trial.random());
  Step step = step_of(sample, member, 0, 4);
  step.sequences[0].discard = true;
  step.sequences[0].blocks = {0, 1, 2, 3};
  const std::vector<Bytes> before = snapshot(store);
  must(trial, "program_run", program.run(step));
  const std::string stray = stray_write(store, before, {});
  trial.expect(stray.empty(), "program_run wrote into {} though every kv_slot is -1: discard", stray);
}

void scattered(Trial& trial) {
  Device device(trial);
  const Sample sample = best_sample(device, BRIM_NUMERICS_STRICT, true);
  Program program(device, sample.net, crowded_setup()), judge(device, sample.net, crowded_setup());
  Member member = random_member(sample, 60, trial.random());
  const Bits expected = run_alone(judge, sample, member, 8);
  for (int round = 0; round < 4 && trial.clean(); ++round) {
    give_blocks(member, program, 64);
    std::vector<uint32_t> all(program.store().n_blocks);
    std::iota(all.begin(), all.end(), 0u);
    std::shuffle(all.begin(), all.end(), trial.random());
    std::copy_n(all.begin(), member.blocks.size(), member.blocks.begin());
    Bits got;
    for (uint32_t at = 0; at < 60; at += 5) append(got, run_rows(program, sample, member, at, 5));
    const std::string wrong = difference(device, got, expected, sample.width);
    trial.expect(wrong.empty(), "a sequence in scattered blocks differs from one in blocks 0, 1, ..: {}", wrong);
  }
}

void fork_and_trim(Trial& trial) {
  Device device(trial);
  const Sample sample = best_sample(device, BRIM_NUMERICS_STRICT, true);
  Program program(device, sample.net, crowded_setup()), judge(device, sample.net, crowded_setup());
  const uint32_t size = program.store().block_tokens;
  for (const uint32_t length : {size < 32 ? size + size / 2 + 1 : 21u, size < 32 ? 2 * size : 32u, 1u}) {
    const Member head = random_member(sample, length, trial.random());
    const Member left = joined(head, length, random_member(sample, 10, trial.random()), sample.input_width);
    const Member right = joined(head, length, random_member(sample, 10, trial.random()), sample.input_width);
    Member a = left, b = right;
    give_blocks(a, program, length + 10, 0);
    give_blocks(b, program, length + 10, 20);
    for (uint32_t at = 0; at < length; at += 8) run_rows(program, sample, a, at, std::min(8u, length - at));
    // The fork shares the full blocks and has a copy of the one in which it goes on.
    const uint32_t full = length / size;
    std::copy_n(a.blocks.begin(), full, b.blocks.begin());
    if (length % size != 0) copy_block(device, program.store(), a.blocks[full], b.blocks[full]);
    const std::vector<Bytes> shared = snapshot(program.store());
    Bits got_a, got_b;
    for (uint32_t at = length; at < length + 10; at += 2) {  // by turns
      append(got_a, run_rows(program, sample, a, at, 2));
      append(got_b, run_rows(program, sample, b, at, 2));
    }
    std::vector<uint32_t> own(a.blocks.begin() + full, a.blocks.end());
    own.insert(own.end(), b.blocks.begin() + full, b.blocks.end());
    const std::string stray = stray_write(program.store(), shared, own);
    trial.expect(stray.empty(), "after a fork at {} tokens one of the two wrote into {}, which both share", length,
                 stray);
    const Bits expected_a = rows_of(run_alone(judge, sample, left, 8), sample.width, length);
    const Bits expected_b = rows_of(run_alone(judge, sample, right, 8), sample.width, length);
    for (const std::string& wrong :
         {difference(device, got_a, expected_a, sample.width), difference(device, got_b, expected_b, sample.width)}) {
      trial.expect(wrong.empty(), "two sequences forked at {} tokens differ from the same ones alone: {}", length,
                   wrong);
    }
    // Cut back to where they parted, the first goes on as the second.
    Member trimmed = right;
    trimmed.blocks = a.blocks;
    const Bits again = run_rows(program, sample, trimmed, length, 8);
    const std::string wrong = difference(
        device, again, {expected_b.begin(), expected_b.begin() + static_cast<ptrdiff_t>(again.size())}, sample.width);
    trial.expect(wrong.empty(), "a sequence trimmed to {} tokens still sees what came behind: {}", length, wrong);
  }
}

void canonical(Trial& trial) {
  Device device(trial);
  const Sample sample = attention_sample(device);
  Program program(device, sample.net, crowded_setup());
  const StateStore& store = program.store();
  constexpr uint32_t kLength = 45, kWidth = 32;
  Member member = random_member(sample, kLength, trial.random());
  give_blocks(member, program, kLength, 2);
  std::reverse(member.blocks.begin(), member.blocks.end());
  for (uint32_t at = 0; at < kLength; at += 5) run_rows(program, sample, member, at, 5);
  // K is the row, V twice the row: [n, heads, k] and then [n, heads, v].
  for (const auto& [first, n] :
       {std::pair<uint64_t, uint64_t>{0, kLength}, {0, 1}, {3, 7}, {store.block_tokens / 2, 20}, {44, 1}, {5, 0}}) {
    const std::vector<float> got = exported(device, store, 0, member.blocks, first, n);
    for (uint64_t i = 0; i < 2 * n * kWidth; ++i) {
      const bool v = i >= n * kWidth;
      const uint64_t at = i - (v ? n * kWidth : 0);
      const float expected = (v ? 2 : 1) * member.rows[first * kWidth + at];
      if (!trial.expect(got[i] == expected,
                        "state_export of tokens [{}, {}): {} of token {}, value {} is {}; written was {}", first,
                        first + n, v ? "V" : "K", first + at / kWidth, at % kWidth, got[i], expected)) {
        break;
      }
    }
  }
  // In F16 it is the same, rounded.
  const Fenced half(uint64_t{kLength} * 2 * kWidth * 2, 2);
  must(trial, "state_export in f16",
       device.layer().state_export(device.queue(), store.descs[0], store.program_state(0, 0), member.blocks, 0, kLength,
                                   BRIM_DTYPE_F16, half.data()));
  for (uint64_t i = 0; i < kLength * kWidth; ++i) {
    if (!trial.expect(half.as<uint16_t>()[i] == to_half(member.rows[i]),
                      "state_export in f16: value {} is {:#x}; {} rounded to nearest even is {:#x}", i,
                      half.as<uint16_t>()[i], member.rows[i], to_half(member.rows[i]))) {
      break;
    }
  }
}

// Export and import are work of the queue: they come after what was submitted before, even if that waits for the host.
void in_order(Trial& trial) {
  Device device(trial);
  const Sample sample = attention_sample(device);
  Program program(device, sample.net, crowded_setup());
  const StateStore& store = program.store();
  const brim_state_desc& desc = store.descs[0];
  const std::vector<uint32_t> blocks = {0};
  std::vector<float> token(uint64_t{desc.n_head} * (desc.k_width + desc.v_width), 1.0f);
  for (const bool import : {true, false}) {
    brim_fence* fence = nullptr;
    must(trial, "fence_create", device.layer().fence_create(device.handle(), 0, &fence));
    must(trial, "queue_wait", device.layer().queue_wait(device.queue(), fence, 1));
    std::atomic<bool> signalled{false};
    std::thread later([&] {
      std::this_thread::sleep_for(std::chrono::milliseconds(50));
      signalled = true;
      device.layer().fence_signal(fence, 1);
    });
    const Answer answer = import ? device.layer().state_import(device.queue(), desc, store.program_state(0, 0), blocks,
                                                               0, 1, BRIM_DTYPE_F32, token.data())
                                 : device.layer().state_export(device.queue(), desc, store.program_state(0, 0), blocks,
                                                               0, 1, BRIM_DTYPE_F32, token.data());
    const bool waited = signalled;
    later.join();
    const char* what = import ? "state_import" : "state_export";
    must(trial, what, answer);
    trial.expect(waited, "{} came back before the fence was reached that its queue waits for", what);
    must(trial, "the queue", device.finish());
    device.layer().fence_destroy(fence);
  }
}

void moved(Trial& trial) {
  Device device(trial);
  const Sample sample = best_sample(device, BRIM_NUMERICS_STRICT, true);
  std::string list;
  for (const uint32_t dtype : {BRIM_DTYPE_F32, BRIM_DTYPE_F16, BRIM_DTYPE_Q8_0}) {
    bool offered = true;
    for (const brim_state_desc& desc : sample.net.states) {
      brim_state_layout layout{};
      offered = offered && device.layer().state_layout(device.handle(), desc, dtype, &layout).ok();
    }
    if (!offered) continue;
    Setup setup = crowded_setup();
    setup.kv_dtype = dtype;
    Program program(device, sample.net, setup), other(device, sample.net, setup);
    Member member = random_member(sample, 50, trial.random());
    give_blocks(member, program, 50, 1);
    Bits straight;
    for (uint32_t at = 0; at < 50; at += 5) append(straight, run_rows(program, sample, member, at, 5));
    // To other blocks of another program's storage, in ranges that do not end with blocks.
    Member there = member;
    give_blocks(there, other, 50, 7);
    std::reverse(there.blocks.begin(), there.blocks.end());
    for (uint32_t state = 0; state < sample.net.states.size(); ++state) {
      for (const auto& [first, n] : {std::pair<uint64_t, uint64_t>{0, 13}, {13, 1}, {14, 21}}) {
        const std::vector<float> values = exported(device, program.store(), state, member.blocks, first, n);
        imported(device, other.store(), state, there.blocks, first, n, values);
        trial.expect(same_values(values, exported(device, other.store(), state, there.blocks, first, n)),
                     "what state_import wrote (tokens [{}, {}), {}) state_export does not give again", first, first + n,
                     brim_dtype_name(dtype));
      }
      // Nothing but those tokens is written.
      const std::vector<float> behind = exported(device, other.store(), state, there.blocks, 14, 21);
      imported(device, other.store(), state, there.blocks, 0, 14,
               exported(device, program.store(), state, member.blocks, 0, 14));
      trial.expect(same_values(behind, exported(device, other.store(), state, there.blocks, 14, 21)),
                   "state_import of tokens [0, 14) changed later ones");
    }
    Bits got;
    for (uint32_t at = 35; at < 50; at += 5) append(got, run_rows(other, sample, there, at, 5));
    const std::string wrong = difference(device, got, rows_of(straight, sample.width, 35), sample.width);
    trial.expect(wrong.empty(), "a sequence moved by state_export and state_import ({}) goes on differently: {}",
                 brim_dtype_name(dtype), wrong);
    for (Program* one : {&program, &other}) one->inspect("state_export and state_import");
    list += (list.empty() ? "" : " ") + std::string(brim_dtype_name(dtype));
  }
  trial.note("{}", list);
}

void window(Trial& trial) {
  Device device(trial);
  constexpr uint32_t kWindow = 10, kLength = 60;
  const Sample sample = attention_sample(device, kWindow);
  Program program(device, sample.net, crowded_setup()), judge(device, sample.net, crowded_setup());
  const uint32_t size = program.store().block_tokens;
  Member member = random_member(sample, kLength, trial.random());
  const Bits expected = run_alone(judge, sample, member, 8);
  give_blocks(member, program, 64);
  Bits got;
  for (uint32_t at = 0; at < kLength; at += 3) {
    Step step = step_of(sample, member, at, 3);
    // The table begins with the block of the oldest token that the step's first row sees; what lay before is someone
    // else's by now.
    const uint32_t oldest = at + 1 > kWindow ? at + 1 - kWindow : 0;
    step.sequences[0].kv_first = oldest / size * size;
    for (uint32_t b = 0; b < oldest / size; ++b) {
      for (size_t i = 0; i < program.store().buffers.size(); ++i) {
        const uint64_t bytes = program.store().layouts[i].block_bytes;
        std::memset(program.store().buffers[i]->data() + member.blocks[b] * bytes, 0xff, bytes);
      }
    }
    const auto from = member.rows.begin() + static_cast<ptrdiff_t>(uint64_t{at} * sample.input_width);
    program.set(sample.input, {from, from + 3 * static_cast<ptrdiff_t>(sample.input_width)});
    must(trial, "program_run with a window", program.run(step));
    append(got, result_bits(program, sample, step));
  }
  const std::string wrong = difference(device, got, expected, sample.width);
  trial.expect(wrong.empty(),
               "a window of {} tokens whose table begins at kv_first differs from one with the whole table: {}",
               kWindow, wrong);
}

// ---- slots
// -----------------------------------------------------------------------------------------------------------

// Samples whose states have slots, of which the device takes at least one.
std::vector<Sample> slot_samples(Device& device) {
  std::vector<Sample> out;
  std::string why;
  for (Sample sample : {convolution(device.trial().random()), linear_attention(device.trial().random())}) {
    if (supported(device, sample.net, BRIM_NUMERICS_STRICT, &why)) out.push_back(std::move(sample));
  }
  if (out.empty()) device.trial().skip("no op with slots is supported: {}", why);
  return out;
}

// Rows [first, first + count) of a sequence that reads one slot and writes another.
Bits run_slots(Program& program, const Sample& sample, const Member& member, uint32_t first, uint32_t count,
               int32_t read, int32_t write) {
  Step step = step_of(sample, member, first, count);
  step.sequences[0].state_read = read;
  step.sequences[0].state_write = write;
  const auto from = member.rows.begin() + static_cast<ptrdiff_t>(uint64_t{first} * sample.input_width);
  program.set(sample.input, {from, from + static_cast<ptrdiff_t>(uint64_t{count} * sample.input_width)});
  must(program.trial(), "program_run", program.run(step));
  return result_bits(program, sample, step);
}

void slots(Trial& trial) {
  Device device(trial);
  for (const Sample& sample : slot_samples(device)) {
    Setup setup;
    setup.bucket = {sizeof(brim_bucket), 16, 4, 16, 16, 1};
    Program program(device, sample.net, setup);  // slots hold NaN: the zero state is nobody's bytes
    const StateStore& store = program.store();
    const Member member = random_member(sample, 12, trial.random());
    const auto same = [&](const char* what, const Bits& got, const Bits& expected) {
      const std::string wrong = difference(device, got, expected, sample.width);
      trial.expect(wrong.empty(), "{}: {}: {}", sample.name, what, wrong);
    };
    const auto only = [&](const char* what, const std::vector<Bytes>& before, const std::vector<uint32_t>& written) {
      const std::string stray = stray_write(store, before, written);
      trial.expect(stray.empty(), "{}: {} wrote {}", sample.name, what, stray);
    };
    std::vector<Bytes> before = snapshot(store);
    const Bits whole = run_slots(program, sample, member, 0, 12, -1, -1);
    only("state_write -1", before, {});
    for (const uint32_t bits : whole) {
      if (!trial.expect(!std::isnan(std::bit_cast<float>(bits)), "{}: state_read -1 is not the zero state",
                        sample.name))
        break;
    }
    const auto part = [&](uint32_t first, uint32_t last) {
      return Bits(whole.begin() + first * sample.width, whole.begin() + last * sample.width);
    };
    same("4 rows from the zero state", run_slots(program, sample, member, 0, 4, -1, 3), part(0, 4));
    only("a step with state_write 3", before, {3});
    before = snapshot(store);
    same("rows that go on from slot 3", run_slots(program, sample, member, 4, 5, 3, 5), part(4, 9));
    only("a step that reads slot 3 and writes 5", before, {5});
    same("rows that go on from slot 5", run_slots(program, sample, member, 9, 3, 5, 0), part(9, 12));
    // Slot 3 is still what it was: the host goes back to it.
    same("the same rows again from slot 3", run_slots(program, sample, member, 4, 5, 3, 1), part(4, 9));
    same(
        "single rows",
        [&] {
          Bits bits;
          for (uint32_t at = 4; at < 9; ++at) {
            append(bits, run_slots(program, sample, member, at, 1, at == 4 ? 3 : static_cast<int32_t>(at % 2 ? 6 : 7),
                                   at % 2 ? 7 : 6));
          }
          return bits;
        }(),
        part(4, 9));
    // Moved through the canonical form.
    const std::vector<float> values = exported(device, store, 0, {3}, 0, 0);
    imported(device, store, 0, {2}, 0, 0, values);
    trial.expect(same_values(values, exported(device, store, 0, {2}, 0, 0)),
                 "{}: what state_import wrote state_export does not give again", sample.name);
    same("rows that go on from an imported slot", run_slots(program, sample, member, 4, 5, 2, 4), part(4, 9));
    // Two sequences in one step, one of them at its beginning, and one without slots.
    const Member other = random_member(sample, 6, trial.random());
    const Bits alone = run_slots(program, sample, other, 0, 6, -1, -1);
    Step step;
    step.sequences.resize(3);
    step.sequences[0].count = 5, step.sequences[0].state_read = 3, step.sequences[0].state_write = 0;
    step.sequences[1].count = 6, step.sequences[1].state_write = 6;
    step.sequences[2].count = 1;
    std::vector<float> input(member.rows.begin() + 4 * sample.input_width,
                             member.rows.begin() + 9 * sample.input_width);
    input.insert(input.end(), other.rows.begin(), other.rows.end());
    input.insert(input.end(), member.rows.begin(), member.rows.begin() + sample.input_width);
    program.set(sample.input, input);
    before = snapshot(store);
    must(trial, "program_run", program.run(step));
    only("a step that writes slots 0 and 6", before, {0, 6});
    Bits expected = part(4, 9);
    append(expected, alone);
    append(expected, part(0, 1));
    same("three sequences in one step", result_bits(program, sample, step), expected);
    program.inspect("program_run");
  }
}

// ---- cancelling
// ------------------------------------------------------------------------------------------------------

void cancelled(Trial& trial) {
  Device device(trial);
  std::vector<Sample> samples;
  std::string why = "no op with states is supported";
  for (Sample sample : {decoder(trial.random()), attention_only(0), linear_attention(trial.random())}) {
    if (supported(device, sample.net, BRIM_NUMERICS_STRICT, &why)) samples.push_back(std::move(sample));
  }
  if (samples.empty()) trial.skip("{}", why);
  uint32_t stopped = 0, went_on = 0;
  for (const Sample& sample : samples) {
    constexpr uint32_t kHead = 20, kRows = 64;
    Setup setup;
    setup.bucket = {sizeof(brim_bucket), kRows, 4, kRows, 128, 1};
    setup.n_blocks = 128;
    Program program(device, sample.net, setup), judge(device, sample.net, setup);
    StateStore& store = program.store();
    Member member = random_member(sample, kHead + kRows, trial.random());
    give_blocks(member, program, kHead + kRows, 3);
    const auto run = [&](Program& in, uint32_t first, uint32_t count, const volatile uint32_t* cancel, Bits* bits) {
      Step step = step_of(sample, member, first, count);
      step.sequences[0].state_read = first == 0 ? -1 : 1;
      step.sequences[0].state_write = first == 0 ? 1 : 2;
      const auto from = member.rows.begin() + static_cast<ptrdiff_t>(uint64_t{first} * sample.input_width);
      if (sample.input != 0)
        in.set(sample.input, {from, from + static_cast<ptrdiff_t>(uint64_t{count} * sample.input_width)});
      const Answer answer = in.run(step, cancel);
      if (bits != nullptr) *bits = result_bits(in, sample, step);
      return answer;
    };
    Bits expected;
    must(trial, "program_run", run(judge, 0, kHead, nullptr, nullptr));
    auto takes = std::chrono::steady_clock::duration::max();
    for (int i = 0; i < 5; ++i) {
      const auto start = std::chrono::steady_clock::now();
      must(trial, "program_run", run(judge, kHead, kRows, nullptr, &expected));
      takes = std::min(takes, std::chrono::steady_clock::now() - start);
    }
    must(trial, "program_run", run(program, 0, kHead, nullptr, nullptr));
    std::vector<uint32_t> named = {2};
    if (sample.has_kv) named.assign(member.blocks.begin() + kHead / store.block_tokens, member.blocks.end());
    constexpr int kMoments = 48;
    for (int moment = -1; moment < kMoments && trial.clean(); ++moment) {
      const std::vector<Bytes> before = snapshot(store);
      std::vector<std::vector<float>> behind;
      for (uint32_t i = 0; sample.has_kv && i < store.buffers.size(); ++i) {
        behind.push_back(exported(device, store, i, member.blocks, 0, kHead));
      }
      // At -1 the host has asked before the run begins, then ever later in the run's time.
      volatile uint32_t cancel = moment < 0;
      std::atomic<bool> begun{false};
      std::thread other([&] {
        while (!begun) std::this_thread::yield();
        const auto until = std::chrono::steady_clock::now() + takes * std::max(moment, 0) / kMoments;
        while (std::chrono::steady_clock::now() < until) {
        }
        cancel = 1;
      });
      begun = true;
      const Answer answer = run(program, kHead, kRows, &cancel, nullptr);
      other.join();
      const char* when = moment < 0 ? "before it began" : "while it ran";
      trial.expect(answer.ok() || answer.status == BRIM_CANCELLED,
                   "{}: a run that was cancelled {}: expected cancelled or ok, found {}", sample.name, when,
                   answer.text());
      trial.expect(moment >= 0 || answer.status == BRIM_CANCELLED,
                   "{}: a run that was cancelled before it began went on to its end", sample.name);
      ++(answer.ok() ? went_on : stopped);
      const std::string stray = stray_write(store, before, named);
      trial.expect(stray.empty(), "{}: a run that was cancelled {} has written into {}, which the step does not name",
                   sample.name, when, stray);
      for (uint32_t i = 0; i < behind.size(); ++i) {
        trial.expect(same_values(behind[i], exported(device, store, i, member.blocks, 0, kHead)),
                     "{}: a run that was cancelled {} changed tokens of state {} that were there before it",
                     sample.name, when, i);
      }
      program.inspect("a cancelled run");
      // The host goes on from where it was.
      Bits again;
      must(trial, "program_run after a cancelled one", run(program, kHead, kRows, nullptr, &again));
      const std::string wrong = difference(device, again, expected, sample.width);
      trial.expect(wrong.empty(), "{}: the same step after one that was cancelled {} gives another result: {}",
                   sample.name, when, wrong);
    }
  }
  trial.note("{} runs stopped, {} had done their work", stopped, went_on);
}

}  // namespace

void add_state_tests(std::vector<Test>& tests) {
  tests.insert(
      tests.end(),
      {{"states.layout", "State layouts make sense, and stay", kBackends, 20, layouts},
       {"states.untouched", "A step writes no block that its kv_slots do not name", kBackends, 60, untouched},
       {"states.scattered", "Blocks may lie anywhere; the table says where", kBackends, 30, scattered},
       {"states.fork", "Sequences share blocks, part, and are cut back", kBackends, 60, fork_and_trim},
       {"states.canonical", "state_export gives what was written, token by token", kBackends, 30, canonical},
       {"states.in-order", "state_export and state_import come after what the queue had before", kBackends, 30,
        in_order},
       {"states.moved", "A sequence goes on after state_export and state_import, in every dtype", kBackends, 60, moved},
       {"states.window", "A window's table begins at kv_first", kBackends, 30, window},
       {"states.slots", "Convolutions and recurrences read one slot and write another", kBackends, 30, slots},
       {"states.cancel", "Cancelled at any moment, the states are as before", kBackends, 120, cancelled}});
}

}  // namespace check
