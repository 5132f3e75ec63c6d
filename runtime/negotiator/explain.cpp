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
    if (plan.predicted_decode > 0) json.member("predicted_decode_tokens_per_second", plan.predicted_decode);
    json.key("pools").array([&] {
      for (const PoolCharge& c : plan.pools) {
        json.object([&] {
          json.member("pool", c.pool).member("name", topology.pools[c.pool].name).member("weights", c.weights);
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
