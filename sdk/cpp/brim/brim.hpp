// brim.hpp - RAII over brim.h for hosts written in C++20.
//
// Every handle is a move-only value that destroys itself; every call that fails throws brim::Failure, which carries the
// brim_error. Text and lists come back as std::string and std::vector. An exception thrown by one of the host's
// callbacks does not cross the C boundary: it stops the call and goes on from there.
//
// Nothing is hidden: get() gives the C handle, and whatever is not wrapped here is a call of brim.h away. Thread roles
// are those of brim.h. The names live in an inline namespace, so that they never meet those of another library called
// brim.
#ifndef BRIM_BRIM_HPP
#define BRIM_BRIM_HPP

#include <brim/brim.h>

#include <exception>
#include <functional>
#include <memory>
#include <span>
#include <stdexcept>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace brim {
inline namespace host {

// A call that failed. what() is the error's message.
class Failure : public std::runtime_error {
 public:
  explicit Failure(const brim_error& error)
      : std::runtime_error(error.message[0] != '\0' ? error.message : brim_status_name(error.code)), error_(error) {}
  const brim_error& error() const noexcept { return error_; }
  brim_status code() const noexcept { return error_.code; }

 private:
  brim_error error_;
};

inline brim_str str(std::string_view text) { return {text.data(), text.size()}; }
inline std::string_view view(brim_str text) {
  return text.len == 0 ? std::string_view{} : std::string_view{text.ptr, static_cast<size_t>(text.len)};
}

// A struct of the ABI with its size filled in and everything else zero.
template <class T>
T sized() {
  T value{};
  value.struct_size = static_cast<uint32_t>(sizeof(T));
  return value;
}

// Calls call(&error) and throws what it reports.
template <class Call>
void checked(Call&& call) {
  brim_error error = sized<brim_error>();
  const brim_status status = call(&error);
  if (status == BRIM_OK) return;
  error.code = status;
  throw Failure(error);
}

// Reads a (buf, cap, need) result: asks for the size, then for the content, again where it grew in between.
template <class Container, class Call>
Container fetched(Call&& call) {
  Container out;
  uint64_t need = 0;
  checked([&](brim_error* error) { return call(nullptr, uint64_t{0}, &need, error); });
  for (;;) {
    out.resize(static_cast<size_t>(need));
    if (need == 0) return out;
    brim_error error = sized<brim_error>();
    const uint64_t cap = need;
    const brim_status status = call(out.data(), cap, &need, &error);
    if (status == BRIM_OK) {
      out.resize(static_cast<size_t>(need));
      return out;
    }
    if (status != BRIM_INVALID_ARGUMENT || need <= cap) {
      error.code = status;
      throw Failure(error);
    }
  }
}

// The owner of one C handle.
template <class T, void(BRIM_CALL* destroy)(T*)>
class Handle {
 public:
  T* get() const noexcept { return handle_.get(); }
  explicit operator bool() const noexcept { return handle_ != nullptr; }

 protected:
  Handle() = default;
  explicit Handle(T* handle) : handle_(handle) {}
  // Makes the handle by make(T** out, brim_error*).
  template <class Make>
  static T* made(Make&& make) {
    T* out = nullptr;
    checked([&](brim_error* error) { return make(&out, error); });
    return out;
  }

 private:
  struct Destroy {
    void operator()(T* handle) const noexcept { destroy(handle); }
  };
  std::unique_ptr<T, Destroy> handle_;
};

using Progress = std::function<void(uint32_t stage, uint64_t done, uint64_t total)>;

// Keeps the first exception of a callback until the C call is over.
class Caught {
 public:
  template <class Call>
  bool run(Call&& call) noexcept {
    try {
      call();
      return true;
    } catch (...) {
      if (!first_) first_ = std::current_exception();
      return false;
    }
  }
  explicit operator bool() const noexcept { return first_ != nullptr; }
  void rethrow() const {
    if (first_) std::rethrow_exception(first_);
  }

 private:
  std::exception_ptr first_;
};

class Cancel : public Handle<brim_cancel, brim_cancel_destroy> {
 public:
  Cancel() : Handle(made([](brim_cancel** out, brim_error* error) { return brim_cancel_create(out, error); })) {}
  void fire() noexcept { brim_cancel_fire(get()); }
  void reset() noexcept { brim_cancel_reset(get()); }
};

class Config : public Handle<brim_config, brim_config_destroy> {
 public:
  Config() : Handle(made([](brim_config** out, brim_error* error) { return brim_config_create(out, error); })) {}
  void load(std::string_view path) {
    checked([&](brim_error* error) { return brim_config_load(get(), str(path), error); });
  }
  void set(std::string_view key, std::string_view value) {
    checked([&](brim_error* error) { return brim_config_set(get(), str(key), str(value), error); });
  }
  std::string value(std::string_view key) const {
    return fetched<std::string>([&](char* buf, uint64_t cap, uint64_t* need, brim_error* error) {
      return brim_config_get(get(), str(key), buf, cap, need, error);
    });
  }
  std::string describe() const {
    return fetched<std::string>([&](char* buf, uint64_t cap, uint64_t* need, brim_error* error) {
      return brim_config_describe(get(), buf, cap, need, error);
    });
  }
  brim_sampling sampling() const {
    brim_sampling out = sized<brim_sampling>();
    checked([&](brim_error* error) { return brim_config_sampling(get(), &out, error); });
    return out;
  }
};

class Runtime : public Handle<brim_runtime, brim_runtime_destroy> {
 public:
  Runtime() : Runtime(sized<brim_runtime_config>()) {}
  explicit Runtime(const brim_runtime_config& config)
      : Handle(made([&](brim_runtime** out, brim_error* error) { return brim_runtime_create(&config, out, error); })) {}
  std::string report() const {
    return fetched<std::string>([&](char* buf, uint64_t cap, uint64_t* need, brim_error* error) {
      return brim_runtime_report(get(), buf, cap, need, error);
    });
  }
  std::string machine(std::string_view name) const {
    return fetched<std::string>([&](char* buf, uint64_t cap, uint64_t* need, brim_error* error) {
      return brim_runtime_machine(get(), str(name), buf, cap, need, error);
    });
  }
  // Bytes/s.
  double bandwidth() const {
    double out = 0;
    checked([&](brim_error* error) { return brim_runtime_bandwidth(get(), &out, error); });
    return out;
  }
};

class Plan;

class Model : public Handle<brim_model, brim_model_close> {
 public:
  Model(const Runtime& runtime, std::string_view path, std::string_view architecture_plugin = {})
      : Handle(made([&](brim_model** out, brim_error* error) {
          return brim_model_open(runtime.get(), str(path), str(architecture_plugin), out, error);
        })) {}
  brim_model_info info() const {
    brim_model_info out = sized<brim_model_info>();
    checked([&](brim_error* error) { return brim_model_get_info(get(), &out, error); });
    return out;
  }
  std::string describe() const {
    return fetched<std::string>([&](char* buf, uint64_t cap, uint64_t* need, brim_error* error) {
      return brim_model_describe(get(), buf, cap, need, error);
    });
  }

  inline void load(const Plan& plan, const Cancel* cancel = nullptr, const Progress& progress = {});
  inline Plan plan() const;  // that is loaded
  void unload() {
    checked([&](brim_error* error) { return brim_model_unload(get(), error); });
  }

  // flags: BRIM_TOKENIZE_*.
  std::vector<int32_t> tokenize(std::string_view text, uint32_t flags) const {
    return fetched<std::vector<int32_t>>([&](int32_t* buf, uint64_t cap, uint64_t* need, brim_error* error) {
      return brim_tokenize(get(), str(text), flags, buf, cap, need, error);
    });
  }
  std::string detokenize(std::span<const int32_t> tokens, bool render_special) const {
    return fetched<std::string>([&](char* buf, uint64_t cap, uint64_t* need, brim_error* error) {
      return brim_detokenize(get(), tokens.data(), tokens.size(), render_special ? 1u : 0u, buf, cap, need, error);
    });
  }
  brim_token_info token(int32_t id) const {
    brim_token_info out = sized<brim_token_info>();
    checked([&](brim_error* error) { return brim_token_get_info(get(), id, &out, error); });
    return out;
  }
  int32_t special(uint32_t which) const { return brim_token_special(get(), which); }
  std::string chat(std::span<const brim_message> messages, bool add_generation_prompt) const {
    return fetched<std::string>([&](char* buf, uint64_t cap, uint64_t* need, brim_error* error) {
      return brim_chat_render(get(), messages.data(), static_cast<uint32_t>(messages.size()), sizeof(brim_message),
                              add_generation_prompt ? 1u : 0u, buf, cap, need, error);
    });
  }
};

class Plan : public Handle<brim_plan, brim_plan_destroy> {
 public:
  explicit Plan(const Model& model, const brim_plan_request& request = sized<brim_plan_request>())
      : Handle(made(
            [&](brim_plan** out, brim_error* error) { return brim_plan_create(model.get(), &request, out, error); })) {}
  explicit Plan(brim_plan* own) : Handle(own) {}  // takes it over
  brim_plan_info info() const {
    brim_plan_info out = sized<brim_plan_info>();
    checked([&](brim_error* error) { return brim_plan_get_info(get(), &out, error); });
    return out;
  }
  std::vector<brim_plan_pool> pools() const {
    std::vector<brim_plan_pool> out(info().n_pools, sized<brim_plan_pool>());
    for (uint32_t i = 0; i < out.size(); ++i) {
      checked([&](brim_error* error) { return brim_plan_get_pool(get(), i, &out[i], error); });
    }
    return out;
  }
  std::string explain() const {
    return fetched<std::string>([&](char* buf, uint64_t cap, uint64_t* need, brim_error* error) {
      return brim_plan_explain(get(), buf, cap, need, error);
    });
  }
};

inline Plan Model::plan() const {
  brim_plan* out = nullptr;
  checked([&](brim_error* error) { return brim_model_get_plan(get(), &out, error); });
  return Plan(out);
}

// What a progress callback of C gets as `user`.
struct ProgressCall {
  const Progress* progress;
  Caught* caught;
  static void BRIM_CALL run(void* user, uint32_t stage, uint64_t done, uint64_t total) {
    const auto* self = static_cast<const ProgressCall*>(user);
    self->caught->run([&] { (*self->progress)(stage, done, total); });
  }
};

inline void Model::load(const Plan& plan, const Cancel* cancel, const Progress& progress) {
  Caught caught;
  ProgressCall call{&progress, &caught};
  auto options = sized<brim_load_options>();
  options.cancel = cancel != nullptr ? cancel->get() : nullptr;
  options.user = &call;
  options.progress = progress ? &ProgressCall::run : nullptr;
  checked([&](brim_error* error) { return brim_model_load(get(), plan.get(), &options, error); });
  caught.rethrow();
}

class Sampler : public Handle<brim_sampler, brim_sampler_destroy> {
 public:
  Sampler(const brim_sampling& sampling, uint32_t n_vocab)
      : Handle(made([&](brim_sampler** out, brim_error* error) {
          return brim_sampler_create(&sampling, n_vocab, out, error);
        })) {}
  int32_t sample(const float* logits) {
    int32_t token = -1;
    checked([&](brim_error* error) { return brim_sampler_sample(get(), logits, &token, error); });
    return token;
  }
  void accept(int32_t token) {
    checked([&](brim_error* error) { return brim_sampler_accept(get(), token, error); });
  }
  void reset() noexcept { brim_sampler_reset(get()); }
};

class Decoder : public Handle<brim_decoder, brim_decoder_destroy> {
 public:
  explicit Decoder(const Model& model)
      : Handle(
            made([&](brim_decoder** out, brim_error* error) { return brim_decoder_create(model.get(), out, error); })) {
  }
  // Valid until the next call.
  std::string_view push(int32_t token) {
    brim_str out{};
    checked([&](brim_error* error) { return brim_decoder_push(get(), token, &out, error); });
    return view(out);
  }
  std::string_view flush() {
    brim_str out{};
    checked([&](brim_error* error) { return brim_decoder_flush(get(), &out, error); });
    return view(out);
  }
};

// What Session::generate takes; see brim_generate_info.
struct Generation {
  uint32_t sequence = 0;
  std::span<const int32_t> prompt;
  uint64_t max_tokens = 0;
  const Sampler* sampler = nullptr;
  std::span<const std::string> stops;
  bool ignore_end = false;
  const Cancel* cancel = nullptr;
  uint32_t lookahead = 0;
  Progress progress;                                                  // of the prefill
  std::function<bool(std::string_view text, int32_t token)> on_text;  // true goes on
};

struct Generated : brim_generate_result {
  bool cancelled = false;
};

class Session : public Handle<brim_session, brim_session_destroy> {
 public:
  explicit Session(const Model& model)
      : Handle(
            made([&](brim_session** out, brim_error* error) { return brim_session_create(model.get(), out, error); })) {
  }

  uint32_t create_sequence() {
    uint32_t out = 0;
    checked([&](brim_error* error) { return brim_sequence_create(get(), &out, error); });
    return out;
  }
  uint32_t fork(uint32_t sequence, uint32_t n_tokens = BRIM_AUTO) {
    uint32_t out = 0;
    checked([&](brim_error* error) { return brim_sequence_fork(get(), sequence, n_tokens, &out, error); });
    return out;
  }
  void trim(uint32_t sequence, uint32_t n_tokens) {
    checked([&](brim_error* error) { return brim_sequence_trim(get(), sequence, n_tokens, error); });
  }
  void remove(uint32_t sequence) {
    checked([&](brim_error* error) { return brim_sequence_remove(get(), sequence, error); });
  }
  uint32_t length(uint32_t sequence) const {
    uint32_t out = 0;
    checked([&](brim_error* error) { return brim_sequence_length(get(), sequence, &out, error); });
    return out;
  }
  std::vector<int32_t> tokens(uint32_t sequence) const {
    return fetched<std::vector<int32_t>>([&](int32_t* buf, uint64_t cap, uint64_t* need, brim_error* error) {
      return brim_sequence_tokens(get(), sequence, buf, cap, need, error);
    });
  }
  // write(data, bytes) and read(data, bytes) return whether they could.
  void save(uint32_t sequence, const std::function<bool(const void*, uint64_t)>& write) {
    Caught caught;
    auto call = [&](const void* data, uint64_t bytes) {
      bool ok = false;
      return caught.run([&] { ok = write(data, bytes); }) && ok;
    };
    using Call = decltype(call);
    const brim_write_fn trampoline = [](void* user, const void* data, uint64_t bytes) -> uint32_t {
      return (*static_cast<Call*>(user))(data, bytes) ? 0u : 1u;
    };
    settled(caught, [&](brim_error* error) { return brim_sequence_save(get(), sequence, trampoline, &call, error); });
  }
  uint32_t restore(const std::function<bool(void*, uint64_t)>& read) {
    Caught caught;
    auto call = [&](void* data, uint64_t bytes) {
      bool ok = false;
      return caught.run([&] { ok = read(data, bytes); }) && ok;
    };
    using Call = decltype(call);
    const brim_read_fn trampoline = [](void* user, void* data, uint64_t bytes) -> uint32_t {
      return (*static_cast<Call*>(user))(data, bytes) ? 0u : 1u;
    };
    uint32_t out = 0;
    settled(caught, [&](brim_error* error) { return brim_sequence_restore(get(), trampoline, &call, &out, error); });
    return out;
  }

  void step(std::span<const brim_row> rows, const Cancel* cancel = nullptr) {
    auto step = sized<brim_step>();
    step.n_rows = static_cast<uint32_t>(rows.size());
    step.rows = rows.data();
    step.row_stride = sizeof(brim_row);
    step.cancel = cancel != nullptr ? cancel->get() : nullptr;
    checked([&](brim_error* error) { return brim_session_step(get(), &step, error); });
  }
  // The same, each node alone and told with its time, on a thread of the library.
  void step(std::span<const brim_row> rows, const std::function<void(const brim_node_time&)>& timed,
            const Cancel* cancel = nullptr) {
    Caught caught;
    auto call = [&](const brim_node_time& node) { caught.run([&] { timed(node); }); };
    using Call = decltype(call);
    auto step = sized<brim_step>();
    step.n_rows = static_cast<uint32_t>(rows.size());
    step.rows = rows.data();
    step.row_stride = sizeof(brim_row);
    step.cancel = cancel != nullptr ? cancel->get() : nullptr;
    step.timed = [](void* user, const brim_node_time* node) { (*static_cast<Call*>(user))(*node); };
    step.timed_user = &call;
    settled(caught, [&](brim_error* error) { return brim_session_step(get(), &step, error); });
  }
  // Borrowed until the session's next step.
  std::span<const float> output(uint32_t role, uint32_t i) const {
    const float* out = nullptr;
    uint32_t n = 0;
    checked([&](brim_error* error) { return brim_session_output(get(), role, i, &out, &n, error); });
    return {out, n};
  }

  // Throws on every failure but a cancellation, whose numbers are as good as others.
  Generated generate(const Generation& what) {
    struct Call {
      const Generation* what;
      Caught caught;
    } call{&what, {}};
    std::vector<brim_str> stops;
    stops.reserve(what.stops.size());
    for (const std::string& stop : what.stops) stops.push_back(str(stop));

    auto info = sized<brim_generate_info>();
    info.sequence = what.sequence;
    info.prompt = what.prompt.data();
    info.n_prompt = what.prompt.size();
    info.max_tokens = what.max_tokens;
    info.sampler = what.sampler != nullptr ? what.sampler->get() : nullptr;
    info.stops = stops.data();
    info.n_stops = static_cast<uint32_t>(stops.size());
    info.ignore_end = what.ignore_end ? 1u : 0u;
    info.lookahead = what.lookahead;
    info.cancel = what.cancel != nullptr ? what.cancel->get() : nullptr;
    info.user = &call;
    if (what.progress) {
      info.progress = [](void* user, uint32_t stage, uint64_t done, uint64_t total) {
        auto* self = static_cast<Call*>(user);
        self->caught.run([&] { self->what->progress(stage, done, total); });
      };
    }
    if (what.on_text) {
      info.on_text = [](void* user, brim_str text, int32_t token) -> uint32_t {
        auto* self = static_cast<Call*>(user);
        bool on = false;
        self->caught.run([&] { on = self->what->on_text(view(text), token); });
        return on && !self->caught ? 0u : 1u;
      };
    }
    Generated out{};
    out.struct_size = static_cast<uint32_t>(sizeof(brim_generate_result));
    brim_error error = sized<brim_error>();
    const brim_status status = brim_generate(get(), &info, &out, &error);
    call.caught.rethrow();
    out.cancelled = status == BRIM_CANCELLED;
    if (status != BRIM_OK && !out.cancelled) {
      error.code = status;
      throw Failure(error);
    }
    return out;
  }

 private:
  // A callback's own exception says more than the IO error that it caused.
  template <class Call>
  static void settled(const Caught& caught, Call&& call) {
    brim_error error = sized<brim_error>();
    const brim_status status = call(&error);
    caught.rethrow();
    if (status == BRIM_OK) return;
    error.code = status;
    throw Failure(error);
  }
};

inline void quantize(std::string_view in, std::string_view out, std::string_view type, uint32_t threads = 0,
                     const Cancel* cancel = nullptr, const Progress& progress = {}) {
  Caught caught;
  ProgressCall call{&progress, &caught};
  auto options = sized<brim_quantize_options>();
  options.threads = threads;
  options.cancel = cancel != nullptr ? cancel->get() : nullptr;
  options.user = &call;
  options.progress = progress ? &ProgressCall::run : nullptr;
  checked([&](brim_error* error) { return brim_quantize(str(in), str(out), str(type), &options, error); });
  caught.rethrow();
}

}  // namespace host
}  // namespace brim

#endif
