// What `brim run` was asked for; shared by its two ways, one answer (run.cpp) and a conversation (chat.cpp).
#pragma once

#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "host.hpp"
#include "summary.hpp"

namespace cli {

struct RunOptions {
  RuntimeOptions runtime;
  PlanOptions plan;
  std::string model;
  std::string prompt, prompt_file, system;
  uint64_t max_tokens = 0;
  bool raw = false, chat = false, ignore_eos = false;
  std::vector<std::string> stops;
  std::optional<float> temperature, top_p, min_p, typical_p, repeat_penalty, frequency_penalty, presence_penalty;
  std::optional<uint32_t> top_k, penalty_last_n, lookahead;
  std::optional<uint64_t> seed;
};

// The sampler of the configuration with the options on top; a seed of the system's where neither names one.
brim_sampling make_sampling(const brim::Config& config, const RunOptions& options);

// The option, else the configuration's.
uint32_t lookahead_of(const brim::Config& config, const RunOptions& options);

// Text as the model is to read it first: with what the file wants in front (BOS), never with an end of text behind.
// Text without any token starts from BOS; HostError where the vocabulary has none.
std::vector<int32_t> tokens_of_start(const brim::Model& model, const std::string& text);

// Interactive until /exit or the end of input; gives the exit code.
int converse(const RunOptions& options, const Machine& machine, const LoadedModel& loaded);

}  // namespace cli
