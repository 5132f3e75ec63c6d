/* backend.h - how a plugin brings devices. Interface "brim.backend/1".
 *
 * A backend finds devices (or describes absent ones), owns memory on them, says which nodes it can compute, compiles lists
 * of nodes into programs and runs them on queues. The host decides: what lives where, which program runs when, what waits
 * for what. All planning calls (support, pack_size, program_measure, state_layout) are pure functions of their arguments
 * and work on described devices too, with no hardware present.
 *
 * The fewest slots a backend may fill are marked (required); the others may be NULL and the host does without.
 *
 * Errors: BRIM_OUT_OF_MEMORY fills detail with {heap, requested, available}. BRIM_DEVICE_LOST sticks to its device: every
 * later call on it returns it, destroying and closing still work, other devices go on.
 */
#ifndef BRIM_BACKEND_H
#define BRIM_BACKEND_H

#include "architecture.h"
#include "graph.h"
#include "ops.h"
#include "plugin.h"

BRIM_BEGIN

#define BRIM_BACKEND_INTERFACE "brim.backend/1"

typedef struct brim_device brim_device;
typedef struct brim_buffer brim_buffer;
typedef struct brim_queue brim_queue;
typedef struct brim_fence brim_fence;
typedef struct brim_program brim_program;

/* ---- devices and their memory -------------------------------------------------------------------------------------- */

#define BRIM_HEAP_DEVICE_LOCAL (1u << 0)
#define BRIM_HEAP_HOST_VISIBLE (1u << 1)  /* buffer_map works */
#define BRIM_HEAP_HOST_COHERENT (1u << 2) /* no flush is needed between host and device */
#define BRIM_HEAP_HOST_CACHED (1u << 3)
#define BRIM_HEAP_PAGEABLE (1u << 4)      /* the driver may move it */
#define BRIM_HEAP_IMPORT_HOST (1u << 5)   /* buffer_import wraps host memory, a mapped file for instance. Of a heap that is not
                                             the device's own: at that heap's speed, and hosts import only what a step
                                             reads a few rows of */

/* The physical memory behind a heap. Two heaps with one pool id, even of two plugins, share one budget. System memory has
 * the id {BRIM_POOL_SYSTEM, NUMA node}, 0 for all of it; others use a device's UUID. */
#define BRIM_POOL_SYSTEM 1ull

typedef struct brim_heap_info {
  uint32_t struct_size;
  uint32_t flags; /* BRIM_HEAP_* */
  uint64_t pool_id[2];
  uint64_t size;      /* bytes */
  uint64_t alignment; /* of offsets in buffers, a power of two; mapped tensors that miss it are copied */
  uint64_t max_alloc; /* the largest buffer, bytes */
  uint64_t read_bandwidth, write_bandwidth; /* bytes/s by the data sheet, of which hosts take a share; 0 where unknown */
} brim_heap_info;

#define BRIM_DEVICE_CPU 1u
#define BRIM_DEVICE_INTEGRATED 2u
#define BRIM_DEVICE_DISCRETE 3u
#define BRIM_DEVICE_ACCELERATOR 4u

#define BRIM_DEVICE_LIVE (1u << 0)            /* can allocate and run; a described device only plans */
#define BRIM_DEVICE_SYNCHRONOUS (1u << 1)     /* program_run and copy have done their work when they return */
#define BRIM_DEVICE_ANY_KV (1u << 2)          /* programs do not depend on the bucket's n_kv: one serves all */
#define BRIM_DEVICE_BATCH_INVARIANT (1u << 3) /* a row's bits do not depend on other rows, chunking or threads */
/* What the driver says of the host's memory, by which unified memory is told from a card's; they count with the first only. */
#define BRIM_DEVICE_TELLS_PAGING (1u << 4)
#define BRIM_DEVICE_PAGEABLE_ACCESS (1u << 5)    /* reads any page of the host's */
#define BRIM_DEVICE_HOST_PAGE_TABLES (1u << 6)   /* by the host's own page tables */
#define BRIM_DEVICE_CONCURRENT_MANAGED (1u << 7) /* managed memory may be touched by host and device at once */

typedef struct brim_device_info {
  uint32_t struct_size;
  uint32_t type;  /* BRIM_DEVICE_CPU .. */
  uint32_t flags; /* BRIM_DEVICE_LIVE .. */
  uint32_t n_heaps;
  uint64_t uuid[2]; /* the same through every API that shows the device; 0 if it has none */
  uint64_t pci;     /* domain << 32 | bus << 16 | device << 8 | function; 0 if none */
  uint32_t numa_node, subgroup;
  uint64_t max_binding; /* the largest range that one binding may cover, bytes; larger values come in pieces */
  uint32_t max_bindings; /* per program launch; 0: no limit */
  uint32_t shared_memory; /* bytes per work group */
  brim_str name, driver, architecture; /* "AMD EPYC", "libbrim-cpu-avx2 0.1.0", "x86-64 avx2 fma f16c"; valid as long as
                                          the device */
} brim_device_info;

/* How a device can use memory of a pool. */
#define BRIM_EDGE_NONE 0u
#define BRIM_EDGE_COPY 1u
#define BRIM_EDGE_IMPORT 2u
#define BRIM_EDGE_NATIVE 3u
typedef struct brim_edge {
  uint32_t struct_size;
  uint32_t coherent, noncoherent; /* BRIM_EDGE_* for either kind of use */
  uint32_t reserved0;
  uint64_t bandwidth;  /* bytes/s, 0 unknown */
  uint64_t latency_ns; /* of one crossing */
} brim_edge;

/* ---- what a backend can compute ------------------------------------------------------------------------------------- */

/* The static table: the host masks nodes with it before it asks. */
typedef struct brim_op_caps {
  uint32_t op, max_rev;
  uint64_t features; /* the bits of brim_node.must that are known */
} brim_op_caps;

#define BRIM_SUPPORT_NONE 0u
#define BRIM_SUPPORT_IF_CONTIGUOUS 1u /* once the inputs in need_contiguous have been copied */
#define BRIM_SUPPORT_YES 2u
typedef struct brim_support {
  uint32_t struct_size;
  uint32_t level;           /* BRIM_SUPPORT_* */
  uint32_t need_contiguous; /* bit per input */
  uint32_t in_place;        /* bit per input whose storage output 0 may take */
  float cost;               /* relative; 0 unknown */
  uint32_t reserved0;
} brim_support;

/* ---- states --------------------------------------------------------------------------------------------------------- */

/* How a backend stores one state. The host owns block ids, reference counts and tables; the backend owns the bytes inside
 * a block. Block b of a state lies at b * block_bytes of its buffer. */
typedef struct brim_state_layout {
  uint32_t struct_size;
  uint32_t block_tokens; /* tokens per block, a power of two; of CONV and RECURRENT: 1, a block is a sequence's slot */
  uint64_t block_bytes;
  uint64_t layout_id; /* nonzero; equal ids mean equal bytes */
} brim_state_layout;

/* ---- the step block -------------------------------------------------------------------------------------------------
 * One buffer per program bucket, written by the host once per step, read by kernels on the device. A header, then arrays,
 * each 64-byte aligned and padded to the bucket. Rows of one sequence lie together, in order.
 *
 *   token        i32 [T]                  padding 0
 *   position     i32 [T, C]               padding 0
 *   sequence     i32 [T]                  padding -1; index into the arrays of [S]
 *   q_begin      i32 [S + 1]              first row of each sequence; padding repeats the last value
 *   state_read   i32 [S]                  slot to read, -1: the zero state
 *   state_write  i32 [S]                  slot to write, -1: discard
 *   output_row   i32 [O]                  rows whose outputs are wanted; padding repeats the last
 *   adapter      i32 [T]                  -1: none
 *   next_token   i32 [S]                  written by a device that samples
 *   per KV group:
 *   kv_slot      i32 [T]                  block * block_tokens + offset where the row's K and V go; padding -1: discard
 *   kv_len       i32 [S]                  tokens visible after this step's writes; padding 0
 *   block_table  i32 [S, max_blocks]      padding -1
 *
 * KV groups join states whose kind and window are equal; brim_program_state.group says which is whose. The table of a
 * window group covers the window only: its first entry holds the token `kv_first` of the sequence.
 *   kv_first     i32 [S]                  0 in groups without a window
 */
typedef struct brim_step_header {
  uint32_t struct_size;
  uint32_t n_tokens, n_seqs, n_outputs; /* real counts of this step */
  uint32_t n_kv;                        /* largest kv_len of the step */
  uint32_t reserved0[11];               /* the header takes 64 bytes */
} brim_step_header;
BRIM_STATIC_ASSERT(sizeof(brim_step_header) == 64, "the step block's header is one cache line");

/* Byte offsets of one KV group's arrays. */
typedef struct brim_group_layout {
  uint64_t kv_slot, kv_len, block_table, kv_first;
  uint32_t max_blocks;   /* row length of block_table */
  uint32_t block_tokens; /* of every state of the group */
} brim_group_layout;

/* Byte offsets from the start of the step block; 0 where an array is absent. Constant for a program. */
typedef struct brim_step_layout {
  uint32_t struct_size;
  uint32_t n_groups;
  uint64_t bytes; /* of the whole block */
  uint64_t token, position, sequence, q_begin, state_read, state_write, output_row, adapter, next_token;
  const void *groups; /* brim_group_layout */
  uint32_t group_stride, reserved0;
} brim_step_layout;

/* ---- programs -------------------------------------------------------------------------------------------------------- */

/* Where a value is. layout_id 0 is the plain layout: row-major, and for block types the file's; another id is one that the
 * backend's pack_size gave. A value larger than max_binding comes as several bindings in order of `first_row`, split at
 * rows of its outermost dimension. In program_measure buffers are NULL. */
typedef struct brim_binding {
  uint32_t struct_size;
  brim_value value;
  brim_buffer *buffer;
  uint64_t offset, bytes; /* in the buffer */
  uint64_t layout_id;
  uint64_t first_row, n_rows; /* of the outermost dimension; 0, 0: all of it */
} brim_binding;

/* One state of the architecture, as this program meets it. */
typedef struct brim_program_state {
  uint32_t struct_size;
  uint32_t state;  /* index in the architecture's list: role of BRIM_VALUE_STATE */
  uint32_t dtype;  /* BRIM_DTYPE_F32, F16 or Q8_0 of KV; F32 of the others */
  uint32_t group;  /* KV group in the step block; 0xffffffff of CONV and RECURRENT */
  uint64_t layout_id;
  brim_buffer *buffer; /* n_blocks blocks from `offset`; NULL in program_measure */
  uint64_t offset;
  uint32_t n_blocks, reserved0;
} brim_program_state;

typedef struct brim_program_info {
  uint32_t struct_size;
  uint32_t numerics; /* BRIM_NUMERICS_* */
  const brim_graph *graph;
  const uint32_t *nodes; /* which of the graph's nodes, in the order in which they may run; no view nodes */
  uint32_t n_nodes, reserved0;
  const brim_bucket *bucket;
  const brim_step_layout *step;
  const void *bindings; /* brim_binding: of every weight, temp, output and host-given input that the nodes touch */
  uint32_t n_bindings, binding_stride;
  const void *states; /* brim_program_state */
  uint32_t n_states, state_stride;
  const void *state_descs; /* brim_state_desc, the architecture's whole list */
  uint32_t n_state_descs, state_desc_stride;
} brim_program_info;

/* Exact upper bounds, bytes. */
typedef struct brim_program_cost {
  uint32_t struct_size, reserved0;
  uint64_t workspace;  /* device scratch of one program; programs of one queue may share it: the host gives it as a binding
                          of value 0 */
  uint64_t persistent; /* host and device memory that a live program holds */
  uint64_t build_peak; /* more than that while it is built */
} brim_program_cost;

typedef struct brim_run {
  uint32_t struct_size, reserved0;
  brim_buffer *step_block; /* device-visible */
  uint64_t step_offset;
  const brim_step_header *counts; /* the header's values on the host, for launch shapes only */
  const volatile uint32_t *cancel; /* nonzero: stop between ops and return CANCELLED; may be NULL */
} brim_run;

/* ---- the interface ---------------------------------------------------------------------------------------------------- */

typedef struct brim_backend {
  uint32_t struct_size;
  uint32_t n_caps, caps_stride, reserved0;
  const void *caps; /* brim_op_caps, constant */

  /* -- devices -- */
  /* (required) [control] How many devices are here. 0 with OK is a full answer; *why (may be NULL; static text) then says
   * why there is none: "no CUDA driver (libcuda.so.1 not found)". */
  brim_status(BRIM_CALL *device_count)(brim_plugin *plugin, uint32_t *n, brim_str *why, brim_error *error);
  /* (required) [control] Opens device i. Opening twice gives two handles on one device. */
  brim_status(BRIM_CALL *device_open)(brim_plugin *plugin, uint32_t i, brim_device **out, brim_error *error);
  /* [control] A device that is not here, from a description. Keys that hosts send: name, memory (bytes), bandwidth (bytes/s),
   * type (cpu, integrated, discrete, accelerator; one that the plugin has not is INVALID_ARGUMENT) and those of a machine's
   * file for this plugin. It answers planning calls; allocating and running give FAILED_PRECONDITION. */
  brim_status(BRIM_CALL *device_describe)(brim_plugin *plugin, const void *settings, uint32_t n_settings,
                                          uint32_t setting_stride, brim_device **out, brim_error *error);
  /* (required) [control] All that was made on the device has been destroyed before. */
  void(BRIM_CALL *device_close)(brim_device *device);
  /* (required) [any] */
  brim_status(BRIM_CALL *device_info)(brim_device *device, brim_device_info *out, brim_error *error);
  /* (required) [any] */
  brim_status(BRIM_CALL *heap_info)(brim_device *device, uint32_t heap, brim_heap_info *out, brim_error *error);
  /* (required) [any] Bytes that can be allocated from the heap now, in the reading that is true for its kind of memory. */
  brim_status(BRIM_CALL *heap_budget)(brim_device *device, uint32_t heap, uint64_t *available, brim_error *error);
  /* [any] How the device uses memory of that pool. Without this slot: NATIVE for the pools of its heaps, else COPY. */
  brim_status(BRIM_CALL *edge)(brim_device *device, const uint64_t pool_id[2], brim_edge *out, brim_error *error);

  /* -- memory -- */
  /* (required) [any] Device memory, aligned to the heap's alignment; its bytes are not zeroed. */
  brim_status(BRIM_CALL *buffer_alloc)(brim_device *device, uint32_t heap, uint64_t bytes, brim_buffer **out,
                                       brim_error *error);
  /* [any] A buffer over the caller's memory, which outlives it: no byte is copied. read_only memory is never written.
   * UNSUPPORTED where the device cannot read it in place; the host then copies. */
  brim_status(BRIM_CALL *buffer_import)(brim_device *device, void *memory, uint64_t bytes, uint32_t read_only,
                                        brim_buffer **out, brim_error *error);
  /* (required) [any] Host address of a buffer in a HOST_VISIBLE heap; stays valid until buffer_free. */
  brim_status(BRIM_CALL *buffer_map)(brim_buffer *buffer, void **out, brim_error *error);
  /* (required) [any] Nothing on any queue uses it any more. NULL is ignored. */
  void(BRIM_CALL *buffer_free)(brim_buffer *buffer);

  /* -- queues and fences -- */
  /* (required) [control] Work of one queue runs in order. `native` may wrap the host program's own stream; NULL: a new one. */
  brim_status(BRIM_CALL *queue_create)(brim_device *device, void *native, brim_queue **out, brim_error *error);
  /* (required) [control] Waits for its work first. */
  void(BRIM_CALL *queue_destroy)(brim_queue *queue);
  /* (required) [queue] non-blocking. Within one device. */
  brim_status(BRIM_CALL *copy)(brim_queue *queue, brim_buffer *dst, uint64_t dst_offset, brim_buffer *src,
                               uint64_t src_offset, uint64_t bytes, brim_error *error);
  /* (required) [control] A timeline: a value that only grows. */
  brim_status(BRIM_CALL *fence_create)(brim_device *device, uint64_t initial, brim_fence **out, brim_error *error);
  /* (required) [control] Nothing waits on it any more. */
  void(BRIM_CALL *fence_destroy)(brim_fence *fence);
  /* (required) [queue] non-blocking. The fence gets `value` when all work submitted to the queue before has been done. */
  brim_status(BRIM_CALL *queue_signal)(brim_queue *queue, brim_fence *fence, uint64_t value, brim_error *error);
  /* (required) [queue] non-blocking. What is submitted to the queue later starts when the fence has reached `value`. The
   * fence is of the same backend. */
  brim_status(BRIM_CALL *queue_wait)(brim_queue *queue, brim_fence *fence, uint64_t value, brim_error *error);
  /* (required) [any] The host waits until the fence has reached `value`. timeout_ns 0 polls; DEADLINE when time is up. Errors
   * of the work before it (DEVICE_LOST) come out here. */
  brim_status(BRIM_CALL *fence_wait)(brim_fence *fence, uint64_t value, uint64_t timeout_ns, brim_error *error);
  /* (required) [any] non-blocking. The host sets the value. */
  brim_status(BRIM_CALL *fence_signal)(brim_fence *fence, uint64_t value, brim_error *error);

  /* -- planning: pure, [any], also on described devices -- */
  /* (required) Can this node be computed, with these numerics? Asked only for ops, revisions and bits of `caps`, and only
   * where sizes and dtypes fit the op's text in ops.h: the host has checked that. NONE is what the device has no kernel for;
   * a kind, mode or gate that the plugin does not know is NONE too, for a later minor may bring more. */
  brim_status(BRIM_CALL *support)(brim_device *device, const brim_graph *graph, uint32_t node, uint32_t numerics,
                                  brim_support *out, brim_error *error);
  /* (required where KV_WRITE, ATTENTION or a recurrent op is in caps) The layout of a state stored in dtype. UNSUPPORTED
   * for a dtype that the backend has not. */
  brim_status(BRIM_CALL *state_layout)(brim_device *device, const brim_state_desc *state, uint32_t dtype,
                                       brim_state_layout *out, brim_error *error);
  /* Would another layout of this weight serve better? *layout_id 0: the plain one is best and *bytes is not set. */
  brim_status(BRIM_CALL *pack_size)(brim_device *device, const brim_graph *graph, brim_value weight, uint64_t *bytes,
                                    uint64_t *layout_id, brim_error *error);
  /* [queue] Packs rows [first_row, first_row + n_rows) of a weight whose outermost rows in the plain layout start at `src`;
   * dst is the whole packed buffer. Ranges come in order, so that a mapped source can be released behind them. */
  brim_status(BRIM_CALL *pack)(brim_queue *queue, uint32_t dtype, const uint64_t *dim, uint32_t rank,
                               uint64_t layout_id, uint64_t first_row, uint64_t n_rows, brim_buffer *src,
                               uint64_t src_offset, brim_buffer *dst, uint64_t dst_offset, brim_error *error);
  /* (required) What program_create would need. */
  brim_status(BRIM_CALL *program_measure)(brim_device *device, const brim_program_info *info, brim_program_cost *out,
                                          brim_error *error);

  /* -- programs -- */
  /* (required) [control] Everything in info is copied or baked; the buffers outlive the program. */
  brim_status(BRIM_CALL *program_create)(brim_device *device, const brim_program_info *info, brim_program **out,
                                         brim_error *error);
  /* (required) [control] It is not running. */
  void(BRIM_CALL *program_destroy)(brim_program *program);
  /* (required) [queue] Submits one step. Allocates nothing, waits for no device, reads no tensor on the host. The same
   * program may run with any step block whose counts lie within the bucket. Cancelled work leaves only unpublished bytes
   * behind: slots named by kv_slot and state_write, the arena, outputs. */
  brim_status(BRIM_CALL *program_run)(brim_program *program, brim_queue *queue, const brim_run *run,
                                      brim_error *error);

  /* -- states in canonical form -- */
  /* (required where state_layout is) [queue] blocking. Reads tokens [first, first + n) of a sequence whose blocks are
   * `blocks` (block i holds tokens i * block_tokens ..) into host memory, token-major: [n, n_head, k_width] then
   * [n, n_head, v_width], in `canonical` (F32 or F16); of CONV and RECURRENT: `elements` F32 values of slot blocks[0]. */
  brim_status(BRIM_CALL *state_export)(brim_queue *queue, const brim_state_desc *state,
                                       const brim_program_state *storage, const uint32_t *blocks, uint64_t first,
                                       uint64_t n, uint32_t canonical, void *out, brim_error *error);
  /* (required where state_layout is) [queue] blocking. The reverse. */
  brim_status(BRIM_CALL *state_import)(brim_queue *queue, const brim_state_desc *state,
                                       const brim_program_state *storage, const uint32_t *blocks, uint64_t first,
                                       uint64_t n, uint32_t canonical, const void *in, brim_error *error);

  /* -- between plugins: optional -- */
  /* [control] A handle that another backend's fence_import may know: kind 1: POSIX fd, 2: Windows handle. */
  brim_status(BRIM_CALL *fence_export)(brim_fence *fence, uint32_t kind, uint64_t *handle, brim_error *error);
  brim_status(BRIM_CALL *fence_import)(brim_device *device, uint32_t kind, uint64_t handle, brim_fence **out,
                                       brim_error *error);
} brim_backend;

BRIM_END
#endif
