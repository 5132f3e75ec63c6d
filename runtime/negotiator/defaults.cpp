#include <algorithm>
#include <base/error.hpp>
#include <negotiator/stages.hpp>

namespace brim::negotiator {
namespace {

constexpr uint32_t kDefaultContext = 8192;
constexpr uint32_t kDefaultBatch = 512;
constexpr uint32_t kLargestBatch = 8192;
constexpr uint32_t kMostSequences = 4096;
constexpr uint32_t kLargestContext = 1u << 24;
// Logits of one step at most; more rows that want outputs are cut into several steps.
constexpr uint64_t kOutputBytes = 64ull << 20;

std::string number(uint64_t n) { return fmt::format("{}", n); }

}  // namespace

void resolve_defaults(Plan& plan) {
  Request& r = plan.request;
  const brim_model_desc& m = plan.model->require_description().model;
  const auto decide = [&](const char* what, std::string choice, std::string because) {
    plan.decisions.push_back({what, std::move(choice), std::move(because)});
  };
  const auto in_range = [&](const char* what, uint64_t value, uint64_t most) {
    if (value > most) fail(BRIM_INVALID_ARGUMENT, "{} is {}; the most is {}", what, value, most);
  };
  in_range("the context", r.n_ctx, kLargestContext);
  in_range("the number of sequences", r.n_seqs, kMostSequences);
  in_range("the batch", r.n_batch, kLargestBatch);

  if (r.n_ctx == 0) {
    r.n_ctx = std::min(m.n_ctx_train ? m.n_ctx_train : kDefaultContext, kDefaultContext);
    decide("context", number(r.n_ctx),
           fmt::format("not asked for: the trained context of {}, {} at most", m.n_ctx_train, kDefaultContext));
  } else if (m.n_ctx_train && r.n_ctx > m.n_ctx_train) {
    decide("context", number(r.n_ctx),
           fmt::format("asked for; beyond the trained context of {} the text may become poor", m.n_ctx_train));
  } else {
    decide("context", number(r.n_ctx), "asked for");
  }
  decide("sequences", number(std::max(r.n_seqs, 1u)), r.n_seqs ? "asked for" : "not asked for: one");
  r.n_seqs = std::max(r.n_seqs, 1u);
  const uint64_t all = uint64_t{r.n_ctx} * r.n_seqs;
  if (r.kv_tokens == 0 || r.kv_tokens >= all) {
    decide("kv tokens", number(all), "every sequence can fill its context");
    r.kv_tokens = all;
  } else {
    decide("kv tokens", number(r.kv_tokens),
           "asked for: the sequences share a pool smaller than all contexts together");
  }
  if (r.n_batch == 0) r.n_batch = kDefaultBatch;
  // A step never holds more rows than all sequences together can take.
  r.n_batch = static_cast<uint32_t>(std::min<uint64_t>(r.n_batch, all));

  if (r.numerics > BRIM_NUMERICS_STRICT) fail(BRIM_UNSUPPORTED, "numerics {} is not known", r.numerics);
  const bool strict = r.numerics == BRIM_NUMERICS_STRICT;
  if (r.kv_dtype == 0) {
    r.kv_dtype = strict ? BRIM_DTYPE_F32 : BRIM_DTYPE_F16;
    decide("kv dtype", brim_dtype_name(r.kv_dtype),
           strict ? "strict numerics keep F32 states" : "not asked for: half precision, never quantised unasked");
  } else if (r.kv_dtype == BRIM_DTYPE_F32 || r.kv_dtype == BRIM_DTYPE_F16 || r.kv_dtype == BRIM_DTYPE_Q8_0) {
    decide("kv dtype", brim_dtype_name(r.kv_dtype), "asked for");
  } else {
    fail(BRIM_UNSUPPORTED, "kv_dtype is {}; KV is stored in f32, f16 or q8_0", brim_dtype_name(r.kv_dtype));
  }
  decide("numerics", strict ? "strict" : "fast", strict ? "asked for" : "the default");

  if (r.load > BRIM_LOAD_DIRECT) fail(BRIM_UNSUPPORTED, "load {} is not known", r.load);
  if (r.outputs == 0) r.outputs = 1ull << BRIM_OUTPUT_LOGITS;
  if (r.outputs & ~m.outputs) {
    fail(BRIM_UNSUPPORTED, "{}: the model cannot give outputs {:#x}; it gives {:#x} (bit 1 logits, 2 hidden, 3 pooled)",
         plan.model->file.path(), r.outputs & ~m.outputs, m.outputs);
  }
  if (r.inputs & ~(1ull << BRIM_INPUT_EMBEDDING)) fail(BRIM_UNSUPPORTED, "inputs {:#x} are not known", r.inputs);

  // Buckets: 1, 2, 4, .. and the batch itself. Sequences and outputs follow from the rows.
  uint32_t max_outputs = r.n_batch;
  if (r.outputs >> BRIM_OUTPUT_LOGITS & 1 && m.n_vocab) {
    const uint64_t rows = std::max<uint64_t>(kOutputBytes / (4ull * m.n_vocab), r.n_seqs);
    max_outputs = static_cast<uint32_t>(std::min<uint64_t>(rows, r.n_batch));
  }
  for (uint32_t t = 1;; t = std::min(t * 2, r.n_batch)) {
    brim_bucket b{};
    b.struct_size = sizeof(b);
    b.n_tokens = t;
    b.n_seqs = std::min(t, r.n_seqs);
    b.n_outputs = std::min(t, max_outputs);
    b.n_kv = r.n_ctx;
    b.n_position = m.n_position;
    plan.buckets.push_back(b);
    if (t == r.n_batch) break;
  }
}

}  // namespace brim::negotiator
