#include <negotiator/stages.hpp>
#include <nlohmann/json.hpp>

namespace brim::negotiator {

using Json = nlohmann::ordered_json;

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
  Json json;
  json["model"] = plan.model->file.path();
  json["context"] = plan.request.n_ctx;
  json["sequences"] = plan.request.n_seqs;
  json["kv_tokens"] = plan.request.kv_tokens;
  json["batch"] = plan.request.n_batch;
  json["kv_dtype"] = brim_dtype_name(plan.request.kv_dtype);
  json["numerics"] = plan.request.numerics == BRIM_NUMERICS_STRICT ? "strict" : "fast";
  json["bytes_per_token"] = plan.bytes_per_token;
  json["kv_bytes_per_token"] = plan.kv_bytes_per_token;
  if (plan.predicted_decode > 0) json["predicted_decode_tokens_per_second"] = plan.predicted_decode;
  for (const PoolCharge& c : plan.pools) {
    json["pools"].push_back({{"pool", c.pool},
                             {"name", topology.pools[c.pool].name},
                             {"weights", c.weights},
                             {"mapped", c.mapped},
                             {"kv", c.kv},
                             {"activations", c.activations},
                             {"workspace", c.workspace},
                             {"step", c.step},
                             {"total", c.total()},
                             {"available", c.available}});
  }
  for (const DevicePlan& d : plan.devices) {
    const topology::Device& device = topology.devices[d.device];
    json["devices"].push_back(
        {{"device", d.device}, {"name", device.name}, {"plugin", device.plugin()}, {"layers", d.layers}});
  }
  const auto& weights = plan.model->description->weights;
  for (const WeightPlan& w : plan.weights) {
    const model::Tensor& tensor = *weights[w.weight].tensor;
    json["tensors"].push_back({{"name", tensor.name},
                               {"dtype", brim_dtype_name(tensor.dtype)},
                               {"device", plan.devices[w.device].device},
                               {"residence", residence_name(w.residence)},
                               {"bytes", w.bytes}});
  }
  for (const Decision& d : plan.decisions) {
    json["decisions"].push_back({{"what", d.what}, {"choice", d.choice}, {"because", d.because}});
  }
  return json.dump(2, ' ', false, Json::error_handler_t::replace);
}

}  // namespace brim::negotiator
