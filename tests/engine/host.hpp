// A host application in a few words: runtime, model, session through brim.h, with the plugins of the build tree. must()
// throws what a call failed with; call() gives it back to be looked at. What plugins and host say of each other's
// misuse is collected in Misuse, which outlives the runtime: leaks are told when plugins are destroyed.
#pragma once

#include <brim/brim.h>
#include <doctest/doctest.h>

#include <map>
#include <memory>
#include <mutex>
#include <nlohmann/json.hpp>
#include <stdexcept>
#include <string>
#include <vector>

#include "../support/resident.hpp"
#include "../support/temp_folder.hpp"
#include "small_model.hpp"

namespace brim::test {

struct Failed {
  brim_status code = BRIM_OK;
  std::string message;
  std::vector<uint64_t> detail;
};

template <class Call>
Failed call(const Call& c) {
  brim_error e{};
  e.struct_size = sizeof(e);
  const brim_status status = c(&e);
  if (status == BRIM_OK) return {};
  return {status, e.message, {std::begin(e.detail), std::end(e.detail)}};
}

struct Stopped : std::runtime_error {
  explicit Stopped(const Failed& f) : std::runtime_error(brim_status_name(f.code) + (": " + f.message)), failed(f) {}
  Failed failed;
};

template <class Call>
void must(const Call& c) {
  const Failed f = call(c);
  if (f.code != BRIM_OK) throw Stopped(f);
}

inline brim_str str(std::string_view text) { return {text.data(), text.size()}; }

class Misuse {
 public:
  void add(const std::string& text) {
    const std::lock_guard lock(mutex_);
    said_ += text + "\n";
  }
  std::string said() const {
    const std::lock_guard lock(mutex_);
    return said_;
  }

 private:
  mutable std::mutex mutex_;
  std::string said_;
};

using Settings = std::map<std::string, std::string>;  // "backend.test.async.seed" -> "3"

class Runtime {
 public:
  static std::vector<std::string> folders(bool async) {
    std::vector<std::string> dirs = {BRIM_BINARY_DIR "/lib/brim/plugins"};
    if (async) dirs.push_back(BRIM_BINARY_DIR "/tests/plugins/async");
    return dirs;
  }

  explicit Runtime(uint32_t threads = 2, bool async = false, const Settings& settings = {}) {
    brim_config* config = nullptr;
    must([&](brim_error* e) { return brim_config_create(&config, e); });
    for (const auto& [key, value] : settings) {
      must([&](brim_error* e) { return brim_config_set(config, str(key), str(value), e); });
    }
    const std::vector<std::string> dirs = folders(async);
    std::vector<brim_str> views;
    for (const std::string& dir : dirs) views.push_back(str(dir));
    brim_runtime_config info{};
    info.struct_size = sizeof(info);
    info.log_level = BRIM_LOG_ERROR;
    info.config = config;
    info.user = misuse.get();
    info.log = [](void* user, uint32_t level, brim_str source, brim_str message) {
      if (level < BRIM_LOG_HOST_MISUSE) return;
      static_cast<Misuse*>(user)->add(std::string(source.ptr, source.len) + ": " +
                                      std::string(message.ptr, message.len));
    };
    info.plugin_dirs = views.data();
    info.n_plugin_dirs = static_cast<uint32_t>(views.size());
    info.threads = threads;
    const Failed f = call([&](brim_error* e) { return brim_runtime_create(&info, &handle_, e); });
    brim_config_destroy(config);
    if (f.code) throw Stopped(f);
  }
  ~Runtime() { brim_runtime_destroy(handle_); }
  Runtime(const Runtime&) = delete;
  Runtime& operator=(const Runtime&) = delete;

  brim_runtime* get() const { return handle_; }
  void destroy() { brim_runtime_destroy(std::exchange(handle_, nullptr)); }
  nlohmann::json report() const {
    uint64_t need = 0;
    must([&](brim_error* e) { return brim_runtime_report(handle_, nullptr, 0, &need, e); });
    std::string text(need, '\0');
    must([&](brim_error* e) { return brim_runtime_report(handle_, text.data(), text.size(), &need, e); });
    return nlohmann::json::parse(text);
  }
  // Its index in the report.
  uint32_t device(const std::string& plugin) const {
    const auto devices = report()["devices"];
    for (uint32_t i = 0; i < devices.size(); ++i) {
      if (devices[i]["plugin"] == plugin) return i;
    }
    throw std::runtime_error("no device of " + plugin);
  }

  std::shared_ptr<Misuse> misuse = std::make_shared<Misuse>();

 private:
  brim_runtime* handle_ = nullptr;
};

inline brim_plan_request request(uint32_t n_ctx = 128, uint32_t n_seqs = 1) {
  brim_plan_request r{};
  r.struct_size = sizeof(r);
  r.n_ctx = n_ctx;
  r.n_seqs = n_seqs;
  return r;
}
inline brim_plan_request strict(uint32_t n_ctx = 128, uint32_t n_seqs = 1) {
  brim_plan_request r = request(n_ctx, n_seqs);
  r.numerics = BRIM_NUMERICS_STRICT;
  return r;
}

// A request that says where each layer goes, whatever the negotiator thinks of the devices' speed.
struct Placed {
  std::vector<brim_placement> placements;
  brim_plan_request request;

  // Layer i on the async device where bit i of `layers` is set, else on the CPU.
  Placed(const Runtime& runtime, uint32_t layers, uint32_t n_layers, brim_plan_request base) : request(base) {
    const uint32_t fake = runtime.device("test.async"), cpu = runtime.device("brim.cpu");
    for (uint32_t i = 0; i < n_layers; ++i) {
      placements.push_back({sizeof(brim_placement), layers >> i & 1 ? fake : cpu, i, 1});
    }
    request.placements = placements.data();
    request.n_placements = n_layers;
    request.placement_stride = sizeof(brim_placement);
  }
};

class Plan {
 public:
  Plan(brim_model* model, const brim_plan_request& r) {
    must([&](brim_error* e) { return brim_plan_create(model, &r, &handle_, e); });
  }
  explicit Plan(brim_plan* own) : handle_(own) {}
  ~Plan() { brim_plan_destroy(handle_); }
  Plan(const Plan&) = delete;
  Plan& operator=(const Plan&) = delete;

  brim_plan* get() const { return handle_; }
  brim_plan_info info() const {
    brim_plan_info i{};
    i.struct_size = sizeof(i);
    must([&](brim_error* e) { return brim_plan_get_info(handle_, &i, e); });
    return i;
  }
  std::string explain() const {
    uint64_t need = 0;
    must([&](brim_error* e) { return brim_plan_explain(handle_, nullptr, 0, &need, e); });
    std::string text(need, 0);
    must([&](brim_error* e) { return brim_plan_explain(handle_, text.data(), need, &need, e); });
    return text;
  }
  std::vector<brim_plan_pool> pools() const {
    std::vector<brim_plan_pool> all(info().n_pools);
    for (uint32_t i = 0; i < all.size(); ++i) {
      all[i].struct_size = sizeof(all[i]);
      must([&](brim_error* e) { return brim_plan_get_pool(handle_, i, &all[i], e); });
    }
    return all;
  }

 private:
  brim_plan* handle_ = nullptr;
};

class Model {
 public:
  Model(const Runtime& runtime, const std::string& path) {
    must([&](brim_error* e) { return brim_model_open(runtime.get(), str(path), str(""), &handle_, e); });
  }
  Model(const Runtime& runtime, const std::string& path, const brim_plan_request& r) : Model(runtime, path) { load(r); }
  ~Model() { brim_model_close(handle_); }
  Model(const Model&) = delete;
  Model& operator=(const Model&) = delete;

  brim_model* get() const { return handle_; }
  void close() { brim_model_close(std::exchange(handle_, nullptr)); }
  void load(const brim_plan_request& r) {
    const Plan plan(handle_, r);
    must([&](brim_error* e) { return brim_model_load(handle_, plan.get(), nullptr, e); });
  }
  void unload() {
    must([&](brim_error* e) { return brim_model_unload(handle_, e); });
  }

 private:
  brim_model* handle_ = nullptr;
};

using Tokens = std::vector<int32_t>;
using Logits = std::vector<float>;

// Tokens that stand for a prompt: ordinary bytes, the same for the same seed.
inline Tokens prompt(size_t n, uint32_t seed) {
  std::mt19937 random(seed);
  Tokens t = {1};
  while (t.size() < n) t.push_back(static_cast<int32_t>(3 + random() % 256));
  return t;
}

inline brim_row row(int32_t token, uint32_t sequence, bool logits) {
  brim_row r{};
  r.token = token;
  r.sequence = sequence;
  r.outputs = logits ? 1u << BRIM_OUTPUT_LOGITS : 0;
  return r;
}
inline std::vector<brim_row> rows(const Tokens& tokens, uint32_t sequence = 0, bool all_logits = true) {
  std::vector<brim_row> out;
  for (size_t i = 0; i < tokens.size(); ++i) {
    out.push_back(row(tokens[i], sequence, all_logits || i + 1 == tokens.size()));
  }
  return out;
}
inline brim_step step_of(const std::vector<brim_row>& rows, brim_cancel* cancel = nullptr) {
  brim_step s{};
  s.struct_size = sizeof(s);
  s.n_rows = static_cast<uint32_t>(rows.size());
  s.rows = rows.data();
  s.row_stride = sizeof(brim_row);
  s.cancel = cancel;
  return s;
}

class Session {
 public:
  explicit Session(const Model& model) {
    must([&](brim_error* e) { return brim_session_create(model.get(), &handle_, e); });
  }
  ~Session() { brim_session_destroy(handle_); }
  Session(const Session&) = delete;
  Session& operator=(const Session&) = delete;

  brim_session* get() const { return handle_; }
  void destroy() { brim_session_destroy(std::exchange(handle_, nullptr)); }
  uint32_t create() {
    uint32_t s = 0;
    must([&](brim_error* e) { return brim_sequence_create(handle_, &s, e); });
    return s;
  }
  uint32_t fork(uint32_t from, uint32_t n = BRIM_AUTO) {
    uint32_t s = 0;
    must([&](brim_error* e) { return brim_sequence_fork(handle_, from, n, &s, e); });
    return s;
  }
  void trim(uint32_t s, uint32_t n) {
    must([&](brim_error* e) { return brim_sequence_trim(handle_, s, n, e); });
  }
  void remove(uint32_t s) {
    must([&](brim_error* e) { return brim_sequence_remove(handle_, s, e); });
  }
  uint32_t length(uint32_t s) {
    uint32_t n = 0;
    must([&](brim_error* e) { return brim_sequence_length(handle_, s, &n, e); });
    return n;
  }
  Tokens tokens(uint32_t s) {
    uint64_t need = 0;
    must([&](brim_error* e) { return brim_sequence_tokens(handle_, s, nullptr, 0, &need, e); });
    Tokens t(need);
    must([&](brim_error* e) { return brim_sequence_tokens(handle_, s, t.data(), need, &need, e); });
    return t;
  }
  std::vector<std::byte> save(uint32_t s) {
    std::vector<std::byte> out;
    const auto write = [](void* user, const void* data, uint64_t bytes) -> uint32_t {
      const auto* from = static_cast<const std::byte*>(data);
      static_cast<std::vector<std::byte>*>(user)->insert(static_cast<std::vector<std::byte>*>(user)->end(), from,
                                                         from + bytes);
      return 0;
    };
    must([&](brim_error* e) { return brim_sequence_save(handle_, s, write, &out, e); });
    return out;
  }
  Failed try_restore(const std::vector<std::byte>& saved, uint32_t* out) {
    struct Source {
      const std::vector<std::byte>& bytes;
      size_t at = 0;
    } source{saved};
    const auto read = [](void* user, void* data, uint64_t bytes) -> uint32_t {
      auto& s = *static_cast<Source*>(user);
      if (bytes > s.bytes.size() - s.at) return 1;
      std::memcpy(data, s.bytes.data() + s.at, bytes);
      s.at += bytes;
      return 0;
    };
    return call([&](brim_error* e) { return brim_sequence_restore(handle_, read, &source, out, e); });
  }
  uint32_t restore(const std::vector<std::byte>& saved) {
    uint32_t s = 0;
    const Failed f = try_restore(saved, &s);
    if (f.code) throw Stopped(f);
    return s;
  }

  Failed try_run(const std::vector<brim_row>& rows, brim_cancel* cancel = nullptr) {
    const brim_step step = step_of(rows, cancel);
    return call([&](brim_error* e) { return brim_session_step(handle_, &step, e); });
  }
  // The logits of every row that wanted them.
  std::vector<Logits> run(const std::vector<brim_row>& rows) {
    const Failed f = try_run(rows);
    if (f.code) throw Stopped(f);
    return outputs(rows);
  }
  std::vector<Logits> run(const Tokens& t, uint32_t sequence = 0) { return run(rows(t, sequence)); }
  std::vector<Logits> outputs(const std::vector<brim_row>& rows) {
    std::vector<Logits> out;
    for (const brim_row& r : rows) {
      if (!r.outputs) continue;
      const float* values = nullptr;
      uint32_t n = 0;
      const auto i = static_cast<uint32_t>(out.size());
      must([&](brim_error* e) { return brim_session_output(handle_, BRIM_OUTPUT_LOGITS, i, &values, &n, e); });
      out.emplace_back(values, values + n);
    }
    return out;
  }
  // Greedy text.
  std::string generate(const Tokens& prompt, uint64_t n, uint32_t sequence = 0) {
    std::string text;
    brim_generate_info info{};
    info.struct_size = sizeof(info);
    info.sequence = sequence;
    info.prompt = prompt.data();
    info.n_prompt = prompt.size();
    info.max_tokens = n;
    info.ignore_end = 1;
    info.user = &text;
    info.on_text = [](void* user, brim_str piece, int32_t) -> uint32_t {
      static_cast<std::string*>(user)->append(piece.ptr, piece.len);
      return 0;
    };
    must([&](brim_error* e) { return brim_generate(handle_, &info, nullptr, e); });
    return text;
  }

 private:
  brim_session* handle_ = nullptr;
};

inline bool same_bits(const Logits& a, const Logits& b) {
  return a.size() == b.size() && std::memcmp(a.data(), b.data(), a.size() * sizeof(float)) == 0;
}
inline bool same_bits(const std::vector<Logits>& a, const std::vector<Logits>& b) {
  if (a.size() != b.size()) return false;
  for (size_t i = 0; i < a.size(); ++i) {
    if (!same_bits(a[i], b[i])) return false;
  }
  return true;
}

// A small model on the disk.
struct File {
  explicit File(const SmallModel& model = {}) { model.write(path); }
  TempFolder folder;
  std::string path = folder / "model.gguf";
};

// A model that is loaded on the CPU, with a session.
struct Ready {
  explicit Ready(const std::string& path, const brim_plan_request& r, uint32_t threads = 2)
      : runtime(threads), model(runtime, path, r), session(model) {}
  Runtime runtime;
  Model model;
  Session session;
};

}  // namespace brim::test
