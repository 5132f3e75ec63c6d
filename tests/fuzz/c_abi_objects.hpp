// The half of the C ABI fuzzer (c_abi.cpp) that holds a host's objects and calls what makes, shows and destroys
// configurations, runtimes, models and plans. The objects lie in a few places of each kind; a place may be empty. One
// loaded model is shared by all inputs, for sessions that cost little; it is never unloaded or destroyed.
#pragma once

#include <array>
#include <memory>
#include <utility>
#include <vector>

#include "host.hpp"
#include "tiny_model.hpp"

namespace brim::fuzz {

// A struct of the caller's, in a block of exactly the size that it says it has (4 bytes at least), so that a read or a
// write behind it is seen.
template <class T>
class Exact {
 public:
  Exact(const T& value, uint32_t size) : bytes_(std::max<size_t>(size, 4)), block_(std::make_unique<char[]>(bytes_)) {
    std::memcpy(block_.get(), &value, std::min(sizeof(T), bytes_));
    std::memcpy(block_.get(), &size, sizeof(size));
  }
  T* get() { return reinterpret_cast<T*>(block_.get()); }
  T value() const {
    T out{};
    std::memcpy(&out, block_.get(), std::min(sizeof(T), bytes_));
    return out;
  }

 private:
  size_t bytes_;
  std::unique_ptr<char[]> block_;
};

template <class T>
uint32_t size_of(Input& in) {
  switch (in.below(8)) {
    case 0:
      return in.below(5);
    case 1:
      // Behind a field, or where none can end; a host that cuts a pointer in half hands over a wrong pointer.
      return in.flag() ? in.below(static_cast<uint32_t>(sizeof(T)) / 8) * 8 : in.below(63) * 4 + 1 + in.below(3);
    case 2:
      return sizeof(T) + 1 + in.below(16);
    default:
      return sizeof(T);
  }
}

struct Files {
  std::string tiny = temp_folder() / "tiny.gguf", two = temp_folder() / "two.gguf",
              words = temp_folder() / "words.gguf", bad = temp_folder() / "bad.gguf",
              config = temp_folder() / "brim.toml", out = temp_folder() / "out.gguf",
              plugins = temp_folder() / "plugins";
  Files() {
    tiny_model(1).write(tiny);
    tiny_model(2).write(two);
    brim::test::GgufBuilder vocabulary;
    add_tiny_vocabulary(vocabulary);
    vocabulary.write(words);
    write_file(bad, "GGUF and nothing else");
    write_file(config, "[plan]\nbatch = 2\ncontext = 32\n[sampling]\nseed = 3\n");
    std::filesystem::create_directory(plugins);
  }
};
inline const Files& files() {
  static const Files all;
  return all;
}

struct Session {
  brim_session* handle = nullptr;
  int cancel = -1;  // the place of the token that the step under way has
};

// A model that is loaded already, with its runtime and its plan.
struct Shared {
  brim_runtime* runtime = small_runtime();
  brim_model* model = nullptr;
  brim_plan* plan = nullptr;
  Shared() {
    must([&](brim_error* e) { return brim_model_open(runtime, str_of(files().two), {}, &model, e); });
    brim_plan_request request{};
    request.struct_size = sizeof(request);
    request.n_ctx = 40;
    request.n_seqs = 3;
    request.n_batch = 4;
    request.outputs = 1u << BRIM_OUTPUT_LOGITS | 1u << BRIM_OUTPUT_HIDDEN;
    request.inputs = 1u << BRIM_INPUT_EMBEDDING;
    must([&](brim_error* e) { return brim_plan_create(model, &request, &plan, e); });
    must([&](brim_error* e) { return brim_model_load(model, plan, nullptr, e); });
  }
};
inline const Shared& shared() {
  static const Shared all;
  return all;
}

class Objects {
 protected:
  explicit Objects(Input& in) : in_(in) {}

  static constexpr size_t kPlaces = 3;
  template <class T>
  using Places = std::array<T, kPlaces>;

  template <class T>
  T& place(Places<T>& places) {
    return places[in_.below(kPlaces)];
  }
  // Empties the place: what is in it is the caller's to destroy.
  template <class T>
  T take(Places<T>& places) {
    return std::exchange(place(places), T{});
  }
  // A new handle goes into a free place, or is destroyed at once.
  template <class T>
  void keep(Places<T*>& places, T* handle, void (*destroy)(T*)) {
    for (T*& p : places) {
      if (!p) {
        p = handle;
        return;
      }
    }
    destroy(handle);
  }

  // Runs a call with an error of some size, or none.
  template <class Call>
  brim_status attempt(const Call& c) {
    if (in_.below(8) == 0) {
      const brim_status status = c(nullptr);
      expect(status <= BRIM_CONTEXT_FULL, "a status is one of status.h");
      return status;
    }
    if (in_.below(8) == 0) {
      brim_error none{};
      Exact<brim_error> error(none, size_of<brim_error>(in_));
      return c(error.get());
    }
    return call(c);
  }

  // A call that gives text, with a buffer that may be absent, too small, or just right. `utf8`: what the host gave was.
  template <class Ask>
  void ask_text(const Ask& ask, bool utf8 = true) {
    uint64_t need = 0;
    if (in_.below(8) == 0) {
      attempt([&](brim_error* e) { return ask(nullptr, 0, nullptr, e); });
      return;
    }
    if (attempt([&](brim_error* e) { return ask(nullptr, 0, &need, e); }) != BRIM_OK) return;
    const uint64_t cap = in_.below(4) == 0 ? in_.byte() : need + in_.below(3);
    std::vector<char> buffer(cap);  // of exactly that size
    buffer.shrink_to_fit();
    char nothing = 0;
    const brim_status status =
        attempt([&](brim_error* e) { return ask(cap ? buffer.data() : &nothing, cap, &need, e); });
    if (status == BRIM_OK) {
      expect(need <= cap, "text fits its buffer");
      expect(!utf8 || is_utf8({buffer.data(), need}), "text is UTF-8");
    }
  }

  brim_str text() { return str_of(in_.text()); }
  brim_str path() {
    const Files& f = files();
    const std::string* const choices[] = {&f.tiny, &f.tiny, &f.two, &f.words, &f.bad, &f.config};
    const uint32_t i = in_.below(8);
    return i < 6 ? str_of(*choices[i]) : i == 6 ? str_of("/no/such/file") : text();
  }

  // An object to use: of a place, or the shared one.
  template <class T>
  T* any(Places<T*>& places, T* shared_one) {
    const uint32_t i = in_.below(kPlaces + 1);
    return i < kPlaces ? places[i] : shared_one;
  }
  brim_runtime* any_runtime() { return any(runtimes_, shared().runtime); }
  brim_model* any_model() { return any(models_, shared().model); }
  brim_plan* any_plan() { return any(plans_, shared().plan); }

  // ---- configurations and runtimes ----

  void configure() {
    brim_config*& config = place(configs_);
    switch (in_.below(6)) {
      case 0: {
        brim_config* made = nullptr;
        if (attempt([&](brim_error* e) { return brim_config_create(&made, e); }) == BRIM_OK) {
          keep(configs_, made, brim_config_destroy);
        }
        break;
      }
      case 1:
        attempt([&](brim_error* e) { return brim_config_load(config, path(), e); });
        break;
      case 2: {
        static constexpr const char* kKeys[] = {"plan.context",
                                                "plan.sequences",
                                                "plan.kv_dtype",
                                                "plan.numerics",
                                                "plan.batch",
                                                "load.io",
                                                "sampling.temperature",
                                                "sampling.seed",
                                                "sampling.top_k",
                                                "plan.kv_tokens",
                                                "runtime.threads",
                                                "backend.test.async.seed",
                                                "backend.test.async.budget"};
        const brim_str key = in_.flag() ? str_of(in_.pick(kKeys)) : text();
        attempt([&](brim_error* e) { return brim_config_set(config, key, text(), e); });
        ask_text([&](char* buf, uint64_t cap, uint64_t* need, brim_error* e) {
          return brim_config_get(config, key, buf, cap, need, e);
        });
        break;
      }
      case 3:
        ask_text([&](char* buf, uint64_t cap, uint64_t* need, brim_error* e) {
          return brim_config_describe(config, buf, cap, need, e);
        });
        break;
      case 4: {
        Exact<brim_sampling> sampling({}, size_of<brim_sampling>(in_));
        attempt([&](brim_error* e) { return brim_config_sampling(config, sampling.get(), e); });
        break;
      }
      default:
        brim_config_destroy(take(configs_));
    }
  }

  void runtime() {
    switch (in_.below(4)) {
      case 0: {
        const brim_str folder = str_of(files().plugins);
        brim_runtime_config info = runtime_config(place(configs_), &folder);
        static constexpr uint32_t kThreads[] = {1, 2, 0, 5000};
        info.threads = in_.pick(kThreads);
        info.log_level = in_.below(9);
        if (in_.below(4) == 0) info.log = nullptr;
        Exact<brim_runtime_config> given(info, in_.below(8) ? uint32_t(sizeof(info)) : in_.below(5));
        brim_runtime* made = nullptr;
        if (attempt([&](brim_error* e) {
              return brim_runtime_create(given.get(), in_.below(8) ? &made : nullptr, e);
            }) == BRIM_OK) {
          keep(runtimes_, made, brim_runtime_destroy);
        }
        break;
      }
      case 1:
        ask_text([&](char* buf, uint64_t cap, uint64_t* need, brim_error* e) {
          return brim_runtime_report(any_runtime(), buf, cap, need, e);
        });
        break;
      case 2:
        ask_text([&](char* buf, uint64_t cap, uint64_t* need, brim_error* e) {
          return brim_runtime_machine(any_runtime(), {}, buf, cap, need, e);
        });
        attempt([&](brim_error* e) { return brim_runtime_bandwidth(nullptr, nullptr, e); });
        break;
      default:
        brim_runtime_destroy(take(runtimes_));
    }
  }

  // ---- models and plans ----

  void model() {
    brim_model* const m = any_model();
    switch (in_.below(6)) {
      case 0:
      case 1: {
        brim_model* made = nullptr;
        const brim_str plugin = in_.below(4) ? brim_str{} : in_.flag() ? str_of("brim.llama") : text();
        brim_runtime* const r = any_runtime();
        const brim_str file = path();
        brim_model** const out = in_.below(8) ? &made : nullptr;
        if (attempt([&](brim_error* e) { return brim_model_open(r, file, plugin, out, e); }) == BRIM_OK) {
          keep(models_, made, brim_model_close);
        }
        break;
      }
      case 2: {
        Exact<brim_model_info> info({}, size_of<brim_model_info>(in_));
        attempt([&](brim_error* e) { return brim_model_get_info(m, in_.below(8) ? info.get() : nullptr, e); });
        break;
      }
      case 3: {
        ask_text([&](char* buf, uint64_t cap, uint64_t* need, brim_error* e) {
          return brim_model_describe(m, buf, cap, need, e);
        });
        brim_plan* loaded = nullptr;
        attempt([&](brim_error* e) { return brim_model_get_plan(m, &loaded, e); });
        brim_plan_destroy(loaded);
        break;
      }
      case 4:
        attempt([&](brim_error* e) { return brim_model_unload(place(models_), e); });
        break;
      default:
        brim_model_close(take(models_));
    }
  }

  void make_plan() {
    static constexpr uint32_t kSizes[] = {0, 1, 2, 7, 16, 33, 64, 300, 70000, BRIM_AUTO};
    static constexpr uint32_t kDtypes[] = {0, 0, BRIM_DTYPE_F32, BRIM_DTYPE_F16, BRIM_DTYPE_Q8_0, 77};
    brim_plan_request r{};
    r.n_ctx = in_.pick(kSizes);
    r.n_seqs = in_.below(4) ? in_.below(5) : in_.pick(kSizes);
    r.n_batch = in_.below(4) ? in_.below(9) : in_.pick(kSizes);
    r.kv_dtype = in_.pick(kDtypes);
    if (in_.below(4) == 0) {
      r.config = place(configs_);
      r.flags = in_.below(4);
      r.kv_tokens = in_.number<uint64_t>() >> in_.below(64);
      r.numerics = in_.below(4);
      r.load = in_.below(5);
    }
    r.outputs = in_.below(4) ? in_.below(8) : in_.number<uint64_t>();
    r.inputs = in_.below(4) ? in_.flag() << BRIM_INPUT_EMBEDDING : in_.number<uint64_t>();
    std::vector<brim_placement> placements(in_.below(4) ? 0 : in_.below(4));
    for (brim_placement& p : placements) p = {sizeof(p), in_.below(3), in_.below(5), in_.below(4)};
    std::vector<brim_pool_limit> limits(in_.below(4) ? 0 : in_.below(4));
    for (brim_pool_limit& l : limits) l = {sizeof(l), in_.below(4), in_.number<uint32_t>()};
    r.placements = placements.data();
    r.n_placements = static_cast<uint32_t>(placements.size());
    r.placement_stride = in_.below(8) ? uint32_t(sizeof(brim_placement)) : in_.below(sizeof(brim_placement));
    r.limits = limits.data();
    r.n_limits = static_cast<uint32_t>(limits.size());
    r.limit_stride = in_.below(8) ? uint32_t(sizeof(brim_pool_limit)) : in_.below(sizeof(brim_pool_limit));
    Exact<brim_plan_request> given(r, size_of<brim_plan_request>(in_));
    brim_plan* made = nullptr;
    brim_model* const m = any_model();
    const brim_plan_request* const wanted = in_.below(16) ? given.get() : nullptr;
    if (attempt([&](brim_error* e) { return brim_plan_create(m, wanted, &made, e); }) == BRIM_OK) {
      keep(plans_, made, brim_plan_destroy);
    }
  }

  void plan() {
    brim_plan* const p = any_plan();
    switch (in_.below(7)) {
      case 0:
      case 1:
        make_plan();
        break;
      case 2: {
        Exact<brim_plan_info> info({}, size_of<brim_plan_info>(in_));
        attempt([&](brim_error* e) { return brim_plan_get_info(p, info.get(), e); });
        break;
      }
      case 3: {
        Exact<brim_plan_pool> pool({}, size_of<brim_plan_pool>(in_));
        attempt([&](brim_error* e) { return brim_plan_get_pool(p, in_.below(4), pool.get(), e); });
        break;
      }
      case 4:
        ask_text([&](char* buf, uint64_t cap, uint64_t* need, brim_error* e) {
          return brim_plan_explain(p, buf, cap, need, e);
        });
        break;
      case 5:
        load(p);
        break;
      default:
        brim_plan_destroy(take(plans_));
    }
  }

  void load(const brim_plan* p) {
    brim_load_options options{};
    options.cancel = place(cancels_);
    options.user = options.cancel;
    // Some loads are cancelled from within.
    if (in_.flag()) {
      options.progress = [](void* user, uint32_t, uint64_t done, uint64_t total) {
        expect(done <= total, "progress does not pass its end");
        brim_cancel_fire(static_cast<brim_cancel*>(user));
      };
    }
    Exact<brim_load_options> given(options, size_of<brim_load_options>(in_));
    brim_model* const m = any_model();
    const brim_load_options* const how = in_.flag() ? given.get() : nullptr;
    attempt([&](brim_error* e) { return brim_model_load(m, p, how, e); });
  }

  // Children keep alive what they were made from, so any kind may go first; tokens go after the steps that have them.
  void destroy_all() {
    const uint32_t first = in_.below(8);
    for (uint32_t i = 0; i < 7; ++i) {
      switch ((i + first) % 7) {
        case 0:
          for (brim_config*& h : configs_) brim_config_destroy(std::exchange(h, nullptr));
          break;
        case 1:
          for (brim_runtime*& h : runtimes_) brim_runtime_destroy(std::exchange(h, nullptr));
          break;
        case 2:
          for (brim_model*& h : models_) brim_model_close(std::exchange(h, nullptr));
          break;
        case 3:
          for (brim_plan*& h : plans_) brim_plan_destroy(std::exchange(h, nullptr));
          break;
        case 4:
          for (Session& s : sessions_) brim_session_destroy(std::exchange(s.handle, nullptr));
          break;
        case 5:
          for (brim_sampler*& h : samplers_) brim_sampler_destroy(std::exchange(h, nullptr));
          break;
        default:
          for (brim_decoder*& h : decoders_) brim_decoder_destroy(std::exchange(h, nullptr));
      }
    }
    for (brim_cancel*& h : cancels_) brim_cancel_destroy(std::exchange(h, nullptr));
  }

  Input& in_;
  Places<brim_config*> configs_{};
  Places<brim_runtime*> runtimes_{};
  Places<brim_model*> models_{};
  Places<brim_plan*> plans_{};
  Places<Session> sessions_{};
  Places<brim_sampler*> samplers_{};
  Places<brim_decoder*> decoders_{};
  Places<brim_cancel*> cancels_{};
};

}  // namespace brim::fuzz
