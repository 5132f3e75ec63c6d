#include <doctest/doctest.h>

#include <cmath>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <limits>
#include <model/model_file.hpp>
#include <model/quantize/codec.hpp>
#include <model/quantize/quantize.hpp>
#include <random>

#include "../support/failure.hpp"
#include "../support/gguf_builder.hpp"
#include "../support/temp_folder.hpp"

using namespace brim::model;
using brim::test::GgufBuilder;
using brim::test::TempFolder;
namespace fs = std::filesystem;

namespace {

std::vector<float> weights(size_t count, unsigned seed) {
  std::mt19937 random(seed);
  std::vector<float> out(count);
  for (float& x : out) x = static_cast<float>((static_cast<uint32_t>(random()) * 0x1p-32 - 0.5) * 0.2);
  return out;
}

// Two layers, rows of 512 and of 96.
GgufBuilder model() {
  GgufBuilder b;
  b.set("general.architecture", "tiny").set("general.name", "Tiny").set("general.file_type", uint32_t{0});
  b.set("tiny.block_count", uint32_t{2}).set("tiny.attention.head_count", uint16_t{4}).set("flag", true);
  b.set("tokens", std::vector<std::string>{"a", "b"});
  b.f32("token_embd.weight", {40, 512}, weights(40 * 512, 1)).f32("output_norm.weight", {512}, weights(512, 2));
  for (unsigned i = 0; i < 2; ++i) {
    b.f32(fmt::format("blk.{}.attn_q.weight", i), {64, 512}, weights(64 * 512, 10 + i));
    b.f32(fmt::format("blk.{}.ffn_down.weight", i), {512, 96}, weights(512 * 96, 20 + i));
    b.f32(fmt::format("blk.{}.ffn_gate_inp.weight", i), {8, 512}, weights(8 * 512, 30 + i));
  }
  b.tensor("ids", {3}, 26, std::vector<int32_t>{1, 2, 3});
  return b;
}

std::vector<float> values(const ModelFile& m, std::string_view name) {
  const Tensor& tensor = m.require(name);
  std::vector<float> out(tensor.shape.elements());
  decode(tensor.dtype, m.data(tensor).data(), out.data(), out.size());
  return out;
}

double relative_error(const std::vector<float>& x, const std::vector<float>& y) {
  double error = 0, size = 0;
  for (size_t i = 0; i < x.size(); ++i) {
    error += (double(x[i]) - y[i]) * (double(x[i]) - y[i]);
    size += double(x[i]) * x[i];
  }
  return std::sqrt(error / size);
}

std::string slurp(const std::string& path) {
  std::ifstream in(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(in), {}};
}

size_t files_in(const TempFolder& folder) {
  return static_cast<size_t>(std::distance(fs::directory_iterator(folder.path()), fs::directory_iterator()));
}

}  // namespace

TEST_CASE("a quantised file has the recipe's types, the same keys, and values near the original's") {
  TempFolder folder;
  const std::string in = folder / "in.gguf", out = folder / "out.gguf";
  model().write(in);
  const QuantizeResult result = quantize_file(in, out, "q4_k_m");
  const ModelFile before = ModelFile::open(in), after = ModelFile::open(out);

  CHECK(after.type_name() == "Q4_K_M");
  CHECK(after.metadata().u64("general.quantization_version") == 2);
  CHECK(after.metadata().string("general.name") == "Tiny");
  CHECK(after.metadata().strings("tokens")->size() == 2);
  CHECK(after.metadata().boolean("flag") == true);
  CHECK(after.metadata().keys().size() == before.metadata().keys().size() + 1);

  CHECK(after.require("token_embd.weight").type_name == "q6_K");  // tied: used as the output
  CHECK(after.require("blk.0.attn_q.weight").type_name == "q4_K");
  CHECK(after.require("blk.0.ffn_gate_inp.weight").type_name == "f32");
  CHECK(after.require("ids").type_name == "i32");
  REQUIRE(after.tensors().size() == before.tensors().size());
  for (const Tensor& tensor : before.tensors()) {
    CAPTURE(tensor.name);
    const Tensor& now = after.require(tensor.name);
    CHECK(now.shape == tensor.shape);
    if (now.dtype == tensor.dtype) {
      CHECK(std::memcmp(before.data(tensor).data(), after.data(now).data(), tensor.bytes) == 0);
    } else {
      CHECK(relative_error(values(before, tensor.name), values(after, tensor.name)) < 0.08);
    }
  }
  // ffn_down's rows of 96 fall back: Q4_K's substitute in one layer, Q6_K's in the other.
  CHECK(after.require("blk.0.ffn_down.weight").type_name == "q5_0");
  CHECK(after.require("blk.1.ffn_down.weight").type_name == "q8_0");
  CHECK(result.fell_back == 2);
  CHECK(result.quantized == 5);
  CHECK(result.copied == 4);
  CHECK(result.bytes_in == fs::file_size(in));
  CHECK(result.bytes_out == fs::file_size(out));
  CHECK(files_in(folder) == 2);
}

TEST_CASE("the output does not depend on the number of threads") {
  TempFolder folder;
  GgufBuilder b = model();
  b.f32("blk.0.big.weight", {1000, 512}, weights(1000 * 512, 99));
  b.write(folder / "in.gguf");
  QuantizeOptions options;
  options.threads = 1;
  quantize_file(folder / "in.gguf", folder / "one.gguf", "Q5_K_S", options);
  options.threads = 7;
  quantize_file(folder / "in.gguf", folder / "seven.gguf", "Q5_K_S", options);
  CHECK(slurp(folder / "one.gguf") == slurp(folder / "seven.gguf"));
}

TEST_CASE("every recipe makes a file that opens, from F32 and from each other's output") {
  TempFolder folder;
  model().write(folder / "f32.gguf");
  for (const char* recipe : {"F16", "BF16", "Q8_0", "Q6_K", "Q5_K", "Q5_1", "Q5_0", "Q4_K", "Q4_1", "Q4_0", "IQ4_NL",
                             "IQ4_XS", "MXFP4", "Q3_K_L", "Q3_K_M", "Q3_K_S", "Q2_K", "Q2_K_S"}) {
    CAPTURE(recipe);
    quantize_file(folder / "f32.gguf", folder / "out.gguf", recipe);
    const ModelFile m = ModelFile::open(folder / "out.gguf");
    CHECK(relative_error(weights(64 * 512, 10), values(m, "blk.0.attn_q.weight")) < 0.3);
    quantize_file(folder / "out.gguf", folder / "again.gguf", "F32");
    const ModelFile again = ModelFile::open(folder / "again.gguf");
    CHECK(again.require("blk.0.attn_q.weight").type_name == "f32");
    CHECK(values(again, "blk.0.attn_q.weight") == values(m, "blk.0.attn_q.weight"));
  }
}

TEST_CASE("a split model becomes one file") {
  TempFolder folder;
  GgufBuilder first, second;
  first.set("general.architecture", "tiny").set("split.no", uint16_t{0}).set("split.count", uint16_t{2});
  first.set("split.tensors.count", int32_t{2})
      .f32("a.weight", {4, 256}, weights(1024, 1))
      .write(folder / "m-00001-of-00002.gguf");
  second.set("split.no", uint16_t{1}).set("split.count", uint16_t{2});
  second.f32("b.weight", {4, 256}, weights(1024, 2)).write(folder / "m-00002-of-00002.gguf");
  quantize_file(folder / "m-00002-of-00002.gguf", folder / "out.gguf", "Q8_0");
  const ModelFile m = ModelFile::open(folder / "out.gguf");
  CHECK(m.file_count() == 1);
  CHECK(m.tensors().size() == 2);
  CHECK_FALSE(m.metadata().has("split.count"));
  CHECK(relative_error(weights(1024, 2), values(m, "b.weight")) < 0.01);
}

TEST_CASE("the input's alignment is kept") {
  TempFolder folder;
  GgufBuilder b;
  b.alignment = 128;
  b.set("general.alignment", uint32_t{128})
      .f32("a.weight", {3, 32}, weights(96, 1))
      .f32("b.weight", {3, 32}, weights(96, 2));
  b.write(folder / "in.gguf");
  quantize_file(folder / "in.gguf", folder / "out.gguf", "Q8_0");
  const ModelFile m = ModelFile::open(folder / "out.gguf");
  CHECK(m.require("b.weight").offset % 128 == 0);
  CHECK(m.file_bytes() % 128 == 0);
}

TEST_CASE("a tensor of an unusable type is copied where it may be and refused where it must change") {
  TempFolder folder;
  GgufBuilder keep, change, unknown;
  keep.tensor("x_norm.weight", {256}, 16, std::vector<char>(66, 'k')).write(folder / "keep.gguf");
  quantize_file(folder / "keep.gguf", folder / "out.gguf", "Q8_0");
  CHECK(ModelFile::open(folder / "out.gguf").find("x_norm.weight")->type_name == "iq2_xxs");
  change.tensor("x.weight", {2, 256}, 16, std::vector<char>(132)).write(folder / "change.gguf");
  CHECK_FAILS(BRIM_UNSUPPORTED, "tensor 'x.weight' is stored as iq2_xxs",
              quantize_file(folder / "change.gguf", folder / "no.gguf", "Q8_0"));
  unknown.tensor("x_norm.weight", {256}, 777, std::vector<char>(66)).write(folder / "unknown.gguf");
  CHECK_FAILS(BRIM_UNSUPPORTED, "ggml type 777", quantize_file(folder / "unknown.gguf", folder / "no.gguf", "Q8_0"));
  CHECK_FALSE(fs::exists(folder / "no.gguf"));
}

TEST_CASE("nothing is left of a quantisation that fails or is cancelled, and an older output stays") {
  TempFolder folder;
  const std::string in = folder / "in.gguf", out = folder / "out.gguf";
  model().write(in);
  GgufBuilder::write_bytes(out, "older");
  std::atomic<uint32_t> cancel{0};
  QuantizeOptions options;
  options.cancel = &cancel;
  size_t calls = 0;

  SUBCASE("cancelled from the progress callback") {
    options.progress = [&](const QuantizeProgress& p) {
      CHECK(p.tensor == calls++);
      CHECK(p.tensors == 9);
      CHECK(p.bytes_done <= p.bytes_total);
      cancel = p.tensor == 3;
    };
    CHECK_FAILS(BRIM_CANCELLED, "was cancelled", quantize_file(in, out, "Q8_0", options));
    CHECK(calls == 4);
  }
  SUBCASE("the callback throws") {
    options.progress = [](const QuantizeProgress& p) {
      if (p.tensor == 2) brim::fail(BRIM_INTERNAL, "host's own");
    };
    CHECK_FAILS(BRIM_INTERNAL, "host's own", quantize_file(in, out, "Q8_0", options));
  }
  SUBCASE("a weight that is no number") {
    auto bad = weights(64 * 512, 5);
    bad[33000 - 512] = std::numeric_limits<float>::quiet_NaN();
    GgufBuilder b;
    b.f32("fine.weight", {64, 512}, weights(64 * 512, 4)).f32("bad.weight", {64, 512}, bad).write(in);
    CHECK_FAILS(BRIM_DATA_CORRUPT, "tensor 'bad.weight' has nan at element 32488",
                quantize_file(in, out, "Q4_0", options));
  }
  SUBCASE("into itself") { CHECK_FAILS(BRIM_INVALID_ARGUMENT, "into itself", quantize_file(in, in, "Q8_0", options)); }
  SUBCASE("an unknown recipe") {
    CHECK_FAILS(BRIM_INVALID_ARGUMENT, "use one of", quantize_file(in, out, "Q11", options));
  }
  CHECK(slurp(out) == "older");
  CHECK(files_in(folder) == 2);
}
