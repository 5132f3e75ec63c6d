// Model shapes against the sizes that files of these names have: table E2 of bytes, bytes read per token and KV, each
// worked out from a published file or configuration and not by this code.
#include <doctest/doctest.h>
#include <fmt/format.h>

#include <cmath>
#include <model/shapes.hpp>
#include <negotiator/plan.hpp>

#include "../support/failure.hpp"
#include "machine.hpp"

using namespace brim;
using namespace brim::negotiator;

namespace {

// GB: bytes of the file's tensors, and what decoding one token reads of them; KiB of F16 KV a token of context holds;
// MiB that layers with a window hold besides.
struct Row {
  const char* shape;
  double bytes, read, kv, window;
};
constexpr Row kTable[] = {
    {"llama-3-8b:q4_k_m", 4.913, 4.617, 128, 0},       {"llama-3-8b:q8_0", 8.533, 7.975, 128, 0},
    {"llama-3-8b:f16", 16.061, 15.010, 128, 0},        {"llama-3-70b:q4_k_m", 42.513, 41.922, 320, 0},
    {"llama-3-70b:q8_0", 74.967, 73.851, 320, 0},      {"llama-3-70b:f16", 141.110, 139.009, 320, 0},
    {"llama-3.1-405b:q4_0", 228.849, 227.667, 504, 0}, {"llama-3.1-405b:q4_k_m", 243.062, 241.880, 504, 0},
    {"llama-3.2-3b:q4_k_m", 2.012, 2.012, 112, 0},     {"llama-3.2-3b:q8_0", 3.414, 3.414, 112, 0},
    {"llama-2-7b:q4_0", 3.825, 3.751, 512, 0},         {"llama-2-7b:q4_k_m", 4.080, 4.007, 512, 0},
    {"llama-2-13b:q4_0", 7.365, 7.273, 800, 0},        {"llama-2-13b:q4_k_m", 7.865, 7.773, 800, 0},
    {"qwen2.5-7b:q6_k", 6.248, 5.801, 56, 0},          {"qwen2.5-7b:q8_0", 8.093, 7.514, 56, 0},
    {"qwen2.5-14b:q4_k_m", 8.982, 8.544, 192, 0},      {"qwen2.5-32b:q4_k_m", 19.845, 19.407, 256, 0},
    {"qwen2.5-32b:bf16", 65.530, 63.973, 256, 0},      {"qwen2.5-72b:q4_k_m", 47.410, 46.709, 320, 0},
    {"qwen3-8b:q4_k_m", 5.022, 4.672, 144, 0},         {"qwen3-14b:q4_k_m", 8.996, 8.558, 160, 0},
    {"qwen3-32b:q4_k_m", 19.756, 19.319, 256, 0},      {"qwen3-30b-a3b:q4_k_m", 18.551, 1.920, 96, 0},
    {"qwen3-30b-a3b:q8_0", 32.478, 3.270, 96, 0},      {"qwen3-235b-a22b:q4_k_m", 142.148, 13.087, 188, 0},
    {"gpt-oss-20b:mxfp4", 12.097, 2.575, 24, 3},       {"gpt-oss-120b:mxfp4", 63.374, 3.594, 36, 4.5},
    {"gemma-2-9b:q4_0", 5.437, 5.437, 168, 672},       {"gemma-2-9b:q4_k_m", 5.755, 5.755, 168, 672},
    {"gemma-3-4b:q4_0", 2.519, 2.519, 20, 116},        {"gemma-3-27b:q4_k_m", 16.540, 16.540, 80, 416},
    {"mistral-24b:q4_k_m", 14.326, 13.949, 160, 0},
};

// Parameters of every shape, from the public configurations.
struct Count {
  const char* shape;
  uint64_t parameters;
};
constexpr Count kParameters[] = {
    {"llama-3-8b", 8'030'261'248},   {"llama-3-70b", 70'553'706'496},   {"llama-3.1-405b", 405'853'388'800},
    {"llama-3.2-3b", 3'212'749'824}, {"llama-2-7b", 6'738'415'616},     {"llama-2-13b", 13'015'864'320},
    {"qwen2.5-7b", 7'615'616'512},   {"qwen2.5-14b", 14'770'033'664},   {"qwen2.5-32b", 32'763'876'352},
    {"qwen2.5-72b", 72'706'203'648}, {"qwen3-8b", 8'190'735'360},       {"qwen3-14b", 14'768'307'200},
    {"qwen3-32b", 32'762'123'264},   {"qwen3-30b-a3b", 30'532'122'624}, {"qwen3-235b-a22b", 235'093'634'560},
    {"gpt-oss-20b", 20'914'757'184}, {"gpt-oss-120b", 116'829'156'672}, {"gemma-2-9b", 9'241'705'984},
    {"gemma-3-4b", 3'880'099'328},   {"gemma-3-27b", 27'009'002'240},   {"mistral-24b", 23'572'403'200},
};

double off(double found, double expected) { return std::fabs(found / expected - 1); }

}  // namespace

TEST_CASE("every shape plans to the bytes that are published for files of its name") {
  const auto here = test::machine();
  Request request;
  request.n_ctx = 8192;
  request.unsafe_overcommit = true;  // sizes, whatever this machine holds
  for (const Row& row : kTable) {
    INFO(std::string(row.shape));
    const auto model = open_model(here, row.shape, "");
    CHECK(off(static_cast<double>(model->file.tensor_bytes()), row.bytes * 1e9) < 0.002);
    const auto plan = make_plan(model, request);
    CHECK(off(static_cast<double>(plan->bytes_per_token), row.read * 1e9) < 0.002);
    CHECK(plan->kv_bytes_per_token == static_cast<uint64_t>(row.kv * 1024));
    // What the declared windows hold, by the states that the architecture declares.
    uint64_t window = 0;
    for (const brim_state_desc& s : model->require_description().states) {
      window += uint64_t{2} * s.n_head * (s.k_width + s.v_width) * s.window;
    }
    CHECK(window == static_cast<uint64_t>(row.window * 1024 * 1024));
  }
}

TEST_CASE("every shape has as many parameters as its model") {
  REQUIRE(std::size(kParameters) == model::shape_names().size());
  for (const Count& count : kParameters) {
    const model::ModelFile file = model::make_shape(std::string(count.shape) + ":bf16");
    uint64_t parameters = 0;
    for (const model::Tensor& t : file.tensors()) parameters += t.shape.elements();
    INFO(std::string(count.shape));
    // The published counts leave biases and norms out here and there.
    CHECK(off(static_cast<double>(parameters), static_cast<double>(count.parameters)) < 0.0005);
  }
}

TEST_CASE("a shape is recognised by its name, and what is none says what there is") {
  CHECK(model::is_shape_name("llama-3-8b:q4_k_m"));
  for (const char* file :
       {"llama-3-8b", "C:/models/llama", "./llama-3-8b:q4_k_m", "C:\\models\\llama", "D:llama.gguf"}) {
    CHECK(!model::is_shape_name(file));
  }
  CHECK_FAILS(BRIM_INVALID_ARGUMENT, "Q4_K_M", model::make_shape("llama-3-8b:q4_k_x"));
  CHECK_FAILS(BRIM_NOT_FOUND, "llama-3-8b", model::make_shape("llama-9-8b:q4_k_m"));
}

TEST_CASE("a shape has no data to load") {
  const model::ModelFile file = model::make_shape("llama-3.2-3b:q8_0");
  CHECK(!file.has_data());
  CHECK_FAILS(BRIM_FAILED_PRECONDITION, "planned, not loaded", file.check_unchanged());
  CHECK_FAILS(BRIM_FAILED_PRECONDITION, "planned, not loaded", file.data(file.tensors()[0]));
}
