/* brim.h - what a host application includes.
 *
 * The way through:
 *
 *   brim_runtime_create      finds plugins and devices; brim_runtime_report says what was taken, refused, and why
 *   brim_model_open          reads a file's headers: metadata, tokenizer, tensor table; no weight is touched
 *   brim_plan_create         exact bytes per memory pool and a reason for every decision; or a refusal with numbers
 *   brim_model_load          makes the plan real, with progress and cancel
 *   brim_session_create      a client's handle; several sessions on one model are batched together
 *   brim_sequence_create     one text; fork, trim, save, restore
 *   brim_generate            prompt in, text out through a callback; or step by step:
 *   brim_session_step        rows in, logits or embeddings out
 *
 * Every handle has one owner and one destroy call; destroying NULL is nothing. A child keeps what it was made from alive
 * inside the library, so the order of destruction is free. Handles of different runtimes never meet.
 *
 * Policy: nothing is lowered unasked. KV is never quantised and a context never shrunk on the library's own account; a
 * full context is the status BRIM_CONTEXT_FULL, never silent truncation; a request that does not fit is refused with the
 * numbers and the options that would fit, and only BRIM_PLAN_UNSAFE_OVERCOMMIT overrides that.
 *
 * Text results are written as (buf, cap, need): *need gets the bytes wanted, without a terminator. buf NULL asks for the
 * size only. A buffer that is too small is INVALID_ARGUMENT and *need tells; a terminator is written where one byte is
 * left. Lists of tokens use the same form, counted in tokens.
 *
 * Every call may be given error == NULL. Thread roles as in types.h.
 */
#ifndef BRIM_H
#define BRIM_H

#include "graph.h"
#include "plugin.h"
#include "status.h"
#include "types.h"

BRIM_BEGIN

typedef struct brim_config brim_config;
typedef struct brim_runtime brim_runtime;
typedef struct brim_model brim_model;
typedef struct brim_plan brim_plan;
typedef struct brim_session brim_session;
typedef struct brim_sampler brim_sampler;
typedef struct brim_decoder brim_decoder;
typedef struct brim_cancel brim_cancel;

/* [any] Of the library that is running; the headers' own are BRIM_ABI_MAJOR and _MINOR. */
BRIM_API void BRIM_CALL brim_abi_version(uint32_t *major, uint32_t *minor);
/* [any] "0.1.0"; static. */
BRIM_API const char *BRIM_CALL brim_version(void);

/* ---- cancelling ------------------------------------------------------------------------------------------------------ */

/* [any] One token serves load, prefill and decode. A call that is cancelled returns CANCELLED and leaves its objects as
 * they were before it. */
BRIM_API brim_status BRIM_CALL brim_cancel_create(brim_cancel **out, brim_error *error);
BRIM_API void BRIM_CALL brim_cancel_fire(brim_cancel *cancel);  /* [any] non-blocking, also from a signal handler */
BRIM_API void BRIM_CALL brim_cancel_reset(brim_cancel *cancel); /* [any] non-blocking */
BRIM_API void BRIM_CALL brim_cancel_destroy(brim_cancel *cancel); /* [control] */

/* Progress of long work. stage: BRIM_STAGE_*; done of total in bytes or tokens. Called from the working thread, at most
 * about 20 times a second. */
#define BRIM_STAGE_READ 1u
#define BRIM_STAGE_PACK 2u
#define BRIM_STAGE_WARM_UP 3u
#define BRIM_STAGE_PREFILL 4u
#define BRIM_STAGE_QUANTIZE 5u
typedef void(BRIM_CALL *brim_progress_fn)(void *user, uint32_t stage, uint64_t done, uint64_t total);

/* ---- configuration: TOML in, checked options out ------------------------------------------------------------------------ */

/* An option's name is its place in the file, "sampling.temperature". brim.toml has the tables [runtime], [plan], [sampling],
 * [load], [backend.ID] and [architecture.ID]; docs/configuration.md lists every key. */

/* [control] All defaults. */
BRIM_API brim_status BRIM_CALL brim_config_create(brim_config **out, brim_error *error);
/* [control] Reads a file over what is set. An unknown key, a wrong type or a value out of range is INVALID_ARGUMENT and names
 * file, line, key, and the nearest known key. On failure nothing has changed. */
BRIM_API brim_status BRIM_CALL brim_config_load(brim_config *config, brim_str path, brim_error *error);
/* [control] One option from text, as on a command line: ("plan.context", "4096"). */
BRIM_API brim_status BRIM_CALL brim_config_set(brim_config *config, brim_str key, brim_str value, brim_error *error);
/* [any] The value in force as text. */
BRIM_API brim_status BRIM_CALL brim_config_get(const brim_config *config, brim_str key, char *buf, uint64_t cap,
                                               uint64_t *need, brim_error *error);
/* [any] Every option as JSON: [{"key", "type", "default", "value", "help"}]. */
BRIM_API brim_status BRIM_CALL brim_config_describe(const brim_config *config, char *buf, uint64_t cap, uint64_t *need,
                                                    brim_error *error);
BRIM_API void BRIM_CALL brim_config_destroy(brim_config *config); /* [control] */

/* ---- runtime ------------------------------------------------------------------------------------------------------------ */

/* The host's own threads in place of the library's: runs fn(arg, i, got) for i in 0 .. got-1 on `got` <= want threads that
 * are all live at once, the caller among them as index 0, and returns got when all have returned. */
typedef uint32_t(BRIM_CALL *brim_team_run_fn)(void *user, uint32_t want, brim_task_fn fn, void *arg);

typedef struct brim_runtime_config {
  uint32_t struct_size;
  uint32_t log_level;        /* BRIM_LOG_*: what is below is dropped. Without `log` nothing is logged at all */
  const brim_config *config; /* [runtime], [backend.*], [architecture.*]; may be NULL. Fields below win where set */
  void *user;                /* handed to the callbacks below */
  /* [any] One complete record a call. */
  void(BRIM_CALL *log)(void *user, uint32_t level, brim_str source, brim_str message);
  const brim_str *plugin_dirs; /* absolute; searched in this order. None: the folder "brim/plugins" beside the library */
  uint32_t n_plugin_dirs;
  uint32_t threads; /* of the CPU team; 0: one per core this process may use */
  const brim_plugin_query_fn *static_plugins; /* taken before those of folders */
  uint32_t n_static_plugins;
  uint32_t team_threads;     /* with team_run: how many threads it can give */
  brim_team_run_fn team_run; /* NULL: the process-wide team of the library */
} brim_runtime_config;

/* [control] config may be NULL: all defaults. Finding no usable backend is an error that lists every candidate with the
 * reason of its refusal, unless runtime.require_device is false. With runtime.machine the runtime is of a machine that a
 * file describes: plans can be made for it, and nothing loaded. */
BRIM_API brim_status BRIM_CALL brim_runtime_create(const brim_runtime_config *config, brim_runtime **out,
                                                   brim_error *error);
/* [any] JSON: {"library", "plugins": [..], "devices": [..], "pools": [..], "links": [..], "refused": [..],
 * "described_by": ""}. */
BRIM_API brim_status BRIM_CALL brim_runtime_report(brim_runtime *runtime, char *buf, uint64_t cap, uint64_t *need,
                                                   brim_error *error);
/* [control] This machine as TOML, for runtime.machine there or elsewhere; `name` is what the file calls it. */
BRIM_API brim_status BRIM_CALL brim_runtime_machine(brim_runtime *runtime, brim_str name, char *buf, uint64_t cap,
                                                    uint64_t *need, brim_error *error);
/* [control] Measures the read bandwidth of system memory with the CPU team, bytes/s; takes half a second. */
BRIM_API brim_status BRIM_CALL brim_runtime_bandwidth(brim_runtime *runtime, double *bytes_per_second, brim_error *error);
BRIM_API void BRIM_CALL brim_runtime_destroy(brim_runtime *runtime); /* [control] */

/* ---- model -------------------------------------------------------------------------------------------------------------- */

typedef struct brim_model_info {
  uint32_t struct_size;
  uint32_t n_layers;
  uint32_t n_vocab;     /* rows of the logits; 0 in files that hold a vocabulary only */
  uint32_t width;       /* of an embedding */
  uint32_t n_ctx_train; /* tokens */
  uint32_t n_tensors;
  uint32_t loaded;      /* 1 between load and unload */
  uint32_t n_tokens;    /* of the vocabulary */
  uint64_t n_parameters;
  uint64_t file_bytes;
  brim_str name, architecture, file_type; /* "TinyLlama", "llama", "Q4_K_M"; valid as long as the model */
  brim_str architecture_plugin;           /* "brim.llama"; empty where no plugin knows the file */
} brim_model_info;

/* [control] Reads headers only. `path`: a file; a model shape and a quantisation ("llama-3-70b:q4_k_m"; an unknown one lists those
 * there are); or "header:PATH", a file that may be cut anywhere behind its header. The latter two plan exactly and have no data: load
 * is FAILED_PRECONDITION; "./NAME" is a file of such a name. A vocabulary-only file, or one that no plugin knows, opens too: what it
 * lacks fails when asked for (plan, load). `architecture_plugin` chooses a plugin by id, which wins over every match; empty: the
 * one that runtime.architecture names, else the best match, where two equally good ones are INVALID_ARGUMENT naming both. */
BRIM_API brim_status BRIM_CALL brim_model_open(brim_runtime *runtime, brim_str path, brim_str architecture_plugin,
                                               brim_model **out, brim_error *error);
/* [any] */
BRIM_API brim_status BRIM_CALL brim_model_get_info(brim_model *model, brim_model_info *out, brim_error *error);
/* [any] JSON: {"metadata": {..}, "tensors": [{"name", "dtype", "shape", "bytes"}], "chat_template": ..}. Long arrays are cut
 * and say so. */
BRIM_API brim_status BRIM_CALL brim_model_describe(brim_model *model, char *buf, uint64_t cap, uint64_t *need,
                                                   brim_error *error);
/* [control] The handle. Sessions and plans made from it live on. */
BRIM_API void BRIM_CALL brim_model_close(brim_model *model);

/* ---- plan --------------------------------------------------------------------------------------------------------------- */

#define BRIM_PLAN_UNSAFE_OVERCOMMIT (1u << 0) /* plan and load even if the memory there is does not suffice */

#define BRIM_LOAD_AUTO 0u
#define BRIM_LOAD_MAP 1u  /* weights are read in place from the mapped file; it must not change while loaded */
#define BRIM_LOAD_READ 2u /* weights are read into memory of the backend's; the file may go afterwards */
#define BRIM_LOAD_DIRECT 3u /* the same past the system's file cache, which would hold the model a second time */

#define BRIM_AUTO 0xffffffffu

/* Layers that the host wants on a device; the rest follows the plan. */
typedef struct brim_placement {
  uint32_t struct_size;
  uint32_t device;      /* index in the runtime's report */
  uint32_t first_layer; /* what stands before the first layer goes with layer 0, what stands after with the last */
  uint32_t n_layers;
} brim_placement;

typedef struct brim_pool_limit {
  uint32_t struct_size;
  uint32_t pool; /* index in the runtime's report */
  uint64_t bytes;
} brim_pool_limit;

typedef struct brim_plan_request {
  uint32_t struct_size;
  uint32_t flags;    /* BRIM_PLAN_* */
  const brim_config *config; /* [plan] and [load]; may be NULL. Fields below win where they are not 0 */
  uint32_t n_ctx;    /* tokens that one sequence can hold; 0: the trained context, 8192 at most */
  uint32_t n_seqs;   /* sequences alive at once, over all sessions; 0: 1 */
  uint64_t kv_tokens; /* that all sequences hold together; 0: n_ctx * n_seqs */
  uint32_t n_batch;  /* rows of one step; 0: 512 */
  uint32_t kv_dtype; /* BRIM_DTYPE_F32, F16 or Q8_0; 0: F16, and F32 with strict numerics */
  uint32_t numerics; /* BRIM_NUMERICS_* */
  uint32_t load;     /* BRIM_LOAD_* */
  uint64_t outputs;  /* bit (1 << BRIM_OUTPUT_*) for each that rows may ask for; 0: logits */
  uint64_t inputs;   /* bit (1 << BRIM_INPUT_EMBEDDING): rows may come as embeddings; tokens may always */
  const void *placements; /* brim_placement */
  uint32_t n_placements, placement_stride;
  const void *limits; /* brim_pool_limit: bytes that this model may take of a pool */
  uint32_t n_limits, limit_stride;
} brim_plan_request;

/* Bytes that loading the plan takes in one pool. They are what load will allocate, to the byte. */
typedef struct brim_plan_pool {
  uint32_t struct_size;
  uint32_t pool; /* index in the runtime's report */
  uint64_t weights;        /* allocated for weights */
  uint64_t mapped;         /* weights read in place from the file: page cache that the system can take back */
  uint64_t kv;             /* KV blocks and other states */
  uint64_t activations;    /* arena and outputs of the largest program */
  uint64_t workspace;      /* the backends' scratch and programs */
  uint64_t step;           /* step blocks and the engine's tables */
  uint64_t total;          /* all of the above but `mapped` */
  uint64_t available;      /* free in the pool when the plan was made */
} brim_plan_pool;

typedef struct brim_plan_info {
  uint32_t struct_size;
  uint32_t n_pools;
  uint32_t n_ctx, n_seqs, n_batch, kv_dtype, numerics; /* as decided */
  uint32_t load;               /* MAP where any weight is read in place, else READ or DIRECT */
  uint64_t kv_tokens;
  uint64_t bytes_per_token;    /* weight bytes that decoding one token reads, one sequence, empty context */
  uint64_t kv_bytes_per_token; /* KV bytes that a token of context holds and each later one reads; without window layers */
  double predicted_decode;     /* tokens/s at bandwidth limit, one sequence; 0 where the bandwidth is unknown */
} brim_plan_info;

/* [control] Decides and measures; allocates nothing of the model. OUT_OF_MEMORY names pool, bytes wanted and there, and what
 * would fit ("a context of 3072", "kv_dtype q8_0"). */
BRIM_API brim_status BRIM_CALL brim_plan_create(brim_model *model, const brim_plan_request *request, brim_plan **out,
                                                brim_error *error);
BRIM_API brim_status BRIM_CALL brim_plan_get_info(const brim_plan *plan, brim_plan_info *out, brim_error *error); /* [any] */
/* [any] i < n_pools. */
BRIM_API brim_status BRIM_CALL brim_plan_get_pool(const brim_plan *plan, uint32_t i, brim_plan_pool *out,
                                                  brim_error *error);
/* [any] JSON: pools, devices with their layers, tensors with place and bytes, and {"what", "choice", "because"} for every
 * decision. */
BRIM_API brim_status BRIM_CALL brim_plan_explain(const brim_plan *plan, char *buf, uint64_t cap, uint64_t *need,
                                                 brim_error *error);
BRIM_API void BRIM_CALL brim_plan_destroy(brim_plan *plan); /* [control] */

/* ---- load --------------------------------------------------------------------------------------------------------------- */

typedef struct brim_load_options {
  uint32_t struct_size, reserved0;
  brim_cancel *cancel;
  void *user;
  brim_progress_fn progress;
} brim_load_options;

/* [control] All or nothing. Where memory is refused on the way everything is given back, and the next lower plan is tried
 * that the request allowed (kv_least, context_least of its config; by default none). A model is loaded once at a time:
 * FAILED_PRECONDITION where it is loaded already. The plan may be destroyed afterwards. options may be NULL. */
BRIM_API brim_status BRIM_CALL brim_model_load(brim_model *model, const brim_plan *plan, const brim_load_options *options,
                                               brim_error *error);
/* [control] The plan that is loaded, to be destroyed. FAILED_PRECONDITION where nothing is. */
BRIM_API brim_status BRIM_CALL brim_model_get_plan(brim_model *model, brim_plan **out, brim_error *error);
/* [control] Gives every byte back. BUSY while sessions live. */
BRIM_API brim_status BRIM_CALL brim_model_unload(brim_model *model, brim_error *error);

/* ---- text: works on any opened model, loaded or not ------------------------------------------------------------------------ */

#define BRIM_TOKENIZE_SPECIAL (1u << 0)       /* add BOS and EOS as the file says */
#define BRIM_TOKENIZE_PARSE_SPECIAL (1u << 1) /* "<|eot|>" in the text is that token, not its letters */

/* [any] Text to token ids. */
BRIM_API brim_status BRIM_CALL brim_tokenize(brim_model *model, brim_str text, uint32_t flags, int32_t *tokens,
                                             uint64_t cap, uint64_t *need, brim_error *error);
/* [any] Token ids to text; special tokens are left out unless render_special is 1. */
BRIM_API brim_status BRIM_CALL brim_detokenize(brim_model *model, const int32_t *tokens, uint64_t n,
                                               uint32_t render_special, char *buf, uint64_t cap, uint64_t *need,
                                               brim_error *error);

#define BRIM_TOKEN_CONTROL (1u << 0)
#define BRIM_TOKEN_BYTE (1u << 1)
#define BRIM_TOKEN_UNKNOWN (1u << 2)
#define BRIM_TOKEN_USER_DEFINED (1u << 3)
#define BRIM_TOKEN_END_OF_GENERATION (1u << 4)
typedef struct brim_token_info {
  uint32_t struct_size;
  uint32_t flags; /* BRIM_TOKEN_* */
  brim_str text;  /* as in the vocabulary; valid as long as the model */
} brim_token_info;
BRIM_API brim_status BRIM_CALL brim_token_get_info(brim_model *model, int32_t token, brim_token_info *out,
                                                   brim_error *error); /* [any] */

#define BRIM_TOKEN_BOS 1u
#define BRIM_TOKEN_EOS 2u
#define BRIM_TOKEN_UNK 3u
#define BRIM_TOKEN_PAD 4u
/* [any] The id of a special token, -1 where the vocabulary has none. */
BRIM_API int32_t BRIM_CALL brim_token_special(brim_model *model, uint32_t which);

/* [control] A streaming decoder: gives out text as it becomes complete UTF-8. */
BRIM_API brim_status BRIM_CALL brim_decoder_create(brim_model *model, brim_decoder **out, brim_error *error);
/* [control] *text is borrowed until the next call. */
BRIM_API brim_status BRIM_CALL brim_decoder_push(brim_decoder *decoder, int32_t token, brim_str *text, brim_error *error);
/* [control] What is left; an incomplete character becomes U+FFFD. Ready for a new text afterwards. */
BRIM_API brim_status BRIM_CALL brim_decoder_flush(brim_decoder *decoder, brim_str *text, brim_error *error);
BRIM_API void BRIM_CALL brim_decoder_destroy(brim_decoder *decoder); /* [control] */

typedef struct brim_message {
  brim_str role; /* "system", "user", "assistant" */
  brim_str content;
} brim_message;
/* [any] Renders a conversation with the model's chat template; tokenize the result with PARSE_SPECIAL and without SPECIAL.
 * A model without a template is FAILED_PRECONDITION, a template that is not known UNSUPPORTED. */
BRIM_API brim_status BRIM_CALL brim_chat_render(brim_model *model, const brim_message *messages, uint32_t n,
                                                uint32_t stride, uint32_t add_generation_prompt, char *buf, uint64_t cap,
                                                uint64_t *need, brim_error *error);

/* ---- sessions and sequences --------------------------------------------------------------------------------------------- */

/* [control] The model is loaded. */
BRIM_API brim_status BRIM_CALL brim_session_create(brim_model *model, brim_session **out, brim_error *error);
/* [control] Its sequences go with it; a step that is under way is cancelled and waited for. */
BRIM_API void BRIM_CALL brim_session_destroy(brim_session *session);

/* [session] A new sequence, numbered in its session; other numbers are NOT_FOUND. BUSY when all n_seqs are alive. */
BRIM_API brim_status BRIM_CALL brim_sequence_create(brim_session *session, uint32_t *out, brim_error *error);
/* [session] The first n_tokens of a sequence (BRIM_AUTO: all) as a new one: shares full blocks, copies on write. */
BRIM_API brim_status BRIM_CALL brim_sequence_fork(brim_session *session, uint32_t sequence, uint32_t n_tokens,
                                                  uint32_t *out, brim_error *error);
/* [session] Forgets the tokens from n_tokens on. UNSUPPORTED, with the least length, where a state cannot go back. */
BRIM_API brim_status BRIM_CALL brim_sequence_trim(brim_session *session, uint32_t sequence, uint32_t n_tokens,
                                                  brim_error *error);
BRIM_API brim_status BRIM_CALL brim_sequence_remove(brim_session *session, uint32_t sequence, brim_error *error); /* [session] */
BRIM_API brim_status BRIM_CALL brim_sequence_length(brim_session *session, uint32_t sequence, uint32_t *n_tokens,
                                                    brim_error *error); /* [session] How many tokens it holds. */
/* [session] The token ids that a sequence holds; -1 for rows given as embeddings. */
BRIM_API brim_status BRIM_CALL brim_sequence_tokens(brim_session *session, uint32_t sequence, int32_t *tokens,
                                                    uint64_t cap, uint64_t *need, brim_error *error);

/* Return 0, or another number to stop; the call then gives IO. */
typedef uint32_t(BRIM_CALL *brim_write_fn)(void *user, const void *data, uint64_t bytes);
/* Fills all of data, or returns another number than 0. */
typedef uint32_t(BRIM_CALL *brim_read_fn)(void *user, void *data, uint64_t bytes);
/* [session] Tokens and states in canonical form, with model identity, dtype and a checksum: what was saved on one backend is
 * restored on another. */
BRIM_API brim_status BRIM_CALL brim_sequence_save(brim_session *session, uint32_t sequence, brim_write_fn write, void *user,
                                                  brim_error *error);
/* [session] As a new sequence. Another model, KV dtype or a damaged file is a typed error; nothing stays behind. */
BRIM_API brim_status BRIM_CALL brim_sequence_restore(brim_session *session, brim_read_fn read, void *user, uint32_t *out,
                                                     brim_error *error);

/* ---- steps ---------------------------------------------------------------------------------------------------------------- */

typedef struct brim_row {
  int32_t token;     /* ignored where embedding is set */
  uint32_t sequence;
  uint32_t outputs;  /* bit (1 << BRIM_OUTPUT_*) for each wanted of this row */
  int32_t adapter;   /* 0: none */
  const float *embedding; /* [width]; NULL: the token's */
  uint32_t n_position;    /* 0: the row's place in its sequence */
  int32_t position[4];
} brim_row;

/* What one node of the model's graph took in a step. */
typedef struct brim_node_time {
  uint32_t struct_size;
  uint32_t device; /* index in the runtime's report */
  uint32_t layer;  /* UINT32_MAX outside of layers */
  uint32_t reserved0;
  uint64_t ns;
  uint64_t weight_bytes; /* of the weights that the step's rows read: looked-up rows, experts that they can choose */
  brim_str op;           /* "MATMUL" */
  brim_str weight;       /* the first tensor that it reads; empty where there is none */
} brim_node_time;
/* The node is borrowed during the call. */
typedef void(BRIM_CALL *brim_node_time_fn)(void *user, const brim_node_time *node);

typedef struct brim_step {
  uint32_t struct_size;
  uint32_t n_rows; /* any number: the engine cuts it into steps of n_batch */
  const void *rows; /* brim_row; rows of one sequence in their order, sequences mixed as you like */
  uint32_t row_stride, reserved0;
  brim_cancel *cancel;
  brim_node_time_fn timed; /* may be NULL. Else every node is run and waited for alone, in its order, and told here, on a
                              thread of the library while the step runs: slower by what handing over costs and by what a
                              backend would have computed together. Results are the same */
  void *timed_user;
} brim_step;

/* [session] Runs the rows, together with what other sessions have under way. All or nothing: on failure, cancellation
 * included, every sequence is as it was before. CONTEXT_FULL where a sequence would grow beyond n_ctx or the pool of KV blocks
 * is empty. */
BRIM_API brim_status BRIM_CALL brim_session_step(brim_session *session, const brim_step *step, brim_error *error);
/* [session] The same without waiting. One step of a session is under way at a time: BUSY otherwise. rows are copied. */
BRIM_API brim_status BRIM_CALL brim_session_submit(brim_session *session, const brim_step *step, brim_error *error);
/* [session] Waits at most timeout_ns (0 polls) for the step under way: its status, or DEADLINE. */
BRIM_API brim_status BRIM_CALL brim_session_wait(brim_session *session, uint64_t timeout_ns, brim_error *error);
/* [session] Output `role` of the i-th row (counting rows of the last step that asked for it): *n F32 values, borrowed until the
 * session's next step. */
BRIM_API brim_status BRIM_CALL brim_session_output(brim_session *session, uint32_t role, uint32_t i, const float **out,
                                                   uint32_t *n, brim_error *error);

/* ---- sampling -------------------------------------------------------------------------------------------------------------- */

typedef struct brim_logit_bias {
  int32_t token;
  float bias; /* added to the logit; -INFINITY forbids */
} brim_logit_bias;

/* The chain, in this order: logit bias, penalties, (temperature 0: the largest, done), top-k, typical, top-p, min-p,
 * temperature, draw. A field at its neutral value leaves its link out. */
typedef struct brim_sampling {
  uint32_t struct_size;
  uint32_t top_k;     /* keep the k largest; 0: all */
  float temperature;  /* 0: greedy */
  float top_p;        /* keep the smallest set with at least this probability; 0 or 1: all */
  float min_p;        /* drop what is less likely than min_p * the likeliest; 0: nothing */
  float typical_p;    /* locally typical sampling (Meister et al. 2022); 0 or 1: all */
  float repetition_penalty; /* divides positive, multiplies negative logits of recent tokens; 0 or 1: none */
  float frequency_penalty;  /* subtracted per occurrence among recent tokens */
  float presence_penalty;   /* subtracted once for recent tokens */
  uint32_t penalty_last_n;  /* what "recent" means, tokens; 0: 64 */
  uint64_t seed;            /* the same seed, logits and build draw the same tokens */
  const brim_logit_bias *biases;
  uint32_t n_biases, bias_stride;
} brim_sampling;

/* [any] Fills *out from the table [sampling]. */
BRIM_API brim_status BRIM_CALL brim_config_sampling(const brim_config *config, brim_sampling *out, brim_error *error);

/* [control] Values out of range are INVALID_ARGUMENT naming the field. */
BRIM_API brim_status BRIM_CALL brim_sampler_create(const brim_sampling *sampling, uint32_t n_vocab, brim_sampler **out,
                                                   brim_error *error);
/* [control] Picks a token from logits [n_vocab], which are not changed, and remembers it for the penalties. */
BRIM_API brim_status BRIM_CALL brim_sampler_sample(brim_sampler *sampler, const float *logits, int32_t *token,
                                                   brim_error *error);
/* [control] Makes a token of the prompt, or one chosen elsewhere, known to the penalties. */
BRIM_API brim_status BRIM_CALL brim_sampler_accept(brim_sampler *sampler, int32_t token, brim_error *error);
BRIM_API void BRIM_CALL brim_sampler_reset(brim_sampler *sampler); /* [control] as newly made, seed included */
BRIM_API void BRIM_CALL brim_sampler_destroy(brim_sampler *sampler); /* [control] */

/* ---- generate --------------------------------------------------------------------------------------------------------------- */

#define BRIM_STOP_END 1u      /* the model ended its text */
#define BRIM_STOP_LENGTH 2u   /* max_tokens were generated */
#define BRIM_STOP_STRING 3u   /* a stop string came; it is not part of the text given out */
#define BRIM_STOP_CALLBACK 4u /* on_text asked for it */
#define BRIM_STOP_CONTEXT 5u  /* the context is full */

typedef struct brim_generate_info {
  uint32_t struct_size;
  uint32_t sequence;      /* goes on where it stands */
  const int32_t *prompt;  /* may be empty where the sequence's last token was not run yet; else at least one */
  uint64_t n_prompt;
  uint64_t max_tokens;    /* 0: until the model ends or the context is full */
  brim_sampler *sampler;  /* NULL: greedy */
  const brim_str *stops;  /* stop strings */
  uint32_t n_stops;
  uint32_t ignore_end;    /* 1: tokens that end a generation are taken like others */
  brim_cancel *cancel;
  void *user;             /* of the callbacks, which run in the caller's thread */
  brim_progress_fn progress; /* of the prefill */
  /* Text as it becomes complete; a token may give none. Not 0 stops. */
  uint32_t(BRIM_CALL *on_text)(void *user, brim_str text, int32_t token);
  /* Sees and may change the logits before the sampler does. */
  void(BRIM_CALL *on_logits)(void *user, float *logits, uint32_t n_vocab);
  /* In place of the sampler: returns the token. */
  int32_t(BRIM_CALL *choose)(void *user, const float *logits, uint32_t n_vocab);
  /* Most tokens that a step may guess ahead where the text repeats itself; 0: none. The text, the calls of the callbacks and the
   * sequence afterwards are the same; it is left out for models and devices that could not promise that. */
  uint32_t lookahead;
} brim_generate_info;

typedef struct brim_generate_result {
  uint32_t struct_size;
  uint32_t stop; /* BRIM_STOP_* */
  uint64_t n_prompt, n_generated; /* tokens */
  uint64_t prefill_ns;     /* of the prompt, up to its logits */
  uint64_t decode_ns;      /* of the n_generated - 1 tokens after the first */
  uint64_t first_token_ns; /* from the call to the first token */
  uint64_t n_steps;        /* after the prompt: n_generated - 1, less the guesses that were right and needed no step */
  uint64_t n_guessed, n_right; /* tokens guessed ahead, and how many of them the sampler chose */
} brim_generate_result;

/* [session] Runs the prompt, then token by token. The last token is part of the text and of the sequence's tokens only after it
 * was run: a following generate begins with it. When cancelled (CANCELLED) what was generated so far stays. result may be
 * NULL; it is filled on CANCELLED too. CONTEXT_FULL where the prompt does not fit; nothing of it was run then. */
BRIM_API brim_status BRIM_CALL brim_generate(brim_session *session, const brim_generate_info *info,
                                             brim_generate_result *result, brim_error *error);

/* ---- quantize ----------------------------------------------------------------------------------------------------------------- */

typedef struct brim_quantize_options {
  uint32_t struct_size;
  uint32_t threads; /* 0: one per core */
  brim_cancel *cancel;
  void *user;
  brim_progress_fn progress;
} brim_quantize_options;

/* [any] Writes the model file `in` as `out` with weights of `type`: a dtype ("Q8_0") or a mix ("Q4_K_M"). The output appears
 * when it is complete; nothing stays behind on failure or cancel. options may be NULL. */
BRIM_API brim_status BRIM_CALL brim_quantize(brim_str in, brim_str out, brim_str type, const brim_quantize_options *options,
                                             brim_error *error);

BRIM_END
#endif
