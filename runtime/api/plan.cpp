// brim_plan_*, brim_model_load, brim_model_get_plan and brim_model_unload.
#include <api/guard.hpp>
#include <api/handles.hpp>
#include <base/pace.hpp>
#include <negotiator/reserve.hpp>

using namespace brim;
using namespace brim::api;

namespace {

uint32_t dtype_of(std::string_view name) {
  if (name == "f32") return BRIM_DTYPE_F32;
  if (name == "f16") return BRIM_DTYPE_F16;
  if (name == "q8_0") return BRIM_DTYPE_Q8_0;
  return BRIM_DTYPE_NONE;  // "auto"
}

// [plan] and [load] of the configuration, with the fields that the host set in front.
negotiator::Request request_of(const brim_plan_request* given) {
  const brim_plan_request r = given ? read_struct(given, "brim_plan_request") : brim_plan_request{};
  negotiator::Request request;
  if (r.config) {
    const config::Options& o = r.config->options;
    request.n_ctx = static_cast<uint32_t>(o.integer("plan.context"));
    request.n_seqs = static_cast<uint32_t>(o.integer("plan.sequences"));
    request.kv_tokens = o.integer("plan.kv_tokens");
    request.n_batch = static_cast<uint32_t>(o.integer("plan.batch"));
    request.kv_dtype = dtype_of(o.text("plan.kv_dtype"));
    request.numerics = o.text("plan.numerics") == "strict" ? BRIM_NUMERICS_STRICT : BRIM_NUMERICS_FAST;
    const std::string mix = o.text("plan.mix");
    request.mix = mix == "agent"   ? negotiator::Mix::kAgent
                  : mix == "batch" ? negotiator::Mix::kBatch
                                   : negotiator::Mix::kChat;
    request.kv_least = dtype_of(o.text("plan.kv_least"));
    request.ctx_least = static_cast<uint32_t>(o.integer("plan.context_least"));
    request.unsafe_overcommit = o.boolean("plan.unsafe_overcommit");
    request.load = o.text("load.io") == "map"      ? BRIM_LOAD_MAP
                   : o.text("load.io") == "read"   ? BRIM_LOAD_READ
                   : o.text("load.io") == "direct" ? BRIM_LOAD_DIRECT
                                                   : BRIM_LOAD_AUTO;
  }
  const auto take = [](auto& to, auto from) {
    if (from) to = from;
  };
  take(request.n_ctx, r.n_ctx);
  take(request.n_seqs, r.n_seqs);
  take(request.kv_tokens, r.kv_tokens);
  take(request.n_batch, r.n_batch);
  take(request.kv_dtype, r.kv_dtype);
  take(request.numerics, r.numerics);
  take(request.load, r.load);
  request.outputs = r.outputs;
  request.inputs = r.inputs;
  if (r.flags & ~BRIM_PLAN_UNSAFE_OVERCOMMIT) fail(BRIM_UNSUPPORTED, "plan flags {:#x} are not known", r.flags);
  request.unsafe_overcommit |= (r.flags & BRIM_PLAN_UNSAFE_OVERCOMMIT) != 0;
  for (uint32_t i = 0; i < r.n_placements; ++i) {
    const auto p = read_element<brim_placement>(r.placements, r.placement_stride, i, "brim_placement");
    request.placements.push_back({p.device, p.first_layer, p.n_layers});
  }
  for (uint32_t i = 0; i < r.n_limits; ++i) {
    const auto l = read_element<brim_pool_limit>(r.limits, r.limit_stride, i, "brim_pool_limit");
    request.limits.push_back({l.pool, l.bytes});
  }
  return request;
}

// All or nothing: what was reserved and allocated is given back where it fails.
void load(Model& model, const std::shared_ptr<const negotiator::Plan>& plan, const engine::LoadOptions& options) {
  plan->model->file.check_unchanged();
  auto left = negotiator::untouched(*plan);
  negotiator::Ledger::Promise promise;
  {
    const std::lock_guard budgets(model.runtime->mutex);
    promise = negotiator::reserve(*plan);
  }
  model.engine = std::make_shared<engine::Engine>(plan, options);
  promise.settle(std::move(left));
  model.promise = std::move(promise);
}

}  // namespace

brim_status brim_plan_create(brim_model* model, const brim_plan_request* request, brim_plan** out, brim_error* error) {
  return guard(error, [&] {
    need(out, "out") = nullptr;
    const Model& m = *need(model, "model").model;
    const negotiator::Request wanted = request_of(request);
    const std::lock_guard lock(m.runtime->mutex);
    auto plan = negotiator::make_plan(m.open, wanted);
    *out = new brim_plan{std::move(plan)};
  });
}

brim_status brim_plan_get_info(const brim_plan* handle, brim_plan_info* out, brim_error* error) {
  return guard(error, [&] {
    const negotiator::Plan& plan = *need(handle, "plan").plan;
    brim_plan_info info{};
    info.n_pools = static_cast<uint32_t>(plan.pools.size());
    info.n_ctx = plan.request.n_ctx;
    info.n_seqs = plan.request.n_seqs;
    info.n_batch = plan.request.n_batch;
    info.kv_dtype = plan.request.kv_dtype;
    info.numerics = plan.request.numerics;
    info.load = plan.request.load;
    info.kv_tokens = plan.request.kv_tokens;
    info.bytes_per_token = plan.bytes_per_token;
    info.kv_bytes_per_token = plan.kv_bytes_per_token;
    info.predicted_decode = plan.predicted.decode;
    write_struct(out, info, "brim_plan_info");
  });
}

brim_status brim_plan_get_pool(const brim_plan* handle, uint32_t i, brim_plan_pool* out, brim_error* error) {
  return guard(error, [&] {
    const negotiator::Plan& plan = *need(handle, "plan").plan;
    if (i >= plan.pools.size()) fail(BRIM_NOT_FOUND, "the plan uses {} pools; {} was asked for", plan.pools.size(), i);
    const negotiator::PoolCharge& c = plan.pools[i];
    brim_plan_pool pool{};
    pool.pool = c.pool;
    pool.weights = c.weights;
    pool.mapped = c.mapped;
    pool.kv = c.kv;
    pool.activations = c.activations;
    pool.workspace = c.workspace;
    pool.step = c.step;
    pool.total = c.total();
    pool.available = c.available;
    write_struct(out, pool, "brim_plan_pool");
  });
}

brim_status brim_plan_explain(const brim_plan* plan, char* buf, uint64_t cap, uint64_t* need_bytes, brim_error* error) {
  return guard(error, [&] { write_text(negotiator::explain(*need(plan, "plan").plan), buf, cap, need_bytes); });
}

void brim_plan_destroy(brim_plan* plan) { delete plan; }

brim_status brim_model_load(brim_model* handle, const brim_plan* plan, const brim_load_options* given,
                            brim_error* error) {
  return guard(error, [&] {
    Model& model = *need(handle, "model").model;
    if (need(plan, "plan").plan->model != model.open) {
      fail(BRIM_INVALID_ARGUMENT, "the plan was made for another model ({})", plan->plan->model->file.path());
    }
    if (const std::string& machine = model.runtime->machine->topology.described_by; !machine.empty()) {
      fail(BRIM_FAILED_PRECONDITION,
           "the machine is '{}', which is described and not here: plans can be made for it, "
           "and nothing loaded; leave runtime.machine out to load on this one",
           machine);
    }
    const brim_load_options o = given ? read_struct(given, "brim_load_options") : brim_load_options{};
    engine::LoadOptions options;
    if (o.cancel) options.cancel = &o.cancel->fired;
    if (o.progress) {
      options.progress = [&o, pace = Pace()](uint32_t stage, uint64_t done, uint64_t total) mutable {
        if (pace.due(stage, done, total)) o.progress(o.user, stage, done, total);
      };
    }
    const std::lock_guard lock(model.mutex);
    if (model.engine) fail(BRIM_FAILED_PRECONDITION, "{} is loaded already; unload it first", model.open->file.path());
    std::shared_ptr<const negotiator::Plan> now = plan->plan;
    for (;;) {
      try {
        load(model, now, options);
        return;
      } catch (const Error& e) {
        if (e.code != BRIM_OUT_OF_MEMORY) throw;
        const std::lock_guard budgets(model.runtime->mutex);
        now = negotiator::next_plan(*now, e);
        if (!now) throw;
      }
    }
  });
}

brim_status brim_model_get_plan(brim_model* handle, brim_plan** out, brim_error* error) {
  return guard(error, [&] {
    need(out, "out") = nullptr;
    Model& model = *need(handle, "model").model;
    const std::lock_guard lock(model.mutex);
    if (!model.engine) fail(BRIM_FAILED_PRECONDITION, "{} is not loaded", model.open->file.path());
    *out = new brim_plan{model.engine->shared_plan()};
  });
}

brim_status brim_model_unload(brim_model* handle, brim_error* error) {
  return guard(error, [&] {
    Model& model = *need(handle, "model").model;
    const std::lock_guard lock(model.mutex);
    if (!model.engine) fail(BRIM_FAILED_PRECONDITION, "{} is not loaded", model.open->file.path());
    if (model.engine.use_count() > 1) {
      fail(BRIM_BUSY, "{} has {} live session(s); destroy them first", model.open->file.path(),
           model.engine.use_count() - 1);
    }
    model.engine.reset();
    model.promise = {};
  });
}
