#include <base/error.hpp>
#include <negotiator/chain.hpp>
#include <negotiator/ladder.hpp>
#include <negotiator/stages.hpp>

namespace brim::negotiator {
namespace {

uint64_t bytes_of_32(uint32_t dtype) { return brim_dtype_row_bytes(dtype, 32); }

// The next smaller KV type, or 0.
uint32_t smaller_kv(uint32_t dtype) {
  return dtype == BRIM_DTYPE_F32 ? BRIM_DTYPE_F16 : dtype == BRIM_DTYPE_F16 ? BRIM_DTYPE_Q8_0 : 0u;
}

uint32_t half_context(uint32_t n_ctx) { return n_ctx / 2 / 256 * 256; }

std::optional<Rung> rung_of(const Plan& plan, std::string what, uint32_t n_ctx, uint32_t kv_dtype) {
  try {
    Rung rung{std::move(what), state_bytes(plan, n_ctx, kv_dtype), 0};
    Plan lower = plan;
    lower.request.n_ctx = n_ctx;
    const double share =
        static_cast<double>(bytes_of_32(kv_dtype)) / static_cast<double>(bytes_of_32(plan.request.kv_dtype));
    for (ItemWork& item : lower.works) item.work.kv_per_token *= share;
    rung.decode_full = predict(lower).decode_full;
    return rung;
  } catch (const Error& e) {
    if (e.code != BRIM_UNSUPPORTED) throw;
    return std::nullopt;  // a device does not store such KV
  }
}

}  // namespace

std::optional<Request> next_lower(const Request& asked, const Request& now) {
  Request next = asked;
  next.n_ctx = now.n_ctx;
  next.kv_dtype = now.kv_dtype;
  const uint32_t kv = smaller_kv(now.kv_dtype);
  if (kv && asked.kv_least && bytes_of_32(kv) >= bytes_of_32(asked.kv_least)) {
    next.kv_dtype = kv;
    return next;
  }
  const uint32_t n_ctx = half_context(now.n_ctx);
  if (asked.ctx_least == 0 || n_ctx == 0 || n_ctx < asked.ctx_least) return std::nullopt;
  next.n_ctx = n_ctx;
  return next;
}

std::vector<Rung> next_rungs(const Plan& plan) {
  std::vector<Rung> rungs;
  const Request& r = plan.request;
  const auto add = [&](std::optional<Rung> rung) {
    if (rung) rungs.push_back(std::move(*rung));
  };
  if (const uint32_t kv = smaller_kv(r.kv_dtype)) {
    add(rung_of(plan, fmt::format("kv_dtype {}", brim_dtype_name(kv)), r.n_ctx, kv));
  }
  if (const uint32_t n_ctx = half_context(r.n_ctx)) {
    add(rung_of(plan, fmt::format("a context of {}", n_ctx), n_ctx, r.kv_dtype));
  }
  return rungs;
}

}  // namespace brim::negotiator
