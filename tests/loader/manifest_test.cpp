// A manifest says what a plugin needs before any of its code runs, so nothing in it may be misread or passed over.
#include <doctest/doctest.h>

#include <base/error.hpp>
#include <base/nearest.hpp>
#include <loader/manifest.hpp>

#include "plugin_folders.hpp"

using brim::loader::Manifest;
using brim::loader::parse_manifest;
using brim::loader::read_manifest;
using brim::loader::unmet_requirement;

namespace {

#if defined(_WIN32)
const std::string kWhere = "C:\\plugins\\x.toml";
#else
const std::string kWhere = "/plugins/x.toml";
#endif

// The good manifest with one piece of text put in the place of another.
std::string with(const std::string& from, const std::string& to) {
  std::string text = manifest("lib.so", "rank = 3\ncpu_features = [\"avx2\"]\nos = \"linux\"\narch = \"x86_64\"\n");
  const size_t at = text.find(from);
  REQUIRE(at != std::string::npos);
  return text.replace(at, from.size(), to);
}

std::string error_of(const std::string& text) {
  try {
    parse_manifest(text, kWhere);
  } catch (const brim::Error& e) {
    CHECK(e.code == BRIM_DATA_CORRUPT);
    CHECK(std::string(e.what()).find(kWhere) != std::string::npos);
    return e.what();
  }
  return "(no error)";
}

#define CHECK_SAYS(text, words) CHECK(std::string(text).find(words) != std::string::npos)

}  // namespace

TEST_CASE("every key is read") {
  const Manifest m = parse_manifest(with("rank = 3", "rank = -3"), kWhere);
  CHECK(m.id == "test.fake");
  CHECK(m.kind == "architecture");
  CHECK(fs::path(m.library) == fs::path(kWhere).parent_path() / "lib.so");
  CHECK(m.version == "1.2.3");
  CHECK(m.license == "Apache-2.0");
  CHECK(m.major == 0);
  CHECK(m.minor == 1);
  CHECK(m.min_minor == 0);
  CHECK(m.os == "linux");
  CHECK(m.arch == "x86_64");
  CHECK(m.cpu_features == std::vector<std::string>{"avx2"});
  CHECK(m.rank == -3);
}

TEST_CASE("[requires] and what is in it may be absent, all else must be there") {
  std::string text = manifest("lib.so");
  text.resize(text.find("[requires]"));
  const Manifest m = parse_manifest(text, kWhere);
  CHECK(m.rank == 0);
  CHECK(m.os.empty());
  CHECK(unmet_requirement(m, {}).empty());
  for (const char* line : {"id = \"test.fake\"\n", "kind = \"architecture\"\n", "library = \"lib.so\"\n",
                           "version = \"1.2.3\"\n", "license = \"Apache-2.0\"\n", "major = 0\n", "min_minor = 0\n"}) {
    CAPTURE(line);
    CHECK_SAYS(error_of(with(line, "")), "is missing");
  }
}

TEST_CASE("an unknown key is an error that names line and nearest key") {
  CHECK_SAYS(error_of(with("cpu_features", "cpu_featurs")),
             "unknown key 'requires.cpu_featurs'; did you mean 'requires.cpu_features'?");
  CHECK_SAYS(error_of(with("license", "licence")),
             "line 6: unknown key 'plugin.licence'; did you mean 'plugin.license'?");
  CHECK_SAYS(error_of(with("[requires]", "[require]")), "did you mean 'requires'?");
  CHECK_SAYS(error_of(with("rank = 3", "zzzzzz = 3")), "known here: os, arch, cpu_features, rank");
}

TEST_CASE("wrong types and values are errors that say what was found") {
  CHECK_SAYS(error_of(with("rank = 3", "rank = \"3\"")), "'requires.rank' must be an integer, found a string");
  CHECK_SAYS(error_of(with("rank = 3", "rank = 3.5")), "must be an integer, found a number with a fraction");
  CHECK_SAYS(error_of(with("rank = 3", "rank = 99999999999")), "must lie in");
  CHECK_SAYS(error_of(with("major = 0", "major = -1")), "'abi.major' must lie in 0 .. 4294967295, found -1");
  CHECK_SAYS(error_of(with("[\"avx2\"]", "\"avx2\"")), "must be an array of strings, found a string");
  CHECK_SAYS(error_of(with("[\"avx2\"]", "[1]")), "must be an array of strings, found an integer");
  CHECK_SAYS(error_of(with("\"architecture\"", "\"plugin\"")), "\"backend\" or \"architecture\", found \"plugin\"");
  CHECK_SAYS(error_of(with("\"architecture\"", "true")), "must be a string, found true or false");
  CHECK_SAYS(error_of("[plugin\n"), "line 1: not a TOML file");
  CHECK_SAYS(error_of("plugin = 1\n"), "'plugin' must be a table, found an integer");
  CHECK_SAYS(error_of(""), "is missing");
  CHECK_SAYS(error_of(std::string("\x7f\x45\x4c\x46\0\0", 6)), "not a TOML file");
}

TEST_CASE("the library stays in the manifest's folder, whoever wrote the path") {
  for (const char* path : {"/lib.so", "../lib.so", "a/../../lib.so", "..", "C:/lib.so", "C:lib.so", "..\\\\lib.so",
                           "a\\\\b.so", "//host/share/lib.so"}) {
    CAPTURE(path);
    CHECK_SAYS(error_of(with("lib.so", path)), "must be a relative path");
  }
  CHECK(fs::path(parse_manifest(with("lib.so", "./sub/lib.so"), kWhere).library) ==
        fs::path(kWhere).parent_path() / "sub" / "lib.so");
}

TEST_CASE("a file that is far too large for a manifest is not parsed") {
  Folder folder;
  const std::string path = folder.file("big.toml", "# " + std::string(100000, 'x'));
  CHECK_THROWS_WITH_AS(read_manifest(path), doctest::Contains("no plugin manifest"), brim::Error);
}

TEST_CASE("the nearest word is named only where one is near") {
  const std::vector<std::string> known = {"context", "threads", "seed"};
  CHECK(brim::nearest("contxet", known) == "context");
  CHECK(brim::nearest("thread", known) == "threads");
  CHECK(brim::nearest("temperature", known).empty());
  CHECK(brim::edit_distance("ab", "ba") == 1);
  CHECK(brim::edit_distance("", "abc") == 3);
  CHECK(brim::edit_distance("kitten", "sitting") == 3);
}
