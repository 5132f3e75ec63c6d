// What people call devices by, on a machine that has each kind of ambiguity: one card behind two backends, and two
// alike.
#include <doctest/doctest.h>

#include <brim/find_device.hpp>

using brim::ListedDevice;

namespace {

const std::vector<ListedDevice> kOneCard = {{"Intel(R) Xeon(R) Processor", "brim.cpu"},
                                            {"NVIDIA H200", "brim.cuda"},
                                            {"NVIDIA H200", "brim.vulkan"},
                                            {"Acme CPU-like unit", "acme.npu"}};
const std::vector<ListedDevice> kTwoCards = {
    {"AMD EPYC", "brim.cpu"}, {"NVIDIA GeForce RTX 3090", "brim.cuda"}, {"NVIDIA GeForce RTX 3090", "brim.cuda"}};

std::string refusal(const std::vector<ListedDevice>& devices, std::string_view wanted) {
  std::string why;
  CHECK_FALSE(brim::find_device(devices, wanted, why).has_value());
  return why;
}

std::optional<uint32_t> found(std::string_view wanted, const std::vector<ListedDevice>& devices = kOneCard) {
  std::string why;
  return brim::find_device(devices, wanted, why);
}

}  // namespace

TEST_CASE("a device is called by its number, its backend's id, or a part of its name") {
  CHECK(found("2") == 2u);
  for (const char* id : {"cuda", "brim.cuda", "CUDA"}) CHECK(found(id) == 1u);
  CHECK(found("vulkan") == 2u);
  CHECK(found("acme.npu") == 3u);
  CHECK(found("xeon") == 0u);
  CHECK(found("cpu") == 0u);  // the backend, though another device has the word in its name
  CHECK(found("epyc", kTwoCards) == 0u);
}

TEST_CASE("what fits several devices is refused with their numbers, and what fits none with all there are") {
  CHECK(refusal(kTwoCards, "cuda") ==
        "several devices fit, say which by its number: 1: NVIDIA GeForce RTX 3090 (brim.cuda), 2: NVIDIA GeForce RTX "
        "3090 (brim.cuda)");
  CHECK(refusal(kOneCard, "h200") ==
        "several devices fit, say which by its number: 1: NVIDIA H200 (brim.cuda), 2: NVIDIA H200 (brim.vulkan)");
  for (const char* wanted : {"4", "npu", "brim.", "cud", ""}) {
    const std::string why = refusal(kOneCard, wanted);
    CHECK(why.starts_with(
        "no device of that number, backend or name; there are: 0: Intel(R) Xeon(R) Processor (brim.cpu)"));
    CHECK(why.ends_with("3: Acme CPU-like unit (acme.npu)"));
  }
}
