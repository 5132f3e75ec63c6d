#include "calls.hpp"

#include <array>

namespace brim::test {
namespace {

void note(std::string* result, std::string_view text) {
  const Exempt exempt;
  result->append(text).append("\n");
}

template <class T>
void note_bits(std::string* result, const T* values, uint64_t n) {
  note(result, {reinterpret_cast<const char*>(values), static_cast<size_t>(n * sizeof(T))});
}

// Free memory and bandwidths change from call to call.
void note_without_numbers(std::string* result, std::string_view text) {
  const Exempt exempt;
  bool in_number = false;
  for (const char c : text) {
    const bool digit = c >= '0' && c <= '9';
    if (!digit || !in_number) result->push_back(digit ? '#' : c);
    in_number = digit || (in_number && c == '.');
  }
}

// A function that gives text by (buf, cap, need).
template <class Ask>
brim_status text(std::string* result, bool numbers, const Ask& ask) {
  static std::array<char, 1 << 18> buffer;
  uint64_t need = 0;
  const brim_status status = ask(buffer.data(), buffer.size(), &need);
  if (status != BRIM_OK) return status;
  (numbers ? note : note_without_numbers)(result, {buffer.data(), static_cast<size_t>(need)});
  return status;
}

constexpr int32_t kPrompt[] = {44, 45, 46, 47, 48, 49};

void trim_back(World& w) {
  must([&](brim_error* e) { return brim_sequence_trim(w.session, 0, World::kHeld, e); });
}

// Sequences beyond the first.
void remove_others(World& w) {
  for (uint32_t s = 1; s < 3; ++s) brim_sequence_remove(w.session, s, nullptr);
}

brim_sampling sampling() {
  brim_sampling s{};
  s.struct_size = sizeof(s);
  s.temperature = 0.5f;
  s.top_k = 20;
  s.top_p = 0.9f;
  s.repetition_penalty = 1.1f;
  s.seed = 7;
  return s;
}

std::string saved_sequence(World& w) {
  std::string bytes;
  const auto write = [](void* user, const void* data, uint64_t n) -> uint32_t {
    static_cast<std::string*>(user)->append(static_cast<const char*>(data), n);
    return 0;
  };
  must([&](brim_error* e) { return brim_sequence_save(w.session, 0, write, &bytes, e); });
  return bytes;
}

// ---- configuration and cancelling

std::vector<Call> configuration() {
  return {{"brim_cancel_create",
           Level::kNothing,
           "",
           [](World&, brim_error* e, std::string* result) {
             brim_cancel* made = nullptr;
             const brim_status status = brim_cancel_create(&made, e);
             brim_cancel_destroy(made);
             note(result, "made");
             return status;
           },
           {}},
          {"brim_config_create",
           Level::kNothing,
           "",
           [](World&, brim_error* e, std::string* result) {
             brim_config* made = nullptr;
             const brim_status status = brim_config_create(&made, e);
             brim_config_destroy(made);
             note(result, "made");
             return status;
           },
           {}},
          {"brim_config_load",
           Level::kNothing,
           "",
           [](World& w, brim_error* e, std::string* result) {
             const brim_status status = brim_config_load(w.config, str(w.files.config), e);
             note(result, "loaded");
             return status;
           },
           {}},
          {"brim_config_set", Level::kNothing, "",
           [](World& w, brim_error* e, std::string* result) {
             const brim_status status =
                 brim_config_set(w.config, str("runtime.plugin_dirs"), str("[\"/a\", \"/b\"]"), e);
             note(result, "set");
             return status;
           },
           [](World& w) {
             must([&](brim_error* e) { return brim_config_set(w.config, str("runtime.plugin_dirs"), str("[]"), e); });
           }},
          {"brim_config_get",
           Level::kNothing,
           "",
           [](World& w, brim_error* e, std::string* result) {
             return text(result, true, [&](char* buf, uint64_t cap, uint64_t* need) {
               return brim_config_get(w.config, str("plan.context"), buf, cap, need, e);
             });
           },
           {}},
          {"brim_config_describe",
           Level::kNothing,
           "",
           [](World& w, brim_error* e, std::string* result) {
             return text(result, true, [&](char* buf, uint64_t cap, uint64_t* need) {
               return brim_config_describe(w.config, buf, cap, need, e);
             });
           },
           {}}};
}

// ---- runtime, model, plan, load

std::vector<Call> making() {
  return {{"brim_runtime_create",
           Level::kNothing,
           "",
           [](World& w, brim_error* e, std::string* result) {
             brim_runtime* made = nullptr;
             const brim_status status = w.create_runtime(&made, e);
             brim_runtime_destroy(made);
             note(result, "made");
             return status;
           },
           {}},
          {"brim_runtime_report",
           Level::kRuntime,
           "",
           [](World& w, brim_error* e, std::string* result) {
             return text(result, false, [&](char* buf, uint64_t cap, uint64_t* need) {
               return brim_runtime_report(w.runtime, buf, cap, need, e);
             });
           },
           {}},
          {"brim_runtime_machine",
           Level::kRuntime,
           "",
           [](World& w, brim_error* e, std::string* result) {
             return text(result, false, [&](char* buf, uint64_t cap, uint64_t* need) {
               return brim_runtime_machine(w.runtime, str("here"), buf, cap, need, e);
             });
           },
           {}},
          // What a model lacks fails when it is asked for: a description, at the plan.
          {"brim_model_open",
           Level::kRuntime,
           "small.gguf",
           [](World& w, brim_error* e, std::string* result) {
             brim_model* made = nullptr;
             brim_status status = brim_model_open(w.runtime, str(w.files.model), {}, &made, e);
             brim_model_info info{};
             info.struct_size = sizeof(info);
             if (status == BRIM_OK) status = brim_model_get_info(made, &info, e);
             if (status == BRIM_OK && info.n_layers == 0) {
               const brim_plan_request r = w.request();
               brim_plan* plan = nullptr;
               status = brim_plan_create(made, &r, &plan, e);
               brim_plan_destroy(plan);
             }
             if (status == BRIM_OK) {
               note_bits(result, &info.n_layers, 3);
               note(result, {info.architecture_plugin.ptr, static_cast<size_t>(info.architecture_plugin.len)});
             }
             brim_model_close(made);
             return status;
           },
           {}},
          {"brim_model_get_info",
           Level::kModel,
           "",
           [](World& w, brim_error* e, std::string* result) {
             brim_model_info info{};
             info.struct_size = sizeof(info);
             const brim_status status = brim_model_get_info(w.model, &info, e);
             note_bits(result, &info.n_layers, 5);
             return status;
           },
           {}},
          {"brim_model_describe",
           Level::kModel,
           "",
           [](World& w, brim_error* e, std::string* result) {
             return text(result, true, [&](char* buf, uint64_t cap, uint64_t* need) {
               return brim_model_describe(w.model, buf, cap, need, e);
             });
           },
           {}},
          {"brim_plan_create",
           Level::kModel,
           "",
           [](World& w, brim_error* e, std::string* result) {
             const brim_plan_request r = w.request();
             brim_plan* made = nullptr;
             brim_status status = brim_plan_create(w.model, &r, &made, e);
             brim_plan_info info{};
             info.struct_size = sizeof(info);
             if (status == BRIM_OK) status = brim_plan_get_info(made, &info, e);
             brim_plan_destroy(made);
             note_bits(result, &info.n_pools, 7);
             return status;
           },
           {}},
          {"brim_plan_get_pool",
           Level::kPlan,
           "",
           [](World& w, brim_error* e, std::string* result) {
             brim_plan_pool pool{};
             pool.struct_size = sizeof(pool);
             const brim_status status = brim_plan_get_pool(w.plan, 0, &pool, e);
             note_bits(result, &pool.weights, 7);
             return status;
           },
           {}},
          {"brim_plan_explain",
           Level::kPlan,
           "",
           [](World& w, brim_error* e, std::string* result) {
             return text(result, false, [&](char* buf, uint64_t cap, uint64_t* need) {
               return brim_plan_explain(w.plan, buf, cap, need, e);
             });
           },
           {}},
          {"brim_model_load", Level::kPlan, "",
           [](World& w, brim_error* e, std::string* result) {
             const brim_status status = brim_model_load(w.model, w.plan, nullptr, e);
             note(result, "loaded");
             return status;
           },
           [](World& w) { brim_model_unload(w.model, nullptr); }},
          {"brim_model_get_plan",
           Level::kLoaded,
           "",
           [](World& w, brim_error* e, std::string* result) {
             brim_plan* loaded = nullptr;
             const brim_status status = brim_model_get_plan(w.model, &loaded, e);
             note(result, "got");
             brim_plan_destroy(loaded);
             return status;
           },
           {}},
          {"brim_model_unload", Level::kPlan, "",
           [](World& w, brim_error* e, std::string* result) {
             const brim_status status = brim_model_unload(w.model, e);
             note(result, "unloaded");
             return status;
           },
           [](World& w) { w.tear_down(); }, [](World& w) { w.raise(Level::kLoaded); }},
          {"brim_quantize", Level::kNothing, "",
           [](World& w, brim_error* e, std::string* result) {
             brim_quantize_options options{};
             options.struct_size = sizeof(options);
             options.threads = 2;
             const brim_status status = brim_quantize(str(w.files.model), str(w.files.out), str("F16"), &options, e);
             note(result, "written");
             return status;
           },
           [](World& w) {
             std::filesystem::remove(w.files.out);
             const auto left = std::filesystem::directory_iterator(w.files.folder.path());
             CHECK(std::distance(begin(left), end(left)) == 3);  // model, configuration, plugins
           }}};
}

// ---- text

std::vector<Call> texts() {
  return {{"brim_tokenize",
           Level::kModel,
           "",
           [](World& w, brim_error* e, std::string* result) {
             int32_t tokens[64];
             uint64_t n = 0;
             const brim_status status = brim_tokenize(w.model, str("caf\xC3\xA9 <s> w270"), 3, tokens, 64, &n, e);
             note_bits(result, tokens, status ? 0 : n);
             return status;
           },
           {}},
          {"brim_detokenize",
           Level::kModel,
           "",
           [](World& w, brim_error* e, std::string* result) {
             return text(result, true, [&](char* buf, uint64_t cap, uint64_t* need) {
               return brim_detokenize(w.model, kPrompt, std::size(kPrompt), 1, buf, cap, need, e);
             });
           },
           {}},
          {"brim_token_get_info",
           Level::kModel,
           "",
           [](World& w, brim_error* e, std::string* result) {
             brim_token_info info{};
             info.struct_size = sizeof(info);
             const brim_status status = brim_token_get_info(w.model, 44, &info, e);
             note(result, {info.text.ptr, static_cast<size_t>(info.text.len)});
             return status;
           },
           {}},
          {"brim_decoder_create, _push, _flush",
           Level::kModel,
           "",
           [](World& w, brim_error* e, std::string* result) {
             brim_decoder* decoder = nullptr;
             brim_status status = brim_decoder_create(w.model, &decoder, e);
             brim_str given{};
             for (int32_t token = 3 + 0xE2; token < 3 + 0xE6 && status == BRIM_OK; ++token) {
               status = brim_decoder_push(decoder, token, &given, e);
               if (status == BRIM_OK) note(result, {given.ptr, static_cast<size_t>(given.len)});
             }
             if (status == BRIM_OK) status = brim_decoder_flush(decoder, &given, e);
             if (status == BRIM_OK) note(result, {given.ptr, static_cast<size_t>(given.len)});
             brim_decoder_destroy(decoder);
             return status;
           },
           {}},
          {"brim_chat_render",
           Level::kModel,
           "",
           [](World& w, brim_error* e, std::string* result) {
             const brim_message talk[] = {{str("system"), str("be kind")}, {str("user"), str("hello")}};
             return text(result, true, [&](char* buf, uint64_t cap, uint64_t* need) {
               return brim_chat_render(w.model, talk, 2, sizeof(brim_message), 1, buf, cap, need, e);
             });
           },
           {}}};
}

// ---- sessions and sequences

std::vector<Call> sequences() {
  return {{"brim_session_create",
           Level::kLoaded,
           "",
           [](World& w, brim_error* e, std::string* result) {
             brim_session* made = nullptr;
             const brim_status status = brim_session_create(w.model, &made, e);
             brim_session_destroy(made);
             note(result, "made");
             return status;
           },
           {}},
          {"brim_sequence_create", Level::kSession, "",
           [](World& w, brim_error* e, std::string* result) {
             uint32_t made = 0;
             const brim_status status = brim_sequence_create(w.session, &made, e);
             note_bits(result, &made, 1);
             return status;
           },
           remove_others},
          {"brim_sequence_fork", Level::kSession, "",
           [](World& w, brim_error* e, std::string* result) {
             uint32_t made = 0, length = 0;
             brim_status status = brim_sequence_fork(w.session, 0, BRIM_AUTO, &made, e);
             if (status == BRIM_OK) status = brim_sequence_length(w.session, made, &length, e);
             note_bits(result, &length, 1);
             return status;
           },
           remove_others},
          {"brim_sequence_trim",
           Level::kSession,
           "",
           [](World& w, brim_error* e, std::string* result) {
             uint32_t length = 0;
             brim_status status = brim_sequence_trim(w.session, 0, World::kHeld, e);
             if (status == BRIM_OK) status = brim_sequence_length(w.session, 0, &length, e);
             note_bits(result, &length, 1);
             return status;
           },
           {}},
          {"brim_sequence_remove", Level::kSession, "",
           [](World& w, brim_error* e, std::string* result) {
             const brim_status status = brim_sequence_remove(w.session, 1, e);
             note(result, "removed");
             return status;
           },
           remove_others,
           [](World& w) {
             uint32_t made = 0;
             must([&](brim_error* e) { return brim_sequence_create(w.session, &made, e); });
           }},
          {"brim_sequence_tokens",
           Level::kSession,
           "",
           [](World& w, brim_error* e, std::string* result) {
             int32_t tokens[16] = {};
             uint64_t n = 0;
             const brim_status status = brim_sequence_tokens(w.session, 0, tokens, 16, &n, e);
             note_bits(result, tokens, status ? 0 : n);
             return status;
           },
           {}},
          {"brim_sequence_save",
           Level::kSession,
           "",
           [](World& w, brim_error* e, std::string* result) {
             const auto write = [](void* user, const void* data, uint64_t n) -> uint32_t {
               note(static_cast<std::string*>(user), {static_cast<const char*>(data), static_cast<size_t>(n)});
               return 0;
             };
             return brim_sequence_save(w.session, 0, write, result, e);
           },
           {}},
          {"brim_sequence_restore", Level::kSession, "",
           [](World& w, brim_error* e, std::string* result) {
             std::string_view rest = w.saved;
             const auto read = [](void* user, void* data, uint64_t n) -> uint32_t {
               auto& from = *static_cast<std::string_view*>(user);
               if (n > from.size()) return 1;
               std::memcpy(data, from.data(), n);
               from.remove_prefix(n);
               return 0;
             };
             uint32_t made = 0, length = 0;
             brim_status status = brim_sequence_restore(w.session, read, &rest, &made, e);
             if (status == BRIM_OK) status = brim_sequence_length(w.session, made, &length, e);
             note_bits(result, &length, 1);
             return status;
           },
           remove_others, [](World& w) { w.saved = saved_sequence(w); }}};
}

// ---- steps, sampling, generating

std::vector<Call> steps() {
  const auto logits = [](World& w, brim_error* e, std::string* result, uint32_t n) {
    for (uint32_t i = 0; i < n; ++i) {
      const float* values = nullptr;
      uint32_t width = 0;
      const brim_status status = brim_session_output(w.session, BRIM_OUTPUT_LOGITS, i, &values, &width, e);
      if (status != BRIM_OK) return status;
      note_bits(result, values, width);
    }
    return BRIM_OK;
  };
  static const std::vector<brim_row> three = World::rows_of({50, 51, 52}, 0);
  static const std::vector<brim_row> one = World::rows_of({50}, 0);
  static const std::vector<brim_row> many = World::rows_of(std::vector<int32_t>(20, 60), 0);
  const auto step = [logits](const std::vector<brim_row>& rows) {
    return [&rows, logits](World& w, brim_error* e, std::string* result) {
      const brim_step s = World::step_of(rows);
      const brim_status status = brim_session_step(w.session, &s, e);
      return status ? status : logits(w, e, result, s.n_rows);
    };
  };
  return {{"brim_session_step, 3 rows", Level::kSession, "", step(three), trim_back},
          {"brim_session_step, 1 row", Level::kSession, "", step(one), trim_back},
          {"brim_session_step, 20 rows", Level::kSession, "", step(many), trim_back},
          {"brim_session_step, 2 rows of a fork", Level::kSession, "",
           [logits](World& w, brim_error* e, std::string* result) {
             const brim_step s = World::step_of(w.rows);
             const brim_status status = brim_session_step(w.session, &s, e);
             return status ? status : logits(w, e, result, 2);
           },
           remove_others,
           [](World& w) {
             uint32_t made = 0;
             must([&](brim_error* e) { return brim_sequence_fork(w.session, 0, BRIM_AUTO, &made, e); });
             w.rows = World::rows_of({70, 71}, made);
           }},
          {"brim_session_submit, _wait", Level::kSession, "",
           [logits](World& w, brim_error* e, std::string* result) {
             const brim_step s = World::step_of(three);
             brim_status status = brim_session_submit(w.session, &s, e);
             if (status == BRIM_OK) status = brim_session_wait(w.session, UINT64_MAX, e);
             return status ? status : logits(w, e, result, 3);
           },
           trim_back}};
}

struct Heard {
  std::string* result;
};

brim_generate_info generation(Heard* heard) {
  brim_generate_info info{};
  info.struct_size = sizeof(info);
  info.prompt = kPrompt;
  info.n_prompt = std::size(kPrompt);
  info.max_tokens = 6;
  info.ignore_end = 1;
  info.user = heard;
  info.on_text = [](void* user, brim_str piece, int32_t token) -> uint32_t {
    note(static_cast<Heard*>(user)->result, {piece.ptr, static_cast<size_t>(piece.len)});
    note_bits(static_cast<Heard*>(user)->result, &token, 1);
    return 0;
  };
  return info;
}

std::vector<Call> generating() {
  return {{"brim_config_sampling",
           Level::kNothing,
           "",
           [](World& w, brim_error* e, std::string* result) {
             brim_sampling s{};
             s.struct_size = sizeof(s);
             const brim_status status = brim_config_sampling(w.config, &s, e);
             note_bits(result, &s.temperature, 1);
             return status;
           },
           {}},
          {"brim_sampler_create, _sample, _accept",
           Level::kNothing,
           "",
           [](World&, brim_error* e, std::string* result) {
             static const std::vector<float> logits = [] {
               std::vector<float> v(64);
               for (size_t i = 0; i < v.size(); ++i) v[i] = static_cast<float>(i * 37 % 64) / 16;
               return v;
             }();
             const brim_sampling s = sampling();

             brim_sampler* sampler = nullptr;
             brim_status status = brim_sampler_create(&s, 64, &sampler, e);
             for (int i = 0; i < 3 && status == BRIM_OK; ++i) {
               int32_t token = 0;
               status = brim_sampler_sample(sampler, logits.data(), &token, e);
               note_bits(result, &token, 1);
               if (status == BRIM_OK) status = brim_sampler_accept(sampler, 5, e);
             }
             brim_sampler_destroy(sampler);
             return status;
           },
           {}},
          {"brim_generate, greedy", Level::kSession, "",
           [](World& w, brim_error* e, std::string* result) {
             Heard heard{result};
             const brim_generate_info info = generation(&heard);
             return brim_generate(w.session, &info, nullptr, e);
           },
           trim_back},
          {"brim_generate, sampled", Level::kSession, "",
           [](World& w, brim_error* e, std::string* result) {
             Heard heard{result};
             brim_generate_info info = generation(&heard);
             const brim_sampling s = sampling();
             brim_status status = brim_sampler_create(&s, SmallModel::kVocabulary, &info.sampler, e);
             if (status != BRIM_OK) return status;

             const brim_str stops[] = {str("no such text at all"), str("another")};
             info.stops = stops;
             info.n_stops = 2;
             info.progress = [](void*, uint32_t, uint64_t, uint64_t) {};
             info.on_logits = [](void*, float* values, uint32_t) { values[100] = -1e9f; };
             brim_generate_result done{};
             done.struct_size = sizeof(done);
             status = brim_generate(w.session, &info, &done, e);
             brim_sampler_destroy(info.sampler);
             note_bits(result, &done.n_generated, 1);
             return status;
           },
           trim_back}};
}

}  // namespace

const std::vector<Call>& calls() {
  static const std::vector<Call> all = [] {
    std::vector<Call> out;
    for (const auto& some : {configuration(), making(), texts(), sequences(), steps(), generating()})
      out.insert(out.end(), some.begin(), some.end());
    return out;
  }();
  return all;
}

}  // namespace brim::test
