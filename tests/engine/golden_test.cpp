// Reference outputs of other programs: cases of ../shared/golden through the C ABI, and the published text of
// stories260K.
#include <cmath>
#include <filesystem>
#include <fstream>

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

// Every run of a case; rows in the order in which the case stores them.
Logits run_case(const std::string& folder, const nlohmann::json& description, uint32_t numerics) {
  brim_plan_request r = request(256, 2);
  r.numerics = numerics;
  r.kv_dtype = BRIM_DTYPE_F32;
  Ready ready(folder + "/model.gguf", r);
  Logits all;
  for (const auto& run : description["runs"]) {
    Session session(ready.model);
    session.create();
    session.create();
    for (const auto& batch : run["batches"]) {
      std::vector<brim_row> step;
      for (size_t i = 0; i < batch["tokens"].size(); ++i) {
        step.push_back(row(batch["tokens"][i], batch["seq"][i], batch["out"][i] == 1));
      }
      for (const Logits& l : session.run(step)) all.insert(all.end(), l.begin(), l.end());
    }
  }
  return all;
}

}  // namespace

TEST_CASE("golden cases are met within their limits, exactly in strict and closely in fast numerics") {
  if (!shared_is_there()) return;
  for (const std::string name : {"llama", "llama3", "mixtral", "llama-q8_0", "llama-q4_K"}) {
    CAPTURE(name);
    const std::string folder = kShared + "/golden/" + name;
    const auto description = nlohmann::json::parse(read_file(folder + "/case.json"));
    const std::string bytes = read_file(folder + "/logits.bin");
    Logits wanted(bytes.size() / sizeof(float));
    std::memcpy(wanted.data(), bytes.data(), bytes.size());
    const size_t width = description["width"];
    const auto& limits = description["limits"];
    CHECK(compare(run_case(folder, description, BRIM_NUMERICS_STRICT), wanted, width).max_abs <=
          limits["exact"]["max_abs"].get<double>());
    if (!limits.contains("quantised_activations")) continue;
    const Errors fast = compare(run_case(folder, description, BRIM_NUMERICS_FAST), wanted, width);
    const auto& loose = limits["quantised_activations"];
    CHECK(fast.max_abs <= loose["max_abs"].get<double>());
    CHECK(fast.rel_rms <= loose["rel_rms"].get<double>());
    CHECK(fast.kl_max <= loose["kl_max"].get<double>());
    CHECK(fast.max_abs > 0);
  }
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
