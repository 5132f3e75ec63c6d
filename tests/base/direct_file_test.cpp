#include <doctest/doctest.h>

#include <algorithm>
#include <base/direct_file.hpp>
#include <cstring>
#include <fstream>
#include <random>

#include "../support/failure.hpp"
#include "../support/temp_folder.hpp"

#if !defined(_WIN32)
#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>
#endif

using brim::DirectFile;
using brim::File;

namespace {

constexpr size_t kBytes = (3 << 20) + 77;

std::string content() {
  std::mt19937 random(1);
  std::string text(kBytes, 0);
  for (char& c : text) c = static_cast<char>(random());
  return text;
}

}  // namespace

TEST_CASE("whatever range is read, wherever the window lies, its bytes come") {
  brim::test::TempFolder folder;
  const std::string path = folder / "file", text = content();
  std::ofstream(path, std::ios::binary) << text;
  const File file(path);
  DirectFile direct(file);
  if (!direct.direct()) MESSAGE("not seen: this file system reads through its cache only");
  std::mt19937 random(2);
  std::vector<std::byte> memory(DirectFile::window_bytes(kBytes) + 4096);
  const auto check = [&](uint64_t offset, size_t bytes) {
    CAPTURE(offset);
    CAPTURE(bytes);
    const auto window = std::span(memory).subspan(random() % 4096, DirectFile::window_bytes(bytes));
    const auto got = direct.read(offset, bytes, window);
    REQUIRE(got.size() == bytes);
    CHECK(got.data() >= window.data());
    CHECK(got.data() + bytes <= window.data() + window.size());
    CHECK(std::memcmp(got.data(), text.data() + offset, bytes) == 0);
  };
  check(0, kBytes);
  check(kBytes - 1, 1);
  check(4096, 4096);
  check(4095, 2);
  for (int i = 0; i < 200; ++i) {
    const uint64_t offset = random() % kBytes;
    check(offset, 1 + random() % std::min<size_t>(kBytes - offset, i % 2 ? 10000 : kBytes));
  }
  CHECK_FAILS(BRIM_INVALID_ARGUMENT, "cannot read 2 bytes", DirectFile(file).read(kBytes - 1, 2, std::span(memory)));
}

TEST_CASE("a file that was replaced or written to is noticed") {
  brim::test::TempFolder folder;
  const std::string path = folder / "file";
  std::ofstream(path, std::ios::binary) << std::string(10000, 'a');
  const File file(path);
  std::ofstream(path, std::ios::binary | std::ios::app) << "more";
  CHECK_FAILS(BRIM_FAILED_PRECONDITION, "changed while it was in use", DirectFile{file});
}

#if !defined(_WIN32)
TEST_CASE("what was read past the cache is not in it") {
  brim::test::TempFolder folder;
  const std::string path = folder / "file";
  std::ofstream(path, std::ios::binary) << content();
  const int fd = ::open(path.c_str(), O_RDONLY);
  ::fsync(fd);
  ::posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED);
  void* const pages = ::mmap(nullptr, kBytes, PROT_READ, MAP_SHARED, fd, 0);
  const auto cached = [&] {
    std::vector<unsigned char> in(kBytes / 4096 + 1);
    ::mincore(pages, kBytes, in.data());
    return std::count_if(in.begin(), in.end(), [](unsigned char c) { return c & 1; });
  };
  const File file(path);
  DirectFile direct(file);
  std::vector<std::byte> memory(DirectFile::window_bytes(kBytes));
  if (!direct.direct() || cached() != 0) {
    MESSAGE("skipped: this file system keeps its cache");
  } else {
    direct.read(0, kBytes, memory);
    CHECK(cached() == 0);
    std::vector<std::byte> plain(kBytes);
    file.read(0, plain);
    CHECK(cached() > 0);
  }
  ::munmap(pages, kBytes);
  ::close(fd);
}
#endif
