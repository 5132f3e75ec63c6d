/* plugin.h - the handshake between a host (the Brim runtime) and a plugin (one shared library).
 *
 * A plugin exports one function, brim_plugin_query. It has no side effect: no thread, no allocation, no driver call, no
 * environment read. It answers with a constant header; the host checks it, then calls create() for an instance. All
 * that a plugin does hangs off an instance; several instances live in one process at once, each with its own host.
 *
 * Call order: query -> create -> get_interface(...) -> use -> destroy. A plugin stays mapped until the process ends, so
 * static data may be pointed to for ever; destroy() gives back everything that the instance owns.
 *
 * Growth: a newer side has larger structs. Each side copies min(theirs, own) bytes into a zeroed struct of its own and
 * tests with BRIM_HAS whether a field was sent.
 */
#ifndef BRIM_PLUGIN_H
#define BRIM_PLUGIN_H

#include "status.h"
#include "types.h"

BRIM_BEGIN

/* ---- what the host gives to every instance ---------------------------------------------------------------------- */

typedef struct brim_host brim_host; /* the host's own context; opaque to plugins */

#define BRIM_LOG_TRACE 0u
#define BRIM_LOG_DEBUG 1u
#define BRIM_LOG_INFO 2u
#define BRIM_LOG_WARNING 3u
#define BRIM_LOG_ERROR 4u
#define BRIM_LOG_HOST_MISUSE 5u   /* the plugin says: the host broke the contract */
#define BRIM_LOG_PLUGIN_MISUSE 6u /* the host says: the plugin broke the contract */

/* A piece of parallel work: called with index 0 .. count-1. Must not throw. */
typedef void(BRIM_CALL *brim_task_fn)(void *arg, uint32_t index, uint32_t count);

typedef struct brim_host_api {
  uint32_t struct_size;
  uint32_t abi_minor; /* the newest minor the host was built with */

  /* [any] Host memory. alignment is a power of two, at most 4096. NULL when exhausted; never aborts. The bytes are not
   * zeroed. Accounted to the instance: what is not freed when destroy() returns is reported as a leak. */
  void *(BRIM_CALL *alloc)(brim_host *host, uint64_t bytes, uint64_t alignment);
  /* [any] Gives back what alloc gave; bytes and alignment as they were asked for. NULL is ignored. */
  void(BRIM_CALL *free)(brim_host *host, void *ptr, uint64_t bytes, uint64_t alignment);

  /* [any] One complete record a call; the host adds the plugin's id. level: BRIM_LOG_*. */
  void(BRIM_CALL *log)(brim_host *host, uint32_t level, brim_str message);

  /* [queue] Runs fn(arg, i, got) for i in 0 .. got-1 on `got` threads that are all live at once, so fn may use barriers;
   * the calling thread is one of them (index 0). 1 <= got <= max(1, want); results must not depend on got. Returns when
   * all have returned. Not reentrant: fn must not call it. Plugins create no compute threads of their own. */
  uint32_t(BRIM_CALL *team_run)(brim_host *host, uint32_t want, brim_task_fn fn, void *arg);
  /* [any] The most threads that team_run can give. */
  uint32_t(BRIM_CALL *team_size)(brim_host *host);

  /* [any] Further services, "vendor.name/REV"; NULL if the host has none of that name. */
  const void *(BRIM_CALL *get_interface)(brim_host *host, brim_str id);
} brim_host_api;

/* ---- what a plugin is ------------------------------------------------------------------------------------------- */

#define BRIM_PLUGIN_MAGIC 0x4d495242u /* "BRIM" */

#define BRIM_KIND_BACKEND 1u      /* get_interface(BRIM_BACKEND_INTERFACE), backend.h */
#define BRIM_KIND_ARCHITECTURE 2u /* get_interface(BRIM_ARCHITECTURE_INTERFACE), architecture.h */

#define BRIM_BUILD_ASAN (1u << 0)
#define BRIM_BUILD_TSAN (1u << 1)
#define BRIM_BUILD_DEBUG (1u << 2)

typedef struct brim_plugin brim_plugin; /* one live instance */

/* One setting of an instance, from the host's configuration ("[backend.cpu] threads = 4" is {"threads", "4"}). */
typedef struct brim_setting {
  brim_str key;
  brim_str value;
} brim_setting;

typedef struct brim_create_info {
  uint32_t struct_size;
  uint32_t n_settings;
  const void *settings; /* brim_setting; an unknown key is INVALID_ARGUMENT naming the nearest known one */
  uint32_t setting_stride;
  uint32_t reserved0;
  brim_str directory; /* where the plugin's library lies, for data files beside it */
} brim_create_info;

/* The first seven words are frozen for all majors: a host of any version can read them and refuse with words. */
typedef struct brim_plugin_header {
  uint32_t magic;       /* BRIM_PLUGIN_MAGIC */
  uint32_t struct_size; /* of this header */
  uint32_t major;       /* must equal the host's */
  uint32_t minor;       /* the minor that the plugin was built against */
  uint32_t min_minor;   /* the oldest host minor that it runs on */
  uint32_t kind;        /* BRIM_KIND_* */
  uint32_t build_flags; /* BRIM_BUILD_*; a sanitizer that the host lacks is refused */
  uint32_t reserved0;
  brim_str id;      /* "brim.cpu": unique, reverse-DNS style for third parties */
  brim_str version; /* the plugin's own */
  brim_str license; /* SPDX expression */

  /* [control] Makes an instance. `host` and `api` outlive it. On failure nothing stays behind. */
  brim_status(BRIM_CALL *create)(const brim_host_api *api, brim_host *host, const brim_create_info *info,
                                 brim_plugin **out, brim_error *error);
  /* [control] Frees the instance. Everything made from it has been destroyed before. */
  void(BRIM_CALL *destroy)(brim_plugin *plugin);
  /* [any] The interface of that name, or NULL; constant, valid as long as the instance. */
  const void *(BRIM_CALL *get_interface)(brim_plugin *plugin, brim_str id);
} brim_plugin_header;

BRIM_STATIC_ASSERT(offsetof(brim_plugin_header, build_flags) == 24, "the frozen prefix");

/* The one exported symbol: const brim_plugin_header *brim_plugin_query(uint32_t host_major).
 * [any] Answers the header for that major, or, when it has none, any header it has (the host then refuses by its
 * numbers), or NULL. */
typedef const brim_plugin_header *(BRIM_CALL *brim_plugin_query_fn)(uint32_t host_major);
#define BRIM_PLUGIN_QUERY_SYMBOL "brim_plugin_query"

BRIM_END
#endif
