// What the opaque handles of brim.h are. Each holds shared ownership of what it was made from, so the order in which a
// host destroys them is free.
#pragma once

#include <brim/brim.h>

#include <atomic>
#include <base/log.hpp>
#include <config/options.hpp>
#include <engine/engine.hpp>
#include <engine/session.hpp>
#include <memory>
#include <mutex>
#include <negotiator/open_model.hpp>
#include <negotiator/plan.hpp>
#include <optional>
#include <string>
#include <text/chat_template.hpp>
#include <text/detokenizer.hpp>
#include <text/tokenizer.hpp>

struct brim_config {
  brim::config::Options options;
};

struct brim_cancel {
  std::atomic<uint32_t> fired{0};
};

namespace brim::api {

// What every handle that comes from one runtime shares.
struct Runtime {
  std::shared_ptr<negotiator::Machine> machine;
  std::string architecture;  // the plugin that models are opened with; empty: the best match
  std::string probe_cache;   // the file that keeps measured bandwidths; empty: none
  std::mutex mutex;          // of the topology's budgets, which planning and reports read anew
};

// What every handle on one opened model shares.
struct Model {
  std::shared_ptr<Runtime> runtime;
  std::shared_ptr<const negotiator::OpenModel> open;
  std::string name, architecture, file_type, plugin;  // behind the views of brim_model_info
  std::optional<text::Tokenizer> tokenizer;           // empty where the file has no vocabulary
  Error why_no_tokenizer{BRIM_OK, ""};
  std::mutex mutex;                        // of `engine` and of loading
  negotiator::Ledger::Promise promise;     // of the memory that the engine holds
  std::shared_ptr<engine::Engine> engine;  // null: not loaded

  const text::Tokenizer& require_tokenizer() const {
    if (!tokenizer) throw why_no_tokenizer;
    return *tokenizer;
  }
};

}  // namespace brim::api

struct brim_runtime {
  std::shared_ptr<brim::api::Runtime> runtime;
};

struct brim_model {
  std::shared_ptr<brim::api::Model> model;
};

struct brim_plan {
  std::shared_ptr<const brim::negotiator::Plan> plan;
};

struct brim_session {
  std::shared_ptr<brim::api::Model> model;
  brim::engine::Session session;
};

struct brim_sampler {
  brim::engine::Sampler sampler;
};

struct brim_decoder {
  std::shared_ptr<brim::api::Model> model;
  brim::text::Detokenizer detokenizer;
};
