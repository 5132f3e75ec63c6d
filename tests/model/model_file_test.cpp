#include <doctest/doctest.h>

#include <algorithm>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <model/model_file.hpp>

#include "../support/failure.hpp"
#include "../support/gguf_builder.hpp"
#include "../support/temp_folder.hpp"

using brim::model::ModelFile;
using brim::test::GgufBuilder;
using brim::test::TempFolder;
namespace fs = std::filesystem;

namespace {

fs::path native(const std::string& path) { return fs::path(std::u8string(path.begin(), path.end())); }

std::vector<float> floats(std::span<const std::byte> bytes) {
  std::vector<float> out(bytes.size() / 4);
  std::memcpy(out.data(), bytes.data(), bytes.size());
  return out;
}

// Part `part` of 3: one tensor each, the keys in the first.
GgufBuilder part_of_three(uint16_t part) {
  GgufBuilder b;
  if (part == 0) b.set("general.architecture", "llama").set("split.tensors.count", int32_t{3});
  b.set("split.no", part).set("split.count", uint16_t{3});
  b.f32(fmt::format("t{}", part), {2}, {float(part), 10.f + float(part)});
  return b;
}

void write_three(const TempFolder& folder) {
  for (uint16_t i = 0; i < 3; ++i) {
    part_of_three(i).write(folder.path() / fmt::format("m-0000{}-of-00003.gguf", i + 1));
  }
}

}  // namespace

TEST_CASE("a model gives its keys, its tensors and their bytes, mapped or read") {
  TempFolder folder;
  const std::string path = folder / "m.gguf";
  GgufBuilder()
      .set("general.architecture", "llama")
      .f32("a", {2, 2}, {1, 2, 3, 4})
      .f32("b", {3}, {5, 6, 7})
      .write(native(path));
  const ModelFile m = ModelFile::open(path);
  CHECK(m.path() == path);
  CHECK(m.metadata().string("general.architecture") == "llama");
  CHECK(m.tensors().size() == 2);
  CHECK(m.file_count() == 1);
  CHECK(m.file_bytes() == fs::file_size(native(path)));
  CHECK(m.tensor_bytes() == 28);
  CHECK(m.find("c") == nullptr);
  const auto& b = m.require("b");
  CHECK(floats(m.data(b)) == std::vector<float>{5, 6, 7});
  std::vector<std::byte> part(8);
  m.read(b, 4, part);
  CHECK(floats(part) == std::vector<float>{6, 7});
  CHECK_FAILS(BRIM_INVALID_ARGUMENT, "cannot read 8 bytes at 5 of tensor 'b', which has 12", m.read(b, 5, part));
  CHECK_FAILS(BRIM_NOT_FOUND, "m.gguf: tensor 'c' is missing", m.require("c"));
  m.advise(b, brim::os::Access::kWillNeed);
  m.release(b);
  CHECK(floats(m.data(b)) == std::vector<float>{5, 6, 7});
  m.check_unchanged();
}

TEST_CASE("views into a model outlive its moves") {
  TempFolder folder;
  GgufBuilder().set("k", "value").f32("a", {1}, {9}).write(folder.path() / "m.gguf");
  ModelFile first = ModelFile::open(folder / "m.gguf");
  const auto* tensor = first.find("a");
  const ModelFile second = std::move(first);
  CHECK(second.find("a") == tensor);
  CHECK(second.metadata().string("k") == "value");
  CHECK(floats(second.data(*tensor)) == std::vector<float>{9});
}

TEST_CASE("a tensor of an unknown type can be listed but not used") {
  TempFolder folder;
  GgufBuilder b;
  b.tensor("exotic", {256}, 19, std::vector<char>(50)).f32("plain", {1}, {1});
  b.write(folder.path() / "m.gguf");
  const ModelFile m = ModelFile::open(folder / "m.gguf");
  CHECK(m.tensors().size() == 2);
  CHECK_FAILS(BRIM_UNSUPPORTED, "tensor 'exotic' is stored as iq1_s", m.require("exotic"));
  CHECK_FAILS(BRIM_UNSUPPORTED, "iq1_s", m.data(*m.find("exotic")));
  CHECK(m.require("plain").bytes == 4);
}

TEST_CASE("a split model is opened by any of its parts and is the same") {
  TempFolder folder;
  write_three(folder);
  const ModelFile first = ModelFile::open(folder / "m-00001-of-00003.gguf");
  const ModelFile last = ModelFile::open(folder / "m-00003-of-00003.gguf");
  for (const ModelFile* m : {&first, &last}) {
    CHECK(m->file_count() == 3);
    CHECK(m->metadata().string("general.architecture") == "llama");
    REQUIRE(m->tensors().size() == 3);
    for (int i = 0; i < 3; ++i) {
      const auto& tensor = m->require(fmt::format("t{}", i));
      CHECK(tensor.file == static_cast<uint32_t>(i));
      CHECK(floats(m->data(tensor)) == std::vector<float>{float(i), 10.f + float(i)});
    }
  }
  CHECK(first.identity() == last.identity());
}

TEST_CASE("headers alone give the tensors, of every part, and no data") {
  TempFolder folder;
  write_three(folder);
  const ModelFile whole = ModelFile::open(folder / "m-00001-of-00003.gguf");
  for (int i = 1; i <= 3; ++i) {
    const fs::path part = folder.path() / fmt::format("m-0000{}-of-00003.gguf", i);
    fs::resize_file(part, fs::file_size(part) - 32);  // the data are two numbers and padding
  }
  const std::string path = folder / "m-00002-of-00003.gguf";
  CHECK_FAILS(BRIM_DATA_CORRUPT, "needs 8 bytes at 0 of the data", ModelFile::open(path));
  const ModelFile headers = ModelFile::open(path, brim::model::Extent::kHeader);
  REQUIRE(headers.tensors().size() == 3);
  for (const auto& tensor : whole.tensors()) {
    const auto& same = headers.require(tensor.name);
    CHECK(same.offset == tensor.offset);
    CHECK(same.bytes == tensor.bytes);
    CHECK_FAILS(BRIM_FAILED_PRECONDITION, "give the whole file", headers.data(same));
  }
  CHECK(headers.file_bytes() == whole.tensor_bytes());
  CHECK(!headers.has_data());
  fs::remove(folder.path() / "m-00003-of-00003.gguf");
  CHECK_FAILS(BRIM_NOT_FOUND, "part 3 of 3", ModelFile::open(path, brim::model::Extent::kHeader));
}

TEST_CASE("a header whose tensors would lie where no file reaches, or on each other, is damaged all the same") {
  TempFolder folder;
  const std::string path = folder / "m.gguf";
  GgufBuilder b;
  b.f32("a", {2}, {1, 2}).f32("b", {2}, {3, 4});
  b.write(native(path));
  std::string bytes;
  {
    std::ifstream in(native(path), std::ios::binary);
    bytes.assign(std::istreambuf_iterator<char>(in), {});
  }
  const size_t offset = bytes.find("b") + 1 + 4 + 8 + 4;  // of "b": behind its name, rank, extent and type
  for (const uint64_t wrong : {uint64_t{0}, uint64_t{1} << 62, ~uint64_t{31}}) {
    std::memcpy(bytes.data() + offset, &wrong, sizeof wrong);
    std::ofstream(native(path), std::ios::binary) << bytes;
    CHECK_FAILS(BRIM_DATA_CORRUPT, "'b'", ModelFile::open(path, brim::model::Extent::kHeader));
  }
}

TEST_CASE("a split model with parts missing, mixed or renamed says which") {
  TempFolder folder;
  write_three(folder);
  const std::string first = folder / "m-00001-of-00003.gguf", second = folder / "m-00002-of-00003.gguf";
  SUBCASE("missing") {
    fs::remove(native(second));
    CHECK_FAILS(BRIM_NOT_FOUND, "part 2 of 3", ModelFile::open(first));
    CHECK_FAILS(BRIM_NOT_FOUND, "m-00002-of-00003.gguf", ModelFile::open(first));
  }
  SUBCASE("another part under its name") {
    part_of_three(2).write(native(second));
    CHECK_FAILS(BRIM_DATA_CORRUPT, "says that it is part 3 of 3, its name says part 2", ModelFile::open(first));
  }
  SUBCASE("a tensor twice") {
    GgufBuilder b;
    b.set("split.no", uint16_t{1}).set("split.count", uint16_t{3}).f32("t0", {1}, {1}).write(native(second));
    CHECK_FAILS(BRIM_DATA_CORRUPT, "tensor 't0' is in an earlier part", ModelFile::open(first));
  }
  SUBCASE("a tensor too many") {
    GgufBuilder b;
    b.set("split.no", uint16_t{1}).set("split.count", uint16_t{3}).f32("x", {1}, {1}).f32("y", {1}, {1});
    b.write(native(second));
    CHECK_FAILS(BRIM_DATA_CORRUPT, "hold 4 tensors, 'split.tensors.count' says 3", ModelFile::open(first));
  }
  SUBCASE("renamed") {
    fs::copy_file(native(second), folder.path() / "model.gguf");
    CHECK_FAILS(BRIM_INVALID_ARGUMENT, "must end in -00002-of-00003.gguf", ModelFile::open(folder / "model.gguf"));
  }
  SUBCASE("a count out of reason") {
    GgufBuilder b;
    b.set("split.no", uint32_t{0}).set("split.count", uint32_t{4000000000}).write(folder.path() / "lie.gguf");
    CHECK_FAILS(BRIM_DATA_CORRUPT, "part 0 of 4000000000", ModelFile::open(folder / "lie.gguf"));
  }
}

TEST_CASE("the identity follows the header and the sizes, not the path") {
  TempFolder folder;
  const auto identity = [&](const char* name, const GgufBuilder& b) {
    b.write(folder.path() / name);
    return ModelFile::open(folder / name).identity();
  };
  GgufBuilder a, other_key, other_shape;
  a.set("k", "v").f32("t", {4}, {1, 2, 3, 4});
  other_key.set("k", "w").f32("t", {4}, {1, 2, 3, 4});
  other_shape.set("k", "v").f32("t", {2, 2}, {1, 2, 3, 4});
  const auto first = identity("a.gguf", a);
  CHECK(first == identity("b.gguf", a));
  CHECK(first != identity("c.gguf", other_key));
  CHECK(first != identity("d.gguf", other_shape));
}

TEST_CASE("a model's type is what its file says, else what most of its bytes are") {
  TempFolder folder;
  const auto type = [&](const GgufBuilder& b) {
    b.write(folder.path() / "m.gguf");
    return ModelFile::open(folder / "m.gguf").type_name();
  };
  GgufBuilder b;
  b.f32("norm", {4}, {1, 2, 3, 4}).tensor("w", {4, 256}, 12, std::vector<char>(4 * 144));
  CHECK(type(b) == "Q4_K");
  CHECK(type(GgufBuilder(b).set("general.file_type", uint32_t{15})) == "Q4_K_M");
  CHECK(type(GgufBuilder(b).set("general.file_type", uint32_t{1024 + 7})) == "Q8_0");
  CHECK(type(GgufBuilder(b).set("general.file_type", uint32_t{999})) == "Q4_K");
  CHECK(type(GgufBuilder().set("k", "v")) == "no tensors");
}

TEST_CASE("what is no model is refused with its path") {
  TempFolder folder;
  GgufBuilder::write_bytes(folder.path() / "page.gguf", "<html><body>Log in</body></html>");
  CHECK_FAILS(BRIM_DATA_CORRUPT, "page.gguf is no GGUF file", ModelFile::open(folder / "page.gguf"));
  CHECK_FAILS(BRIM_DATA_CORRUPT, "a web page", ModelFile::open(folder / "page.gguf"));
  GgufBuilder::write_bytes(folder.path() / "empty.gguf", "");
  CHECK_FAILS(BRIM_DATA_CORRUPT, "empty.gguf' is empty", ModelFile::open(folder / "empty.gguf"));
  CHECK_FAILS(BRIM_NOT_FOUND, "absent.gguf", ModelFile::open(folder / "absent.gguf"));
  CHECK_FAILS(BRIM_INVALID_ARGUMENT, "folder", ModelFile::open(folder / ""));
}

TEST_CASE("the reference models open") {
  const fs::path shared = BRIM_SHARED_DIR;
  if (!fs::exists(shared)) {
    MESSAGE("skipped: no ../shared");
    return;
  }
  size_t opened = 0;
  for (const char* set : {"models", "tokenizers", "golden", "golden2"}) {
    if (!fs::exists(shared / set)) continue;
    for (const auto& entry : fs::recursive_directory_iterator(shared / set)) {
      if (entry.path().extension() != ".gguf") continue;
      CAPTURE(entry.path().string());
      const ModelFile m = ModelFile::open(entry.path().string());
      CHECK(m.metadata().has("general.architecture"));
      // Every type in the set has a known size: the tensors and their padding fill the file.
      uint64_t end = 0;
      for (const auto& tensor : m.tensors()) {
        CHECK(tensor.bytes > 0);
        end = std::max(end, tensor.offset + tensor.bytes);
      }
      if (!m.tensors().empty()) CHECK(m.file_bytes() - end < 32);
      ++opened;
    }
  }
  CHECK(opened > 0);
}
