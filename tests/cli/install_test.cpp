// What `cmake --install` lays out is enough for others: the C samples are built from it outside of the tree with strict
// warnings, found by find_package or opened by name, and run; and all of it still works after the installed tree was
// moved.
#include <doctest/doctest.h>

#include <filesystem>
#include <fstream>

#include "../support/temp_folder.hpp"
#include "command.hpp"

using namespace brim::test;

namespace {

void run(const std::string& line) {
  const Outcome outcome = shell(line);
  INFO(line << "\n" << outcome.out << outcome.err);
  REQUIRE(outcome.code == 0);
}

}  // namespace

TEST_CASE("hosts build and run against an installed and moved SDK") {
  const TempFolder folder;
  const std::string first = folder / "first", prefix = folder / "moved here";
  run("cmake --install " + quote(BRIM_BINARY_DIR) + " --prefix " + quote(first));
  std::filesystem::rename(first, prefix);
  tiny_model(Head::kRandom).write(folder / "tiny.gguf");
  const std::string model = quote(folder / "tiny.gguf");

  SUBCASE("the command itself") {
    run(quote(prefix + "/bin/brim") + " run " + model + " --prompt a -n 4 --ignore-eos --quiet");
    run(quote(prefix + "/bin/brim") + " devices --on dgx-spark");
    run(quote(prefix + "/bin/brim-check") + " --help");
  }
  SUBCASE("a C11 host that links, and one that opens the library by name") {
    const std::string build = folder / "embed";
    run("cmake -S " + quote(BRIM_SOURCE_DIR "/samples/embed-c") + " -B " + quote(build) +
        " -DCMAKE_PREFIX_PATH=" + quote(prefix) + " -DCMAKE_C_FLAGS='-std=c11 -Wall -Wextra -Wpedantic -Werror'");
    run("cmake --build " + quote(build));
    run(quote(build + "/embed") + " " + model + " a");
    const std::string library =
        std::filesystem::exists(prefix + "/lib/libbrim.so.0") ? prefix + "/lib/libbrim.so.0" : "";
    REQUIRE(library != "");
    run("BRIM_LIBRARY=" + quote(library) + " " + quote(build + "/embed-dlopen") + " " + model + " a");
    const Outcome wrong = shell(quote(build + "/embed") + " /nowhere/model.gguf");
    CHECK(wrong.code != 0);
    CHECK(wrong.err.find("/nowhere/model.gguf") != std::string::npos);
  }
  SUBCASE("a plugin made by brim_add_plugin exports one symbol and has a manifest") {
    const std::string source = folder / "plugin", build = folder / "plugin-build";
    std::filesystem::create_directory(source);
    std::ofstream(source + "/CMakeLists.txt")
        << "cmake_minimum_required(VERSION 3.25)\nproject(p VERSION 3.2.1 LANGUAGES CXX)\nset(CMAKE_CXX_STANDARD 20)\n"
           "find_package(Brim REQUIRED)\n"
           "brim_add_plugin(mine KIND architecture ID org.example.mine SOURCES p.cpp CPU_FEATURES avx2 RANK 7)\n";
    std::ofstream(source + "/p.cpp")
        << "#include <brim/brim.hpp>\n#include <brim/architecture.h>\n"
           "BRIM_BEGIN BRIM_EXPORT const brim_plugin_header* brim_plugin_query(uint32_t);\n"
           "const brim_plugin_header* brim_plugin_query(uint32_t) { return nullptr; }\n"
           "void not_for_others() {} BRIM_END\n";
    run("cmake -S " + quote(source) + " -B " + quote(build) + " -DCMAKE_PREFIX_PATH=" + quote(prefix));
    run("cmake --build " + quote(build));
    const std::string made = build + "/brim/plugins/";
    CHECK(shell("nm -D --defined-only " + quote(made + "libmine.so") + " | awk '{print $3}'").out ==
          "brim_plugin_query\n");
    const std::string manifest = shell("cat " + quote(made + "mine.toml")).out;
    for (const char* line : {"id = \"org.example.mine\"", "kind = \"architecture\"", "library = \"libmine.so\"",
                             "version = \"3.2.1\"", "cpu_features = [\"avx2\"]", "rank = 7"}) {
      CHECK_MESSAGE(manifest.find(line) != std::string::npos, "expected: " << line << " in " << manifest);
    }
    // It answers nothing, so it is refused with words and the program goes on.
    const Outcome plugins = shell(quote(prefix + "/bin/brim") + " plugins --plugins " +
                                  quote(prefix + "/lib/brim/plugins") + " --plugins " + quote(build + "/brim/plugins"));
    CHECK(plugins.code == 0);
    CHECK(plugins.out.find("mine") != std::string::npos);
  }
}

TEST_CASE("the code in the embedding guide compiles as strict C11") {
  const TempFolder folder;
  std::ifstream guide(BRIM_SOURCE_DIR "/sdk/docs/embedding.md");
  std::string line, code;
  int blocks = 0;
  for (bool inside = false; std::getline(guide, line);) {
    if (line == "```c") {
      inside = true;
      code.clear();
    } else if (inside && line == "```") {
      inside = false;
      ++blocks;
      std::ofstream(folder / "block.c") << code;
      run("cc -std=c11 -Wall -Wextra -Wpedantic -Werror -fsyntax-only -I " + quote(BRIM_SOURCE_DIR "/sdk/include") +
          " " + quote(folder / "block.c"));
    } else if (inside) {
      code += line + '\n';
    }
  }
  CHECK(blocks == 3);
}
