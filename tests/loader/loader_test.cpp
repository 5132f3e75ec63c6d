// What hosts rely on when plugins are found: only listed folders count, the best fitting variant is taken without code
// of the others running, whatever is wrong with a plugin is a sentence, and nothing wrong with one touches another.
#include <doctest/doctest.h>

#include <algorithm>
#include <atomic>
#include <base/error.hpp>
#include <fstream>
#include <initializer_list>
#include <iterator>
#include <loader/cpu_features.hpp>
#include <loader/handshake.hpp>
#include <thread>

#include "plugin_folders.hpp"

using namespace brim::loader;

namespace {

Candidate only(const std::vector<Candidate>& candidates) {
  REQUIRE(candidates.size() == 1);
  return candidates[0];
}

// The reason why the one plugin of a built case is refused; empty if it is taken.
std::string refusal(const std::string& which) {
  const Loader loader(config_for({built(which)}));
  const Candidate c = only(loader.candidates());
  CHECK(loader.backends().empty());
  CHECK(c.status == (loader.architectures().empty() ? Status::kRefused : Status::kTaken));
  return c.status == Status::kTaken ? "" : c.reason;
}

bool says(const std::string& text, std::initializer_list<const char*> words) {
  bool all = true;
  for (const char* word : words) {
    const bool has = text.find(word) != std::string::npos;
    if (!has) MESSAGE("missing in \"", text, "\": ", word);
    all = all && has;
  }
  return all;
}

// A host's list of key-value pairs as an architecture meets it.
brim_status BRIM_CALL architecture_is_fake(const brim_meta*, brim_str, brim_str* out) {
  *out = brim::str("fake");
  return BRIM_OK;
}
brim_status BRIM_CALL architecture_is_other(const brim_meta*, brim_str, brim_str* out) {
  *out = brim::str("other");
  return BRIM_OK;
}

}  // namespace

TEST_CASE("a good plugin is taken and works") {
  const Loader loader(config_for({built("good")}));
  const Candidate c = only(loader.candidates());
  CHECK(c.status == Status::kTaken);
  CHECK(c.id == "test.fake");
  CHECK(c.kind == "architecture");
  CHECK(c.version == "1.2.3");
  CHECK(fs::path(c.manifest) == fs::path(built("good")) / "good.toml");
  CHECK(fs::path(c.library) == fs::path(library_of("good")));
  REQUIRE(loader.architectures().size() == 1);
  const Architecture& a = *loader.architectures()[0];
  CHECK(a.plugin->license() == "Apache-2.0");
  CHECK(a.plugin->host_blocks() == 1);
  brim_meta_api meta{};
  meta.struct_size = sizeof(meta);
  meta.get_str = architecture_is_fake;
  CHECK(a.api.match(a.plugin->instance(), &meta, nullptr) == 100);
  meta.get_str = architecture_is_other;
  CHECK(a.api.match(a.plugin->instance(), &meta, nullptr) == 0);
}

TEST_CASE("several runtimes have instances of their own of one library") {
  const Loader one(config_for({built("good")})), two(config_for({built("good")}));
  REQUIRE(one.architectures().size() == 1);
  REQUIRE(two.architectures().size() == 1);
  CHECK(one.architectures()[0]->plugin->instance() != two.architectures()[0]->plugin->instance());
}

TEST_CASE("runtimes may be made from many threads at once") {
  std::vector<std::thread> threads;
  std::atomic<int> taken{0};
  for (int t = 0; t < 4; ++t)
    threads.emplace_back([&] {
      for (int i = 0; i < 10; ++i)
        taken += static_cast<int>(Loader(config_for({built("good"), built("device")})).architectures().size());
    });
  for (std::thread& thread : threads) thread.join();
  CHECK(taken == 40);
}

TEST_CASE("each breach of the contract is refused with expected, found and remedy") {
  CHECK(says(refusal("wrong_magic"), {"magic", "0x4d495242", "0x12345678", "no Brim plugin"}));
  CHECK(says(refusal("wrong_major"), {"expected ABI major 0", "found 99", "install"}));
  CHECK(says(refusal("wrong_major_told"), {"needs ABI major 99", "has 0", "install"}));
  CHECK(says(refusal("too_new"), {"needs ABI minor 77", "this host has 1", "update Brim"}));
  CHECK(says(refusal("too_new_told"), {"needs ABI minor 77", "this host has 1", "update Brim"}));
  CHECK(says(refusal("lying_id"), {"manifest lies", "'test.fake'", "\"test.other\"", "install"}));
  CHECK(says(refusal("lying_kind"), {"manifest lies", "\"architecture\" promised", "\"backend\"", "install"}));
  CHECK(says(refusal("unknown_kind"), {"kind 9", "1 (backend)", "update"}));
  CHECK(says(refusal("sanitized"), {"built with", "sanitizer", "this host was not", "install"}));
  CHECK(says(refusal("small_header"), {"header has", "needs at least", "damaged"}));
  CHECK(says(refusal("tiny_header"), {"8 bytes", "at least 28", "damaged"}));
  CHECK(says(refusal("no_query"), {"no_query", "exports no brim_plugin_query", "take its manifest away"}));
  CHECK(says(refusal("null_query"), {"answers nothing for ABI major 0", "install"}));
  CHECK(says(refusal("no_create"), {"'create'", "NULL", "author"}));
  CHECK(says(refusal("create_fails"), {"'test.fake'", "failed to start", "libfake.so.1 not found"}));
  CHECK(says(refusal("create_empty"), {"gave no instance", "author"}));
  CHECK(says(refusal("no_interface"), {"offers no interface \"brim.architecture/1\""}));
  CHECK(says(refusal("no_build"), {"'build'", "\"brim.architecture/1\"", "NULL", "author"}));
  CHECK(says(refusal("no_run"), {"'program_run'", "\"brim.backend/1\"", "NULL"}));
}

TEST_CASE("a file that is no library, or no whole one, is refused before the system opens it") {
  Folder folder;
  folder.file("text.toml", manifest("text.so"));
  folder.file("text.so", "This is not a library, but a note that somebody left here by mistake, of some length.\n");
  CHECK(says(only(Loader(config_for({folder.path()})).candidates()).reason, {"text.so", "install"}));

  Folder absent;
  absent.file("absent.toml", manifest("absent.so"));
  CHECK(says(only(Loader(config_for({absent.path()})).candidates()).reason, {"absent.so"}));

#if defined(__linux__)
  // Every length that a broken download may leave, up to one byte short.
  std::ifstream whole(library_of("good"), std::ios::binary);
  const std::string bytes((std::istreambuf_iterator<char>(whole)), std::istreambuf_iterator<char>());
  REQUIRE(bytes.size() > 4096);
  for (const size_t length : {size_t{0}, size_t{3}, size_t{63}, size_t{64}, size_t{400}, size_t{4096}, bytes.size() / 2,
                              bytes.size() * 3 / 4, bytes.size() - 1}) {
    Folder cut;
    cut.file("cut.toml", manifest("cut.so"));
    cut.file("cut.so", bytes.substr(0, length));
    const Loader loader(config_for({cut.path()}));
    const Candidate c = only(loader.candidates());
    CAPTURE(length);
    CHECK(c.status == Status::kRefused);
    CHECK(says(c.reason, {"cut.so", length < 64 ? "no shared library" : "cut short", "install"}));
  }

  Folder foreign;
  foreign.file("foreign.toml", manifest("foreign.so"));
  std::string other = bytes;
  other[18] = static_cast<char>(other[18] ^ 0x55);  // e_machine
  foreign.file("foreign.so", other);
  CHECK(says(only(Loader(config_for({foreign.path()})).candidates()).reason, {"for another processor", "install"}));
#endif
}

TEST_CASE("a bad plugin does not keep a good one out") {
  Folder folder;
  folder.file("a.toml", "[plugin\n");
  folder.file("b.toml", manifest("b.so", "", "test.text"));
  folder.file("b.so", "text");
  const Loader loader(config_for({built("create_fails"), folder.path(), built("good"), folder.path() + "/absent"}));
  CHECK(loader.candidates().size() == 5);
  CHECK(loader.architectures().size() == 1);
  const Candidate& last = loader.candidates().back();
  CHECK(last.status == Status::kRefused);
  CHECK(says(last.reason, {"absent", "cannot be read"}));
}

TEST_CASE("a relative folder is refused: it would mean the working directory") {
  for (const char* path : {"", ".", "plugins", "./plugins", "../plugins"}) {
    CAPTURE(path);
    CHECK_THROWS_WITH_AS(Loader(config_for({path})), doctest::Contains("expected an absolute path"), brim::Error);
  }
}

TEST_CASE("only manifests of the folder itself count") {
  Folder folder;
  fs::create_directories(folder.path() + "/below");
  folder.file("below/good.toml", manifest("good.so"));
  folder.library("lonely.so", "good");
  folder.file("notes.txt", manifest("lonely.so"));
  CHECK(Loader(config_for({folder.path()})).candidates().empty());
}

TEST_CASE("of several variants the best that fits is taken, and no code of the others runs") {
  Folder folder;
  folder.library("lib.so", "good");
  // Not even files: nobody looks at their libraries.
  folder.file("v1.toml", manifest("none-a.so", "rank = 1"));
  folder.file("v2.toml", manifest("lib.so", "rank = 20\ncpu_features = [\"avx2\", \"fma\"]"));
  folder.file("v3.toml", manifest("none-b.so", "rank = 30\ncpu_features = [\"avx512f\", \"avx2\", \"avx512_vnni\"]"));
  folder.file("v4.toml", manifest("none-c.so", "rank = 40\nos = \"plan9\""));
  folder.file("v5.toml", manifest("none-d.so", "rank = 50\narch = \"pdp11\""));
  const Loader loader(config_for({folder.path()}));
  const auto& c = loader.candidates();
  REQUIRE(c.size() == 5);
  CHECK(loader.architectures().size() == 1);
  CHECK(c[0].status == Status::kRefused);
  CHECK(says(c[0].reason, {"a better variant was taken", "v2.toml", "rank 20", "rank 1"}));
  CHECK(c[1].status == Status::kTaken);
  CHECK(says(c[1].reason, {"rank 20", "best of 2"}));
  CHECK(c[2].reason == "needs avx512f, avx512_vnni, which this CPU lacks");
  CHECK(says(c[3].reason, {"operating system \"plan9\"", "this host is"}));
  CHECK(says(c[4].reason, {"processor \"pdp11\"", "this host is"}));
}

TEST_CASE("a variant that does not open makes room for the next") {
  Folder folder;
  folder.library("lib.so", "good");
  folder.file("broken.toml", manifest("broken.so", "rank = 9"));
  folder.file("broken.so", "text");
  folder.file("plain.toml", manifest("lib.so", "rank = 1"));
  const Loader loader(config_for({folder.path()}));
  CHECK(loader.candidates()[0].status == Status::kRefused);
  CHECK(loader.candidates()[1].status == Status::kTaken);
}

TEST_CASE("two plugins of one id and rank: the first folder wins, both paths are named") {
  Folder one, two;
  for (const Folder* folder : {&one, &two}) {
    folder->library("lib.so", "good");
    folder->file("lib.toml", manifest("lib.so"));
  }
  const Loader loader(config_for({two.path(), one.path(), two.path()}));
  REQUIRE(loader.candidates().size() == 2);  // a folder listed twice is read once
  CHECK(loader.candidates()[0].status == Status::kTaken);
  CHECK(fs::path(loader.candidates()[0].library) == fs::path(two.path()) / "lib.so");
  CHECK(says(loader.candidates()[1].reason, {loader.candidates()[0].manifest.c_str(),
                                             loader.candidates()[1].manifest.c_str(), "take the other away"}));
}

TEST_CASE("static plugins are taken before those of folders") {
  Config config = config_for({built("good")});
  const brim_plugin_query_fn query = open_library(library_of("good"));
  config.static_plugins = {query, nullptr, query};
  const Loader loader(config);
  const auto& c = loader.candidates();
  REQUIRE(c.size() == 4);
  CHECK(c[0].status == Status::kTaken);
  CHECK(c[0].library == "(static)");
  CHECK(says(c[1].reason, {"static plugin 1", "answers nothing"}));
  CHECK(says(c[2].reason, {"taken before"}));
  CHECK(says(c[3].reason, {"linked into the host program", "taken instead"}));
  CHECK(loader.architectures().size() == 1);
}

TEST_CASE("settings reach the plugin they are for; its refusal of one is the reason") {
  Records records;
  Config config = config_for({built("good")});
  config.log = records.log();
  config.settings["test.fake"] = {{"say", "hello"}};
  config.settings["test.absent"] = {{"threads", "4"}};
  {
    const Loader loader(config);
    CHECK(loader.architectures().size() == 1);
  }
  CHECK(records.find(BRIM_LOG_INFO, "test.fake") == "hello");
  CHECK(says(records.find(BRIM_LOG_WARNING, "loader"), {"'test.absent'", "not taken"}));

  config.settings["test.fake"] = {{"sya", "hello"}};
  CHECK(says(only(Loader(config).candidates()).reason, {"test.fake", "did you mean 'say'"}));
}

TEST_CASE("host memory that a plugin keeps after its end is reported as its misuse") {
  Records records;
  Config config = config_for({built("leak")});
  config.log = records.log();
  {
    const Loader loader(config);
    REQUIRE(loader.architectures().size() == 1);
    CHECK(loader.architectures()[0]->plugin->host_blocks() == 2);
    CHECK(records.find(BRIM_LOG_PLUGIN_MISUSE, "test.fake").empty());
  }
  CHECK(says(records.find(BRIM_LOG_PLUGIN_MISUSE, "test.fake"), {"1000 bytes in 1 block"}));

  Records clean;
  config = config_for({built("good")});
  config.log = clean.log();
  { const Loader loader(config); }
  CHECK(clean.find(BRIM_LOG_PLUGIN_MISUSE, "test.fake").empty());
}

TEST_CASE("below the log's level nothing is said, and a sink that throws harms nobody") {
  Records records;
  Config config = config_for({built("good")});
  config.log = records.log();
  config.log.level = BRIM_LOG_ERROR;
  { const Loader loader(config); }
  CHECK(records.all.empty());
  config.log.level = BRIM_LOG_TRACE;
  config.log.sink = [](uint32_t, std::string_view, std::string_view) { throw 1; };
  CHECK(Loader(config).architectures().size() == 1);
}

TEST_CASE("the CPU's features are told in the words of manifests") {
  const auto features = detect_cpu_features();
#if defined(__x86_64__)
  const auto has = [&](const char* name) {
    return std::find(features.begin(), features.end(), name) != features.end();
  };
  CHECK(has("avx2") == static_cast<bool>(__builtin_cpu_supports("avx2")));
  CHECK(has("fma") == static_cast<bool>(__builtin_cpu_supports("fma")));
  CHECK(has("bmi2") == static_cast<bool>(__builtin_cpu_supports("bmi2")));
  CHECK(has("avx512f") == static_cast<bool>(__builtin_cpu_supports("avx512f")));
  CHECK(has("avx512bw") == static_cast<bool>(__builtin_cpu_supports("avx512bw")));
  CHECK(has("avx512vl") == static_cast<bool>(__builtin_cpu_supports("avx512vl")));
  CHECK(has("avx512dq") == static_cast<bool>(__builtin_cpu_supports("avx512dq")));
  CHECK(has("avx512_vnni") == static_cast<bool>(__builtin_cpu_supports("avx512vnni")));
  CHECK(has("avx512_bf16") == static_cast<bool>(__builtin_cpu_supports("avx512bf16")));
  CHECK(host_arch() == "x86_64");
#elif defined(__aarch64__)
  CHECK(std::find(features.begin(), features.end(), "neon") != features.end());
  CHECK(host_arch() == "aarch64");
#endif
}
