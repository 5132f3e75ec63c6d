// architectures: what architecture.h asks of a family's plugin, on the model that --model names. Its metadata is read
// once and then answered from memory (bench/model_data.hpp), so that keys and tensors can be dropped and bent one by
// one.
#include <algorithm>
#include <brim/brim.hpp>
#include <cmath>
#include <filesystem>
#include <functional>
#include <set>
#include <thread>

#include "../bench/instance.hpp"
#include "../bench/recorder.hpp"
#include "../os/os.hpp"
#include "groups.hpp"

namespace check {
namespace {

using Json = nlohmann::ordered_json;
constexpr const char* kFamily = "general.architecture";

// What came of describe and of every build.
struct Answers {
  brim_status status = BRIM_OK;
  std::string error;  // of the first that failed
  bool refused_tensor = false;
  std::string record;    // all that was said
  uint64_t outputs = 0;  // that the model can give
};

// The plugin's interface on one instance.
class Architecture {
 public:
  Architecture(Trial& trial, const Instance& instance) : trial_(trial), plugin_(instance.plugin()) {
    const auto* theirs = static_cast<const brim_architecture*>(instance.interface(BRIM_ARCHITECTURE_INTERFACE));
    if (theirs == nullptr || theirs->match == nullptr || theirs->describe == nullptr || theirs->build == nullptr) {
      trial.fail("get_interface: \"{}\" is missing, or match, describe or build is NULL", BRIM_ARCHITECTURE_INTERFACE);
      trial.stop();
    }
    table_ = theirs;
  }

  uint32_t match(const MetaView& view) const {
    begin_call("match");
    const uint32_t score = table_->match(plugin_, view.api(), view.meta());
    end_call();
    trial_.expect(score <= 100, "match answers {}; 100 is the most", score);
    return score;
  }

  // describe, then build in every phase and with every set of outputs.
  Answers ask(const MetaView& view) const {
    Recorder recorder(view.data());
    Answers answers;
    recorder.begin_describe();
    begin_call("describe");
    brim_status status = table_->describe(plugin_, view.api(), view.meta(), recorder.api(), recorder.builder());
    end_call();
    recorder.end_describe();
    answers.record = recorder.record();
    const auto settle = [&](const std::string& call) {
      if (status == BRIM_OK && recorder.status() != BRIM_OK) {
        trial_.fail("{} answers OK after the error \"{}\"", call, recorder.error());
        status = recorder.status();
      }
      if (status != BRIM_OK && recorder.error().empty()) {
        trial_.fail("{} fails with {} and reports no words by builder.error", call, brim_status_name(status));
      }
      for (const std::string& sin : recorder.sins()) trial_.fail("{} ({})", sin, call);
      answers.status = status;
      answers.error = recorder.error();
      answers.refused_tensor = recorder.refused_tensor();
    };
    settle("describe");
    if (answers.status != BRIM_OK) return answers;
    const uint64_t all = answers.outputs = recorder.model().outputs;
    for (const uint32_t phase : {BRIM_PHASE_PREFILL, BRIM_PHASE_DECODE, BRIM_PHASE_VERIFY}) {
      for (const uint32_t embeddings : {0u, 1u}) {
        for (uint64_t outputs = all; outputs != 0; outputs = (outputs - 1) & all) {
          brim_build_info info{};
          info.struct_size = sizeof(info);
          info.phase = phase;
          info.n_ctx = std::max(1u, std::min(recorder.model().n_ctx_train, 256u));
          info.n_seqs_max = 1 + embeddings;
          info.outputs = outputs;
          info.embeddings = embeddings;
          const Fenced sent = fenced_struct(info, sizeof(info) + 24);
          sent.seal();
          recorder.begin_build(info);
          begin_call("build");
          status = table_->build(plugin_, view.api(), view.meta(), sent.as<brim_build_info>(), recorder.api(),
                                 recorder.builder());
          end_call();
          recorder.end_build();
          const std::string call =
              fmt::format("build, phase {}, outputs {:#x}, {}", phase, outputs, embeddings ? "embeddings" : "tokens");
          answers.record += call + '\n' + recorder.record();
          settle(call);
          if (answers.status != BRIM_OK || !recorder.sins().empty()) return answers;
        }
      }
    }
    return answers;
  }

 private:
  Trial& trial_;
  brim_plugin* plugin_;
  const brim_architecture* table_ = nullptr;
};

ModelData model_of(Trial& trial) {
  if (trial.target().model.empty()) trial.skip("no --model FILE was given");
  try {
    return read_model_data(trial.target().model);
  } catch (const brim::Failure& error) {
    trial.fail("--model {}: {}", trial.target().model, error.what());
    trial.stop();
  }
}

// The answers for a file that the plugin has to know.
Answers good_answers(Trial& trial, const Architecture& architecture, const ModelData& data, MetaView* view) {
  if (architecture.match(*view) == 0) {
    trial.skip("match answers 0: a {} is not of its family",
               data.keys.value(kFamily, std::string("file without general.architecture")));
  }
  Answers answers = architecture.ask(*view);
  if (answers.status != BRIM_OK) {
    trial.fail("a file that match takes is refused: {}", answers.error);
    trial.stop();
  }
  return answers;
}

// Where two records part, in words.
std::string first_change(const std::string& a, const std::string& b) {
  const auto [at, other] = std::mismatch(a.begin(), a.end(), b.begin(), b.end());
  const auto begin = std::find(std::make_reverse_iterator(at), a.rend(), '\n').base();
  const auto line = [](std::string::const_iterator from, std::string::const_iterator end) {
    return std::string(from, std::find(from, end, '\n')).substr(0, 160);
  };
  return fmt::format("'{}' against '{}'", line(begin, a.end()), line(b.begin() + (begin - a.begin()), b.end()));
}

// Leaves a pattern where the next calls put their variables.
[[gnu::noinline]] void soil_stack(uint8_t with) {
  volatile uint8_t soil[48 * 1024];
  for (volatile uint8_t& byte : soil) byte = with;
}

void builds(Trial& trial) {
  const ModelData data = model_of(trial);
  Host host;
  Instance instance(trial, host);
  const Architecture architecture(trial, instance);
  MetaView view(data);
  const Answers answers = good_answers(trial, architecture, data, &view);
  trial.note("{} keys and {} tensors asked for", view.keys().size(), view.tensors().size());
}

void pure(Trial& trial) {
  const ModelData data = model_of(trial);
  Host host, other;
  Instance first(trial, host), second(trial, other);
  const Architecture one(trial, first), two(trial, second);
  MetaView view(data), again(data);
  os::soil_allocations(0x5a);
  soil_stack(0x5a);
  const Answers answers = good_answers(trial, one, data, &view);
  const auto same = [&](const Answers& found, const char* where) {
    trial.expect(found.record == answers.record, "the same metadata gives another description or graph {}: {}", where,
                 first_change(answers.record, found.record));
  };
  os::soil_allocations(0xa5);
  soil_stack(0xa5);
  same(one.ask(again), "the second time");
  soil_stack(0xff);
  same(two.ask(again), "on another instance");
  os::soil_allocations(0);
  std::vector<Answers> of_threads(4);
  std::vector<std::thread> threads;
  for (size_t i = 0; i < of_threads.size(); ++i) {
    threads.emplace_back([&, i] {
      try {
        for (int n = 0; n < 4; ++n) of_threads[i] = (i % 2 ? one : two).ask(again);
      } catch (const Stopped&) {
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  for (const Answers& found : of_threads) same(found, "while other threads ask, too");
}

void match_is_local(Trial& trial) {
  const ModelData data = model_of(trial);
  Host host;
  Instance instance(trial, host);
  const Architecture architecture(trial, instance);
  MetaView view(data);
  const uint32_t score = architecture.match(view);
  if (score == 0) trial.skip("match answers 0 for this file");
  const auto score_of = [&](const ModelData& bent) { return architecture.match(MetaView(bent)); };
  const auto asked = view.keys();
  ModelData bent = data;
  bent.keys["unrelated.key"] = 17;
  bent.keys["tokenizer.ggml.model"] = "something else";
  bent.keys["general.description"] = std::string(1000, 'x');
  bent.tensors["unrelated.weight"] = {{3, 5}, BRIM_DTYPE_F16};
  trial.expect(score_of(bent) == score, "match changes from {} to {} with keys that it has nothing to do with", score,
               score_of(bent));
  ModelData fewer = data;
  for (const auto& [key, value] : data.keys.items()) {
    if (!asked.contains(key)) fewer.keys.erase(key);
  }
  trial.expect(score_of(fewer) == score, "match changes from {} to {} without keys that it does not ask for", score,
               score_of(fewer));
  ModelData none;
  none.keys = Json::object();
  trial.expect(score_of(none) == 0, "match answers {} for a file without metadata", score_of(none));
  for (const Json& wrong : {Json("no such family"), Json(7), Json(""), Json::array({1, 2})}) {
    ModelData foreign = data;
    foreign.keys[kFamily] = wrong;
    trial.expect(score_of(foreign) == 0, "match answers {} for {} = {}", score_of(foreign), kFamily, wrong.dump());
  }
}

struct Bent {
  const char* what;
  Json value;
};

// Values that a key may not have, by how it is asked for.
std::vector<Bent> wrong_values(Asked asked, const Json* now) {
  constexpr double kNan = std::numeric_limits<double>::quiet_NaN();
  std::vector<Bent> out;
  const Json list_of_texts = Json::array({"a", "b"});
  switch (asked) {
    case Asked::kU64:
    case Asked::kU64s:
      out = {{"a text", "a text"}, {"a fraction", 1.5},         {"an array of texts", list_of_texts}, {"a bool", true},
             {"negative", -1},     {"huge", uint64_t{1} << 63}, {"the largest", UINT64_MAX}};
      if (now != nullptr && now->is_number_unsigned()) {
        out.push_back({"2^32 more than it was", (uint64_t{1} << 32) + now->get<uint64_t>()});
      }
      break;
    case Asked::kF64:
    case Asked::kF64s:
      out = {{"a text", "a text"}, {"a bool", true},       {"an array of texts", list_of_texts},
             {"huge", 1e300},      {"not a number", kNan}, {"infinite", HUGE_VAL},
             {"negative", -1.0}};
      break;
    case Asked::kBool:
      out = {{"a text", "a text"}, {"a number", 3}};
      break;
    case Asked::kText:
    case Asked::kTexts:
      out = {{"a number", 7}, {"a bool", true}, {"another word", "no such thing"}};
      break;
  }
  if (asked == Asked::kU64s || asked == Asked::kF64s || asked == Asked::kTexts) {
    if (now != nullptr && now->is_array() && !now->empty()) {
      Json longer = *now;
      longer.push_back(longer.back());
      out.push_back({"an element longer", longer});
    }
    out.push_back({"an empty array", Json::array()});
  }
  return out;
}

// Words that name a key or tensor: its whole name stands in them.
bool names(const std::string& words, const std::string& name) { return words.find(name) != std::string::npos; }

void wrong_metadata(Trial& trial) {
  const ModelData data = model_of(trial);
  Host host;
  Instance instance(trial, host);
  const Architecture architecture(trial, instance);
  MetaView view(data);
  const Answers good = good_answers(trial, architecture, data, &view);
  size_t tried = 0, optional = 0;
  const auto ask = [&](const ModelData& bent) {
    ++tried;
    const MetaView wrong(bent);
    architecture.match(wrong);
    return architecture.ask(wrong);
  };
  // An error names the key, or is the host's own about a tensor that does not fit.
  const auto named = [&](const Answers& found, const std::string& key, const std::string& what) {
    trial.expect(found.refused_tensor || names(found.error, key), "{} is {}: the error does not name it: \"{}\"", key,
                 what, found.error);
  };
  // What is missing may leave another key or tensor alone that made sense with it; that one is named then.
  const auto named_some = [&](const Answers& found, const std::string& key, const std::string& what) {
    for (const auto& [other, asked] : view.keys()) {
      if (names(found.error, other)) return;
    }
    for (const std::string& other : view.tensors()) {
      if (names(found.error, other)) return;
    }
    named(found, key, what);
  };
  for (const auto& [key, asked] : view.keys()) {
    if (key == kFamily) continue;  // it chooses the plugin; match_is_local bends it
    const auto at = data.keys.find(key);
    const Json* now = at == data.keys.end() ? nullptr : &*at;
    ModelData bent = data;
    if (now != nullptr) {
      bent.keys.erase(key);
      const Answers found = ask(bent);
      if (found.status != BRIM_OK) named_some(found, key, "missing");
      optional += found.status == BRIM_OK;
    }
    if (asked != Asked::kText && asked != Asked::kTexts && asked != Asked::kBool) {
      bent.keys[key] = 0;
      const Answers found = ask(bent);
      if (found.status != BRIM_OK) named_some(found, key, "0");
    }
    bool bounded = false;
    for (const Bent& wrong : wrong_values(asked, now)) {
      bent.keys[key] = wrong.value;
      const Answers found = ask(bent);
      if (found.status != BRIM_OK) {
        named(found, key, wrong.what);
        bounded = bounded || std::string_view(wrong.what) == "huge";
        continue;
      }
      // A value that is asked for and does not count for this file may be anything.
      trial.expect(found.record == good.record, "{} is {} ({}), and another model is made of it without a word: {}",
                   key, wrong.what, wrong.value.dump(), first_change(good.record, found.record));
      trial.expect(!bounded || !wrong.value.is_number_unsigned(),
                   "{} is {} ({}) and is taken as if its upper half were not there", key, wrong.what,
                   wrong.value.dump());
    }
  }
  for (const std::string& name : view.tensors()) {
    const auto at = data.tensors.find(name);
    const auto bend = [&](const char* what, const std::function<void(ModelData&)>& change) {
      ModelData bent = data;
      change(bent);
      const Answers found = ask(bent);
      if (found.status != BRIM_OK) named_some(found, name, what);
      return found;
    };
    if (at != data.tensors.end()) bend("missing", [&](ModelData& bent) { bent.tensors.erase(name); });
    const std::vector<uint64_t> dims = at == data.tensors.end() ? std::vector<uint64_t>{4, 4} : at->second.dims;
    using Dims = std::vector<uint64_t>;
    Dims zero = dims, huge = dims;
    zero[0] = 0;
    huge[0] = uint64_t{1} << 62;
    for (const auto& [what, shape] : {std::pair<const char*, Dims>{"of rank 1", {7}},
                                      {"of rank 6", {1, 1, 1, 1, 1, 1}},
                                      {"empty", zero},
                                      {"huge", huge}}) {
      const Answers found = bend(what, [&](ModelData& bent) { bent.tensors[name] = {shape, BRIM_DTYPE_F32}; });
      if (found.status == BRIM_OK) {
        trial.expect(found.record == good.record || shape == dims, "tensor {} is {}, and another model is made of it",
                     name, what);
      }
    }
  }
  trial.note("{} wrong files; {} keys may be missing", tried, optional);
}

void leaks(Trial& trial) {
  const ModelData data = model_of(trial);
  Host host;
  Instance instance(trial, host);
  const Architecture architecture(trial, instance);
  MetaView view(data);
  good_answers(trial, architecture, data, &view);
  ModelData bent = data;
  for (const auto& [key, asked] : view.keys()) {
    if (key != kFamily && asked == Asked::kU64) bent.keys[key] = "a text";
  }
  const MetaView wrong(bent);
  // What one call leaves behind, a hundred show; the first warm up what is kept on purpose.
  uint64_t left[2] = {};
  bool known = true;
  for (uint64_t& sum : left) {
    os::start_counting();
    for (int i = 0; i < 50; ++i) {
      architecture.match(view);
      architecture.ask(view);
      architecture.ask(wrong);
    }
    const os::Counted counted = os::stop_counting();
    known = known && counted.known;
    sum = counted.live;
  }
  if (!known) trial.skip("this build cannot count allocations");
  trial.expect(left[1] == 0 || left[1] > UINT64_MAX / 2, "50 descriptions and graphs leave {} allocations behind",
               left[1]);
}

// The plugin's folder, then those where the host finds its backends.
std::vector<std::string> folders_of(const Target& target) {
  namespace fs = std::filesystem;
  std::vector<std::string> out = {fs::path(target.library).parent_path().string()};
  const Json report = Json::parse(brim::Runtime().report());
  for (const Json& plugin : report.at("plugins")) {
    const std::string folder = fs::path(plugin.at("library").get<std::string>()).parent_path().string();
    if (std::find(out.begin(), out.end(), folder) == out.end()) out.push_back(folder);
  }
  return out;
}

// The host's rules of shapes over the graphs themselves: a plan builds and checks all of them.
void planned(Trial& trial) {
  const ModelData data = model_of(trial);
  Host host;
  Instance instance(trial, host);
  MetaView shown(data);
  const Answers answers = good_answers(trial, Architecture(trial, instance), data, &shown);
  const std::string id(view(open_header(trial).id));
  try {
    const std::vector<std::string> folders = folders_of(trial.target());
    std::vector<brim_str> plain;
    for (const std::string& folder : folders) plain.push_back(str(folder));
    auto config = brim::sized<brim_runtime_config>();
    config.plugin_dirs = plain.data();
    config.n_plugin_dirs = static_cast<uint32_t>(plain.size());
    const brim::Runtime runtime(config);
    brim_model* model = nullptr;
    brim_error error{};
    error.struct_size = sizeof(error);
    brim_status status = brim_model_open(runtime.get(), str(trial.target().model), str(id), &model, &error);
    if (status == BRIM_OK) {
      auto request = brim::sized<brim_plan_request>();
      request.n_ctx = 64;
      request.n_batch = 16;
      request.outputs = answers.outputs;
      request.inputs = 1ull << BRIM_INPUT_EMBEDDING;
      request.numerics = BRIM_NUMERICS_STRICT;
      brim_plan* plan = nullptr;
      status = brim_plan_create(model, &request, &plan, &error);
      brim_plan_destroy(plan);
    }
    brim_model_close(model);
    if (status == BRIM_UNSUPPORTED || status == BRIM_OUT_OF_MEMORY) trial.skip("no plan: {}", error.message);
    trial.expect(status == BRIM_OK, "the host refuses the graph: {}", error.message);
  } catch (const brim::Failure& error) {
    trial.fail("the host does not take the plugin: {}", error.what());
  }
}

}  // namespace

void add_architecture_tests(std::vector<Test>& tests) {
  const auto add = [&](const char* name, const char* statement, void (*run)(Trial&)) {
    tests.push_back({name, statement, kArchitectures, 120, run});
  };
  add("architectures.builds", "describe and build work in every phase, with every set of outputs", builds);
  add("architectures.pure", "the same metadata gives the same description and graph, whoever asks, and when", pure);
  add("architectures.match", "match depends on the keys that it asks for", match_is_local);
  add("architectures.wrong-metadata", "missing, bent or absurd metadata is an error that names the key",
      wrong_metadata);
  add("architectures.leaks", "describing and building leaves nothing behind", leaks);
  add("architectures.planned", "the host makes a plan of the graphs", planned);
}

}  // namespace check
