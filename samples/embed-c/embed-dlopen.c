/* embed-dlopen.c - embed.c without linking: the library is found by name at run time, its functions by name in it. So a
 * program can offer Brim where it is installed and do without where it is not.
 *
 *   embed-dlopen MODEL [PROMPT]      the library is $BRIM_LIBRARY, else libbrim.so.0 / brim.dll of the system's search
 * path
 */
#if !defined(_WIN32)
#define _POSIX_C_SOURCE 200809L
#endif
#include <brim/brim.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#if defined(_WIN32)
#include <windows.h>
static void* open_library(void) {
  const char* path = getenv("BRIM_LIBRARY");
  return (void*)LoadLibraryA(path != NULL ? path : "brim.dll");
}
static void find(void* library, const char* name, void* function) {
  const FARPROC found = GetProcAddress((HMODULE)library, name);
  memcpy(function, &found, sizeof found);
}
#else
#include <dlfcn.h>
static void* open_library(void) {
  const char* path = getenv("BRIM_LIBRARY");
  return dlopen(path != NULL ? path : "libbrim.so.0", RTLD_NOW | RTLD_LOCAL);
}
static void find(void* library, const char* name, void* function) {
  void* const found = dlsym(library, name);
  memcpy(function, &found, sizeof found); /* ISO C has no cast between the two kinds of pointer */
}
#endif

/* The functions in use, as pointers of the types that brim.h declares. */
#define FUNCTIONS(X)                                                                                           \
  X(void, brim_abi_version, (uint32_t*, uint32_t*))                                                            \
  X(brim_status, brim_runtime_create, (const brim_runtime_config*, brim_runtime**, brim_error*))               \
  X(void, brim_runtime_destroy, (brim_runtime*))                                                               \
  X(brim_status, brim_model_open, (brim_runtime*, brim_str, brim_str, brim_model**, brim_error*))              \
  X(void, brim_model_close, (brim_model*))                                                                     \
  X(brim_status, brim_plan_create, (brim_model*, const brim_plan_request*, brim_plan**, brim_error*))          \
  X(void, brim_plan_destroy, (brim_plan*))                                                                     \
  X(brim_status, brim_model_load, (brim_model*, const brim_plan*, const brim_load_options*, brim_error*))      \
  X(brim_status, brim_tokenize, (brim_model*, brim_str, uint32_t, int32_t*, uint64_t, uint64_t*, brim_error*)) \
  X(int32_t, brim_token_special, (brim_model*, uint32_t))                                                      \
  X(brim_status, brim_session_create, (brim_model*, brim_session**, brim_error*))                              \
  X(void, brim_session_destroy, (brim_session*))                                                               \
  X(brim_status, brim_sequence_create, (brim_session*, uint32_t*, brim_error*))                                \
  X(brim_status, brim_generate, (brim_session*, const brim_generate_info*, brim_generate_result*, brim_error*))

struct api {
#define X(result, name, arguments) result(BRIM_CALL* name) arguments;
  FUNCTIONS(X)
#undef X
};

/* 0 if the library has every function. */
static int load_api(struct api* api) {
  void* const library = open_library();
  if (library == NULL) return 1;
#define X(result, name, arguments)    \
  find(library, #name, &(api->name)); \
  if (api->name == NULL) return 1;
  FUNCTIONS(X)
#undef X
  return 0;
}

static brim_str str(const char* text) {
  const brim_str out = {text, strlen(text)};
  return out;
}

static uint32_t BRIM_CALL on_text(void* user, brim_str text, int32_t token) {
  (void)token;
  return fwrite(text.ptr, 1, (size_t)text.len, (FILE*)user) == text.len && fflush((FILE*)user) == 0 ? 0u : 1u;
}

int main(int argc, char** argv) {
  struct api brim;
  brim_error error = {.struct_size = sizeof error};
  brim_runtime* runtime = NULL;
  brim_model* model = NULL;
  brim_plan* plan = NULL;
  brim_session* session = NULL;
  int32_t* tokens = NULL;
  uint64_t n_tokens = 0;
  uint32_t sequence = 0, major = 0, minor = 0;
  int code = EXIT_FAILURE;

  if (argc < 2 || argc > 3) {
    fprintf(stderr, "usage: %s MODEL [PROMPT]\n", argv[0]);
    return 2;
  }
  if (load_api(&brim) != 0) {
    fprintf(stderr, "%s: libbrim was not found; set BRIM_LIBRARY to its path\n", argv[0]);
    return EXIT_FAILURE;
  }
  brim.brim_abi_version(&major, &minor);
  if (major != BRIM_ABI_MAJOR) {
    fprintf(stderr, "%s: the library has ABI %u.%u, this program needs %u\n", argv[0], major, minor, BRIM_ABI_MAJOR);
    return EXIT_FAILURE;
  }
  const brim_str prompt = str(argc > 2 ? argv[2] : "");

  if (brim.brim_runtime_create(NULL, &runtime, &error) != BRIM_OK) goto done;
  if (brim.brim_model_open(runtime, str(argv[1]), str(""), &model, &error) != BRIM_OK) goto done;
  const brim_plan_request request = {.struct_size = sizeof request, .n_ctx = 512};
  if (brim.brim_plan_create(model, &request, &plan, &error) != BRIM_OK) goto done;
  if (brim.brim_model_load(model, plan, NULL, &error) != BRIM_OK) goto done;
  if (brim.brim_session_create(model, &session, &error) != BRIM_OK) goto done;
  if (brim.brim_sequence_create(session, &sequence, &error) != BRIM_OK) goto done;

  if (brim.brim_tokenize(model, prompt, BRIM_TOKENIZE_SPECIAL, NULL, 0, &n_tokens, &error) != BRIM_OK) goto done;
  tokens = malloc((size_t)(n_tokens + 1) * sizeof *tokens);
  if (tokens == NULL) goto done;
  if (brim.brim_tokenize(model, prompt, BRIM_TOKENIZE_SPECIAL, tokens, n_tokens, &n_tokens, &error) != BRIM_OK)
    goto done;
  if (n_tokens == 0) tokens[n_tokens++] = brim.brim_token_special(model, BRIM_TOKEN_BOS);

  const brim_generate_info info = {.struct_size = sizeof info,
                                   .sequence = sequence,
                                   .prompt = tokens,
                                   .n_prompt = n_tokens,
                                   .max_tokens = 128,
                                   .user = stdout,
                                   .on_text = on_text};
  brim_generate_result result = {.struct_size = sizeof result};
  if (brim.brim_generate(session, &info, &result, &error) != BRIM_OK) goto done;
  fputc('\n', stdout);
  code = EXIT_SUCCESS;

done:
  if (code != EXIT_SUCCESS) {
    fprintf(stderr, "%s: %s\n", argv[0], error.message[0] != '\0' ? error.message : "out of memory");
  }
  free(tokens);
  brim.brim_session_destroy(session);
  brim.brim_plan_destroy(plan);
  brim.brim_model_close(model);
  brim.brim_runtime_destroy(runtime);
  return code;
}
