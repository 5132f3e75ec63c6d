// Small ops with one thread an item, in strides of the whole grid: SCATTER_ROWS, MATMUL of batches of F32 matrices,
// MOE_COMBINE, ROPE and its table, CAUSAL_CONV1D; and LINEAR_ATTENTION. Each kernel's name is its function's. begin_run
// writes the Run block at the head of every run.
#include "common.cuh"

namespace brim_gpu {

// One thread an element of the output, which meets the sources of its row in their order.
__device__ void scatter(const ScatterArguments& a, Step step) {
  const uint total = step.size(a.rows) * a.width, sources = step.size(a.sources);
  const int* index = pointer<const int>(step.address_of(a.index));
  for (uint i = thread_of_grid(); i < total; i += threads_of_grid()) {
    const uint row = i / a.width, column = i % a.width;
    float v = floats(step.address_of(a.into))[row * a.into_stride + column];
    for (uint j = 0; j < sources; ++j) {
      if (index[j * a.index_stride] != static_cast<int>(row)) continue;
      const float x = floats(step.address_of(a.x))[j * a.x_stride + column];
      v = a.add != 0 ? v + x : x;
    }
    pointer<float>(a.result)[i] = v;
  }
}

__device__ void batched(const BatchedArguments& a, Step step) {
  const uint d1 = step.size(a.dim[1]), m = step.size(a.dim[2]), n = step.size(a.dim[3]);
  const uint total = step.size(a.dim[0]) * d1 * m * n;
  for (uint i = thread_of_grid(); i < total; i += threads_of_grid()) {
    const uint column = i % n, row = i / n % m, i1 = i / n / m % d1, i0 = i / n / m / d1;
    const float* w = floats(step.address_of(a.w)) + i0 * a.w_stride[0] + i1 * a.w_stride[1] + column * a.w_stride[2];
    const float* x = floats(step.address_of(a.x)) + i0 * a.x_stride[0] + i1 * a.x_stride[1] + row * a.x_stride[2];
    float sum = 0;
    for (uint k = 0; k < a.k; ++k) sum += w[k] * x[k];
    pointer<float>(a.result)[i] = sum;
  }
}

__device__ void combine(const CombineArguments& a, Step step) {
  const uint total = step.size(a.rows) * a.width;
  const float *weight = floats(step.address_of(a.weight)), *x = floats(step.address_of(a.x));
  for (uint i = thread_of_grid(); i < total; i += threads_of_grid()) {
    const uint row = i / a.width, column = i % a.width;
    float sum = 0;
    for (uint j = 0; j < a.k; ++j) {
      sum += weight[row * a.weight_row + j * a.weight_choice] * x[row * a.x_row + j * a.x_choice + column];
    }
    pointer<float>(a.result)[i] = sum;
  }
}

// turns / factor modulo one turn; the factor is a normal number between 2^-40 and 2^23.
__device__ uint64_t divided(uint64_t turns, float factor) {
  const uint bits = __float_as_uint(factor) & 0x7fffffffu, m = (bits & 0x7fffffu) | 0x800000u;
  const int exponent = 150 - static_cast<int>(bits >> 23);
  const uint shift = static_cast<uint>(exponent < 1 ? 1 : exponent > 63 ? 63 : exponent);  // factor = m 2^-shift
  const uint64_t high = turns >> (64 - shift), low = turns << shift;
  uint rest = 0;
  uint64_t quotient = 0;
  for (int i = 15; i >= 0; --i) {
    const uint byte = static_cast<uint>(i < 8 ? low >> 8 * i : high >> (8 * i - 64)) & 255u, t = rest << 8 | byte;
    rest = t % m;
    quotient = quotient << 8 | t / m;
  }
  return factor < 0 ? 0 - quotient : quotient;
}

// cos and sin of every row and pair, times the magnitude: a table that all ROPEs with the same attributes read. Angles
// are counted in turns, in units of 2^-64, so that position times frequency modulo a turn is one multiplication of
// whole numbers and exact at every position; a factor divides them.
__device__ void rope_angles(const RopeAnglesArguments& a, Step step) {
  const uint total = step.size(a.rows) * a.pairs;
  for (uint i = thread_of_grid(); i < total; i += threads_of_grid()) {
    const uint row = i / a.pairs, pair = i % a.pairs;
    const int position = pointer<const int>(step.address_of(a.position))[row * a.position_stride];
    uint64_t turns = pointer<const uint64_t>(a.turns)[pair];
    if (a.factors != 0) turns = divided(turns, floats(step.address_of(a.factors))[pair]);
    const uint angle = static_cast<uint>(static_cast<uint64_t>(static_cast<int64_t>(position)) * turns >> 32);
    float sine, cosine;
    sincospif(static_cast<float>(static_cast<int>(angle)) * 0x1p-31f, &sine, &cosine);  // of a half turn
    pointer<float>(a.table)[2 * i] = cosine * a.magnitude;
    pointer<float>(a.table)[2 * i + 1] = sine * a.magnitude;
  }
}

// One thread a pair, or one of the values behind n_rot that are copied. The output may lie where the input does.
__device__ void rope(const RopeArguments& a, Step step) {
  const uint pairs = a.n_rot / 2, items = a.width - pairs, total = step.size(a.rows) * a.heads * items;
  for (uint i = thread_of_grid(); i < total; i += threads_of_grid()) {
    const uint item = i % items, head = i / items % a.heads, row = i / items / a.heads;
    const float* x = floats(step.address_of(a.x)) + row * a.x_row + head * a.x_head;
    float* to = pointer<float>(a.result) + uint64_t{row * a.heads + head} * a.width;
    if (item >= pairs) {
      to[item + pairs] = x[item + pairs];
      continue;
    }
    const float* angle = floats(a.table) + 2 * (row * pairs + item);
    const float c = angle[0], s = angle[1];
    const uint first = a.halves != 0 ? item : 2 * item, second = a.halves != 0 ? item + pairs : 2 * item + 1;
    const float p = x[first], q = x[second];
    to[first] = p * c - q * s;
    to[second] = p * s + q * c;
  }
}

// The slot of a sequence's state that the step block names; 0 where there is none (or one that the state has not).
__device__ uint64_t slot_of(const SlotStore& s, Step step, uint offset, uint sequence) {
  const int slot = step.at(offset, sequence);
  return slot < 0 || static_cast<uint>(slot) >= s.n_slots ? 0
                                                          : s.slots + uint64_t{static_cast<uint>(slot)} * s.slot_bytes;
}

// One thread an output of a row and channel, or one value that the state keeps. Rows from before the step come from the
// slot that is read, which is never the one that is written.
__device__ void conv(const ConvArguments& a, Step step) {
  const uint held = a.taps - 1, outputs = step.count(kTokens) * a.channels;
  const uint total = outputs + step.count(kSequences) * held * a.channels;
  // Channel `channel` of the `row`th row of a sequence's rows, of which those before 0 are the state's.
  const auto value_at = [&](uint64_t state, int begin, int row, uint channel) {
    if (row >= 0) return floats(step.address_of(a.x))[uint64_t{static_cast<uint>(begin + row)} * a.x_row + channel];
    return state == 0 ? 0.0f : floats(state)[static_cast<uint>(row + static_cast<int>(held)) * a.channels + channel];
  };
  for (uint i = thread_of_grid(); i < total; i += threads_of_grid()) {
    if (i < outputs) {
      const uint row = i / a.channels, channel = i % a.channels;
      const int sequence = step.at(a.store.sequence, row);
      if (sequence < 0 || sequence >= static_cast<int>(step.count(kSequences))) continue;
      const int begin = step.at(a.store.q_begin, static_cast<uint>(sequence));
      const uint64_t state = slot_of(a.store, step, a.store.state_read, static_cast<uint>(sequence));
      float y = 0;
      for (uint j = 0; j < a.taps; ++j) {
        const int from = static_cast<int>(row) - begin - static_cast<int>(held) + static_cast<int>(j);
        y += floats(step.address_of(a.weight))[channel * a.weight_row + j] * value_at(state, begin, from, channel);
      }
      if (a.bias != 0) y += floats(step.address_of(a.bias))[channel];
      pointer<float>(a.result)[i] = a.silu != 0 ? silu(y) : y;
      continue;
    }
    const uint item = i - outputs, channel = item % a.channels, k = item / a.channels % held;
    const uint sequence = item / a.channels / held;
    const int begin = step.at(a.store.q_begin, sequence), n = step.at(a.store.q_begin, sequence + 1) - begin;
    const uint64_t next = slot_of(a.store, step, a.store.state_write, sequence);
    if (n <= 0 || next == 0) continue;
    const uint64_t state = slot_of(a.store, step, a.store.state_read, sequence);
    pointer<float>(next)[k * a.channels + channel] =
        value_at(state, begin, n - static_cast<int>(held) + static_cast<int>(k), channel);
  }
}

// A block has one sequence, one value head and as many columns of S as it has threads. They lie in shared memory from
// the first row of the step to its last; a thread goes through a column alone.
__device__ void linear_attention(const LinearAttentionArguments& a, Step step) {
  constexpr uint kThreads = 32, kMostKeys = 192;
  __shared__ float state[kMostKeys * kThreads];
  const uint me = threadIdx.x, column = blockIdx.x * kThreads + me, head = blockIdx.y, sequence = blockIdx.z;
  const uint keys = a.d_k;
  if (sequence >= step.count(kSequences) || column >= a.d_v) return;  // no thread waits for another
  const int begin = step.at(a.store.q_begin, sequence), end = step.at(a.store.q_begin, sequence + 1);
  if (begin >= end) return;
  const uint key_head = a.modulo != 0 ? head % a.key_heads : head / (a.heads / a.key_heads);
  const uint64_t from = slot_of(a.store, step, a.store.state_read, sequence);
  for (uint i = 0; i < keys; ++i) {
    state[i * kThreads + me] = from == 0 ? 0.0f : floats(from)[(head * keys + i) * a.d_v + column];
  }
  for (uint row = static_cast<uint>(begin); row < static_cast<uint>(end); ++row) {
    const float* key = floats(step.address_of(a.k)) + row * a.k_row + key_head * a.k_head;
    const float* asked = floats(step.address_of(a.q)) + row * a.q_row + key_head * a.q_head;
    float kept = 1, added = floats(step.address_of(a.v))[row * a.v_row + head * a.v_head + column];
    if (a.decay != 0) kept = expf(floats(step.address_of(a.decay))[row * a.decay_row + head * a.decay_head]);
    if (a.beta != 0) {  // what the state does not say of this key yet
      float known = 0;
      for (uint i = 0; i < keys; ++i) known += state[i * kThreads + me] * key[i];
      added = (added - known * kept) * floats(step.address_of(a.beta))[row * a.beta_row + head * a.beta_head];
    }
    float y = 0;
    for (uint i = 0; i < keys; ++i) {
      const float s = state[i * kThreads + me] * kept + key[i] * added;
      state[i * kThreads + me] = s;
      y += s * asked[i];
    }
    pointer<float>(a.result)[(row * a.heads + head) * a.d_v + column] = a.scale * y;
  }
  const uint64_t next = slot_of(a.store, step, a.store.state_write, sequence);
  if (next == 0) return;
  for (uint i = 0; i < keys; ++i) pointer<float>(next)[(head * keys + i) * a.d_v + column] = state[i * kThreads + me];
}

}  // namespace brim_gpu

// What a device's way to memory is tried with.
extern "C" __global__ void copy_words(const uint64_t from, const uint64_t to, const brim_gpu::uint n) {
  using namespace brim_gpu;
  for (uint i = thread_of_grid(); i < n; i += threads_of_grid()) pointer<uint>(to)[i] = pointer<const uint>(from)[i];
}
// The head of every run: its Run block, and a copy of the step block, which may lie in host memory, where each trip of
// a kernel would take a microsecond and more. `words` of 4 bytes.
extern "C" __global__ void __launch_bounds__(1024)
    begin_run(const __grid_constant__ brim_gpu::Run run, brim_gpu::Run* to, const uint64_t copy,
              const brim_gpu::uint words) {
  using namespace brim_gpu;
#pragma unroll 8
  for (uint i = threadIdx.x; i < words; i += 1024) pointer<uint>(copy)[i] = pointer<const uint>(run.step)[i];
  if (threadIdx.x != 0) return;
  *to = run;
  to->step = copy;
}
BRIM_KERNEL(scatter, 64, ScatterArguments, scatter)
BRIM_KERNEL(batched, 64, BatchedArguments, batched)
BRIM_KERNEL(combine, 64, CombineArguments, combine)
BRIM_KERNEL(rope_angles, 64, RopeAnglesArguments, rope_angles)
BRIM_KERNEL(rope, 64, RopeArguments, rope)
BRIM_KERNEL(conv, 64, ConvArguments, conv)
BRIM_KERNEL(linear_attention, 32, LinearAttentionArguments, linear_attention)
