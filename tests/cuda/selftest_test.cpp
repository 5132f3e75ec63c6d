// `brim selftest` on the CUDA device of the test driver, as the owner of a GPU runs it; and the file that it writes,
// read as a description of the machine.
#include <doctest/doctest.h>
#include <stdlib.h>

#include <nlohmann/json.hpp>

#include "../cli/command.hpp"
#include "../support/temp_folder.hpp"

using namespace brim::test;

namespace {

bool has(const std::string& text, const std::string& part) { return text.find(part) != std::string::npos; }

}  // namespace

TEST_CASE(
    "selftest holds ops, programs and memory of the device and a model whole, and its file describes the machine") {
  const TempFolder folder;
  tiny_model(Head::kRandom).write(folder / "tiny.gguf");
  const std::string model = quote(folder / "tiny.gguf"), report = quote(folder / "here.toml");
  const Outcome outcome = brim_command(
      "selftest --device 'Test CUDA' --set backend.cuda.driver=" + quote(BRIM_TEST_DRIVER) +
      " --group buffers.bandwidth,buffers.import,ops.rms-norm,programs.measured,programs.subset --checker " +
      quote(BRIM_BINARY_DIR "/bin/brim-check") + " --save " + report + " " + model);
  INFO(outcome.out);
  CHECK(outcome.code == 0);
  CHECK(has(outcome.out, "selftest of Test CUDA device (gb10): brim.cuda, CUDA 13.0, sm_121"));
  CHECK(has(outcome.out, "reads the host's in place"));  // what the trial at the device's opening found
  CHECK(has(outcome.out, "copies from heap 0 to heap 0 "));
  CHECK(has(outcome.out, "0 skipped"));
  CHECK(has(outcome.out, "strict numerics: logits differ"));
  CHECK(has(outcome.out, "fast numerics: logits differ"));
  CHECK(has(outcome.out, "the selftest passed"));

  // The processors' limits and threads are not the device's, and nothing is known of its memory's speed.
  const std::string bench = "bench -p 4 -n 4 -r 1 --device cuda --set backend.cuda.driver=" + quote(BRIM_TEST_DRIVER);
  const auto json = nlohmann::json::parse(brim_command(bench + " -o json " + model).out);
  CHECK(json.at("backend") == "brim.cuda");
  CHECK(json.at("decode_tps") > 0.0);
  for (const char* key : {"threads", "bandwidth_gbs", "bandwidth_pattern", "bandwidth_used", "peak_integer_gmacs",
                          "peak_float_gmacs", "peak_bfloat_gmacs"})
    CHECK_MESSAGE(json.at(key).is_null(), key);
  const std::string table = brim_command(bench + " " + model).out;
  CHECK(has(table, "brim.cuda        -   tg4"));
  CHECK_FALSE(has(table, "GB/s"));
  CHECK_FALSE(has(table, "GMAC/s"));

  setenv("BRIM_TEST_CUDA", "class=discrete", 1);  // which says what its memory is
  CHECK(has(brim_command(bench + " " + model).out, " of 1792.1 GB/s (data sheet), "));

  // Without the driver, as somebody sees it who gets the file.
  const Outcome plan = brim_command("plan " + model + " --on " + report + " --device 'Test CUDA'");
  INFO(plan.out);
  CHECK(plan.code == 0);
  CHECK(has(plan.out, "on Test CUDA device (gb10)"));
  const auto machine = nlohmann::json::parse(brim_command("devices -o json --on " + report).out);
  CHECK(machine.at("pools").size() == 1);
}
