// Every call of the driver fails in turn while a model is loaded and run, once with an error that the device survives
// and once with one that ends its context: there is a typed error or the call was not needed, nothing is left behind,
// the process lives, and the next run on the same driver works.
#include "runs.hpp"

using namespace cuda_test;

namespace {

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

}  // namespace

TEST_CASE("whichever call of the driver fails, and how: a typed error, nothing left, and the next run works") {
  driver().configure("");
  REQUIRE(run() == BRIM_OK);
  const uint64_t n = driver().calls(nullptr);
  REQUIRE(n > 100);
  MESSAGE("calls of the driver in one run: " << n);
  uint64_t failed = 0, runs = 0;
  for (const std::string error : {"2", "719"}) {
    // Every other of those that open and load and of those that end it, the two errors in turns; of the many between,
    // which build graphs and poll, every so-manieth.
    for (uint64_t at = error == "2" ? 1 : 2; at <= n; at += at < 100 || at + 60 > n ? 2 : 62) {
      driver().configure(("fail=" + std::to_string(at) + ",error=" + error).c_str());
      const brim_status status = run();
      ++runs;
      failed += status != BRIM_OK ? 1 : 0;
      const bool typed = status == BRIM_OK || status == BRIM_OUT_OF_MEMORY || status == BRIM_DEVICE_LOST ||
                         status == BRIM_INTERNAL || status == BRIM_NOT_FOUND;
      CHECK_MESSAGE(typed, "call " << at << " fails with " << error << ": " << brim_status_name(status));
      CHECK_MESSAGE(driver().live() == 0,
                    "call " << at << " fails with " << error << ": " << driver().live() << " objects are left");
    }
  }
  CHECK(failed > runs / 3);  // many give things back, which cannot fail
  driver().configure("");
  CHECK(run() == BRIM_OK);
}
