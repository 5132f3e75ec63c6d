/* graph.h - the graph that an architecture emits and that backends compile: plain data, no pointer to device memory.
 *
 * A graph is a list of values and a list of nodes in topological order. Value 0 is "absent". A node names an op of
 * ops.h, its attributes and the values it reads and makes. The host builds graphs (architecture.h's emit), infers and
 * checks every shape, counts uses and computes the hash; backends only read.
 *
 * An op that writes a state yields a new version of the state value; ops that read the state take the version that they
 * mean. Order is data flow.
 */
#ifndef BRIM_GRAPH_H
#define BRIM_GRAPH_H

#include "status.h"
#include "types.h"

BRIM_BEGIN

#define BRIM_MAX_RANK 6u

/* A dimension is k where sym is BRIM_SYM_NONE, else k * value(sym). There is no other shape arithmetic. */
typedef struct brim_dim {
  uint32_t sym; /* BRIM_SYM_* */
  uint32_t k;
} brim_dim; /* frozen: element of fixed arrays */

#define BRIM_SYM_NONE 0u
#define BRIM_SYM_N_TOKENS 1u  /* T: rows of the step */
#define BRIM_SYM_N_KV 2u      /* longest visible context of the step */
#define BRIM_SYM_N_SEQS 3u    /* S: sequences of the step */
#define BRIM_SYM_N_OUTPUTS 4u /* O: rows whose outputs are wanted */

typedef uint32_t brim_value; /* index into brim_graph.values; 0 is "absent" */

/* Kinds of value. */
#define BRIM_VALUE_INPUT 1u  /* role: BRIM_INPUT_*, found in the step block */
#define BRIM_VALUE_WEIGHT 2u /* role: index in the architecture's tensor list */
#define BRIM_VALUE_STATE 3u  /* role: index in the architecture's state list; version 0, or a later one made by a node */
#define BRIM_VALUE_TEMP 4u   /* made by a node, stored in the program's arena */
#define BRIM_VALUE_OUTPUT 5u /* made by a node, role: BRIM_OUTPUT_*, in a buffer of the host's */
#define BRIM_VALUE_VIEW 6u   /* made by a view op: aliases `base`, owns no storage */

/* Roles of inputs: arrays of the step block (backend.h). */
#define BRIM_INPUT_TOKEN 1u      /* i32 [T] */
#define BRIM_INPUT_POSITION 2u   /* i32 [T, C], C position components */
#define BRIM_INPUT_OUTPUT_ROW 3u /* i32 [O] */
#define BRIM_INPUT_EMBEDDING 4u  /* f32 [T, width]: rows given by the host in place of token ids */
#define BRIM_INPUT_ADAPTER 5u    /* i32 [T] */

/* Roles of outputs. */
#define BRIM_OUTPUT_LOGITS 1u /* f32 [O, vocabulary] */
#define BRIM_OUTPUT_HIDDEN 2u /* f32 [O, width]: after the last norm */
#define BRIM_OUTPUT_POOLED 3u /* f32 [S, width] */

typedef struct brim_value_desc {
  uint32_t kind;  /* BRIM_VALUE_* */
  uint32_t role;  /* as the kind says */
  uint32_t dtype; /* BRIM_DTYPE_*; of a state: BRIM_DTYPE_NONE, its layout is the backend's */
  uint32_t rank;
  brim_dim dim[BRIM_MAX_RANK]; /* outermost first; the innermost dimension is contiguous in everything but views */
  brim_value base;             /* of a view: the value it aliases (never a view itself) */
  uint32_t n_uses;             /* nodes and outputs that read it: 1 makes fusing it away legal */
  uint64_t offset;             /* of a view: elements from the start of base */
  brim_dim stride[BRIM_MAX_RANK]; /* in elements; of values that are no views: row-major */
  uint32_t producer;              /* the node that makes it, 0xffffffff for inputs, weights and states' version 0 */
  uint32_t reserved0;
} brim_value_desc;

typedef struct brim_node {
  uint32_t op;     /* BRIM_OP_* */
  uint32_t op_rev; /* revision of that op's attributes and meaning */
  uint64_t must;   /* feature bits that a backend has to know to compute this node right */
  uint64_t hints;  /* bits that may be ignored */
  uint32_t n_in, n_out;
  const brim_value *in; /* 0 where an optional input is absent */
  const brim_value *out;
  const void *attr;    /* the op's attribute struct, beginning with its struct_size; NULL if the op has none */
  uint32_t layer;      /* of the model, from builder.scope(); BRIM_NO_LAYER outside of layers */
  uint32_t expands_to; /* of a composite: first node of its expansion in primitives; 0 if none. Expansions stand after
                          all other nodes and are run only where a backend refuses the composite */
  uint32_t expands_n;
  uint32_t reserved0;
} brim_node;

#define BRIM_NO_LAYER 0xffffffffu
#define BRIM_NO_NODE 0xffffffffu

/* Phases. A step runs the DECODE graph when every sequence gives one row, else PREFILL. */
#define BRIM_PHASE_PREFILL 1u
#define BRIM_PHASE_DECODE 2u
#define BRIM_PHASE_ENCODE 3u
#define BRIM_PHASE_VERIFY 4u /* checking guessed tokens; states must stay reversible */

typedef struct brim_graph {
  uint32_t struct_size;
  uint32_t phase; /* BRIM_PHASE_* */
  const void *values;
  uint32_t n_values, value_stride; /* brim_value_desc */
  const void *nodes;
  uint32_t n_nodes, node_stride; /* brim_node */
  uint64_t hash[2];              /* of structure, shapes and attributes; the key of program caches */
} brim_graph;

static inline const brim_value_desc *brim_graph_value(const brim_graph *graph, brim_value value) {
  return BRIM_ELEM(brim_value_desc, graph->values, graph->value_stride, value);
}
static inline const brim_node *brim_graph_node(const brim_graph *graph, uint32_t node) {
  return BRIM_ELEM(brim_node, graph->nodes, graph->node_stride, node);
}

/* Sizes of the symbols for one bucket: upper bounds; the step block tells the real counts. */
typedef struct brim_bucket {
  uint32_t struct_size;
  uint32_t n_tokens; /* T */
  uint32_t n_seqs;   /* S */
  uint32_t n_outputs; /* O */
  uint32_t n_kv;      /* tokens that one sequence can see */
  uint32_t n_position; /* C: position components of a row, 1 .. 4 */
} brim_bucket;

/* The size of a dimension in a bucket. */
static inline uint64_t brim_dim_size(brim_dim dim, const brim_bucket *bucket) {
  switch (dim.sym) {
    case BRIM_SYM_NONE:
      return dim.k;
    case BRIM_SYM_N_TOKENS:
      return (uint64_t)dim.k * bucket->n_tokens;
    case BRIM_SYM_N_KV:
      return (uint64_t)dim.k * bucket->n_kv;
    case BRIM_SYM_N_SEQS:
      return (uint64_t)dim.k * bucket->n_seqs;
    case BRIM_SYM_N_OUTPUTS:
      return (uint64_t)dim.k * bucket->n_outputs;
    default:
      return 0;
  }
}

BRIM_END
#endif
