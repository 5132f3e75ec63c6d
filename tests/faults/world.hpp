// A host application and its objects, raised as far as a test needs them: a runtime with the plugins of
// failing_plugins.hpp, a model of one layer in Q8_0, its plan, loaded, with a session that holds a sequence of five
// tokens. Nothing here is meant to fail; must() ends the test where something does.
#pragma once

#include <brim/brim.h>
#include <doctest/doctest.h>

#include <filesystem>
#include <fstream>
#include <mutex>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "../engine/small_model.hpp"
#include "../support/temp_folder.hpp"
#include "failing_plugins.hpp"
#include "injector.hpp"

namespace brim::test {

inline brim_str str(std::string_view text) { return {text.data(), text.size()}; }

inline brim_error new_error() {
  brim_error error{};
  error.struct_size = sizeof(error);
  return error;
}

template <class Call>
void must(const Call& call) {
  brim_error error = new_error();
  const brim_status status = call(&error);
  if (status != BRIM_OK) FAIL(brim_status_name(status) << ": " << std::string(error.message));
}

enum class Level { kNothing, kRuntime, kModel, kPlan, kLoaded, kSession };

struct Files {
  TempFolder folder;
  std::string model = folder / "small.gguf", config = folder / "brim.toml", out = folder / "out.gguf",
              plugins = folder / "plugins";
  Files() {
    SmallModel small;
    small.layers = 1;
    small.width = 64;  // a table large enough for two threads to quantise
    small.ff = 32;
    small.heads = 2;
    small.kv_heads = 1;
    small.context = 64;
    small.q8_0 = true;
    small.chat_template =
        "{% for message in messages %}{{'<|im_start|>' + message['role'] + '\\n' + message['content'] + '<|im_end|>' + "
        "'\\n'}}{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}";
    small.write(model);
    std::filesystem::create_directory(plugins);
    std::ofstream(plugins + "/foreign.toml")
        << "[plugin]\nid = \"test.foreign\"\nkind = \"backend\"\nlibrary = \"foreign.so\"\nversion = \"1\"\n"
           "license = \"MIT\"\n[abi]\nmajor = 0\nminor = 1\nmin_minor = 0\n[requires]\nos = \"plan9\"\n";
    std::ofstream(config) << "[plan]\ncontext = 64\nsequences = 3\nbatch = 4\n[sampling]\ntemperature = 0.5\n"
                             "[backend.\"test.async\"]\ndelay_us = 0\n";
  }
};

class World {
 public:
  static constexpr uint32_t kHeld = 5;  // tokens of the session's sequence 0

  explicit World(const Files& its_files) : files(its_files) {
    must([&](brim_error* e) { return brim_config_create(&config, e); });
    must([&](brim_error* e) { return brim_config_load(config, str(files.config), e); });
  }
  ~World() {
    tear_down();
    brim_config_destroy(config);
  }
  World(const World&) = delete;
  World& operator=(const World&) = delete;

  brim_status create_runtime(brim_runtime** out, brim_error* error) {
    static const brim_plugin_query_fn plugins[] = {query_failing_async, query_failing_llama};
    const brim_str folder = str(files.plugins);
    brim_runtime_config info{};
    info.struct_size = sizeof(info);
    info.log_level = BRIM_LOG_DEBUG;
    info.config = config;
    info.user = this;
    info.log = [](void* user, uint32_t level, brim_str source, brim_str message) {
      const Exempt inside;
      auto& world = *static_cast<World*>(user);
      if (level < BRIM_LOG_HOST_MISUSE) return;
      const std::lock_guard lock(world.mutex_);
      world.misuse_ += std::string(source.ptr, source.len) + ": " + std::string(message.ptr, message.len) + "\n";
    };
    info.plugin_dirs = &folder;
    info.n_plugin_dirs = 1;
    info.threads = 1;
    info.static_plugins = plugins;
    info.n_static_plugins = 2;
    return brim_runtime_create(&info, out, error);
  }

  brim_plan_request request() const {
    brim_plan_request r{};
    r.struct_size = sizeof(r);
    r.config = config;
    r.numerics = BRIM_NUMERICS_STRICT;
    return r;
  }

  void raise(Level level) {
    if (level >= Level::kRuntime && !runtime) must([&](brim_error* e) { return create_runtime(&runtime, e); });
    if (level >= Level::kModel && !model)
      must([&](brim_error* e) { return brim_model_open(runtime, str(files.model), {}, &model, e); });
    if (level >= Level::kPlan && !plan) {
      const brim_plan_request r = request();
      must([&](brim_error* e) { return brim_plan_create(model, &r, &plan, e); });
    }
    if (level >= Level::kLoaded && !loaded_) {
      must([&](brim_error* e) { return brim_model_load(model, plan, nullptr, e); });
      loaded_ = true;
    }
    if (level >= Level::kSession && !session) {
      must([&](brim_error* e) { return brim_session_create(model, &session, e); });
      uint32_t sequence = 0;
      must([&](brim_error* e) { return brim_sequence_create(session, &sequence, e); });
      const std::vector<brim_row> rows = rows_of({1, 40, 41, 42, 43}, 0);
      const brim_step step = step_of(rows);
      must([&](brim_error* e) { return brim_session_step(session, &step, e); });
    }
  }
  void tear_down() {
    brim_session_destroy(std::exchange(session, nullptr));
    brim_plan_destroy(std::exchange(plan, nullptr));
    brim_model_close(std::exchange(model, nullptr));
    brim_runtime_destroy(std::exchange(runtime, nullptr));
    loaded_ = false;
    saved = {};
    rows = {};
  }

  static std::vector<brim_row> rows_of(const std::vector<int32_t>& tokens, uint32_t sequence) {
    std::vector<brim_row> rows;
    for (const int32_t token : tokens) {
      brim_row& row = rows.emplace_back();
      row.token = token;
      row.sequence = sequence;
      row.outputs = 1u << BRIM_OUTPUT_LOGITS;
    }
    return rows;
  }
  static brim_step step_of(const std::vector<brim_row>& rows) {
    brim_step step{};
    step.struct_size = sizeof(step);
    step.n_rows = static_cast<uint32_t>(rows.size());
    step.rows = rows.data();
    step.row_stride = sizeof(brim_row);
    return step;
  }

  // What host and plugins said of each other's misuse since it was asked for last.
  std::string take_misuse() {
    const std::lock_guard lock(mutex_);
    return std::exchange(misuse_, {});
  }

  const Files& files;
  brim_config* config = nullptr;
  brim_runtime* runtime = nullptr;
  brim_model* model = nullptr;
  brim_plan* plan = nullptr;
  brim_session* session = nullptr;
  // What a call is prepared with.
  std::string saved;
  std::vector<brim_row> rows;

 private:
  bool loaded_ = false;
  std::mutex mutex_;
  std::string misuse_;
};

}  // namespace brim::test
