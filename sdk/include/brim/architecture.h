/* architecture.h - how a plugin teaches the host a model family. Interface "brim.architecture/1".
 *
 * An architecture is pure: the same metadata gives the same description and the same graph, on any machine. It sees no
 * device, file, thread or clock. Three functions: match (is this file mine?), describe (which tensors and states it has),
 * build (the graph of one phase). All that it emits is data which the host checks, hashes and may throw away.
 *
 * Call order: match -> describe once per model -> build once per phase and shape of request. Never per token.
 */
#ifndef BRIM_ARCHITECTURE_H
#define BRIM_ARCHITECTURE_H

#include "graph.h"
#include "ops.h"
#include "plugin.h"

BRIM_BEGIN

#define BRIM_ARCHITECTURE_INTERFACE "brim.architecture/1"

/* ---- the model file, read-only ------------------------------------------------------------------------------------ */

typedef struct brim_meta brim_meta;

/* Read access to a model file's metadata and tensor list. [any], non-blocking. Keys are the file's own
 * ("llama.block_count"). Look-ups give NOT_FOUND for an absent key and DATA_CORRUPT for a value of another type.
 * Pointers live as long as the model. */
typedef struct brim_meta_api {
  uint32_t struct_size, reserved0;
  brim_status(BRIM_CALL *get_u64)(const brim_meta *meta, brim_str key, uint64_t *out);
  brim_status(BRIM_CALL *get_f64)(const brim_meta *meta, brim_str key, double *out); /* integers convert */
  brim_status(BRIM_CALL *get_bool)(const brim_meta *meta, brim_str key, uint32_t *out);
  brim_status(BRIM_CALL *get_str)(const brim_meta *meta, brim_str key, brim_str *out);
  /* Element i of an array; *n (may be NULL) gets the array's length. A scalar counts as an array of one. */
  brim_status(BRIM_CALL *get_u64_at)(const brim_meta *meta, brim_str key, uint64_t i, uint64_t *out, uint64_t *n);
  brim_status(BRIM_CALL *get_f64_at)(const brim_meta *meta, brim_str key, uint64_t i, double *out, uint64_t *n);
  brim_status(BRIM_CALL *get_str_at)(const brim_meta *meta, brim_str key, uint64_t i, brim_str *out, uint64_t *n);
  /* Shape of a tensor of the file, outermost first; rank 0 and NOT_FOUND if there is none of that name. */
  brim_status(BRIM_CALL *get_tensor)(const brim_meta *meta, brim_str name, uint32_t *rank,
                                     uint64_t dim[BRIM_MAX_RANK], uint32_t *dtype);
} brim_meta_api;

/* ---- what describe declares ---------------------------------------------------------------------------------------- */

/* Kinds of state. KV kinds are paged in blocks of tokens; the others have one slot per sequence. */
#define BRIM_STATE_KV_FULL 1u
#define BRIM_STATE_KV_WINDOW 2u /* only the last `window` tokens are ever read */
#define BRIM_STATE_KV_LATENT 3u /* one head, one row of k_width per token, v_width 0; read with V_FROM_K */
#define BRIM_STATE_KV_CROSS 4u  /* written once by the encoder */
#define BRIM_STATE_CONV 5u
#define BRIM_STATE_RECURRENT 6u

typedef struct brim_state_desc {
  uint32_t struct_size;
  uint32_t kind;  /* BRIM_STATE_* */
  uint32_t layer; /* for reports and placement */
  uint32_t n_head; /* KV heads */
  uint32_t k_width, v_width; /* per head: head_dim of K and of V */
  uint32_t window;           /* of KV_WINDOW, tokens */
  uint32_t shares_with;      /* 1 + index of an earlier state whose storage this one uses; 0: its own */
  uint64_t elements;         /* of CONV and RECURRENT: F32 values per sequence */
} brim_state_desc;

#define BRIM_TENSOR_OPTIONAL (1u << 0) /* may be absent; weight() then gives value 0 */
#define BRIM_TENSOR_EXPERTS (1u << 1)  /* outermost dimension counts experts of which a token uses few */
#define BRIM_TENSOR_LOOKUP (1u << 2)   /* read by rows through GATHER_ROWS only: may stay in slow memory */

/* How a tensor is found in one family of files, and what turns its bytes into what the graph expects. */
#define BRIM_FILES_GGUF 1u
#define BRIM_FILES_HUGGING_FACE 2u
#define BRIM_TRANSFORM_NONE 0u
#define BRIM_TRANSFORM_ROPE_HALVES_TO_ADJACENT 1u /* rows of each head: (0, d/2, 1, d/2 + 1, ..); argument: heads */
#define BRIM_TRANSFORM_ADD_ONE 2u
#define BRIM_TRANSFORM_STACK 3u /* the name holds "{}": one tensor per expert, stacked outermost; argument: experts */
#define BRIM_TRANSFORM_NEGATE_EXP 4u
#define BRIM_TRANSFORM_TRANSPOSE 5u
typedef struct brim_tensor_source {
  uint32_t files;     /* BRIM_FILES_* */
  uint32_t transform; /* BRIM_TRANSFORM_* */
  uint32_t argument;
  uint32_t reserved0;
  brim_str name;
} brim_tensor_source;

typedef struct brim_tensor_desc {
  uint32_t struct_size;
  uint32_t flags; /* BRIM_TENSOR_* */
  uint32_t layer; /* BRIM_NO_LAYER outside of layers */
  uint32_t rank;
  uint64_t dim[BRIM_MAX_RANK]; /* outermost first; must equal the file's */
  const void *sources;         /* brim_tensor_source, tried in order among those of the file's family */
  uint32_t n_sources, source_stride;
} brim_tensor_desc;

/* What reports, the engine and the planner need to know of a model. */
typedef struct brim_model_desc {
  uint32_t struct_size;
  uint32_t n_layers;
  uint32_t n_vocab;
  uint32_t width;      /* of an embedding row and of HIDDEN */
  uint32_t n_ctx_train;
  uint32_t n_position; /* position components of a row, 1 .. 4 */
  uint64_t outputs;    /* bit (1 << BRIM_OUTPUT_*) for each that build can give */
} brim_model_desc;

/* ---- the builder: given by the host to describe and build ------------------------------------------------------------ */

typedef struct brim_builder brim_builder;

/* One emit for all ops: a new op never changes this table. Typed helpers are in sdk/cpp/brim/graph.hpp. Errors stick: after
 * the first one every call is harmless, and describe/build returns it. [control] */
typedef struct brim_builder_api {
  uint32_t struct_size, reserved0;

  /* In describe only. */
  void(BRIM_CALL *model)(brim_builder *builder, const brim_model_desc *desc);
  /* *id is the tensor's index from 0. An absent tensor that is not optional is NOT_FOUND, another shape DATA_CORRUPT; both
   * name tensor, file, expected and found. */
  brim_status(BRIM_CALL *add_tensor)(brim_builder *builder, const brim_tensor_desc *desc, uint32_t *id);
  brim_status(BRIM_CALL *add_state)(brim_builder *builder, const brim_state_desc *desc, uint32_t *id);

  /* In build only. Ids are those of describe, in the same order. */
  brim_value(BRIM_CALL *input)(brim_builder *builder, uint32_t role);      /* BRIM_INPUT_* */
  brim_value(BRIM_CALL *weight)(brim_builder *builder, uint32_t tensor_id); /* 0 where an optional tensor is absent */
  brim_value(BRIM_CALL *state)(brim_builder *builder, uint32_t state_id);   /* version 0 */
  void(BRIM_CALL *scope)(brim_builder *builder, uint32_t layer);            /* of what is emitted next */
  /* Adds a node. The host knows the op's rule, infers the shapes of out[0 .. n_out) and checks those of in[]. attr is
   * copied. An error names layer, op, shapes. */
  brim_status(BRIM_CALL *emit)(brim_builder *builder, uint32_t op, uint32_t op_rev, uint64_t must, uint64_t hints,
                               const void *attr, const brim_value *in, uint32_t n_in, brim_value *out,
                               uint32_t n_out);
  void(BRIM_CALL *output)(brim_builder *builder, uint32_t role, brim_value value); /* BRIM_OUTPUT_* */

  /* Reports an error of the architecture's own ("llama.attention.head_count is 0"). Sticks like every other. */
  void(BRIM_CALL *error)(brim_builder *builder, brim_status code, brim_str message);
} brim_builder_api;

/* What a graph is built for. */
typedef struct brim_build_info {
  uint32_t struct_size;
  uint32_t phase;      /* BRIM_PHASE_* */
  uint32_t n_ctx;      /* context of a sequence, tokens */
  uint32_t n_seqs_max;
  uint64_t outputs;    /* bit (1 << BRIM_OUTPUT_*) for each wanted */
  uint32_t embeddings; /* 1: rows come as BRIM_INPUT_EMBEDDING in place of tokens */
  uint32_t reserved0;
} brim_build_info;

typedef struct brim_architecture {
  uint32_t struct_size, reserved0;
  /* [any] non-blocking. 0: not mine. 1 .. 100: how well this plugin knows the file; the highest wins, equal scores are an
   * error that names both, an explicit choice by the host wins over all. */
  uint32_t(BRIM_CALL *match)(brim_plugin *plugin, const brim_meta_api *api, const brim_meta *meta);
  /* [any] Declares model, tensors and states. */
  brim_status(BRIM_CALL *describe)(brim_plugin *plugin, const brim_meta_api *api, const brim_meta *meta,
                                   const brim_builder_api *builder_api, brim_builder *builder);
  /* [any] Emits the graph of one phase. */
  brim_status(BRIM_CALL *build)(brim_plugin *plugin, const brim_meta_api *api, const brim_meta *meta,
                                const brim_build_info *info, const brim_builder_api *builder_api,
                                brim_builder *builder);
} brim_architecture;

BRIM_END
#endif
