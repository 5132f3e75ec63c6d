// Ops that see a row whole, one block a row or one warp: RMS_NORM, LAYER_NORM, L2_NORM and SOFTMAX (norm_OP), ARGMAX
// and TOPK (select_best), MOE_ROUTE (route). A norm's output may lie where its input does: a row is read whole before
// it is written.
#include "best.cuh"
#include "quantise.cuh"

namespace brim_gpu {

constexpr uint kThreads = 64, kNormThreads = 512;
constexpr uint kSoftmax = 50, kLayer = 52, kL2 = 54;  // BRIM_OP_*; 51 is RMS_NORM

// A warp has a row of at most kRun values a lane, the block any other.
template <uint kOp>
__device__ void norm(const NormArguments& a, Step step) {
  constexpr uint kRun = 8, kWarps = kNormThreads / 32;
  const uint d1 = step.size(a.dim[1]), d2 = step.size(a.dim[2]), rows = step.size(a.dim[0]) * d1 * d2, n = a.width;
  const bool narrow = n <= kRun * 32;
  const uint me = narrow ? threadIdx.x % 32 : threadIdx.x, pace = narrow ? 32 : kNormThreads;
  const auto sum_of = [&](float x) {
    if (!narrow) return block_sum<kNormThreads>(x);
    for (int far = 16; far > 0; far /= 2) x += __shfl_xor_sync(~0u, x, far);
    return x;
  };
  const auto largest_of = [&](float x) {
    if (!narrow) return block_max<kNormThreads>(x);
    for (int far = 16; far > 0; far /= 2) x = fmaxf(x, __shfl_xor_sync(~0u, x, far));
    return x;
  };
  const uint first_row = narrow ? blockIdx.x * kWarps + threadIdx.x / 32 : blockIdx.x;
  for (uint row = first_row; row < rows; row += gridDim.x * (narrow ? kWarps : 1)) {
    const uint i2 = row % d2, i1 = row / d2 % d1, i0 = row / d2 / d1;
    const float* x = floats(step.address_of(a.x)) + i0 * a.x_stride[0] + i1 * a.x_stride[1] + i2 * a.x_stride[2];
    float* to = pointer<float>(a.result) + uint64_t{row} * n;
    if constexpr (kOp == kSoftmax) {
      const float* mask = a.mask == 0 ? nullptr
                                      : floats(step.address_of(a.mask)) + i0 * a.mask_stride[0] +
                                            i1 * a.mask_stride[1] + i2 * a.mask_stride[2];
      const auto score = [&](uint i) { return a.scale * x[i] + (mask == nullptr ? 0.0f : mask[i]); };
      float most = -kInfinity;
      for (uint i = me; i < n; i += pace) most = fmaxf(most, score(i));
      most = largest_of(most);
      float sum = 0;
      for (uint i = me; i < n; i += pace) sum += expf(score(i) - most);
      sum = sum_of(sum);
      for (uint i = me; i < n; i += pace) to[i] = expf(score(i) - most) / sum;
      continue;
    }
    // A row's time is that of its trips to memory: kRun values of a thread are under way at once, those of the row's
    // beginning, which is all of most rows, once and with their weights.
    float begin[kRun], scale[kRun], shift[kRun];
    const auto load = [&](uint first, float(&v)[kRun]) {
#pragma unroll
      for (uint j = 0; j < kRun; ++j) v[j] = first + j * pace < n ? x[first + j * pace] : 0.0f;
    };
    const auto load_weights = [&](uint first) {
#pragma unroll
      for (uint j = 0; j < kRun; ++j) {
        const uint i = min(first + j * pace, n - 1);
        scale[j] = a.weight != 0 ? floats(a.weight)[i] + a.weight_offset : 1.0f;
        shift[j] = a.bias != 0 ? floats(a.bias)[i] : 0.0f;
      }
    };
    load(me, begin);
    load_weights(me);
    // with(where a run of this thread begins, its values)
    const auto each_run = [&](auto&& with) {
      with(me, begin);
      for (uint first = me + kRun * pace; first < n; first += kRun * pace) {
        float v[kRun];
        load(first, v);
        with(first, v);
      }
    };
    float mean = 0;
    if constexpr (kOp == kLayer) {
      float sum = 0;
      each_run([&](uint, const float(&v)[kRun]) {
#pragma unroll
        for (uint j = 0; j < kRun; ++j) sum += v[j];
      });
      mean = sum_of(sum) / static_cast<float>(n);
    }
    float squares = 0;
    each_run([&](uint first, const float(&v)[kRun]) {
#pragma unroll
      for (uint j = 0; j < kRun; ++j) {
        if (first + j * pace < n) squares += (v[j] - mean) * (v[j] - mean);
      }
    });
    squares = sum_of(squares);
    const float factor = 1.0f / sqrtf((kOp == kL2 ? squares : squares / static_cast<float>(n)) + a.eps);
    each_run([&](uint first, const float(&v)[kRun]) {
      if (first != me) load_weights(first);
#pragma unroll
      for (uint j = 0; j < kRun; ++j) {
        const uint i = first + j * pace;
        if (i >= n) break;  // of all lanes of a warp, where there are codes
        const float y = (v[j] - mean) * factor * scale[j] + shift[j];
        if (a.result != 0) to[i] = y;
        if (a.codes != 0) quantise_lane(a.codes, a.scales, row * n + i, y);
      }
    });
  }
}

// Each round finds the best of what ranks behind the last one found.
__device__ void select_best(const SelectArguments& a, Step step) {
  for (uint row = blockIdx.x; row < step.size(a.rows); row += gridDim.x) {
    const float* x = floats(step.address_of(a.x)) + uint64_t{row} * a.x_stride;
    Best last;
    for (uint j = 0; j < a.k; ++j) {
      Best best;
      for (uint i = threadIdx.x; i < a.width; i += kThreads) {
        const Best here{x[i], i};
        if (j > 0 && !ranks_before(last, here)) continue;
        if (ranks_before(here, best)) best = here;
      }
      last = block_best<kThreads>(best);
      if (threadIdx.x == 0) {
        pointer<uint>(a.index)[row * a.k + j] = last.index;
        if (a.values != 0) pointer<float>(a.values)[row * a.k + j] = last.value;
      }
    }
  }
}

// Scores and what decides lie in shared memory; a chosen expert, and one of a group that may not be used, is closed.
constexpr uint kMostExperts = 512, kSoftmaxGate = 1, kSigmoidGate = 2;

__device__ void route(const RouteArguments& a, Step step) {
  __shared__ float score[kMostExperts], deciding[kMostExperts], worth[kMostExperts], chosen[kMostExperts];
  __shared__ uint closed[kMostExperts], group_closed[kMostExperts];
  const uint me = threadIdx.x, n = a.experts;
  for (uint row = blockIdx.x; row < step.size(a.rows); row += gridDim.x) {
    const float* x = floats(step.address_of(a.logits)) + uint64_t{row} * a.row_stride;
    float most = -kInfinity, whole = 1;
    if (a.gate == kSoftmaxGate) {
      for (uint i = me; i < n; i += kThreads) most = fmaxf(most, x[i]);
      most = block_max<kThreads>(most);
      float sum = 0;
      for (uint i = me; i < n; i += kThreads) sum += expf(x[i] - most);
      whole = block_sum<kThreads>(sum);
    }
    __syncthreads();
    for (uint i = me; i < n; i += kThreads) {
      const float v = x[i];
      score[i] = a.gate == kSoftmaxGate ? expf(v - most) / whole : a.gate == kSigmoidGate ? sigmoid(v) : v;
      deciding[i] = score[i] + (a.bias != 0 ? floats(step.address_of(a.bias))[i] : 0.0f);
      closed[i] = 0;
    }
    __syncthreads();
    const auto decides = [&](uint i) { return Best{deciding[i], i}; };
    if (a.n_group > 1) {
      const uint each = n / a.n_group;
      for (uint g = me; g < a.n_group; g += kThreads) {
        uint first = g * each, second = kNone;
        for (uint i = g * each + 1; i < (g + 1) * each; ++i) {
          if (ranks_before(decides(i), decides(first))) {
            second = first;
            first = i;
          } else if (second == kNone || ranks_before(decides(i), decides(second))) {
            second = i;
          }
        }
        worth[g] = deciding[first] + (second == kNone ? 0.0f : deciding[second]);
        group_closed[g] = 1;
      }
      __syncthreads();
      Best last;
      for (uint j = 0; j < a.n_group_used; ++j) {
        Best best;
        for (uint g = me; g < a.n_group; g += kThreads) {
          const Best here{worth[g], g};
          if (j > 0 && !ranks_before(last, here)) continue;
          if (ranks_before(here, best)) best = here;
        }
        last = block_best<kThreads>(best);
        if (me == 0) group_closed[last.index] = 0;
        __syncthreads();
      }
      for (uint i = me; i < n; i += kThreads) closed[i] = group_closed[i / each];
      __syncthreads();
    }
    float total = 0;
    for (uint j = 0; j < a.k; ++j) {
      Best best;
      for (uint i = me; i < n; i += kThreads) {
        if (closed[i] == 0 && ranks_before(decides(i), best)) best = decides(i);
      }
      best = block_best<kThreads>(best);
      total += score[best.index];
      if (me == 0) {
        closed[best.index] = 1;
        chosen[j] = score[best.index];
        pointer<uint>(a.index)[row * a.k + j] = best.index;
      }
      __syncthreads();
    }
    float* weight = pointer<float>(a.weight) + row * a.k;
    if (a.gate != kSoftmaxGate && a.gate != kSigmoidGate) {  // a softmax over the chosen
      float top = chosen[0];
      for (uint j = 1; j < a.k; ++j) top = fmaxf(top, chosen[j]);
      total = 0;
      for (uint j = 0; j < a.k; ++j) total += expf(chosen[j] - top);
      for (uint j = me; j < a.k; j += kThreads) weight[j] = expf(chosen[j] - top) / total * a.scale;
    } else {
      const float divisor = a.normalise != 0 ? (total < 0x1p-14f ? 0x1p-14f : total) : 1.0f;
      for (uint j = me; j < a.k; j += kThreads) weight[j] = chosen[j] / divisor * a.scale;
    }
    __syncthreads();
  }
}

}  // namespace brim_gpu

BRIM_KERNEL(norm_50, 512, NormArguments, norm<50>)
BRIM_KERNEL(norm_51, 512, NormArguments, norm<51>)
BRIM_KERNEL(norm_52, 512, NormArguments, norm<52>)
BRIM_KERNEL(norm_54, 512, NormArguments, norm<54>)
BRIM_KERNEL(select_best, 64, SelectArguments, select_best)
BRIM_KERNEL(route, 64, RouteArguments, route)
