// The model that the repository ships, loaded on the CPU, the CUDA device or both, and run step by step.
#pragma once

#include <brim/brim.hpp>
#include <cmath>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "control.hpp"

namespace cuda_test {

enum class Where { kCpu, kCuda, kSplit };
using Settings = std::vector<std::pair<std::string, std::string>>;

struct NoDevice {};

class Loaded {
 public:
  Loaded(Where where, const Settings& settings, const char* file = BRIM_SOURCE_DIR "/samples/models/brim-austen.gguf")
      : config_(configured(settings)), runtime_(with(config_)), model_(runtime_, file) {
    const auto report = nlohmann::json::parse(runtime_.report());
    uint32_t cpu = ~0u, cuda = ~0u;
    for (uint32_t i = 0; i < report.at("devices").size(); ++i) {
      const std::string plugin = report["devices"][i].at("plugin");
      if (plugin == "brim.cpu") cpu = i;
      if (plugin == "brim.cuda") cuda = i;
    }
    if (cuda == ~0u && where != Where::kCpu) throw NoDevice();
    const uint32_t layers = model_.info().n_layers;
    std::vector<brim_placement> placements;
    const auto place = [&](uint32_t device, uint32_t first, uint32_t n) {
      auto p = brim::sized<brim_placement>();
      p.device = device;
      p.first_layer = first;
      p.n_layers = n;
      placements.push_back(p);
    };
    if (where == Where::kCpu) place(cpu, 0, layers);
    if (where == Where::kCuda) place(cuda, 0, layers);
    if (where == Where::kSplit) {
      place(cuda, 0, layers / 2);
      place(cpu, layers / 2, layers - layers / 2);
    }
    auto request = brim::sized<brim_plan_request>();
    request.config = config_.get();
    request.n_ctx = 64;
    request.n_seqs = 1;
    request.placements = placements.data();
    request.n_placements = static_cast<uint32_t>(placements.size());
    request.placement_stride = sizeof(brim_placement);
    model_.load(brim::Plan(model_, request));
    session_.emplace(model_);
    sequence_ = session_->create_sequence();
    tokens_ = model_.tokenize("It is a truth universally acknowledged, that a single man in possession", 0);
  }

  std::vector<float> prefill(uint32_t n) {
    std::vector<brim_row> rows;
    for (uint32_t i = 0; i < n; ++i) rows.push_back(row(i + 1 == n));
    return run(rows);
  }
  std::vector<float> decode() { return run({row(true)}); }

 private:
  static brim::Config configured(const Settings& settings) {
    brim::Config config;
    config.set("backend.cuda.driver", BRIM_TEST_DRIVER);
    config.set("plan.numerics", "strict");
    config.set("runtime.threads", "2");
    for (const auto& [key, value] : settings) config.set(key, value);
    return config;
  }
  static brim_runtime_config with(const brim::Config& config) {
    auto info = brim::sized<brim_runtime_config>();
    info.config = config.get();
    return info;
  }
  brim_row row(bool wanted) {
    brim_row r{};
    r.token = tokens_[next_++ % tokens_.size()];
    r.sequence = sequence_;
    r.outputs = wanted ? 1u << BRIM_OUTPUT_LOGITS : 0;
    return r;
  }
  std::vector<float> run(const std::vector<brim_row>& rows) {
    session_->step(rows);
    const auto out = session_->output(BRIM_OUTPUT_LOGITS, 0);
    return {out.begin(), out.end()};
  }

  brim::Config config_;
  brim::Runtime runtime_;
  brim::Model model_;
  std::optional<brim::Session> session_;
  uint32_t sequence_ = 0;
  std::vector<int32_t> tokens_;
  size_t next_ = 0;
};

}  // namespace cuda_test
