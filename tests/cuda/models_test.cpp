// A whole model on the CUDA device, through the C ABI: the model that the repository ships, against the CPU backend,
// and what a step costs in calls of the driver.
#include <filesystem>

#include "runs.hpp"

using namespace cuda_test;

namespace {

double relative(const std::vector<float>& got, const std::vector<float>& wanted) {
  REQUIRE(got.size() == wanted.size());
  double off = 0, all = 0;
  for (size_t i = 0; i < got.size(); ++i) {
    off += (double(got[i]) - wanted[i]) * (double(got[i]) - wanted[i]);
    all += double(wanted[i]) * wanted[i];
  }
  return std::sqrt(off / all);
}

std::vector<float> logits(Where where, const Settings& settings, const char* driver_options = "") {
  driver().configure(driver_options);
  std::vector<float> all;
  {
    Loaded loaded(where, settings);
    all = loaded.prefill(13);
    for (int i = 0; i < 3; ++i) {
      const auto row = loaded.decode();
      all.insert(all.end(), row.begin(), row.end());
    }
  }
  CHECK(driver().live() == 0);
  return all;
}

}  // namespace

TEST_CASE("strict logits are the CPU backend's, whole and split over the two") {
  const auto cpu = logits(Where::kCpu, {});
  const auto cuda = logits(Where::kCuda, {});
  CHECK(relative(cuda, cpu) < 1e-5);
  CHECK(relative(logits(Where::kSplit, {}), cpu) < 1e-5);
  // Work that nothing orders gives the same bits in the reverse order: blocks, warps, kernels of one level, streams.
  CHECK(logits(Where::kCuda, {}, "reversed=1") == cuda);
  // And where weights are read past the system's cache, as on GB10, or in the mapped file.
  CHECK(logits(Where::kCuda, {}, "class=gb10") == cuda);
  CHECK(logits(Where::kCuda, {{"load.io", "map"}}, "class=gb10") == cuda);
  CHECK(logits(Where::kCuda, {{"plan.kv_dtype", "f16"}}) != cuda);
  CHECK(relative(logits(Where::kCuda, {{"plan.kv_dtype", "f16"}}), cuda) < 2e-3);
}

TEST_CASE("fast logits cost what 8-bit activations cost, whatever runs first") {
  const auto fast = [](const char* driver_options) {
    return logits(Where::kCuda, {{"plan.numerics", "fast"}, {"plan.kv_dtype", "f32"}}, driver_options);
  };
  const auto exact = logits(Where::kCuda, {}), bytes = fast("");
  CHECK(relative(bytes, exact) < 6e-3);
  CHECK(relative(bytes, exact) > 0);
  CHECK(fast("reversed=1") == bytes);
}

TEST_CASE("weights lie in device memory in every class of machine, and in the file where that is asked for and works") {
  constexpr const char* kFile = BRIM_SOURCE_DIR "/samples/models/brim-austen.gguf";
  const uint64_t weights = std::filesystem::file_size(kFile) - (1 << 20);  // metadata and vocabulary are less
  for (const std::string name : {"gb10", "gh200", "jetson", "discrete", "discrete-hmm", "windows"}) {
    INFO(name);
    const bool in_place = name == "gb10" || name == "gh200";
    for (const bool map : {false, true}) {
      driver().configure(("class=" + name).c_str());
      try {
        const Loaded loaded(Where::kCuda, {{"load.io", map ? "map" : "auto"}});
        CHECK((in_place || !map));
        CHECK((driver().most_bytes(0) > weights) == !map);
        CHECK(driver().most_bytes(1) <
              36 << 20);  // what the host writes and reads, and pieces of the file on their way
      } catch (const brim::Failure& failure) {
        CHECK(failure.code() == BRIM_UNSUPPORTED);
        CHECK((map && !in_place));
      }
    }
  }
}

TEST_CASE("a table of which steps read single rows stays in the file where the device reads that in place") {
  constexpr const char* kFile = BRIM_SHARED_DIR "/golden/llama/model.gguf";  // its output is another tensor
  if (!std::filesystem::exists(kFile)) {
    MESSAGE("skipped: " << kFile << " is missing");
    return;
  }
  const auto bytes = [&](const char* machine, const char* io) {
    driver().configure(machine);
    const Loaded loaded(Where::kCuda, {{"load.io", io}}, kFile);
    return driver().most_bytes(0);
  };
  CHECK(bytes("class=gb10", "auto") < bytes("class=gb10", "read"));
  CHECK(bytes("class=gb10", "map") < bytes("class=gb10", "auto"));
  CHECK(bytes("class=discrete", "auto") == bytes("class=discrete", "read"));
  CHECK(bytes("class=gb10,host=stale", "auto") == bytes("class=gb10", "read"));
}

TEST_CASE("a decode step is one graph launch, no allocation, and no synchronisation but the last") {
  for (const char* numerics : {"strict", "fast"}) {
    INFO(numerics);
    driver().configure("");
    Loaded loaded(Where::kCuda, {{"plan.numerics", numerics}});
    loaded.prefill(5);
    loaded.decode();  // makes the program of its bucket
    const std::vector<const char*> allocating = {"cuMemAlloc_v2",   "cuMemHostAlloc", "cuEventCreate",
                                                 "cuStreamCreate",  "cuGraphCreate",  "cuGraphInstantiateWithFlags",
                                                 "cuModuleLoadData"};
    const std::vector<const char*> waiting = {"cuStreamSynchronize", "cuCtxSynchronize", "cuEventSynchronize"};
    const auto count = [](const std::vector<const char*>& functions) {
      uint64_t n = 0;
      for (const char* f : functions) n += driver().calls(f);
      return n;
    };
    const uint64_t launches = driver().calls("cuGraphLaunch"), allocations = count(allocating), waits = count(waiting);
    const uint64_t copies = driver().calls("cuMemcpyAsync");
    constexpr uint64_t kSteps = 4;
    for (uint64_t i = 0; i < kSteps; ++i) loaded.decode();
    CHECK(driver().calls("cuGraphLaunch") - launches == kSteps);
    CHECK(count(allocating) == allocations);
    CHECK(count(waiting) - waits <= kSteps);
    CHECK(driver().calls("cuMemcpyAsync") == copies);
  }
}
