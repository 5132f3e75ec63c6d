/* A test plugin: a backend with two devices that only have memory. Device 0 is a "processor" on the system's pool,
 * device 1 a "card" with a pool and a uuid of its own and a second, host-visible heap on the same pool. It computes
 * nothing. Settings: "devices" (0 .. 9, default 2; 0 gives a reason; from the third on they cannot be opened), "hollow"
 * (any value: the card has 0 bytes). Macros:
 *   FAKE_ID                        another id, so that two backends show the same card
 *   FAKE_WITHOUT_RUN               the required slot program_run is NULL
 *   FAKE_SHRUNK                    as an older minor would have it: the struct ends behind program_run
 *   FAKE_GROWN                     see growth.cmake
 */
#include <brim/backend.h>
#include <string.h>

#ifndef FAKE_ID
#define FAKE_ID "test.device"
#endif
#define TEXT(literal) \
  { (literal), sizeof(literal) - 1 }

struct brim_plugin {
  const brim_host_api* api;
  brim_host* host;
  uint32_t n_devices, hollow;
};
struct brim_device {
  brim_plugin* plugin;
  uint32_t index;
};

#define MIB (1024ull * 1024ull)
static const uint64_t card[2] = {0x1234, 0xabcd};

/* Writes a struct of this build's size into a receiver's that may be smaller or larger. */
static void give(void* to, const void* from, uint32_t own_size) {
  const uint32_t theirs = *(const uint32_t*)to;
  memcpy(to, from, theirs < own_size ? theirs : own_size);
  *(uint32_t*)to = theirs;
}

static brim_status fail(brim_error* error, brim_status code, const char* message) {
  if (error) {
    error->code = code;
    strcpy(error->message, message);
  }
  return code;
}

static brim_status BRIM_CALL device_count(brim_plugin* plugin, uint32_t* n, brim_str* why, brim_error* error) {
  static const brim_str none = TEXT("no fake driver (libfake.so.1 not found)");
  (void)error;
  *n = plugin->n_devices;
  if (*n == 0 && why) *why = none;
  return BRIM_OK;
}

static brim_status BRIM_CALL device_open(brim_plugin* plugin, uint32_t i, brim_device** out, brim_error* error) {
  brim_device* device;
  if (i >= 2) return fail(error, BRIM_DEVICE_LOST, "the card fell off the bus");
  device = (brim_device*)plugin->api->alloc(plugin->host, sizeof(*device), 16);
  if (!device) return fail(error, BRIM_OUT_OF_MEMORY, "no memory for a device");
  device->plugin = plugin;
  device->index = i;
  *out = device;
  return BRIM_OK;
}

static void BRIM_CALL device_close(brim_device* device) {
  device->plugin->api->free(device->plugin->host, device, sizeof(*device), 16);
}

static brim_status BRIM_CALL device_info(brim_device* device, brim_device_info* out, brim_error* error) {
  static const brim_str names[2] = {TEXT("fake processor"), TEXT("fake card")};
  static const brim_str driver = TEXT("fake 1.0");
  brim_device_info info;
  (void)error;
  memset(&info, 0, sizeof(info));
  info.type = device->index ? BRIM_DEVICE_DISCRETE : BRIM_DEVICE_CPU;
  info.flags = device->index ? 0 : BRIM_DEVICE_LIVE | BRIM_DEVICE_SYNCHRONOUS;
  info.n_heaps = device->index ? 2 : 1;
  if (device->index) memcpy(info.uuid, card, sizeof(card));
  info.pci = device->index ? 0x0000000100020300ull + 1 : 0;
  info.max_binding = 1ull << 40;
  info.name = names[device->index];
  info.driver = driver;
#ifdef FAKE_GROWN
  info.grown = ~0ull;
#endif
  give(out, &info, sizeof(info));
  return BRIM_OK;
}

static brim_status BRIM_CALL heap_info(brim_device* device, uint32_t heap, brim_heap_info* out, brim_error* error) {
  brim_heap_info info;
  memset(&info, 0, sizeof(info));
  if (heap > device->index) return fail(error, BRIM_INVALID_ARGUMENT, "no such heap");
  info.alignment = 64;
  if (device->index == 0) {
    info.flags = BRIM_HEAP_HOST_VISIBLE | BRIM_HEAP_HOST_COHERENT;
    info.pool_id[0] = BRIM_POOL_SYSTEM;
    info.size = info.max_alloc = 1ull << 50;
    info.read_bandwidth = 5000;
  } else {
    info.flags = heap == 0 ? BRIM_HEAP_DEVICE_LOCAL : BRIM_HEAP_DEVICE_LOCAL | BRIM_HEAP_HOST_VISIBLE;
    memcpy(info.pool_id, card, sizeof(card));
    info.size = info.max_alloc = device->plugin->hollow ? 0 : heap == 0 ? 1000 * MIB : 256 * MIB;
    info.read_bandwidth = 100 * MIB;
  }
#ifdef FAKE_GROWN
  info.grown = ~0ull;
#endif
  give(out, &info, sizeof(info));
  return BRIM_OK;
}

static brim_status BRIM_CALL heap_budget(brim_device* device, uint32_t heap, uint64_t* available, brim_error* error) {
  (void)error;
  *available = device->index == 0 ? 1ull << 50 : heap == 0 ? 900 * MIB : 200 * MIB;
  return BRIM_OK;
}

static brim_status none(brim_error* error) {
  return fail(error, BRIM_UNSUPPORTED, "the fake backend only describes memory");
}
static brim_status BRIM_CALL buffer_alloc(brim_device* d, uint32_t h, uint64_t n, brim_buffer** out, brim_error* e) {
  (void)d, (void)h, (void)n, (void)out;
  return none(e);
}
static brim_status BRIM_CALL buffer_map(brim_buffer* b, void** out, brim_error* e) {
  (void)b, (void)out;
  return none(e);
}
static void BRIM_CALL buffer_free(brim_buffer* b) { (void)b; }
static brim_status BRIM_CALL queue_create(brim_device* d, void* native, brim_queue** out, brim_error* e) {
  (void)d, (void)native, (void)out;
  return none(e);
}
static void BRIM_CALL queue_destroy(brim_queue* q) { (void)q; }
static brim_status BRIM_CALL copy(brim_queue* q, brim_buffer* dst, uint64_t to, brim_buffer* src, uint64_t from,
                                  uint64_t n, brim_error* e) {
  (void)q, (void)dst, (void)to, (void)src, (void)from, (void)n;
  return none(e);
}
static brim_status BRIM_CALL fence_create(brim_device* d, uint64_t initial, brim_fence** out, brim_error* e) {
  (void)d, (void)initial, (void)out;
  return none(e);
}
static void BRIM_CALL fence_destroy(brim_fence* f) { (void)f; }
static brim_status BRIM_CALL queue_fence(brim_queue* q, brim_fence* f, uint64_t value, brim_error* e) {
  (void)q, (void)f, (void)value;
  return none(e);
}
static brim_status BRIM_CALL fence_wait(brim_fence* f, uint64_t value, uint64_t timeout_ns, brim_error* e) {
  (void)f, (void)value, (void)timeout_ns;
  return none(e);
}
static brim_status BRIM_CALL fence_signal(brim_fence* f, uint64_t value, brim_error* e) {
  (void)f, (void)value;
  return none(e);
}
static brim_status BRIM_CALL support(brim_device* d, const brim_graph* g, uint32_t node, uint32_t numerics,
                                     brim_support* out, brim_error* e) {
  (void)d, (void)g, (void)node, (void)numerics, (void)out, (void)e;
  return BRIM_OK;
}
static brim_status BRIM_CALL program_measure(brim_device* d, const brim_program_info* i, brim_program_cost* out,
                                             brim_error* e) {
  (void)d, (void)i, (void)out;
  return none(e);
}
static brim_status BRIM_CALL program_create(brim_device* d, const brim_program_info* i, brim_program** out,
                                            brim_error* e) {
  (void)d, (void)i, (void)out;
  return none(e);
}
static void BRIM_CALL program_destroy(brim_program* p) { (void)p; }
#ifndef FAKE_WITHOUT_RUN
static brim_status BRIM_CALL program_run(brim_program* p, brim_queue* q, const brim_run* r, brim_error* e) {
  (void)p, (void)q, (void)r;
  return none(e);
}
#endif
#ifdef FAKE_SHRUNK
/* Lies behind the end that struct_size names: a host that reads it took more than was sent. */
static brim_status BRIM_CALL fence_export(brim_fence* f, uint32_t kind, uint64_t* handle, brim_error* e) {
  (void)f, (void)kind, (void)handle;
  return none(e);
}
#endif

static const brim_op_caps caps[] = {{.op = BRIM_OP_COPY, .max_rev = 1},
                                    {.op = BRIM_OP_BINARY, .max_rev = 1, .features = 3}};

static const brim_backend backend = {
#ifdef FAKE_SHRUNK
    .struct_size = BRIM_SIZE_THROUGH(brim_backend, program_run),
    .fence_export = fence_export,
#else
    .struct_size = sizeof(brim_backend),
#endif
    .n_caps = sizeof(caps) / sizeof(caps[0]),
    .caps_stride = sizeof(caps[0]),
    .caps = caps,
    .device_count = device_count,
    .device_open = device_open,
    .device_close = device_close,
    .device_info = device_info,
    .heap_info = heap_info,
    .heap_budget = heap_budget,
    .buffer_alloc = buffer_alloc,
    .buffer_map = buffer_map,
    .buffer_free = buffer_free,
    .queue_create = queue_create,
    .queue_destroy = queue_destroy,
    .copy = copy,
    .fence_create = fence_create,
    .fence_destroy = fence_destroy,
    .queue_signal = queue_fence,
    .queue_wait = queue_fence,
    .fence_wait = fence_wait,
    .fence_signal = fence_signal,
    .support = support,
    .program_measure = program_measure,
    .program_create = program_create,
    .program_destroy = program_destroy,
#ifndef FAKE_WITHOUT_RUN
    .program_run = program_run,
#endif
#ifdef FAKE_GROWN
    .grown = ~0ull,
#endif
};

static brim_status BRIM_CALL create(const brim_host_api* api, brim_host* host, const brim_create_info* info,
                                    brim_plugin** out, brim_error* error) {
  uint32_t i;
  brim_plugin* plugin = (brim_plugin*)api->alloc(host, sizeof(*plugin), 16);
  if (!plugin) return fail(error, BRIM_OUT_OF_MEMORY, "no memory for an instance");
  plugin->api = api;
  plugin->host = host;
  plugin->n_devices = 2;
  plugin->hollow = 0;
  for (i = 0; i < info->n_settings; ++i) {
    const brim_setting* setting = BRIM_ELEM(brim_setting, info->settings, info->setting_stride, i);
    if (setting->key.len == 7 && memcmp(setting->key.ptr, "devices", 7) == 0 && setting->value.len == 1)
      plugin->n_devices = (uint32_t)(setting->value.ptr[0] - '0');
    if (setting->key.len == 6 && memcmp(setting->key.ptr, "hollow", 6) == 0) plugin->hollow = 1;
  }
  *out = plugin;
  return BRIM_OK;
}

static void BRIM_CALL destroy(brim_plugin* plugin) { plugin->api->free(plugin->host, plugin, sizeof(*plugin), 16); }

static const void* BRIM_CALL get_interface(brim_plugin* plugin, brim_str id) {
  (void)plugin;
  if (id.len == sizeof(BRIM_BACKEND_INTERFACE) - 1 && memcmp(id.ptr, BRIM_BACKEND_INTERFACE, id.len) == 0)
    return &backend;
  return NULL;
}

static const brim_plugin_header header = {
    .magic = BRIM_PLUGIN_MAGIC,
    .struct_size = sizeof(brim_plugin_header),
    .major = BRIM_ABI_MAJOR,
    .minor = BRIM_ABI_MINOR,
    .kind = BRIM_KIND_BACKEND,
    .id = TEXT(FAKE_ID),
    .version = TEXT("0.9"),
    .license = TEXT("Apache-2.0"),
    .create = create,
    .destroy = destroy,
    .get_interface = get_interface,
};

BRIM_EXPORT const brim_plugin_header* BRIM_CALL brim_plugin_query(uint32_t host_major);
BRIM_EXPORT const brim_plugin_header* BRIM_CALL brim_plugin_query(uint32_t host_major) {
  (void)host_major;
  return &header;
}
