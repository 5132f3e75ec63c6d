// brim_sampler_*.
#include <api/guard.hpp>
#include <api/handles.hpp>
#include <engine/sampler.hpp>

using namespace brim;
using namespace brim::api;

namespace {

engine::SamplerOptions options_of(const brim_sampling& s) {
  engine::SamplerOptions o;
  o.temperature = s.temperature;
  o.top_k = s.top_k;
  o.top_p = s.top_p;
  o.min_p = s.min_p;
  o.typical_p = s.typical_p;
  o.repetition_penalty = s.repetition_penalty;
  o.frequency_penalty = s.frequency_penalty;
  o.presence_penalty = s.presence_penalty;
  o.penalty_last_n = s.penalty_last_n;
  o.seed = s.seed;
  for (uint32_t i = 0; i < s.n_biases; ++i) {
    const auto bias = read_element<brim_logit_bias>(s.biases, s.bias_stride, i, "brim_logit_bias");
    o.biases.emplace_back(bias.token, bias.bias);
  }
  return o;
}

}  // namespace

brim_status brim_sampler_create(const brim_sampling* sampling, uint32_t n_vocab, brim_sampler** out,
                                brim_error* error) {
  return guard(error, [&] {
    need(out, "out") = nullptr;
    *out = new brim_sampler{engine::Sampler(options_of(read_struct(sampling, "brim_sampling")), n_vocab)};
  });
}

brim_status brim_sampler_sample(brim_sampler* sampler, const float* logits, int32_t* token, brim_error* error) {
  return guard(error, [&] { need(token, "token") = need(sampler, "sampler").sampler.sample(&need(logits, "logits")); });
}

brim_status brim_sampler_accept(brim_sampler* sampler, int32_t token, brim_error* error) {
  return guard(error, [&] { need(sampler, "sampler").sampler.accept(token); });
}

void brim_sampler_reset(brim_sampler* sampler) {
  if (sampler) sampler->sampler.reset();
}

void brim_sampler_destroy(brim_sampler* sampler) { delete sampler; }
