// A new backend and a new architecture, from an empty folder with the installed package alone: each template is copied
// out of it, built with every warning an error, held against its own tests and brim-check, and loaded into the
// installed `brim`, of which nothing is rebuilt.
#include <doctest/doctest.h>

#include <filesystem>
#include <fstream>

#include "../cli/command.hpp"
#include "../support/temp_folder.hpp"

using namespace brim::test;

namespace {

const char kDemoModel[] = BRIM_SOURCE_DIR "/samples/models/brim-austen.gguf";

std::string run(const std::string& line) {
  const Outcome outcome = shell(line);
  INFO(line << "\n" << outcome.out << outcome.err);
  REQUIRE(outcome.code == 0);
  return outcome.out;
}

// One installed package for all cases, in a place that the build does not know.
const std::string& prefix() {
  static const TempFolder folder;
  static const std::string moved = [] {
    run("cmake --install " + quote(BRIM_BINARY_DIR) + " --prefix " + quote(folder / "first"));
    std::filesystem::rename(folder / "first", folder / "some where");
    return folder / "some where";
  }();
  return moved;
}

std::string installed(const std::string& program) { return quote(prefix() + "/bin/" + program); }

// A template copied to an empty folder, built and tested there. The plugin's folder.
std::string build_template(const TempFolder& folder, const std::string& name, const std::string& settings = {}) {
  const std::string source = folder / "mine", build = folder / "mine/build";
  std::filesystem::copy(prefix() + "/share/brim/template/" + name, source, std::filesystem::copy_options::recursive);
  run("cmake -S " + quote(source) + " -B " + quote(build) + " -DCMAKE_PREFIX_PATH=" + quote(prefix()) +
      " -DCMAKE_CXX_FLAGS='-Wall -Wextra -Werror' " + settings);
  run("cmake --build " + quote(build) + " -j2");
  run("ctest --output-on-failure --test-dir " + quote(build));
  return build + "/brim/plugins";
}

std::string plugins(const std::string& own) {
  return " --plugins " + quote(own) + " --plugins " + quote(prefix() + "/lib/brim/plugins");
}

bool contains(const std::string& text, const std::string& part) { return text.find(part) != std::string::npos; }

// Built once; the cases below are about the installed programs.
struct Gptj {
  TempFolder folder;
  std::string own = build_template(folder, "architecture");
  std::string model = quote(folder / "mine/build/tests/case/model.gguf");
};
const Gptj& gptj() {
  static const Gptj built;
  return built;
}
const char kThreeTokens[] = " --prompt the -n 3 --temp 0 --ignore-eos --quiet";

}  // namespace

TEST_CASE("a backend from the template holds the contract and writes the text that the CPU backend writes") {
  const TempFolder folder;
  const std::string own = build_template(folder, "backend", "-DPLAIN_MODEL=" + quote(kDemoModel));
  const std::string devices = run(installed("brim") + " devices" + plugins(own));
  CHECK_MESSAGE(contains(devices, "plain processor"), devices);
  CHECK(run("nm -D --defined-only " + quote(own + "/libplain.so") + " | awk '{print $3}'") == "brim_plugin_query\n");
}

TEST_CASE("an architecture from the template computes its reference's logits and loads into the installed brim") {
  const std::string brim = installed("brim"), model = gptj().model, own = gptj().own;

  const Outcome unknown = shell(brim + " run " + model + kThreeTokens);
  CHECK(unknown.code == 1);
  CHECK_MESSAGE(contains(unknown.err, "no architecture plugin knows \"gptj\""), unknown.err);

  const std::string shown = run(brim + " show " + model + plugins(own));
  CHECK_MESSAGE(contains(shown, "org.example.gptj"), shown);
  const std::string text = run(brim + " run " + model + plugins(own) + kThreeTokens);
  CHECK(text.size() > 1);  // more than the line's end

  std::ofstream(gptj().folder / "brim.toml") << "[runtime]\nplugin_dirs = ['" << own << "', '" << prefix()
                                             << "/lib/brim/plugins']\narchitecture = 'org.example.gptj'\n";
  CHECK(run(brim + " run " + model + " --config " + quote(gptj().folder / "brim.toml") + kThreeTokens) == text);

  // Installed beside the others it is found unasked.
  run("cmake --install " + quote(gptj().folder / "mine/build") + " --prefix " + quote(prefix()));
  CHECK(run(brim + " run " + model + kThreeTokens) == text);
}

TEST_CASE("a plugin that was chosen is asked, whatever the match says, and names the key that it misses") {
  const Outcome wrong =
      shell(installed("brim") + " run " + gptj().model + plugins(gptj().own) + " --architecture llama" + kThreeTokens);
  CHECK(wrong.code == 1);
  CHECK_MESSAGE(contains(wrong.err, "llama."), wrong.err);
}
