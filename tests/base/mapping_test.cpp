#include <doctest/doctest.h>

#include <algorithm>
#include <base/atomic_file.hpp>
#include <base/mapping.hpp>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <string>
#include <vector>

#include "../support/failure.hpp"
#include "../support/temp_folder.hpp"

#if !defined(_WIN32)
#include <sys/stat.h>
#include <unistd.h>
#endif

using brim::AtomicFile;
using brim::File;
using brim::FileMapping;
using brim::test::TempFolder;
namespace fs = std::filesystem;

namespace {

fs::path native(const std::string& path) { return fs::path(std::u8string(path.begin(), path.end())); }

std::string slurp(const std::string& path) {
  std::ifstream in(native(path), std::ios::binary);
  return {std::istreambuf_iterator<char>(in), {}};
}

void spit(const std::string& path, const std::string& text) { std::ofstream(native(path), std::ios::binary) << text; }

std::string text_of(std::span<const std::byte> bytes) {
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

std::span<const std::byte> bytes_of(const std::string& text) { return std::as_bytes(std::span(text)); }

size_t files_in(const TempFolder& folder) {
  return static_cast<size_t>(std::distance(fs::directory_iterator(folder.path()), fs::directory_iterator()));
}

}  // namespace

TEST_CASE("a mapping and positioned reads show the file's bytes, also under a name that is not ASCII") {
  TempFolder folder;
  const std::string path = folder / "Gr\xC3\xBC\xC3\x9F\x65 \xE4\xBD\xA0.bin";
  std::string content(100000, '\0');
  for (size_t i = 0; i < content.size(); ++i) content[i] = static_cast<char>(i * 31 >> 3);
  spit(path, content);

  FileMapping mapping(path);
  CHECK(mapping.size() == content.size());
  CHECK(text_of(mapping.bytes()) == content);
  std::vector<std::byte> part(1000);
  mapping.file().read(99000, part);
  CHECK(text_of(part) == content.substr(99000));

  const std::byte* address = mapping.data();
  FileMapping moved = std::move(mapping);
  CHECK(moved.data() == address);
  CHECK(text_of(moved.bytes()) == content);
  moved.check_unchanged();
}

TEST_CASE("opening what is no readable file says what is wrong and what to do") {
  TempFolder folder;
  CHECK_FAILS(BRIM_NOT_FOUND, "none.gguf", FileMapping(folder / "none.gguf"));
  CHECK_FAILS(BRIM_NOT_FOUND, "check the path", FileMapping(folder / "none.gguf"));
  CHECK_FAILS(BRIM_INVALID_ARGUMENT, "not of a folder", FileMapping(folder / ""));
  CHECK_FAILS(BRIM_INVALID_ARGUMENT, "the path is empty", FileMapping(""));
  CHECK_FAILS(BRIM_INVALID_ARGUMENT, "zero byte", FileMapping(std::string("a\0b", 3)));
  spit(folder / "empty", "");
  CHECK_FAILS(BRIM_DATA_CORRUPT, "is empty (0 bytes)", FileMapping(folder / "empty"));
  CHECK(File(folder / "empty").size() == 0);
#if !defined(_WIN32)
  CHECK_FAILS(BRIM_NOT_FOUND, "x/y", FileMapping(folder / "empty/x/y"));
  REQUIRE(mkfifo((folder / "pipe").c_str(), 0600) == 0);
  CHECK_FAILS(BRIM_INVALID_ARGUMENT, "regular file", FileMapping(folder / "pipe"));
  if (geteuid() != 0) {  // root may read everything
    spit(folder / "secret", "x");
    fs::permissions(native(folder / "secret"), fs::perms::none);
    CHECK_FAILS(BRIM_PERMISSION_DENIED, "permissions", FileMapping(folder / "secret"));
  }
#endif
}

TEST_CASE("an operating system's failure carries its own code") {
  TempFolder folder;
  try {
    File file(folder / "none");
    FAIL("opened a file that is not there");
  } catch (const brim::Error& error) {
    CHECK(error.domain == BRIM_DOMAIN_OS);
    CHECK(error.native_code == 2);  // ENOENT and ERROR_FILE_NOT_FOUND alike
  }
}

#if !defined(_WIN32)  // Windows refuses to write to a file that is open for reading here
TEST_CASE("a file that grows, shrinks or is written to in place is noticed before it is touched again") {
  TempFolder folder;
  const std::string path = folder / "model";
  spit(path, std::string(5000, 'a'));
  const FileMapping mapping(path);
  mapping.check_unchanged();

  SUBCASE("longer") {
    std::ofstream(path, std::ios::app) << "b";
    CHECK_FAILS(BRIM_FAILED_PRECONDITION, "had 5000 bytes when it was opened, now it has 5001",
                mapping.check_unchanged());
  }
  SUBCASE("shorter") {
    fs::resize_file(path, 100);
    CHECK_FAILS(BRIM_FAILED_PRECONDITION, "now it has 100", mapping.check_unchanged());
    std::vector<std::byte> part(200);
    CHECK_FAILS(BRIM_DATA_CORRUPT, "ends at byte 100", mapping.file().read(0, part));
  }
  SUBCASE("same size, other time") {
    fs::last_write_time(path, fs::last_write_time(path) + std::chrono::seconds(1));
    CHECK_FAILS(BRIM_FAILED_PRECONDITION, "written to since", mapping.check_unchanged());
  }
  SUBCASE("replaced by renaming: the old content lives on") {
    spit(folder / "new", "other");
    fs::rename(folder / "new", path);
    mapping.check_unchanged();
    CHECK(mapping.bytes()[4999] == std::byte{'a'});
  }
}

TEST_CASE("released pages leave memory and come back with the same bytes") {
  TempFolder folder;
  const std::string path = folder / "model";
  const size_t page = FileMapping::page_size();
  spit(path, std::string(8 * page, 'q') + "tail");
  const FileMapping mapping(path);
  const auto sum = [&] {
    size_t count = 0;
    for (const std::byte b : mapping.bytes()) count += b == std::byte{'q'};
    return count;
  };
  // Bytes of the mapping that are in memory for this process.
  const auto resident = [&] {
    std::ifstream maps("/proc/self/smaps");
    std::string line;
    bool here = false;
    while (std::getline(maps, line)) {
      if (line.find('-') != std::string::npos && line.find(path) != std::string::npos) here = true;
      if (here && line.rfind("Rss:", 0) == 0) return std::stoull(line.substr(4)) * 1024;
    }
    return 0ull;
  };
  CHECK(sum() == 8 * page);
  const auto before = resident();
  mapping.release(page / 2, 4 * page);  // wholly covers pages 1, 2 and 3
  if (before >= 9 * page) CHECK(resident() == before - 3 * page);
  CHECK(sum() == 8 * page);
  mapping.release(0, UINT64_MAX);
  if (before >= 9 * page) CHECK(resident() == 0);
  CHECK(sum() == 8 * page);
}
#endif

TEST_CASE("hints about any range are harmless") {
  TempFolder folder;
  spit(folder / "model", std::string(10000, 'x'));
  const FileMapping mapping(folder / "model");
  for (const auto access : {brim::os::Access::kWillNeed, brim::os::Access::kRandom, brim::os::Access::kSequential,
                            brim::os::Access::kNormal}) {
    for (const uint64_t offset : {uint64_t{0}, uint64_t{1}, uint64_t{9999}, uint64_t{10000}, UINT64_MAX}) {
      for (const uint64_t bytes : {uint64_t{0}, uint64_t{1}, uint64_t{10000}, UINT64_MAX}) {
        mapping.advise(access, offset, bytes);
        mapping.release(offset, bytes);
      }
    }
  }
  CHECK(std::count(mapping.bytes().begin(), mapping.bytes().end(), std::byte{'x'}) == 10000);
}

TEST_CASE("a read past the end is refused before it happens") {
  TempFolder folder;
  spit(folder / "f", "0123456789");
  const File file(folder / "f");
  std::vector<std::byte> four(4);
  file.read(6, four);
  CHECK(text_of(four) == "6789");
  file.read(10, {});
  CHECK_FAILS(BRIM_INVALID_ARGUMENT, "cannot read 4 bytes at 7", file.read(7, four));
  CHECK_FAILS(BRIM_INVALID_ARGUMENT, "it has 10 bytes", file.read(UINT64_MAX - 1, four));
}

TEST_CASE("an atomic file appears whole at commit, over an older one, and not before") {
  TempFolder folder;
  const std::string path = folder / "out";
  spit(path, "old");
  {
    AtomicFile out(path);
    out.write(bytes_of("new "));
    out.write(bytes_of("content"));
    CHECK(out.written() == 11);
    CHECK(slurp(path) == "old");
    out.commit();
    CHECK(slurp(path) == "new content");
  }
  CHECK(slurp(path) == "new content");
  CHECK(files_in(folder) == 1);
}

TEST_CASE("an atomic file that is given up leaves nothing") {
  TempFolder folder;
  {
    AtomicFile one(folder / "out");
    AtomicFile two(folder / "out");  // two writers do not meet
    one.write(bytes_of("1"));
    two.write(bytes_of("2"));
    CHECK(files_in(folder) == 2);
  }
  CHECK(files_in(folder) == 0);
  CHECK_FAILS(BRIM_NOT_FOUND, "check the path", AtomicFile(folder / "no/such/out"));
}

TEST_CASE("an atomic file that cannot take its place is removed") {
  TempFolder folder;
  fs::create_directories(folder.path() / "out" / "full");
  AtomicFile out(folder / "out");
  out.write(bytes_of("x"));
  CHECK_THROWS_AS(out.commit(), brim::Error);
  CHECK(files_in(folder) == 1);
}
