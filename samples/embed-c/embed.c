/* embed.c - a host in one page of C11: load a model, continue a prompt, print the text as it comes.
 *
 *   embed MODEL [PROMPT]
 */
#include <brim/brim.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static brim_str str(const char* text) {
  const brim_str out = {text, strlen(text)};
  return out;
}

static uint32_t BRIM_CALL on_text(void* user, brim_str text, int32_t token) {
  (void)token;
  return fwrite(text.ptr, 1, (size_t)text.len, (FILE*)user) == text.len && fflush((FILE*)user) == 0 ? 0u : 1u;
}

int main(int argc, char** argv) {
  brim_error error = {.struct_size = sizeof error};
  brim_runtime* runtime = NULL;
  brim_model* model = NULL;
  brim_plan* plan = NULL;
  brim_session* session = NULL;
  int32_t* tokens = NULL;
  uint64_t n_tokens = 0;
  uint32_t sequence = 0;
  int code = EXIT_FAILURE;

  if (argc < 2 || argc > 3) {
    fprintf(stderr, "usage: %s MODEL [PROMPT]\n", argv[0]);
    return 2;
  }
  const brim_str prompt = str(argc > 2 ? argv[2] : "");

  /* From a file to a session: find plugins and devices, read headers, decide what goes where, load. */
  if (brim_runtime_create(NULL, &runtime, &error) != BRIM_OK) goto done;
  if (brim_model_open(runtime, str(argv[1]), str(""), &model, &error) != BRIM_OK) goto done;
  const brim_plan_request request = {.struct_size = sizeof request, .n_ctx = 512};
  if (brim_plan_create(model, &request, &plan, &error) != BRIM_OK) goto done;
  if (brim_model_load(model, plan, NULL, &error) != BRIM_OK) goto done;
  if (brim_session_create(model, &session, &error) != BRIM_OK) goto done;
  if (brim_sequence_create(session, &sequence, &error) != BRIM_OK) goto done;

  /* The size first, then the tokens. An empty text begins with BOS. */
  if (brim_tokenize(model, prompt, BRIM_TOKENIZE_SPECIAL, NULL, 0, &n_tokens, &error) != BRIM_OK) goto done;
  tokens = malloc((size_t)(n_tokens + 1) * sizeof *tokens);
  if (tokens == NULL) goto done;
  if (brim_tokenize(model, prompt, BRIM_TOKENIZE_SPECIAL, tokens, n_tokens, &n_tokens, &error) != BRIM_OK) goto done;
  if (n_tokens == 0) tokens[n_tokens++] = brim_token_special(model, BRIM_TOKEN_BOS);

  const brim_generate_info info = {.struct_size = sizeof info,
                                   .sequence = sequence,
                                   .prompt = tokens,
                                   .n_prompt = n_tokens,
                                   .max_tokens = 128,
                                   .user = stdout,
                                   .on_text = on_text};
  brim_generate_result result = {.struct_size = sizeof result};
  if (brim_generate(session, &info, &result, &error) != BRIM_OK) goto done;
  fprintf(stderr, "\n%llu tokens, %.1f tokens/s\n", (unsigned long long)result.n_generated,
          result.decode_ns > 0 ? (double)(result.n_generated - 1) * 1e9 / (double)result.decode_ns : 0.0);
  code = EXIT_SUCCESS;

done:
  if (code != EXIT_SUCCESS) {
    fprintf(stderr, "%s: %s\n", argv[0], error.message[0] != '\0' ? error.message : "out of memory");
  }
  free(tokens);
  brim_session_destroy(session);
  brim_plan_destroy(plan);
  brim_model_close(model);
  brim_runtime_destroy(runtime);
  return code;
}
