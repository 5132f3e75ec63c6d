#include "run.hpp"

namespace brim_gpu {

Run head_of(const brim_run& run, const brim_bucket& bucket, uint64_t step_bytes) {
  if (run.cancel != nullptr && __atomic_load_n(run.cancel, __ATOMIC_RELAXED) != 0) {
    fail(BRIM_CANCELLED, "the run was cancelled before it began");
  }
  check_range(run.step_block, run.step_offset, step_bytes, "step block");
  const auto counts = received<brim_step_header>(run.counts);
  const auto check_count = [](const char* name, uint32_t count, uint32_t most) {
    if (count <= most) return;
    fail(BRIM_INVALID_ARGUMENT, "the step block has %u %s; the program was made for a bucket of %u", count, name, most);
  };
  check_count("tokens", counts.n_tokens, bucket.n_tokens);
  check_count("sequences", counts.n_seqs, bucket.n_seqs);
  check_count("outputs", counts.n_outputs, bucket.n_outputs);
  Run head{};
  head.step = facts_of(run.step_block).address + run.step_offset;
  head.count[BRIM_SYM_NONE] = 1;
  head.count[BRIM_SYM_N_TOKENS] = counts.n_tokens;
  head.count[BRIM_SYM_N_KV] = counts.n_kv;
  head.count[BRIM_SYM_N_SEQS] = counts.n_seqs;
  head.count[BRIM_SYM_N_OUTPUTS] = counts.n_outputs;
  return head;
}

}  // namespace brim_gpu
