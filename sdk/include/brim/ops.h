/* ops.h - the registry of ops: number, revision, inputs, outputs, attributes, feature bits, numerics.
 *
 * Numbers are assigned once and never reused; a gap is room for neighbours. A new meaning of an old op is a new
 * revision (brim_node.op_rev) or a feature bit (brim_node.must): a backend lists the revisions and bits that it knows,
 * the host masks before it asks, and what is not known is refused, never computed wrong.
 *
 * Numerics, for every op unless its text says otherwise:
 *   - Values in and out are F32; weights have any dtype of types.h. Inputs of another dtype are cast by COPY.
 *   - STRICT: each multiplication and addition in F32 or better, sums of K terms with a relative error of at most
 *     4 * sqrt(K) * 2^-24 against exact arithmetic on the dequantised weights, library functions within 4 ulp.
 *   - FAST: RMS-relative error against STRICT at most 2e-2 for ops on weights of 4 and more bits, 4e-3 on BF16 weights,
 *     for which activations may be rounded to BF16, 1e-3 for the others.
 *   - NaN and infinity in an input reach every output element that depends on it.
 *   - A size of 0 in any dimension gives an empty output and is no error.
 *   - Rows beyond the step's real counts (padding) may hold anything, NaN too, and change nothing else.
 *   - Where backend.h's BRIM_DEVICE_BATCH_INVARIANT is set, the bits of a row do not depend on the other rows.
 *
 * Shapes: `..` stands for any outer dimensions. A value may be a view with outer strides; its innermost dimension is
 * contiguous unless a backend accepted otherwise.
 */
#ifndef BRIM_OPS_H
#define BRIM_OPS_H

#include "graph.h"
#include "types.h"

BRIM_BEGIN

/* ---- views: no kernel, the output aliases the input ------------------------------------------------------------- */

/* RESHAPE rev 1: (x) -> same elements, other dimensions. x must be contiguous.
 * SLICE rev 1: (x) -> x[.., begin : begin + length, ..] along one axis.
 * PERMUTE rev 1: (x) -> axis i of the output is axis[i] of x.
 * BROADCAST rev 1: (x) -> dimensions of size 1 stretched to `dim` (stride 0). */
#define BRIM_OP_RESHAPE 1u
#define BRIM_OP_SLICE 2u
#define BRIM_OP_PERMUTE 3u
#define BRIM_OP_BROADCAST 4u

typedef struct brim_shape_attr { /* RESHAPE, BROADCAST */
  uint32_t struct_size, rank;
  brim_dim dim[BRIM_MAX_RANK];
} brim_shape_attr;
typedef struct brim_slice_attr {
  uint32_t struct_size, axis;
  uint32_t begin, length; /* along an axis of constant size */
} brim_slice_attr;
typedef struct brim_permute_attr {
  uint32_t struct_size, reserved0;
  uint32_t axis[BRIM_MAX_RANK];
} brim_permute_attr;

/* ---- movement --------------------------------------------------------------------------------------------------- */

/* COPY rev 1: (x any dtype, any strides) -> contiguous, dtype of the attribute. Quantising uses the reference encoder
 * (round to nearest even of each scaled element). Inputs: F32, F16, BF16, I32, block formats (to F32 only). */
#define BRIM_OP_COPY 16u
typedef struct brim_copy_attr {
  uint32_t struct_size, dtype;
} brim_copy_attr;

/* CONCAT rev 1: (a, b of the same dtype, unblocked) -> a and b behind each other along one axis of constant size; the
 * other dimensions are equal. */
#define BRIM_OP_CONCAT 17u
typedef struct brim_concat_attr {
  uint32_t struct_size, axis;
} brim_concat_attr;
#define BRIM_OP_PAD 18u

/* GATHER_ROWS rev 1: (table [rows, n] any dtype, index i32 [m]) -> f32 [m, n]: exact dequantisation in every numerics.
 * An index outside [0, rows) gives a row of zeros. */
#define BRIM_OP_GATHER_ROWS 19u

/* SCATTER_ROWS rev 1: (into f32 [rows, n], x f32 [m, n], index i32 [m]) -> f32 [rows, n]: `into` with rows replaced or
 * added to. An index outside [0, rows) is skipped. Equal indices: ADD sums them in order of m, SET keeps the last. */
#define BRIM_OP_SCATTER_ROWS 20u
#define BRIM_SCATTER_SET 0u
#define BRIM_SCATTER_ADD 1u
typedef struct brim_scatter_attr {
  uint32_t struct_size, mode;
} brim_scatter_attr;

#define BRIM_OP_GENERATE 21u

/* ---- elementwise ------------------------------------------------------------------------------------------------ */

/* UNARY rev 1: (x) -> f(x), same shape. */
#define BRIM_OP_UNARY 32u
#define BRIM_UNARY_NEG 1u
#define BRIM_UNARY_ABS 2u
#define BRIM_UNARY_SQRT 3u
#define BRIM_UNARY_RSQRT 4u
#define BRIM_UNARY_EXP 5u
#define BRIM_UNARY_LOG 6u
#define BRIM_UNARY_SIN 7u
#define BRIM_UNARY_COS 8u
#define BRIM_UNARY_TANH 9u
#define BRIM_UNARY_SIGMOID 10u
#define BRIM_UNARY_SILU 11u       /* x * sigmoid(x) */
#define BRIM_UNARY_GELU 12u       /* x / 2 * (1 + erf(x / sqrt(2))) */
#define BRIM_UNARY_GELU_TANH 13u  /* x / 2 * (1 + tanh(sqrt(2 / pi) * (x + 0.044715 x^3))) */
#define BRIM_UNARY_GELU_QUICK 14u /* x * sigmoid(1.702 x) */
#define BRIM_UNARY_RELU 15u
#define BRIM_UNARY_RELU_SQUARED 16u
#define BRIM_UNARY_SOFTPLUS 17u /* log(1 + exp(x)), no overflow */
#define BRIM_UNARY_FLOOR 18u
typedef struct brim_unary_attr {
  uint32_t struct_size, kind;
} brim_unary_attr;

/* BINARY rev 1: (a, b) -> f(a, b); dimensions aligned at the innermost, each equal or 1 (NumPy's broadcasting). */
#define BRIM_OP_BINARY 33u
#define BRIM_BINARY_ADD 1u
#define BRIM_BINARY_SUB 2u
#define BRIM_BINARY_MUL 3u
#define BRIM_BINARY_DIV 4u
#define BRIM_BINARY_MAX 5u
#define BRIM_BINARY_MIN 6u
#define BRIM_BINARY_POW 7u
typedef struct brim_binary_attr {
  uint32_t struct_size, kind;
} brim_binary_attr;

/* AFFINE_CLAMP rev 1: (x) -> min(max(scale * x + bias, lo), hi). With SOFTCAP: cap * tanh((scale * x + bias) / cap),
 * then the clamp. */
#define BRIM_OP_AFFINE_CLAMP 34u
#define BRIM_AFFINE_SOFTCAP (1ull << 0)
typedef struct brim_affine_attr {
  uint32_t struct_size;
  float scale, bias, lo, hi; /* no clamp: -INFINITY, INFINITY */
  float cap;                 /* with SOFTCAP */
} brim_affine_attr;

#define BRIM_OP_SELECT 35u

/* GLU rev 1: (gate [.., n], up [.., n]) -> [.., n]: act(gate) * up. One input [.., 2 n] means gate = first half, up =
 * second half of each row. SWIGLU_LIMIT: g = min(gate, limit), u = clamp(up, -limit, limit),
 * g * sigmoid(alpha * g) * (u + 1). */
#define BRIM_OP_GLU 36u
#define BRIM_GLU_SILU 1u
#define BRIM_GLU_GELU 2u
#define BRIM_GLU_GELU_TANH 3u
#define BRIM_GLU_RELU 4u
#define BRIM_GLU_SIGMOID 5u
#define BRIM_GLU_SWIGLU_LIMIT 6u
typedef struct brim_glu_attr {
  uint32_t struct_size, kind;
  float alpha, limit; /* SWIGLU_LIMIT only */
} brim_glu_attr;

/* ---- reductions and norms ---------------------------------------------------------------------------------------- */

#define BRIM_OP_REDUCE 48u
#define BRIM_OP_CUMSUM 49u

/* SOFTMAX rev 1: (x [.., n], mask f32 [.., n] or absent) -> softmax over the innermost dimension of scale * x + mask.
 */
#define BRIM_OP_SOFTMAX 50u
typedef struct brim_softmax_attr {
  uint32_t struct_size;
  float scale;
} brim_softmax_attr;

/* RMS_NORM rev 1: (x [.., n], weight f32 [n] or absent) -> x / sqrt(mean(x^2) + eps) * (weight + weight_offset). */
#define BRIM_OP_RMS_NORM 51u
typedef struct brim_norm_attr {
  uint32_t struct_size;
  float eps;
  float weight_offset; /* 0, or 1 where files store weight - 1 */
  uint32_t reserved0;
} brim_norm_attr;

/* LAYER_NORM rev 1: (x [.., n], weight f32 [n] or absent, bias f32 [n] or absent) ->
 * (x - mean(x)) / sqrt(mean((x - mean(x))^2) + eps) * (weight + weight_offset) + bias. Attributes: brim_norm_attr. */
#define BRIM_OP_LAYER_NORM 52u
#define BRIM_OP_GROUP_NORM 53u
/* L2_NORM rev 1: (x [.., n]) -> x / sqrt(sum(x^2) + eps). Attributes: brim_norm_attr, of which eps counts. */
#define BRIM_OP_L2_NORM 54u
#define BRIM_OP_ADD_RMS_NORM 55u /* composite */

/* ---- selection --------------------------------------------------------------------------------------------------- */

/* ARGMAX rev 1: (x [m, n]) -> i32 [m]: the index of the largest, the lowest where several are. NaN counts as smallest.
 */
#define BRIM_OP_ARGMAX 64u
/* TOPK rev 1: (x [m, n]) -> values f32 [m, k] descending, index i32 [m, k]; of equal values the lower index first. */
#define BRIM_OP_TOPK 65u
typedef struct brim_topk_attr {
  uint32_t struct_size, k;
} brim_topk_attr;

/* ---- matrix multiply --------------------------------------------------------------------------------------------- */

/* MATMUL rev 1: (w [n, k] any dtype, x f32 [.., k], bias f32 [n] or absent) -> f32 [.., n]: x w^T + bias.
 * With BATCHED: w f32 [B.., n, k], x f32 [B.., m, k] -> f32 [B.., m, n], a dimension of w being 1 or equal.
 * With HEADS: w [h, n, k] any dtype, x f32 [m, h, k], no bias -> f32 [m, h, n]: each head has a matrix of its own. x
 * may be a slice of wider heads: its two outer dimensions may have any strides. */
#define BRIM_OP_MATMUL 80u
#define BRIM_MATMUL_BIAS (1ull << 0)
#define BRIM_MATMUL_BATCHED (1ull << 1)
#define BRIM_MATMUL_HEADS (1ull << 2)
#define BRIM_OP_MATMUL_GLU 81u /* composite */

/* GROUPED_MATMUL rev 1: (w [experts, n, k] any dtype, x f32 [m, k] or [m, g, k], index i32 [m, g], bias f32 [experts,
 * n] or absent) -> f32 [m, g, n]: row (i, j) is w[index[i, j]] times x[i] or x[i, j]. The index is read on the device.
 * An index outside [0, experts) gives a row of zeros. */
#define BRIM_OP_GROUPED_MATMUL 82u
#define BRIM_GROUPED_MATMUL_BIAS (1ull << 0)
#define BRIM_OP_GROUPED_MATMUL_GLU 83u /* composite */

/* ---- mixture of experts ------------------------------------------------------------------------------------------ */

/* MOE_ROUTE rev 1: (logits f32 [m, e], bias f32 [e] or absent) -> weight f32 [m, k], index i32 [m, k].
 * Each expert's score is the gate's function of its logit, the score that decides is score + bias. The k largest
 * deciding scores are chosen, largest first, of equal ones the lower index first. With GROUPS, e / n_group neighbours
 * form a group, worth the sum of its two largest deciding scores (of one, if it has one); only experts of the
 * n_group_used groups worth most can be chosen. weight = scale * score of the chosen, with NORMALISE divided by the sum
 * of the chosen scores (by 2^-14 where that is less). A NaN counts as the smallest. */
#define BRIM_OP_MOE_ROUTE 96u
#define BRIM_MOE_ROUTE_BIAS (1ull << 0)
#define BRIM_MOE_ROUTE_GROUPS (1ull << 1)
#define BRIM_MOE_GATE_SOFTMAX 1u /* over all e */
#define BRIM_MOE_GATE_SIGMOID 2u
#define BRIM_MOE_GATE_SOFTMAX_CHOSEN 3u /* the logit decides, then a softmax over the k chosen */
typedef struct brim_moe_route_attr {
  uint32_t struct_size, gate; /* BRIM_MOE_GATE_* */
  uint32_t k;
  uint32_t n_group, n_group_used; /* with GROUPS; n_group divides e */
  uint32_t normalise;             /* 0 or 1 */
  float scale;
  uint32_t reserved0;
} brim_moe_route_attr;

/* MOE_COMBINE rev 1: (x f32 [m, k, n], weight f32 [m, k]) -> f32 [m, n]: the sum of weight[i, j] * x[i, j], in order of
 * j. */
#define BRIM_OP_MOE_COMBINE 97u

/* ---- position and attention -------------------------------------------------------------------------------------- */

/* ROPE rev 1: (x f32 [T, heads, d], position i32 [T, C], factors f32 [n_rot / 2] or absent) -> f32 [T, heads, d].
 * The first n_rot values of each head are rotated in pairs, the rest is copied. Pair i has the angle
 *   theta_i = position * freq_scale * base^(-2 i / n_rot) / factors[i].
 * Pairs: (2i, 2i + 1) for ADJACENT, (i, i + n_rot / 2) for HALVES.
 * With YARN (Peng et al. 2023, arXiv:2309.00071): theta_i = mix(position * f_i * freq_scale, position * f_i, r_i), f_i
 * the unscaled frequency, r_i = ext_factor * (1 - clamp((i - low) / max(0.001, high - low), 0, 1)), low and high the
 * floor and ceiling (clamped to [0, n_rot - 1]) of n_rot * ln(n_ctx_orig / (beta * 2 pi)) / (2 ln base) for beta_fast,
 * beta_slow. cos and sin are multiplied by magnitude (all of YaRN's attention factor is in it; 1 without). Angles are
 * computed in F32 from F64 frequencies or better. */
#define BRIM_OP_ROPE 112u
#define BRIM_ROPE_ADJACENT 1u
#define BRIM_ROPE_HALVES 2u
#define BRIM_ROPE_YARN (1ull << 0)
#define BRIM_ROPE_FACTORS (1ull << 1)
#define BRIM_ROPE_SECTIONS (1ull << 2) /* several position components; defined with the families that use it */
#define BRIM_ROPE_INVERSE (1ull << 3)
typedef struct brim_rope_attr {
  uint32_t struct_size;
  uint32_t pairing; /* BRIM_ROPE_ADJACENT or _HALVES */
  uint32_t n_rot;
  uint32_t n_ctx_orig;
  float base, freq_scale, magnitude;      /* freq_scale and magnitude: 1 where nothing is scaled */
  float ext_factor, beta_fast, beta_slow; /* with YARN */
} brim_rope_attr;

#define BRIM_OP_QK_NORM_ROPE 113u /* composite */

/* KV_WRITE rev 1: (state, k f32 [T, heads_kv, d_k], v f32 [T, heads_kv, d_v]) -> the state's next version. A latent
 * state (BRIM_STATE_KV_LATENT) has no V: v is absent. Row t goes to the slot kv_slot[t] of the state's KV group in the
 * step block (block * block_tokens + offset); -1 discards it. Stored in the state's dtype; F16 and Q8_0 round to
 * nearest even. */
#define BRIM_OP_KV_WRITE 114u

/* ATTENTION rev 1: (q f32 [T, heads, d_k], state, sinks f32 [heads] or absent) -> f32 [T, heads, d_v]:
 * softmax(scale * q K^T + mask) V. Query head h reads KV head h / (heads / heads_kv). The keys of row t are the first
 * kv_len[s] tokens of its sequence s; with CAUSAL the row is the (kv_len[s] - (q_begin[s + 1] - t))th token, counted
 * from 0, and sees itself and what came before.
 * SLIDING_WINDOW: of those only the last `window`, itself included. SOFTCAP: scores become softcap * tanh(score /
 * softcap) before the mask. SINKS: the softmax of head h has one more score, sinks[h], that is not multiplied by scale
 * and whose value is a row of zeros. V_FROM_K: the state is a latent one; V is the first v_width values of each row of
 * K. */
#define BRIM_OP_ATTENTION 115u
#define BRIM_ATTENTION_CAUSAL (1ull << 0)
#define BRIM_ATTENTION_MASK (1ull << 1)
#define BRIM_ATTENTION_SLIDING_WINDOW (1ull << 2)
#define BRIM_ATTENTION_CHUNKED (1ull << 3)
#define BRIM_ATTENTION_SOFTCAP (1ull << 4)
#define BRIM_ATTENTION_SINKS (1ull << 5)
#define BRIM_ATTENTION_BIAS (1ull << 6)
#define BRIM_ATTENTION_SEGMENTS (1ull << 7)
#define BRIM_ATTENTION_V_FROM_K (1ull << 10)
#define BRIM_ATTENTION_SPARSE_INDEX (1ull << 11)
typedef struct brim_attention_attr {
  uint32_t struct_size;
  uint32_t n_head, n_head_kv;
  uint32_t window; /* with SLIDING_WINDOW or CHUNKED */
  float scale;
  float softcap;    /* with SOFTCAP */
  uint32_t v_width; /* with V_FROM_K */
  uint32_t reserved0;
} brim_attention_attr;

/* ---- recurrent ---------------------------------------------------------------------------------------------------
 * The states of these ops have one slot per sequence: the rows of sequence s run on from the slot state_read[s] of the
 * step block (-1: all zeros) in the order of the rows, and what is left after the last goes to the slot state_write[s]
 * (-1: nowhere). The two are never the same slot. */

/* CAUSAL_CONV1D rev 1: (x f32 [T, c], state, weight f32 [c, taps], bias f32 [c] or absent) -> f32 [T, c], the state's
 * next version. y[t, i] = act(sum over j of weight[i, j] * x[t - taps + 1 + j, i] + bias[i]): the last tap meets the
 * row itself, rows from before the step come from the state. State (BRIM_STATE_CONV): the last taps - 1 rows of x,
 * [taps - 1, c], oldest first. */
#define BRIM_OP_CAUSAL_CONV1D 128u
#define BRIM_CONV1D_BIAS (1ull << 0)
typedef struct brim_conv1d_attr {
  uint32_t struct_size;
  uint32_t activation; /* 0: none, or BRIM_UNARY_SILU */
} brim_conv1d_attr;

#define BRIM_OP_SSM_SCAN 129u

/* LINEAR_ATTENTION rev 1: (q f32 [T, h_k, d_k], k f32 [T, h_k, d_k], v f32 [T, h_v, d_v], decay f32 [T, h_v] or absent,
 * beta f32 [T, h_v] or absent, state) -> f32 [T, h_v, d_v], the state's next version. Value head h has a matrix S [d_k,
 * d_v] and reads the q and k of key head h / (h_v / h_k), with HEADS_MODULO of key head h % h_k. For each row, in
 * order: S = exp(decay[h]) * S (with DECAY); e = beta[h] * (v[h] - S^T k) (with DELTA, else e = v[h]); S = S + k e^T;
 * y[h] = scale * S^T q. State (BRIM_STATE_RECURRENT): S of all value heads, [h_v, d_k, d_v]. */
#define BRIM_OP_LINEAR_ATTENTION 130u
#define BRIM_LINEAR_DECAY (1ull << 0) /* decay is given */
#define BRIM_LINEAR_DELTA (1ull << 1) /* beta is given */
#define BRIM_LINEAR_HEADS_MODULO (1ull << 2)
typedef struct brim_linear_attention_attr {
  uint32_t struct_size;
  float scale;
} brim_linear_attention_attr;

#define BRIM_OP_TRI_SOLVE 131u

/* ---- spatial ------------------------------------------------------------------------------------------------------
 */
#define BRIM_OP_CONV 144u
#define BRIM_OP_CONV_TRANSPOSE 145u
#define BRIM_OP_POOL 146u
#define BRIM_OP_RESIZE 147u

/* ---- across devices: reserved --------------------------------------------------------------------------------------
 */
#define BRIM_OP_ALL_REDUCE 160u
#define BRIM_OP_ALL_GATHER 161u
#define BRIM_OP_SEND 162u
#define BRIM_OP_RECV 163u

/* Escape hatch: the attribute names "vendor.op/REV" and carries bytes. */
#define BRIM_OP_EXT 255u

/* An op without text above has its number only: no host emits it and no backend may claim it in this minor. */

BRIM_END
#endif
