// Model files through the C ABI: the bytes are one file, or several parts of a split one (each begins with "GGUF"). Any
// bytes open or are refused; what opens can be described, tokenized, planned (which describes and builds the graphs by
// the llama plugin) and, where it is small, loaded and run.
#include <model/gguf.hpp>
#include <vector>

#include "host.hpp"

using brim::is_utf8;
using namespace brim::fuzz;

namespace {

constexpr size_t kMostParts = 4;
constexpr uint64_t kMostLoaded = 2u << 20;  // bytes

std::vector<std::string_view> parts_of(std::string_view bytes) {
  std::vector<std::string_view> parts;
  while (parts.size() + 1 < kMostParts) {
    const size_t next = bytes.find("GGUF", 4);
    if (next == bytes.npos) break;
    parts.push_back(bytes.substr(0, next));
    bytes.remove_prefix(next);
  }
  parts.push_back(bytes);
  return parts;
}

// What the first part says of the number of parts, which their names have to repeat.
uint64_t count_of(std::string_view bytes) {
  uint64_t count = 1;
  try {
    const auto g = brim::model::parse_gguf(std::as_bytes(std::span(bytes)), "first part");
    count = g.metadata.u64("split.count").value_or(1);
  } catch (const brim::Error&) {
  }
  return count;
}

// Writes the parts and gives the path of one of them.
std::string write_parts(std::string_view bytes) {
  const auto parts = parts_of(bytes);
  const uint64_t count = count_of(parts.front());
  std::string path;
  for (size_t i = 0; i < parts.size(); ++i) {
    char name[64];
    if (count > 1 && count < 100000) {
      std::snprintf(name, sizeof(name), "m-%05u-of-%05u.gguf", static_cast<unsigned>(i + 1),
                    static_cast<unsigned>(count));
    } else {
      std::snprintf(name, sizeof(name), "m%u.gguf", static_cast<unsigned>(i));
    }
    const std::string one = temp_folder() / name;
    write_file(one, parts[i]);
    if (i == 0 || bytes.size() % parts.size() == i) path = one;
  }
  return path;
}

void clear_folder() {
  for (const auto& entry : std::filesystem::directory_iterator(temp_folder().path())) {
    std::filesystem::remove(entry.path());
  }
}

void use_text(brim_model* model) {
  uint64_t n = 0;
  int32_t tokens[64];
  const brim_str text = str_of("ab <s> caf\xC3\xA9\n\xFF");
  const bool fits = call([&](brim_error* e) { return brim_tokenize(model, text, 3, tokens, 64, &n, e); }) == BRIM_OK;
  if (fits) {
    whole_text([&](char* buf, uint64_t cap, uint64_t* need, brim_error* e) {
      return brim_detokenize(model, tokens, n, 1, buf, cap, need, e);
    });
  }
  const brim_message talk[] = {{str_of("user"), str_of("hello")}};
  whole_text([&](char* buf, uint64_t cap, uint64_t* need, brim_error* e) {
    return brim_chat_render(model, talk, 1, sizeof(brim_message), 1, buf, cap, need, e);
  });
  for (uint32_t which = 0; which < 6; ++which) {
    brim_token_info info{};
    info.struct_size = sizeof(info);
    const int32_t token = brim_token_special(model, which);
    const brim_status status = call([&](brim_error* e) { return brim_token_get_info(model, token, &info, e); });
    expect((status == BRIM_OK) == (token >= 0), "a special token is a token");
  }
}

void run(brim_model* model, const brim_plan* plan) {
  if (call([&](brim_error* e) { return brim_model_load(model, plan, nullptr, e); }) != BRIM_OK) return;
  brim_session* session = nullptr;
  must([&](brim_error* e) { return brim_session_create(model, &session, e); });
  uint32_t sequence = 0;
  must([&](brim_error* e) { return brim_sequence_create(session, &sequence, e); });
  brim_row rows[3] = {};
  for (brim_row& row : rows) {
    row.sequence = sequence;
    row.outputs = 1u << BRIM_OUTPUT_LOGITS;
  }
  brim_step step{};
  step.struct_size = sizeof(step);
  step.n_rows = 3;
  step.rows = rows;
  step.row_stride = sizeof(brim_row);
  const brim_status status = call([&](brim_error* e) { return brim_session_step(session, &step, e); });
  uint32_t held = 0;
  must([&](brim_error* e) { return brim_sequence_length(session, sequence, &held, e); });
  expect(held == (status == BRIM_OK ? 3u : 0u), "a step is all or nothing");
  brim_session_destroy(session);
  must([&](brim_error* e) { return brim_model_unload(model, e); });
}

void plan_and_run(brim_model* model) {
  brim_plan_request request{};
  request.struct_size = sizeof(request);
  request.n_ctx = 32;
  request.n_batch = 4;
  request.numerics = BRIM_NUMERICS_STRICT;
  brim_plan* plan = nullptr;
  if (call([&](brim_error* e) { return brim_plan_create(model, &request, &plan, e); }) != BRIM_OK) return;
  brim_plan_info info{};
  info.struct_size = sizeof(info);
  must([&](brim_error* e) { return brim_plan_get_info(plan, &info, e); });
  uint64_t bytes = 0;
  for (uint32_t i = 0; i < info.n_pools; ++i) {
    brim_plan_pool pool{};
    pool.struct_size = sizeof(pool);
    must([&](brim_error* e) { return brim_plan_get_pool(plan, i, &pool, e); });
    expect(pool.total <= pool.available, "what is planned fits");
    bytes += pool.total;
  }
  const std::string words = whole_text([&](char* buf, uint64_t cap, uint64_t* need, brim_error* e) {
    return brim_plan_explain(plan, buf, cap, need, e);
  });
  expect(is_utf8(words) && !words.empty(), "a plan is explained in UTF-8", words);
  if (bytes <= kMostLoaded) run(model, plan);
  brim_plan_destroy(plan);
}

}  // namespace

int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  static brim_runtime* const runtime = small_runtime();
  const std::string path = write_parts(text_of(data, size));
  brim_model* model = nullptr;
  if (call([&](brim_error* e) { return brim_model_open(runtime, str_of(path), {}, &model, e); }) == BRIM_OK) {
    brim_model_info info{};
    info.struct_size = sizeof(info);
    must([&](brim_error* e) { return brim_model_get_info(model, &info, e); });
    const std::string words = whole_text([&](char* buf, uint64_t cap, uint64_t* need, brim_error* e) {
      return brim_model_describe(model, buf, cap, need, e);
    });
    expect(is_utf8(words) && !words.empty(), "a model is described in UTF-8", words);
    use_text(model);
    plan_and_run(model);
  }
  brim_model_close(model);
  clear_folder();
  return 0;
}
