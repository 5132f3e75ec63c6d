// What a kernel is told: one struct a kernel, read by GLSL and written by C++ from this one text.
//
// Addresses are device addresses; one with bit 63 set is an offset into the step block of the run (see address_of).
// Strides count elements. A size is `factor` times the run's count of `symbol` (BRIM_SYM_*), so one recording serves
// every step of a bucket. GLSL reads the structs in scalar layout, which is that of C++ as long as what has 8 bytes
// lies at a multiple of 8; every struct is padded to a multiple of 8 bytes.

struct Size {
  uint symbol, factor;
};

// Written at the head of every run, in the order of BRIM_SYM_*.
struct Run {
  uint64_t step;
  uint count[5];
  uint reserved0;
};

// Up to four dimensions, outermost first; `result` is contiguous unless it has strides of its own. Of a backend that
// fuses, a GLU may write what QUANTISE would make of its result, and need not write that: each is 0 where absent.
struct ElementwiseArguments {
  uint64_t a, b, result, codes, scales;
  Size dim[4];
  uint a_stride[4], b_stride[4];
  float scale, bias, lo, hi, cap, alpha, limit;
  uint reserved0;
};

struct CopyArguments {
  uint64_t x, result;
  Size dim[4];
  uint x_stride[4], result_stride[4];
};

// Rows of `width` values; the outer three dimensions have strides in x, the output is contiguous. Codes and scales are as
// those of ELEMENTWISE.
struct NormArguments {
  uint64_t x, weight, bias, mask, result, codes, scales;  // 0 where absent
  Size dim[3];
  uint x_stride[3], mask_stride[3];
  uint width;
  float eps, weight_offset, scale;
};

struct GatherArguments {
  uint64_t table, index, result;
  uint64_t row_bytes;
  Size rows, table_rows;
  uint first_row, n_rows;  // of the piece of the table that lies at `table`
  uint width, index_stride;
};

struct ScatterArguments {
  uint64_t into, x, index, result;
  Size rows, sources;
  uint width, into_stride, x_stride, index_stride, add, reserved0;
};

// The k best of each row, best first; `values` may be absent.
struct SelectArguments {
  uint64_t x, values, index;
  Size rows;
  uint width, k, x_stride, reserved0;
};

// Row r of x is (r / inner, r % inner). Its matrix is 0 of PLAIN products, the inner index of products by HEADS, and
// what `index` says for it of GROUPED ones. Of a weight in pieces a launch has some rows of a matrix (`n` of
// `result_row`) or, of several matrices, those from first_matrix on. The x of MATVEC_DOT and MATMUL_DOT is what QUANTISE
// made. Of a backend that fuses, `add` may be another value, whose rows are added to those of the result.
struct ProductArguments {
  uint64_t w, x, bias, result, index, add;
  uint64_t row_bytes, matrix_bytes;
  Size outer;
  uint inner, n, k, result_row;
  uint first_matrix, n_matrices, matrices, x_scales;  // x_scales: bytes from a quantised x's codes to its scales
  uint x_outer, x_inner, index_outer, index_inner;
  uint add_row, reserved0;
};

// Row r of x is (r / inner, r % inner); rows of codes, a byte a value, and of scales, 8 bytes for 32, are contiguous. HALVE
// writes F16 to `codes` and no scales.
struct QuantiseArguments {
  uint64_t x, codes, scales;
  Size outer;
  uint inner, k, x_outer, x_inner;
};

struct BatchedArguments {
  uint64_t w, x, result;
  Size dim[4];  // two of batches, rows of x, rows of w
  uint w_stride[3], x_stride[3];
  uint k, reserved0;
};

struct RopeAnglesArguments {
  uint64_t position, factors, turns, table;  // turns: per pair, of one position, in units of 2^-64
  Size rows;
  uint pairs, position_stride;
  float magnitude;
  uint reserved0;
};

struct RopeArguments {
  uint64_t x, table, result;
  Size rows;
  uint heads, width, n_rot, halves;
  uint x_row, x_head;
};

// A paged state: state/kv.hpp says what lies where in a block. Offsets of the group's arrays are those in the step
// block.
struct KvStore {
  uint64_t blocks, block_bytes;
  uint head_bytes, k_scales, v, v_scales;
  uint n_head, k_width, v_width, n_blocks;
  uint kv_slot, kv_len, block_table, kv_first;
  uint max_blocks, sequence, q_begin, reserved0;
};

struct KvWriteArguments {
  uint64_t k, v;  // v: 0 of a latent state
  KvStore store;
  uint k_row, k_head, v_row, v_head;
};

struct AttentionArguments {
  uint64_t q, sinks, partial, result;  // partial: 0 where the context is not split
  KvStore store;
  uint q_row, q_head;
  uint n_head, v_width, window, causal, latent;
  uint split;  // tokens of a split, a multiple of the threads
  uint n_splits;
  float scale, softcap;
  uint reserved0;
};

struct RouteArguments {
  uint64_t logits, bias, weight, index;
  Size rows;
  uint row_stride, experts, k, gate;
  uint n_group, n_group_used, normalise;
  float scale;
};

struct CombineArguments {
  uint64_t x, weight, result;
  Size rows;
  uint width, k, x_row, x_choice, weight_row, weight_choice;
};

// One slot per sequence; offsets of the arrays are those in the step block.
struct SlotStore {
  uint64_t slots, slot_bytes;
  uint n_slots, state_read, state_write, q_begin, sequence, reserved0;
};

struct ConvArguments {
  uint64_t x, weight, bias, result;
  SlotStore store;
  uint channels, taps, x_row, weight_row, silu, reserved0;
};

struct LinearAttentionArguments {
  uint64_t q, k, v, decay, beta, result;
  SlotStore store;
  uint q_row, q_head, k_row, k_head, v_row, v_head;
  uint decay_row, decay_head, beta_row, beta_head;
  uint key_heads, heads, d_k, d_v, modulo;
  float scale;
};
