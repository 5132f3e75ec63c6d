// The op suite: every op x dtype x shape x feature bit of the table against float64, in both numerics, on every backend
// plugin that the build tree holds, each CPU variant included that this processor runs. What a backend says it does not
// support is counted, not failed; that the CPU backend supports the whole table is a case of its own.
#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <loader/cpu_features.hpp>
#include <loader/loader.hpp>
#include <set>

#include "bench_of_one.hpp"
#include "cases.hpp"

using namespace op_suite;
using brim::loader::Loader;

namespace {

// One loader per set of CPU features, so that each variant of the CPU plugin gets its turn.
std::vector<std::unique_ptr<Loader>> loaders() {
  std::vector<std::unique_ptr<Loader>> all;
  const std::vector<std::string> here = brim::loader::detect_cpu_features();
  std::set<std::string> seen;
  for (size_t n = here.size() + 1; n-- > 0;) {
    brim::loader::Config config;
    config.directories = {BRIM_PLUGIN_FOLDER};
    config.team = brim::shared_team(2);
    config.cpu_features.assign(here.begin(), here.begin() + static_cast<std::ptrdiff_t>(n));
    auto loader = std::make_unique<Loader>(config);
    std::string taken;
    for (const auto& c : loader->candidates()) {
      if (c.status == brim::loader::Status::kTaken) taken += c.library + ';';
    }
    if (!loader->backends().empty() && seen.insert(taken).second) all.push_back(std::move(loader));
  }
  return all;
}

// Empty if the output is right.
std::string verdict(const Case& c, const Outcome& o, bool strict) {
  for (size_t i = 0; i < c.out.size(); ++i) {
    double squares = 0, off = 0;
    for (size_t k = 0; k < c.out[i].exact.size(); ++k) {
      const double want = c.out[i].exact[k], got = o.outputs[i][k];
      if (std::isnan(want) && std::isnan(got)) continue;
      if (want == got) continue;
      const double scale = i == 0 && !c.scale.empty() ? c.scale[k] : std::fabs(want);
      const double distance = std::fabs(want - got);
      squares += want * want;
      off += distance * distance;
      const bool judged_by_element = strict || c.fast_rms == 0 || c.out[i].dtype == BRIM_DTYPE_I32;
      if (judged_by_element && !(distance <= c.limit * scale + 1e-44)) {
        return "output " + std::to_string(i) + "[" + std::to_string(k) + "] is " + std::to_string(got) + ", exactly " +
               std::to_string(want) + ", off by " + std::to_string(distance / (c.limit * scale)) + " limits";
      }
      if (!std::isfinite(got) && std::isfinite(want)) return "output " + std::to_string(i) + " is not finite";
    }
    double all = 0;
    for (const double want : c.out[i].exact) all += std::isfinite(want) ? want * want : 0;
    if (!strict && c.fast_rms > 0 && c.out[i].exact.size() > 8 && std::sqrt(off / all) > c.fast_rms) {
      return "RMS-relative error " + std::to_string(std::sqrt(off / all)) + " exceeds " + std::to_string(c.fast_rms);
    }
  }
  return {};
}

}  // namespace

TEST_CASE("every op agrees with float64 on every backend, strictly and fast") {
  const std::vector<Case> cases = all_cases();
  const auto all = loaders();
  REQUIRE_MESSAGE(!all.empty(), "no backend plugin in " BRIM_PLUGIN_FOLDER);
  for (const auto& loader : all) {
    for (const auto& backend : loader->backends()) {
      brim_error error{};
      error.struct_size = sizeof(error);
      brim_device* device = nullptr;
      REQUIRE_MESSAGE(backend->api.device_open(backend->plugin->instance(), 0, &device, &error) == BRIM_OK,
                      error.message);
      brim_device_info info{};
      info.struct_size = sizeof(info);
      REQUIRE(backend->api.device_info(device, &info, &error) == BRIM_OK);
      const std::string driver(info.driver.ptr, info.driver.len);
      for (const uint32_t numerics : {BRIM_NUMERICS_STRICT, BRIM_NUMERICS_FAST}) {
        size_t ran = 0, unsupported = 0;
        for (const Case& c : cases) {
          const Outcome o = run_case(*backend, device, numerics, c);
          const bool strict = numerics == BRIM_NUMERICS_STRICT;
          CAPTURE(driver);
          CAPTURE(strict);
          CAPTURE(c.name);
          CHECK_MESSAGE(o.error.empty(), o.error);
          if (!o.unsupported.empty()) {
            ++unsupported;
            if (backend->plugin->id() == "brim.cpu") FAIL_CHECK(o.unsupported);  // the fallback of all takes everything
          } else if (o.error.empty()) {
            ++ran;
            const std::string wrong = verdict(c, o, strict);
            CHECK_MESSAGE(wrong.empty(), wrong);
          }
        }
        const std::string mode = numerics == BRIM_NUMERICS_STRICT ? "strict" : "fast";
        MESSAGE(driver << ", " << mode << ": " << ran << " cases ran, " << unsupported << " unsupported");
      }
      backend->api.device_close(device);
    }
  }
}
