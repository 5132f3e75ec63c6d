// What a configuration says and how it is refused: by file, line, key and the nearest known key, with nothing changed.
#include <doctest/doctest.h>

#include <config/options.hpp>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>
#include <random>
#include <set>
#include <sstream>

#include "../support/failure.hpp"
#include "../support/temp_folder.hpp"

using brim::config::Options;

#if defined(_WIN32)
#define ROOT "C:/"  // what an absolute path begins with
#else
#define ROOT "/"
#endif

TEST_CASE("without a file every option has its default") {
  const Options o;
  CHECK(o.integer("plan.context") == 0);
  CHECK(o.text("plan.kv_dtype") == "auto");
  CHECK(o.text("plan.numerics") == "fast");
  CHECK(o.text("load.io") == "auto");
  CHECK_FALSE(o.boolean("plan.unsafe_overcommit"));
  CHECK(o.number("sampling.temperature") == 0.8);
  CHECK(o.folders("runtime.plugin_dirs").empty());
}

TEST_CASE("a file overlays what is set and leaves the rest") {
  Options o;
  o.set("plan.batch", "64");
  o.parse(R"(
[plan]
context = 4096
kv_dtype = "q8_0"
[sampling]
temperature = 1
seed = 7
[runtime]
plugin_dirs = [")" ROOT R"(opt/a", ")" ROOT R"(opt/b"]
)",
          "brim.toml");
  CHECK(o.integer("plan.context") == 4096);
  CHECK(o.text("plan.kv_dtype") == "q8_0");
  CHECK(o.number("sampling.temperature") == 1.0);
  CHECK(o.integer("sampling.seed") == 7);
  CHECK(o.integer("plan.batch") == 64);
  CHECK(o.folders("runtime.plugin_dirs") == std::vector<std::string>{ROOT "opt/a", ROOT "opt/b"});
}

TEST_CASE("an unknown key is refused by file, line and the nearest key") {
  Options o;
  CHECK_FAILS(BRIM_INVALID_ARGUMENT, "host.toml:3: unknown key 'plan.contxt'; the nearest known one is 'plan.context'",
              o.parse("[plan]\nbatch = 3\ncontxt = 4096\n", "host.toml"));
  CHECK_FAILS(BRIM_INVALID_ARGUMENT, "'plan.context'", o.parse("[runtime]\ncontext = 4096\n", "f"));
  CHECK_FAILS(BRIM_INVALID_ARGUMENT, "f:2: unknown table [plna]; the nearest known one is [plan]",
              o.parse("\n[plna]\ncontext = 1\n", "f"));
  CHECK_FAILS(BRIM_INVALID_ARGUMENT, "f:1: unknown key 'threads'; the nearest known one is 'runtime.threads'",
              o.parse("threads = 4", "f"));
  CHECK_FAILS(BRIM_INVALID_ARGUMENT, "'sampling.temperature'", o.set("sampling.temprature", "1"));
  CHECK_FAILS(BRIM_INVALID_ARGUMENT, "'sampling.top_k'", o.get("sampling.topk"));
}

TEST_CASE("a value of another type or out of range is refused by what was expected") {
  Options o;
  const auto refused = [&](const char* text, const char* said) {
    CAPTURE(text);
    CHECK_FAILS(BRIM_INVALID_ARGUMENT, said, o.parse(text, "f"));
  };
  refused("[plan]\ncontext = \"4096\"", "f:2: plan.context is '4096'; expected an integer from 0 to 2147483647");
  refused("[plan]\ncontext = -1", "plan.context is -1; expected an integer from 0");
  refused("[plan]\ncontext = 4e3", "expected an integer");
  refused("[plan]\ncontext = 2147483648", "expected an integer from 0 to 2147483647");
  refused("[plan]\nkv_dtype = \"q4_0\"", "plan.kv_dtype is 'q4_0'; expected one of auto, f32, f16, q8_0");
  refused("[plan]\nkv_dtype = 8", "expected one of auto");
  refused("[plan]\nunsafe_overcommit = 1", "expected true or false");
  refused("[sampling]\ntop_p = 1.5", "sampling.top_p is 1.5; expected a number from 0 to 1");
  refused("[sampling]\ntop_p = nan", "expected a number from 0 to 1");
  refused("[sampling]\ntemperature = inf", "expected a number from 0 to 100");
  refused("[sampling]\nseed = 1979-05-27", "expected an integer");
  refused("[runtime]\nplugin_dirs = \"/opt\"", "expected a list of absolute folders");
  refused("[runtime]\nplugin_dirs = [\"plugins\"]", "expected a list of absolute folders");
  refused("[runtime]\nplugin_dirs = [1]", "expected a list of absolute folders");
  refused("plan = 3", "unknown key 'plan'");
  refused("[plan.context]\nx = 1", "plan.context is a table");
  refused("[[plan]]\ncontext = 1", "unknown key 'plan'");
  refused("backend = 3", "backend is no table");
  refused("[backend]", "needs the name of a plugin");
  refused("[backend]\nthreads = 4", "no setting of a plugin");
  refused("[backend.cpu]\nlist = [1]", "f:2: backend.cpu.list is an array");
  refused("[plan\ncontext = 1", "f:1: ");
  refused("[plan]\ncontext = 1\ncontext = 2", "f:3: ");
  for (const char* text : {"", " 4", "4 ", "0x10", "+4", "-4", "18446744073709551616", "4.0"}) {
    CAPTURE(text);
    CHECK_FAILS(BRIM_INVALID_ARGUMENT, "plan.context is '", o.set("plan.context", text));
  }
  for (const char* text : {"", "nan", "1e999", "0,5", "inf"}) {
    CAPTURE(text);
    CHECK_FAILS(BRIM_INVALID_ARGUMENT, "sampling.top_p is '", o.set("sampling.top_p", text));
  }
  CHECK_FAILS(BRIM_INVALID_ARGUMENT, "expected true or false", o.set("plan.unsafe_overcommit", "yes"));
  CHECK_FAILS(BRIM_INVALID_ARGUMENT, "is not UTF-8", o.set("backend.cpu.path", "\xff"));
}

TEST_CASE("a file is taken whole or not at all") {
  Options o;
  o.set("plan.context", "100");
  const std::string before = o.describe();
  CHECK_FAILS(BRIM_INVALID_ARGUMENT, "sampling.top_p",
              o.parse("[plan]\ncontext = 1\n[backend.cpu]\nx = 1\n[sampling]\ntop_p = 7\n", "f"));
  CHECK(o.describe() == before);
}

TEST_CASE("settings of a plugin go by its full name, however the table is written") {
  for (const char* text : {"[backend.cpu]\nvariant = \"avx2\"\nn = 3\nf = 0.5\nb = true\n",
                           "[backend.\"brim.cpu\"]\nvariant = \"avx2\"\nn = 3\nf = 0.5\nb = true\n",
                           "[backend.brim.cpu]\nvariant = \"avx2\"\nn = 3\nf = 0.5\nb = true\n",
                           "backend.cpu = {variant = \"avx2\", n = 3, f = 0.5, b = true}\n"}) {
    CAPTURE(text);
    Options o;
    o.parse(text, "f");
    const std::vector<std::pair<std::string, std::string>> expected = {
        {"b", "true"}, {"f", "0.5"}, {"n", "3"}, {"variant", "avx2"}};
    CHECK(o.settings("backend", "brim.cpu") == expected);
    CHECK(o.plugins_with_settings("backend") == std::vector<std::string>{"brim.cpu"});
    CHECK(o.settings("architecture", "brim.cpu").empty());
    CHECK(o.get("backend.cpu.n") == "3");
    CHECK(o.get("backend.brim.cpu.n") == "3");
    CHECK_FAILS(BRIM_NOT_FOUND, "backend.cpu.m is not set", o.get("backend.cpu.m"));
  }
  Options o;
  o.set("architecture.com.example.moe.mode", "slow");
  CHECK(o.settings("architecture", "com.example.moe").front().second == "slow");
  CHECK_FAILS(BRIM_INVALID_ARGUMENT, "twice", o.parse("[backend.cpu]\nx = 1\n[backend.\"brim.cpu\"]\nx = 2\n", "f"));
  for (const char* key : {"backend", "backend.cpu", "backend..x", "backend.cpu.", "backend...", "architecture.x"}) {
    CAPTURE(key);
    CHECK_FAILS(BRIM_INVALID_ARGUMENT, "no setting of a plugin", o.set(key, "1"));
  }
}

TEST_CASE("get gives what set takes") {
  Options o;
  const std::pair<const char*, const char*> values[] = {
      {"plan.context", "4096"},           {"sampling.temperature", "0.7"}, {"sampling.seed", "18446744073709551615"},
      {"plan.unsafe_overcommit", "true"}, {"plan.numerics", "strict"},     {"backend.cpu.x", "a = \"b\"\n"}};
  for (const auto& [key, text] : values) {
    o.set(key, text);
    CHECK(o.get(key) == text);
  }
  o.set("runtime.plugin_dirs", ROOT "opt/one folder");
  CHECK(o.folders("runtime.plugin_dirs") == std::vector<std::string>{ROOT "opt/one folder"});
  o.set("runtime.plugin_dirs", "[\"" ROOT "a\", '" ROOT "b']");
  const std::string text = o.get("runtime.plugin_dirs");
  Options other;
  other.set("runtime.plugin_dirs", text);
  CHECK(other.folders("runtime.plugin_dirs") == std::vector<std::string>{ROOT "a", ROOT "b"});
  CHECK_FAILS(BRIM_INVALID_ARGUMENT, "list of absolute folders",
              o.set("runtime.plugin_dirs", "['/a']\n[plan]\ncontext = 3"));
}

TEST_CASE("describe lists every option with type, default, value and help") {
  Options o;
  o.set("plan.context", "4096");
  o.set("backend.cpu.x", "1");
  const auto all = nlohmann::json::parse(o.describe());
  CHECK(all.size() == brim::config::schema().size() + 1);
  std::set<std::string> keys;
  for (const auto& entry : all) {
    keys.insert(entry.at("key"));
    CHECK(entry.contains("default"));
    CHECK(entry.contains("value"));
    CHECK_FALSE(entry.at("help").get<std::string>().empty());
    if (entry.at("key") == "plan.context") {
      CHECK(entry.at("type") == "integer");
      CHECK(entry.at("default") == 0);
      CHECK(entry.at("value") == 4096);
    }
  }
  CHECK(keys.size() == all.size());
  CHECK(keys.contains("backend.brim.cpu.x"));
}

TEST_CASE("every default is a value that its own option accepts") {
  for (const auto& option : brim::config::schema()) {
    CAPTURE(std::string(option.key));
    Options o;
    const std::string text = o.get(option.key);
    o.set(option.key, text);
    CHECK(o.describe() == Options().describe());
  }
}

TEST_CASE("load reads a file and names the one that is not there") {
  const brim::test::TempFolder folder;
  const std::string path = folder / "b\xc3\xa4r.toml";
  std::ofstream(std::filesystem::path(std::u8string(path.begin(), path.end()))) << "[plan]\ncontext = 77\n";
  Options o;
  o.load(path);
  CHECK(o.integer("plan.context") == 77);
  CHECK_FAILS(BRIM_NOT_FOUND, "absent.toml", o.load(folder / "absent.toml"));
  CHECK_FAILS(BRIM_INVALID_ARGUMENT, "", o.load(folder / ""));
  std::ofstream(folder / "big.toml") << std::string(2 << 20, '#');
  CHECK_FAILS(BRIM_INVALID_ARGUMENT, "has at most", o.load(folder / "big.toml"));
  std::ofstream(folder / "empty.toml").close();
  o.load(folder / "empty.toml");
  CHECK(o.integer("plan.context") == 77);
}

TEST_CASE("whatever is done to a file, it is read or refused with words, and a refusal changes nothing") {
  const std::string good =
      "[runtime]\nthreads = 4\nplugin_dirs = [\"" ROOT "a\"]\n[plan]\ncontext = 4096\nkv_dtype = \"f16\"\n"
      "[sampling]\ntop_p = 0.9\n[backend.\"brim.cpu\"]\nvariant = \"avx2\"\n";
  std::mt19937 random(1);
  int taken = 0, refused = 0;
  for (int round = 0; round < 3000; ++round) {
    std::string text = good;
    for (unsigned edits = 1 + random() % 4; edits > 0 && !text.empty(); --edits) {
      const size_t at = random() % text.size();
      switch (random() % 5) {
        case 0:
          text[at] = static_cast<char>(random());
          break;
        case 1:
          text.erase(at, 1 + random() % 8);
          break;
        case 2:
          text.insert(at, 1 + random() % 3, "[]\"'={}.#\n\\\0"[random() % 12]);
          break;
        case 3:
          text.insert(at, text.substr(random() % text.size(), random() % 16));
          break;
        default:
          text.resize(at);
      }
    }
    Options o;
    const std::string before = o.describe();
    const auto failure = brim::test::failure_of([&] { o.parse(text, "f"); });
    if (failure.code == BRIM_OK) {
      ++taken;
      CHECK(nlohmann::json::accept(o.describe()));
    } else {
      ++refused;
      CHECK(failure.code == BRIM_INVALID_ARGUMENT);
      CHECK_MESSAGE(failure.message.starts_with("f:"), failure.message);
      CHECK(o.describe() == before);
    }
  }
  CHECK(taken > 100);
  CHECK(refused > 100);
}

TEST_CASE("a deep or endless file is refused") {
  Options o;
  CHECK(brim::test::failure_of([&] { o.parse("x = " + std::string(100000, '['), "f"); }).code == BRIM_INVALID_ARGUMENT);
  CHECK(brim::test::failure_of([&] { o.parse(std::string(100000, 'k') + " = 1", "f"); }).code == BRIM_INVALID_ARGUMENT);
  std::string dotted = "backend";
  for (int i = 0; i < 50000; ++i) dotted += ".a";
  CHECK_FAILS(BRIM_INVALID_ARGUMENT, "dots", o.parse(dotted + " = 1", "f"));
  o.parse(dotted.substr(0, 3999) + " = 1", "f");
}

TEST_CASE("the documentation lists every key with its default") {
  std::ifstream file(BRIM_SOURCE_DIR "/sdk/docs/configuration.md");
  REQUIRE(file);
  std::stringstream text;
  text << file.rdbuf();
  const Options o;
  for (const auto& option : brim::config::schema()) {
    const std::string standard = o.get(option.key);
    const std::string row = "| `" + std::string(option.key) + "` | " + std::string(type_name(option.type)) + " | " +
                            (option.type == brim::config::Type::kFolders ? "none" : "`" + standard + "`") + " |";
    CHECK_MESSAGE(text.str().find(row) != std::string::npos, "missing in configuration.md: " << row);
    CHECK_MESSAGE(text.str().find(option.help) != std::string::npos, "missing in configuration.md: " << option.help);
  }
}
