// What a user sees when something is wrong: one sentence on standard error that names the thing and what to do, nothing
// on standard output, and an exit code that tells a failure (1) from wrong usage (2).
#include <doctest/doctest.h>

#include <algorithm>
#include <cctype>
#include <fstream>

#include "../support/temp_folder.hpp"
#include "command.hpp"

using namespace brim::test;

namespace {

bool has(const std::string& text, const std::string& part) { return text.find(part) != std::string::npos; }

void check_refused(const Outcome& outcome, int code, std::initializer_list<std::string> words) {
  CAPTURE(outcome.err);
  CHECK(outcome.code == code);
  CHECK(outcome.out == "");
  CHECK(outcome.err.rfind("brim: ", 0) == 0);
  for (const std::string& word : words) CHECK_MESSAGE(has(outcome.err, word), "expected: " << word);
}

}  // namespace

TEST_CASE("every command explains itself with examples") {
  for (const char* name : {"run", "show", "plugins", "devices", "plan", "bench", "calibrate", "selftest", "tokenize",
                           "eval", "quantize", "config"}) {
    CAPTURE(name);
    const Outcome help = brim_command(std::string(name) + " --help");
    CHECK(help.code == 0);
    CHECK(help.err == "");
    CHECK(has(help.out, std::string("brim ") + name));
    CHECK(has(help.out, "Examples:"));
    CHECK(has(help.out, "--plugins"));
    CHECK(has(brim_command("--help").out, name));
  }
  // The list of commands is one to be taken in at a glance.
  CHECK(has(brim_command("--help").out, "Generate text, or talk with a model\n"));
}

TEST_CASE("wrong usage is code 2 and names what is wrong") {
  check_refused(brim_command(""), 2, {"--help"});
  check_refused(brim_command("dance"), 2, {"dance"});
  check_refused(brim_command("show"), 2, {"MODEL", "brim show --help"});
  check_refused(brim_command("run x.gguf --tempo 3"), 2, {"--tempo"});
  check_refused(brim_command("run x.gguf --kv q3"), 2, {"--kv", "q8_0"});
  check_refused(brim_command("run x.gguf -n many"), 2, {"many"});
  check_refused(brim_command("plugins --plugins /nowhere/at/all"), 2, {"/nowhere/at/all"});
}

TEST_CASE("an unknown setting names the nearest known one") {
  check_refused(brim_command("config --set plan.contxt=4096"), 1, {"plan.contxt", "plan.context"});
  const TempFolder folder;
  std::ofstream(folder / "brim.toml") << "[plan]\ncontxt = 4096\n";
  check_refused(brim_command("config --config " + quote(folder / "brim.toml")), 1,
                {"brim.toml", "contxt", "plan.context"});
  check_refused(brim_command("config --config /nowhere/brim.toml"), 1, {"/nowhere/brim.toml"});
}

TEST_CASE("a configuration file in the working directory is not looked at") {
  const TempFolder folder;
  std::ofstream(folder / "brim.toml") << "[plan]\ncontxt = 4096\n";
  CHECK(shell("cd " + quote(folder.path().string()) + " && " + quote(BRIM_BINARY_DIR "/bin/brim") + " config").code ==
        0);
}

TEST_CASE("files that are no models") {
  const TempFolder folder;
  for (const char* command : {"run %s --prompt x", "show %s", "plan %s", "bench %s", "tokenize %s x"}) {
    CAPTURE(command);
    const auto on = [&](const std::string& path) {
      std::string line = command;
      return brim_command(line.replace(line.find("%s"), 2, quote(path)));
    };
    check_refused(on("/nowhere/model.gguf"), 1, {"/nowhere/model.gguf"});
    std::ofstream(folder / "letter.txt") << "Dear reader,\nthis is no model.\n";
    check_refused(on(folder / "letter.txt"), 1, {"letter.txt", "GGUF"});
    check_refused(on(folder.path().string()), 1, {folder.path().string()});
    const std::string whole = tiny_model(Head::kRandom).bytes();
    for (const size_t bytes : {size_t{0}, size_t{20}, size_t{3000}, whole.size() / 2, whole.size() - 100}) {
      std::ofstream(folder / "cut.gguf", std::ios::binary).write(whole.data(), static_cast<std::streamsize>(bytes));
      CAPTURE(bytes);
      check_refused(on(folder / "cut.gguf"), 1, {"cut.gguf"});
    }
  }
}

TEST_CASE("models that cannot be run name the reason") {
  const TempFolder folder;
  tiny_model(Head::kRandom, "llama", "blk.0.ffn_up.weight").write(folder / "holey.gguf");
  tiny_model(Head::kRandom, "zebra").write(folder / "zebra.gguf");
  for (const char* command : {"run %s --prompt x", "plan %s", "bench %s -p 4 -n 4"}) {
    CAPTURE(command);
    const auto on = [&](const std::string& path) {
      std::string line = command;
      return brim_command(line.replace(line.find("%s"), 2, quote(path)));
    };
    check_refused(on(folder / "holey.gguf"), 1, {"blk.0.ffn_up.weight"});
    check_refused(on(folder / "zebra.gguf"), 1, {"zebra"});
  }
  // What needs no plugin still works.
  CHECK(has(brim_command("show " + quote(folder / "zebra.gguf")).out, "zebra"));
  CHECK(brim_command("tokenize --ids --no-bos " + quote(folder / "zebra.gguf") + " a").code == 0);
}

TEST_CASE("a context larger than memory is refused with numbers and a remedy") {
  const TempFolder folder;
  tiny_model(Head::kRandom).write(folder / "tiny.gguf");
  // 128 bytes of KV a token, 2 TB in all.
  for (const char* command :
       {"plan %s -c 16000000 --set plan.sequences=1000", "run %s --prompt x -c 16000000 --set plan.sequences=1000"}) {
    std::string line = command;
    const Outcome outcome = brim_command(line.replace(line.find("%s"), 2, quote(folder / "tiny.gguf")));
    check_refused(outcome, 1, {"a context of 16000000 tokens", "system memory", "What would fit", "unsafe_overcommit"});
    CHECK(std::count_if(outcome.err.begin(), outcome.err.end(), [](unsigned char c) { return std::isdigit(c); }) > 10);
  }
}

TEST_CASE("an output that goes away ends the program without a crash") {
  const TempFolder folder;
  tiny_model(Head::kRandom).write(folder / "tiny.gguf");
  const std::string brim_path = quote(BRIM_BINARY_DIR "/bin/brim"), model = quote(folder / "tiny.gguf");
  const Outcome full = shell(brim_path + " show " + model + " > /dev/full");
  CHECK(full.code == 1);
  CHECK(has(full.err, "standard output"));
  const Outcome closed = shell("{ " + brim_path + " run " + model +
                               " --prompt a -n 4000 --ignore-eos; echo code $? >&2; } | head -c 1 > /dev/null");
  CHECK(has(closed.err, "code 1"));
  CHECK_FALSE(has(closed.err, "brim: "));
}

TEST_CASE("Ctrl-C ends a generation with code 130") {
  const TempFolder folder;
  tiny_model(Head::kRandom).write(folder / "tiny.gguf");
  const Outcome outcome = shell("timeout --preserve-status -s INT 2 " + quote(BRIM_BINARY_DIR "/bin/brim") + " run " +
                                quote(folder / "tiny.gguf") + " --prompt a -c 1000000 --ignore-eos > /dev/null");
  CHECK(outcome.code == 130);
}
