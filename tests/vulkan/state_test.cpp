// KV states and slots in canonical form.
#include <cmath>
#include <random>

#include "host.hpp"

using namespace vulkan_test;

namespace {

struct State {
  State(Bench& bench, uint32_t kind, uint32_t dtype) {
    desc.struct_size = sizeof desc;
    desc.kind = kind;
    desc.n_head = kind == BRIM_STATE_KV_LATENT ? 1 : 3;
    desc.k_width = 40;
    desc.v_width = kind == BRIM_STATE_KV_LATENT ? 0 : 20;
    desc.elements = 77;
    brim_state_layout layout{};
    layout.struct_size = sizeof layout;
    bench.check(bench.api().state_layout(bench.device, &desc, dtype, &layout, &bench.error));
    storage.struct_size = sizeof storage;
    storage.dtype = dtype;
    storage.layout_id = layout.layout_id;
    storage.n_blocks = 4;
    bytes = layout.block_bytes * storage.n_blocks;
    storage.buffer = bench.buffer(bytes + 64);
    storage.offset = 64;
    std::memset(bench.map(storage.buffer), 0xff, bytes + 64);
  }
  brim_state_desc desc{};
  brim_program_state storage{};
  uint64_t bytes = 0;
};

}  // namespace

TEST_CASE("KV that was imported comes out again, within the precision of its dtype") {
  Bench bench;
  if (!bench) return;
  brim_queue* queue = bench.queue();
  const uint32_t blocks[] = {2, 0, 3};  // not in order, as forks and reuse make them
  constexpr uint64_t kFirst = 5, kTokens = 61;
  for (const uint32_t kind : {BRIM_STATE_KV_FULL, BRIM_STATE_KV_LATENT}) {
    for (const uint32_t dtype : {BRIM_DTYPE_F32, BRIM_DTYPE_F16, BRIM_DTYPE_Q8_0}) {
      State state(bench, kind, dtype);
      std::mt19937 random(dtype);
      std::normal_distribution<float> normal;
      std::vector<float> in(kTokens * state.desc.n_head * (state.desc.k_width + state.desc.v_width)), out(in.size());
      for (float& v : in) v = normal(random);
      bench.check(bench.api().state_import(queue, &state.desc, &state.storage, blocks, kFirst, kTokens, BRIM_DTYPE_F32,
                                           in.data(), &bench.error));
      bench.check(bench.api().state_export(queue, &state.desc, &state.storage, blocks, kFirst, kTokens, BRIM_DTYPE_F32,
                                           out.data(), &bench.error));
      // Half a step: of F16 relative to the value, of Q8_0 to the largest of 32, which is below 5.
      const double relative = dtype == BRIM_DTYPE_F32 ? 0 : 0x1p-11,
                   absolute = dtype == BRIM_DTYPE_Q8_0 ? 5.0 / 250 : 0;
      for (size_t i = 0; i < in.size(); ++i) {
        CHECK(std::fabs(double(out[i]) - in[i]) <=
              relative * std::fabs(in[i]) + absolute + 1e-7 * (dtype != BRIM_DTYPE_F32));
      }
      // What came out goes in again without a change of any bit.
      std::vector<float> again(in.size());
      bench.check(bench.api().state_import(queue, &state.desc, &state.storage, blocks, kFirst, kTokens, BRIM_DTYPE_F32,
                                           out.data(), &bench.error));
      bench.check(bench.api().state_export(queue, &state.desc, &state.storage, blocks, kFirst, kTokens, BRIM_DTYPE_F32,
                                           again.data(), &bench.error));
      CHECK(std::memcmp(out.data(), again.data(), out.size() * sizeof(float)) == 0);
      const uint32_t outside[] = {4, 4, 4};
      CHECK(bench.api().state_export(queue, &state.desc, &state.storage, outside, 0, 1, BRIM_DTYPE_F32, out.data(),
                                     &bench.error) == BRIM_INVALID_ARGUMENT);
      bench.api().buffer_free(state.storage.buffer);
    }
  }
  bench.api().queue_destroy(queue);
}

TEST_CASE("a slot of a recurrent state comes out as it went in") {
  Bench bench;
  if (!bench) return;
  brim_queue* queue = bench.queue();
  State state(bench, BRIM_STATE_RECURRENT, BRIM_DTYPE_F32);
  std::vector<float> in(state.desc.elements), out(in.size());
  for (size_t i = 0; i < in.size(); ++i) in[i] = static_cast<float>(i) - 3;
  const uint32_t slot = 3;
  bench.check(bench.api().state_import(queue, &state.desc, &state.storage, &slot, 0, 1, BRIM_DTYPE_F32, in.data(),
                                       &bench.error));
  bench.check(bench.api().state_export(queue, &state.desc, &state.storage, &slot, 0, 1, BRIM_DTYPE_F32, out.data(),
                                       &bench.error));
  CHECK(in == out);
  bench.api().buffer_free(state.storage.buffer);
  bench.api().queue_destroy(queue);
}

TEST_CASE("states that are not kept here are refused") {
  Bench bench;
  if (!bench) return;
  brim_state_desc desc{};
  desc.struct_size = sizeof desc;
  desc.kind = BRIM_STATE_KV_CROSS;
  desc.n_head = desc.k_width = desc.v_width = 4;
  brim_state_layout layout{};
  layout.struct_size = sizeof layout;
  CHECK(bench.api().state_layout(bench.device, &desc, BRIM_DTYPE_F32, &layout, &bench.error) == BRIM_UNSUPPORTED);
  desc.kind = BRIM_STATE_KV_FULL;
  CHECK(bench.api().state_layout(bench.device, &desc, BRIM_DTYPE_Q4_0, &layout, &bench.error) == BRIM_UNSUPPORTED);
}
