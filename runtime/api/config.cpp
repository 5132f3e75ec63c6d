// brim_config_*.
#include <api/guard.hpp>
#include <api/handles.hpp>

using namespace brim;
using namespace brim::api;

brim_status brim_config_create(brim_config** out, brim_error* error) {
  return guard(error, [&] {
    need(out, "out") = nullptr;
    *out = new brim_config;
  });
}

brim_status brim_config_load(brim_config* config, brim_str path, brim_error* error) {
  return guard(error, [&] { need(config, "config").options.load(std::string(read_text(path, "path"))); });
}

brim_status brim_config_set(brim_config* config, brim_str key, brim_str value, brim_error* error) {
  return guard(error, [&] { need(config, "config").options.set(read_text(key, "key"), read_text(value, "value")); });
}

brim_status brim_config_get(const brim_config* config, brim_str key, char* buf, uint64_t cap, uint64_t* need_bytes,
                            brim_error* error) {
  return guard(error,
               [&] { write_text(need(config, "config").options.get(read_text(key, "key")), buf, cap, need_bytes); });
}

brim_status brim_config_describe(const brim_config* config, char* buf, uint64_t cap, uint64_t* need_bytes,
                                 brim_error* error) {
  return guard(error, [&] { write_text(need(config, "config").options.describe(), buf, cap, need_bytes); });
}

void brim_config_destroy(brim_config* config) { delete config; }

brim_status brim_config_sampling(const brim_config* config, brim_sampling* out, brim_error* error) {
  return guard(error, [&] {
    const config::Options& o = need(config, "config").options;
    const auto number = [&](const char* key) { return static_cast<float>(o.number(key)); };
    brim_sampling s{};
    s.top_k = static_cast<uint32_t>(o.integer("sampling.top_k"));
    s.temperature = number("sampling.temperature");
    s.top_p = number("sampling.top_p");
    s.min_p = number("sampling.min_p");
    s.typical_p = number("sampling.typical_p");
    s.repetition_penalty = number("sampling.repetition_penalty");
    s.frequency_penalty = number("sampling.frequency_penalty");
    s.presence_penalty = number("sampling.presence_penalty");
    s.penalty_last_n = static_cast<uint32_t>(o.integer("sampling.penalty_last_n"));
    s.seed = o.integer("sampling.seed");
    write_struct(out, s, "brim_sampling");
  });
}
