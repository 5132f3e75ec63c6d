// Reference outputs of other programs: cases of ../shared/golden through the C ABI, and the published text of
// stories260K.
#include <array>
#include <cmath>
#include <filesystem>
#include <fstream>
#include <optional>

#include "host.hpp"

using namespace brim::test;

namespace {

const std::string kShared = BRIM_SHARED_DIR;

bool shared_is_there() {
  if (std::filesystem::is_directory(kShared)) return true;
  MESSAGE("skipped: no ../shared");
  return false;
}

std::string read_file(const std::string& path) {
  std::ifstream in(path, std::ios::binary);
  REQUIRE_MESSAGE(in.good(), path);
  return {std::istreambuf_iterator<char>(in), {}};
}

struct Errors {
  double max_abs = 0, rel_rms = 0, kl_max = 0;
};

double kl(const float* p, const float* q, size_t n) {
  const auto log_sum = [n](const float* x) {
    const double most = *std::max_element(x, x + n);
    double sum = 0;
    for (size_t i = 0; i < n; ++i) sum += std::exp(x[i] - most);
    return most + std::log(sum);
  };
  const double lp = log_sum(p), lq = log_sum(q);
  double sum = 0;
  for (size_t i = 0; i < n; ++i) sum += std::exp(p[i] - lp) * ((p[i] - lp) - (q[i] - lq));
  return sum;
}

Errors compare(const Logits& got, const Logits& wanted, size_t width) {
  REQUIRE(got.size() == wanted.size());
  Errors e;
  double squares = 0, differences = 0;
  for (size_t i = 0; i < got.size(); ++i) {
    const double d = double(got[i]) - wanted[i];
    e.max_abs = std::isnan(d) ? INFINITY : std::max(e.max_abs, std::fabs(d));
    differences += d * d;
    squares += double(wanted[i]) * wanted[i];
  }
  e.rel_rms = std::sqrt(differences / squares);
  for (size_t r = 0; r < got.size() / width; ++r) {
    e.kl_max = std::max(e.kl_max, kl(&wanted[r * width], &got[r * width], width));
  }
  return e;
}

// Every run of a case; rows in the order in which the case stores them. `interrupted`: between two batches every
// sequence is saved, and goes on restored in another session.
Logits run_case(const std::string& folder, const nlohmann::json& description, uint32_t numerics,
                bool interrupted = false) {
  brim_plan_request r = request(256, 2);
  r.numerics = numerics;
  r.kv_dtype = BRIM_DTYPE_F32;
  const Runtime runtime(2);
  const Model model(runtime, folder + "/model.gguf", r);
  Logits all;
  for (const auto& run : description["runs"]) {
    std::optional<Session> session(model);
    std::array<uint32_t, 2> sequence = {session->create(), session->create()};
    bool first = true;
    for (const auto& batch : run["batches"]) {
      if (interrupted && !first) {
        const std::array saved = {session->save(sequence[0]), session->save(sequence[1])};
        session.emplace(model);
        for (size_t s = 0; s < 2; ++s) sequence[s] = session->restore(saved[s]);
      }
      first = false;
      std::vector<brim_row> step;
      for (size_t i = 0; i < batch["tokens"].size(); ++i) {
        step.push_back(row(batch["tokens"][i], sequence[batch["seq"][i].get<size_t>()], batch["out"][i] == 1));
      }
      for (const Logits& l : session->run(step)) all.insert(all.end(), l.begin(), l.end());
    }
  }
  return all;
}

// A case's outputs are within its limits: exactly in strict, closely in fast numerics; and the same to the bit where
// every sequence is saved and restored between its steps.
void check_case(const std::string& name) {
  CAPTURE(name);
  const std::string folder = kShared + "/" + name;
  auto description = nlohmann::json::parse(read_file(folder + "/case.json"));
  const std::string bytes = read_file(folder + "/logits.bin");
  Logits wanted(bytes.size() / sizeof(float));
  std::memcpy(wanted.data(), bytes.data(), bytes.size());
  const size_t width = description["width"];
  auto& runs = description["runs"];
  if (runs.back()["name"] == "mrope") {  // an image's positions, which no family here takes
    wanted.resize(runs.back()["first_row"].get<size_t>() * width);
    runs.erase(runs.size() - 1);
  }
  const auto& limits = description["limits"];
  const Logits strict = run_case(folder, description, BRIM_NUMERICS_STRICT);
  CHECK(compare(strict, wanted, width).max_abs <= limits["exact"]["max_abs"].get<double>());
  CHECK(same_bits(run_case(folder, description, BRIM_NUMERICS_STRICT, true), strict));
  if (!limits.contains("quantised_activations")) return;
  const Errors fast = compare(run_case(folder, description, BRIM_NUMERICS_FAST), wanted, width);
  const auto& loose = limits["quantised_activations"];
  CHECK(fast.max_abs <= loose["max_abs"].get<double>());
  CHECK(fast.rel_rms <= loose["rel_rms"].get<double>());
  CHECK(fast.kl_max <= loose["kl_max"].get<double>());
  CHECK(fast.max_abs > 0);
}

// Folders of ../shared, a family a line.
constexpr const char* kCases[] = {
    "golden/llama",         "golden/llama3",         "golden/mixtral",      "golden/llama-linear",
    "golden/llama-yarn",    "golden/llama-f16",      "golden/llama-bf16",   "golden/llama-q8_0",
    "golden/llama-q4_0",    "golden/llama-q4_1",     "golden/llama-q5_0",   "golden/llama-q5_1",
    "golden/llama-q2_K",    "golden/llama-q3_K",     "golden/llama-q4_K",   "golden/llama-q5_K",
    "golden/llama-q6_K",    "golden/llama-q4_K_M",   "golden/llama-iq4_nl", "golden/llama-iq4_xs",
    "golden/llama-mxfp4",                                              //
    "golden/gemma",         "golden/gemma2",         "golden/gemma3",  //
    "golden/qwen2",         "golden/qwen3",          "golden/qwen3moe",     "golden/qwen3moe-q4_K",
    "golden/qwen3moe-q8_0",                                                //
    "golden/gpt-oss",       "golden/gpt-oss-f32",                          //
    "golden/qwen3next",     "golden/qwen35",         "golden2/qwen35moe",  //
    "golden/deepseek2",     "golden/deepseek2-lite",                       //
};

}  // namespace

TEST_CASE("golden cases are met within their limits, whole, split, interleaved, saved and restored") {
  if (!shared_is_there()) return;
  for (const std::string name : kCases) check_case(name);
}

TEST_CASE("stories260K writes its published text") {
  if (!shared_is_there()) return;
  std::string wanted = read_file(kShared + "/models/stories260K.expected.txt");
  wanted.pop_back();  // the final newline is not the model's
  Ready r(kShared + "/models/stories260K.gguf", request(512));
  r.session.create();
  const std::string text = r.session.generate({brim_token_special(r.model.get(), BRIM_TOKEN_BOS)}, 256);
  CHECK(text.substr(0, wanted.size()) == wanted);
}
