/* A test plugin: an architecture that recognises files whose general.architecture is "fake" and declares a model of one
 * layer. Macros make it break the contract in one way at a time, or be built as an older or newer header would have it:
 *   FAKE_ID, FAKE_KIND, FAKE_MAGIC, FAKE_MAJOR, FAKE_MIN_MINOR, FAKE_FLAGS, FAKE_HEADER_BYTES   numbers of the header
 *   FAKE_NO_QUERY, FAKE_NULL_QUERY, FAKE_NO_CREATE, FAKE_NO_INTERFACE, FAKE_NO_BUILD            what is missing
 *   FAKE_CREATE_FAILS, FAKE_CREATE_EMPTY, FAKE_LEAK                                             how its life goes
 *   FAKE_GROWN                                                                                  see growth.cmake
 */
#include <brim/architecture.h>
#include <brim/plugin.h>
#include <string.h>

#ifndef FAKE_ID
#define FAKE_ID "test.fake"
#endif
#ifndef FAKE_KIND
#define FAKE_KIND BRIM_KIND_ARCHITECTURE
#endif
#ifndef FAKE_MAGIC
#define FAKE_MAGIC BRIM_PLUGIN_MAGIC
#endif
#ifndef FAKE_MAJOR
#define FAKE_MAJOR BRIM_ABI_MAJOR
#endif
#ifndef FAKE_MIN_MINOR
#define FAKE_MIN_MINOR 0u
#endif
#ifndef FAKE_FLAGS
#define FAKE_FLAGS 0u
#endif
#ifndef FAKE_HEADER_BYTES
#define FAKE_HEADER_BYTES sizeof(brim_plugin_header)
#endif

#define TEXT(literal) \
  { (literal), sizeof(literal) - 1 }

struct brim_plugin {
  const brim_host_api* api;
  brim_host* host;
};

static uint32_t BRIM_CALL match(brim_plugin* plugin, const brim_meta_api* api, const brim_meta* meta) {
  static const brim_str key = TEXT("general.architecture");
  brim_str name = {0, 0};
  (void)plugin;
  if (api->get_str(meta, key, &name) != BRIM_OK) return 0;
  return name.len == 4 && memcmp(name.ptr, "fake", 4) == 0 ? 100 : 0;
}

static brim_status BRIM_CALL describe(brim_plugin* plugin, const brim_meta_api* api, const brim_meta* meta,
                                      const brim_builder_api* builder_api, brim_builder* builder) {
  brim_model_desc model;
  (void)plugin, (void)api, (void)meta;
  memset(&model, 0, sizeof(model));
  model.struct_size = sizeof(model);
  model.n_layers = 1;
  model.n_vocab = 4;
  model.width = 8;
  model.n_ctx_train = 16;
  model.n_position = 1;
  builder_api->model(builder, &model);
  return BRIM_OK;
}

#ifndef FAKE_NO_BUILD
static brim_status BRIM_CALL build(brim_plugin* plugin, const brim_meta_api* api, const brim_meta* meta,
                                   const brim_build_info* info, const brim_builder_api* builder_api,
                                   brim_builder* builder) {
  (void)plugin, (void)api, (void)meta, (void)info, (void)builder_api, (void)builder;
  return BRIM_UNSUPPORTED;
}
#endif

static const brim_architecture architecture = {
    .struct_size = sizeof(brim_architecture),
    .match = match,
    .describe = describe,
#ifndef FAKE_NO_BUILD
    .build = build,
#endif
#ifdef FAKE_GROWN
    .grown = ~0ull,
#endif
};

#ifdef FAKE_LEAK
static void* volatile forgotten; /* still reachable, so that leak checkers leave the finding to the host's own
                                    accounting */
#endif

#ifndef FAKE_NO_CREATE
static brim_status BRIM_CALL create(const brim_host_api* api, brim_host* host, const brim_create_info* info,
                                    brim_plugin** out, brim_error* error) {
  uint32_t i;
  brim_plugin* plugin;
#ifdef FAKE_CREATE_FAILS
  if (error) {
    error->code = BRIM_INCOMPATIBLE;
    strcpy(error->message, "no fake driver (libfake.so.1 not found)");
  }
  return BRIM_INCOMPATIBLE;
#endif
  /* Its settings go to the log, one by one. Anything but "say" and "grow" is refused. */
  for (i = 0; i < info->n_settings; ++i) {
    const brim_setting* setting = BRIM_ELEM(brim_setting, info->settings, info->setting_stride, i);
    if (setting->key.len != 3 || memcmp(setting->key.ptr, "say", 3) != 0) {
      if (error) {
        error->code = BRIM_INVALID_ARGUMENT;
        strcpy(error->message, "unknown setting; did you mean 'say'?");
      }
      return BRIM_INVALID_ARGUMENT;
    }
    api->log(host, BRIM_LOG_INFO, setting->value);
  }
#ifdef FAKE_GROWN
  if (BRIM_HAS(api, brim_host_api, grown) != BRIM_HAS(info, brim_create_info, grown)) return BRIM_INTERNAL;
  {
    static const brim_str has = TEXT("the host has grown"), has_not = TEXT("the host is older");
    api->log(host, BRIM_LOG_INFO, BRIM_HAS(api, brim_host_api, grown) ? has : has_not);
  }
#endif
  plugin = (brim_plugin*)api->alloc(host, sizeof(*plugin), 64);
  if (!plugin) return BRIM_OUT_OF_MEMORY;
#ifdef FAKE_LEAK
  forgotten = api->alloc(host, 1000, 16);
#endif
  plugin->api = api;
  plugin->host = host;
#ifdef FAKE_CREATE_EMPTY
  api->free(host, plugin, sizeof(*plugin), 64);
  plugin = NULL;
#endif
  *out = plugin;
  return BRIM_OK;
}
#endif

static void BRIM_CALL destroy(brim_plugin* plugin) { plugin->api->free(plugin->host, plugin, sizeof(*plugin), 64); }

static const void* BRIM_CALL get_interface(brim_plugin* plugin, brim_str id) {
  (void)plugin;
#ifdef FAKE_NO_INTERFACE
  id.len = 0;
#endif
  if (id.len == sizeof(BRIM_ARCHITECTURE_INTERFACE) - 1 && memcmp(id.ptr, BRIM_ARCHITECTURE_INTERFACE, id.len) == 0)
    return &architecture;
  return NULL;
}

static const brim_plugin_header header = {
    .magic = FAKE_MAGIC,
    .struct_size = FAKE_HEADER_BYTES,
    .major = FAKE_MAJOR,
    .minor = BRIM_ABI_MINOR,
    .min_minor = FAKE_MIN_MINOR,
    .kind = FAKE_KIND,
    .build_flags = FAKE_FLAGS,
    .id = TEXT(FAKE_ID),
    .version = TEXT("1.2.3"),
    .license = TEXT("Apache-2.0"),
#ifndef FAKE_NO_CREATE
    .create = create,
#endif
    .destroy = destroy,
    .get_interface = get_interface,
#ifdef FAKE_GROWN
    .grown = ~0ull,
#endif
};

#ifdef FAKE_NO_QUERY
BRIM_EXPORT const brim_plugin_header* not_brim_plugin_query(uint32_t host_major);
BRIM_EXPORT const brim_plugin_header* not_brim_plugin_query(uint32_t host_major) {
#else
BRIM_EXPORT const brim_plugin_header* BRIM_CALL brim_plugin_query(uint32_t host_major);
BRIM_EXPORT const brim_plugin_header* BRIM_CALL brim_plugin_query(uint32_t host_major) {
#endif
  (void)host_major;
#ifdef FAKE_NULL_QUERY
  return NULL;
#endif
  return &header;
}
