// Calls of the driver fail in turn while a model is loaded and run, with an error that the device survives or with one
// that ends its context: there is a typed error or the call was not needed, nothing is left behind, the process lives,
// a model on another device goes on, and the next run on the same driver works.
#include <set>

#include "runs.hpp"

using namespace cuda_test;

namespace {

const std::string kMachine = "class=gb10,";  // on which host memory is tried, too

// The status of a whole run, from opening plugins to the last step.
brim_status run() {
  try {
    Loaded loaded(Where::kCuda, {});
    loaded.prefill(2);
    loaded.decode();
    return BRIM_OK;
  } catch (const brim::Failure& failure) {
    CHECK(std::string(failure.what()) != "");
    return failure.code();
  } catch (const NoDevice&) {
    return BRIM_NOT_FOUND;
  }
}

// A model on the processors, in a runtime of its own, that goes on all the while: its next logits are those of one that
// nobody disturbs. Before its context is full another one takes its place.
bool neighbour_goes_on() {
  static const std::vector<std::vector<float>> undisturbed = [] {
    Loaded alone(Where::kCpu, {{"backend.cuda.driver", "none"}});
    std::vector<std::vector<float>> logits;
    for (int i = 0; i < 48; ++i) logits.push_back(alone.decode());
    return logits;
  }();
  static std::optional<Loaded> model;
  static size_t step = 0;
  if (step % undisturbed.size() == 0) model.emplace(Where::kCpu, Settings{{"backend.cuda.driver", "none"}});
  return model->decode() == undisturbed[step++ % undisturbed.size()];
}

// True if a run failed whose options these are.
bool fails(const std::string& options) {
  REQUIRE(neighbour_goes_on());
  driver().configure((kMachine + options).c_str());
  const brim_status status = run();
  CHECK_MESSAGE(neighbour_goes_on(), options << ": the model on the processors computes otherwise");
  const bool typed = status == BRIM_OK || status == BRIM_OUT_OF_MEMORY || status == BRIM_DEVICE_LOST ||
                     status == BRIM_INTERNAL || status == BRIM_NOT_FOUND;
  CHECK_MESSAGE(typed, options << ": " << brim_status_name(status));
  CHECK_MESSAGE(driver().live() == 0, options << ": " << driver().live() << " objects are left");
  return status != BRIM_OK;
}

uint64_t calls_of_a_run() {
  driver().configure((kMachine + "fail=0").c_str());
  REQUIRE(run() == BRIM_OK);
  return driver().calls(nullptr);
}

}  // namespace

TEST_CASE("whichever function of the driver fails, at first, midway or last: typed, nothing left, the next run works") {
  REQUIRE(calls_of_a_run() > 100);
  std::vector<std::pair<std::string, uint64_t>> functions;
  for (uint32_t i = 0; const char* name = driver().called(i); ++i) functions.emplace_back(name, driver().calls(name));
  REQUIRE(functions.size() > 30);
  const char* const errors[] = {"2", "719"};  // which the device survives, and which ends its context
  uint64_t failed = 0, runs = 0;
  for (const auto& [name, n] : functions) {
    for (const uint64_t at : std::set<uint64_t>{std::min<uint64_t>(n, 1), n / 2, n}) {
      if (at == 0) continue;
      failed += fails("of=" + name + ",fail=" + std::to_string(at) + ",error=" + errors[runs % 2]) ? 1 : 0;
      ++runs;
    }
  }
  MESSAGE(runs << " runs, of which " << failed << " failed");
  CHECK(failed > runs / 3);  // many give things back, which cannot fail
  CHECK(!fails("fail=0"));
}

// Minutes, so of the full tier: --no-skip.
TEST_CASE("the same for every call and both errors" * doctest::skip()) {
  const uint64_t n = calls_of_a_run();
  MESSAGE(n << " calls of a run, each with two errors");
  for (const char* error : {"2", "719"}) {
    for (uint64_t at = 1; at <= n; ++at) fails("fail=" + std::to_string(at) + ",error=" + error);
  }
  CHECK(!fails("fail=0"));
}
