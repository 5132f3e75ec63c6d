#include <algorithm>
#include <base/nearest.hpp>
#include <config/schema.hpp>

namespace brim::config {
namespace {

Option integer(std::string_view key, uint64_t standard, uint64_t most, std::string_view help) {
  return {key, Type::kInteger, standard, 0, 0, most, {}, help};
}
Option number(std::string_view key, double standard, double low, double high, std::string_view help) {
  return {key, Type::kNumber, standard, low, high, 0, {}, help};
}
Option boolean(std::string_view key, bool standard, std::string_view help) {
  return {key, Type::kBoolean, standard, 0, 0, 0, {}, help};
}
// The default is the first choice.
Option choice(std::string_view key, std::vector<std::string_view> choices, std::string_view help) {
  return {key, Type::kText, std::string(choices.front()), 0, 0, 0, std::move(choices), help};
}

// Any text; empty: nothing said.
Option free_text(std::string_view key, std::string_view help) {
  return {key, Type::kText, std::string(), 0, 0, 0, {}, help};
}

constexpr uint64_t kMost32 = 0x7fffffff;

const std::vector<Option>& table() {
  static const std::vector<Option> options = {
      integer("runtime.threads", 0, 4096, "Threads of the CPU team; 0: one per core that the process may use"),
      choice("runtime.log_level", {"warning", "trace", "debug", "info", "error"}, "The least level that is logged"),
      {"runtime.plugin_dirs",
       Type::kFolders,
       std::vector<std::string>{},
       0,
       0,
       0,
       {},
       "Absolute folders searched for plugins, in this order; none: brim/plugins beside the library"},
      free_text("runtime.architecture",
                "The architecture plugin for every model, by id; empty: the one that knows the file best"),
      free_text("runtime.machine",
                "A described machine in place of this one, by name or as a file; nothing can be loaded then"),
      free_text("runtime.probe_cache", "File that keeps measured bandwidths; empty: nothing is kept"),
      boolean("runtime.require_device", true,
              "Without a usable backend a runtime is an error; false: it comes up and tells why in its report"),

      free_text(
          "runtime.ledger",
          "A folder in which processes tell each other what memory their models were promised; empty: each for itself"),
      free_text("runtime.learned", "A file in which speeds seen on this machine are kept; empty: nothing is kept"),

      integer("plan.context", 0, kMost32, "Tokens that one sequence can hold; 0: as trained, 8192 at most"),
      integer("plan.sequences", 0, 65536, "Sequences alive at once, over all sessions; 0: 1"),
      integer("plan.kv_tokens", 0, uint64_t{1} << 40,
              "Tokens that all sequences hold together; 0: context times sequences"),
      integer("plan.batch", 0, 65536, "Rows of one step; 0: 512"),
      choice("plan.kv_dtype", {"auto", "f32", "f16", "q8_0"},
             "How keys and values are stored; auto: f16, and f32 with strict numerics"),
      choice("plan.numerics", {"fast", "strict"}, "fast: what makes speed; strict: 32-bit activations throughout"),
      choice("plan.mix", {"chat", "agent", "batch"},
             "What plans are made fast for: prompts of 512, 16384 or 2048 tokens with answers of 256, 1024 or 256"),
      choice("plan.kv_least", {"as_asked", "f16", "q8_0"}, "What KV may be lowered to where a plan does not fit"),
      integer("plan.context_least", 0, kMost32,
              "Tokens that the context may be lowered to where a plan does not fit; 0: none"),
      boolean("plan.unsafe_overcommit", false, "Load even if the memory there is does not suffice"),

      choice(
          "load.io", {"auto", "map", "read", "direct"},
          "auto: as each device is fastest, which for the CPU is a copy of weights in blocks; map: weights are read in "
          "place from the file; read: they are copied into memory; direct: copied past the system's file cache"),

      number("sampling.temperature", 0.8, 0, 100, "Flattens (above 1) or sharpens the distribution; 0: greedy"),
      integer("sampling.top_k", 40, kMost32, "Keep the k likeliest tokens; 0: all"),
      number("sampling.top_p", 0.95, 0, 1, "Keep the smallest set with at least this probability; 0 or 1: all"),
      number("sampling.min_p", 0.05, 0, 1, "Drop what is less likely than this share of the likeliest; 0: nothing"),
      number("sampling.typical_p", 1, 0, 1, "Locally typical sampling; 0 or 1: all"),
      number("sampling.repetition_penalty", 1, 0, 100,
             "Divides positive and multiplies negative logits of recent tokens; 0 or 1: none"),
      number("sampling.frequency_penalty", 0, -100, 100, "Subtracted from a logit per occurrence among recent tokens"),
      number("sampling.presence_penalty", 0, -100, 100, "Subtracted once from the logits of recent tokens"),
      integer("sampling.penalty_last_n", 64, 1 << 20, "How many tokens are recent; 0: 64"),
      integer("sampling.seed", 0, UINT64_MAX, "The same seed, logits and build draw the same tokens"),
      integer("sampling.lookahead", 7, 64,
              "Most tokens guessed ahead a step where the text repeats itself; the text stays the same; 0: none"),
  };
  return options;
}

std::string_view last_part(std::string_view key) { return key.substr(key.rfind('.') + 1); }

}  // namespace

std::string_view type_name(Type type) {
  switch (type) {
    case Type::kInteger:
      return "integer";
    case Type::kNumber:
      return "number";
    case Type::kBoolean:
      return "boolean";
    case Type::kText:
      return "text";
    case Type::kFolders:
      return "list of folders";
  }
  return "?";
}

std::span<const Option> schema() { return table(); }

const Option* find_option(std::string_view key) {
  const auto found = std::ranges::find(table(), key, &Option::key);
  return found == table().end() ? nullptr : &*found;
}

std::string_view nearest_option(std::string_view key) {
  key = key.substr(0, 256);  // what is longer resembles nothing
  for (const Option& option : table()) {
    if (last_part(option.key) == last_part(key)) return option.key;
  }
  return std::ranges::min_element(table(), {}, [&](const Option& option) { return edit_distance(key, option.key); })
      ->key;
}

}  // namespace brim::config
