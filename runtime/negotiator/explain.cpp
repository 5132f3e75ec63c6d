#include <base/json.hpp>
#include <negotiator/stages.hpp>

namespace brim::negotiator {
namespace {

const char* residence_name(Residence r) {
  switch (r) {
    case Residence::kMapped:
      return "mapped";
    case Residence::kPacked:
      return "packed";
    default:
      return "copied";
  }
}

// What a program or a person asks for first, under names that stay.
void write_summary(Json& json, const Plan& plan) {
  const auto& topology = plan.model->machine->topology;
  PoolCharge all;
  bool fits = true;
  for (const PoolCharge& c : plan.pools) {
    all.weights += c.weights + c.mapped;
    all.kv += c.kv;
    all.workspace += c.workspace + c.activations + c.step;
    fits &= c.peak() <= c.room;
  }
  json.member("fits", fits).member("weights_bytes", all.weights).member("kv_bytes", all.kv);
  json.member("workspace_bytes", all.workspace).member("mix", mix_name(plan.request.mix));
  const Prediction& p = plan.predicted;
  if (p.known) {
    json.key("predicted").object([&] {
      json.member("decode_tps", p.decode).member("decode_low", p.low).member("decode_high", p.high);
      json.member("decode_full_context_tps", p.decode_full).member("prefill_tps", p.prefill);
      json.member("provenance", provenance_name(p.provenance));
    });
  } else {
    json.key("predicted").value(nullptr);
  }
  json.key("layers").array([&] {
    for (uint32_t i = 1; i + 1 < plan.item_device.size(); ++i) {
      json.object([&] {
        json.member("index", i - 1).member("device", plan.item_device[i]);
        if (plan.apart[i]) json.member("experts", plan.home);
      });
    }
  });
  json.key("reasons").array([&] {
    for (const Decision& d : plan.decisions) json.value(fmt::format("{}: {}, because {}", d.what, d.choice, d.because));
    for (const auto& device : topology.devices) {
      if (!device.assumed.empty()) json.value(device.assumed);
    }
  });
  json.key("rejected").array([&] {
    for (const Rejected& r : plan.rejected) {
      json.object([&] {
        json.member("what", r.what).member("because", r.because);
        if (r.relative > 0) json.member("relative_time", r.relative);
      });
    }
  });
  json.key("next_rungs").array([&] {
    for (const Rung& rung : plan.next_rungs) {
      json.object([&] {
        json.member("what", rung.what).member("kv_bytes", rung.kv_bytes);
        if (rung.decode_full > 0) json.member("decode_full_context_tps", rung.decode_full);
      });
    }
  });
}

}  // namespace

std::string explain(const Plan& plan) {
  const auto& topology = plan.model->machine->topology;
  const negotiator::Request& r = plan.request;
  Json json;
  json.object([&] {
    json.member("model", plan.model->file.path());
    json.member("context", r.n_ctx).member("sequences", r.n_seqs).member("kv_tokens", r.kv_tokens);
    json.member("batch", r.n_batch).member("kv_dtype", brim_dtype_name(r.kv_dtype));
    json.member("numerics", r.numerics == BRIM_NUMERICS_STRICT ? "strict" : "fast");
    json.member("bytes_per_token", plan.bytes_per_token).member("kv_bytes_per_token", plan.kv_bytes_per_token);
    write_summary(json, plan);
    json.key("pools").array([&] {
      for (const PoolCharge& c : plan.pools) {
        json.object([&] {
          const topology::Pool& pool = topology.pools[c.pool];
          json.member("id", c.pool).member("budget_bytes", c.room);
          json.member("planned_bytes", c.planned()).member("peak_bytes", c.peak());
          json.member("promised_bytes", c.promised);
          json.member("reserve_bytes", c.reserve).member("floor_bytes", c.floor);
          json.key("readings").array([&] {
            for (uint32_t i = 0; i < c.readings.size(); ++i) {
              const topology::Reading& r = c.readings[i];
              json.object([&] {
                json.member("name", r.name).member("kind", topology::reading_name(r.kind)).member("bytes", r.bytes);
                json.member("binds", i == c.binding).member("note", r.note);
              });
            }
          });
          json.member("pool", c.pool).member("name", pool.name).member("weights", c.weights);
          json.member("mapped", c.mapped).member("kv", c.kv).member("activations", c.activations);
          json.member("workspace", c.workspace).member("step", c.step).member("total", c.total());
          json.member("available", c.available);
        });
      }
    });
    json.key("devices").array([&] {
      for (const DevicePlan& d : plan.devices) {
        const topology::Device& device = topology.devices[d.device];
        json.object([&] {
          json.member("device", d.device).member("name", device.name).member("plugin", device.plugin());
          json.key("layers").array([&] {
            for (const auto layer : d.layers) json.value(layer);
          });
        });
      }
    });
    const auto& weights = plan.model->description->weights;
    json.key("tensors").array([&] {
      for (const WeightPlan& w : plan.weights) {
        const model::Tensor& tensor = *weights[w.weight].tensor;
        json.object([&] {
          json.member("name", tensor.name).member("dtype", brim_dtype_name(tensor.dtype));
          json.member("device", plan.devices[w.device].device).member("residence", residence_name(w.residence));
          json.member("bytes", w.bytes);
        });
      }
    });
    json.key("decisions").array([&] {
      for (const Decision& d : plan.decisions) {
        json.object([&] { json.member("what", d.what).member("choice", d.choice).member("because", d.because); });
      }
    });
  });
  return json.text();
}

}  // namespace brim::negotiator
