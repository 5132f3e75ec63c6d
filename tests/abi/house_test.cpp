// The rules of the house over the tree's own lines: who may include and link whom, and that no code below the C ABI
// ends its host's process, prints, or reads the environment.
#include <doctest/doctest.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <map>
#include <regex>
#include <set>
#include <sstream>
#include <string>
#include <vector>

namespace fs = std::filesystem;

namespace {

const fs::path kRoot = BRIM_SOURCE_DIR;

// Each may use those to its right.
const std::vector<std::string> kRooms = {"api",    "engine", "negotiator", "graph",  "text",
                                         "config", "model",  "topology",   "loader", "base"};

ptrdiff_t place(const std::string& room) { return std::ranges::find(kRooms, room) - kRooms.begin(); }
bool is_room(const std::string& name) { return std::ranges::find(kRooms, name) != kRooms.end(); }

std::string text_of(const fs::path& file) {
  std::ifstream in(file, std::ios::binary);
  std::stringstream out;
  out << in.rdbuf();
  return out.str();
}

std::vector<fs::path> sources(const fs::path& folder) {
  static const std::set<std::string> kinds = {".h", ".hpp", ".c", ".cpp", ".cu", ".cuh", ".inc"};
  std::vector<fs::path> found;
  if (!fs::exists(kRoot / folder)) return found;
  for (const auto& entry : fs::recursive_directory_iterator(kRoot / folder)) {
    if (entry.is_regular_file() && kinds.contains(entry.path().extension().string())) found.push_back(entry.path());
  }
  return found;
}

struct Include {
  std::string path;
  bool quoted;
};

std::vector<Include> includes(const fs::path& file) {
  static const std::regex pattern(R"(^[ \t]*#[ \t]*include[ \t]*([<"])([^>"]+)[>"])", std::regex::multiline);
  const std::string text = text_of(file);
  std::vector<Include> found;
  for (std::sregex_iterator i(text.begin(), text.end(), pattern), end; i != end; ++i) {
    found.push_back({(*i)[2], (*i)[1] == "\""});
  }
  return found;
}

std::string first_part(const std::string& path) { return path.substr(0, path.find('/')); }

std::string in_tree(const fs::path& file) { return fs::relative(file, kRoot).generic_string(); }

// Code without comments and the content of literals.
std::string code_of(const fs::path& file) {
  const std::string text = text_of(file);
  std::string code;
  for (size_t i = 0; i < text.size();) {
    if (text.compare(i, 2, "//") == 0) {
      i = std::min(text.find('\n', i), text.size());
    } else if (text.compare(i, 2, "/*") == 0) {
      i = std::min(text.find("*/", i), text.size() - 2) + 2;
    } else if (text.compare(i, 2, "R\"") == 0 && text.find('(', i) != text.npos) {
      const std::string close = ")" + text.substr(i + 2, text.find('(', i) - i - 2) + "\"";
      i = std::min(text.find(close, i), text.size() - close.size()) + close.size();
    } else if (text[i] == '"') {
      for (++i; i < text.size() && text[i] != '"' && text[i] != '\n'; ++i) {
        if (text[i] == '\\') ++i;
      }
      ++i;
    } else {
      code += text[i++];
    }
  }
  return code;
}

// Every file that a quoted include names lies below `folder`, or beside the including file.
void check_quoted(const fs::path& file, const std::string& include, const fs::path& folder) {
  const fs::path beside = (file.parent_path() / include).lexically_normal();
  const fs::path below = (kRoot / folder / include).lexically_normal();
  const bool inside = in_tree(beside).starts_with(folder.generic_string());
  CHECK_MESSAGE(((fs::exists(beside) && inside) || fs::exists(below)),
                in_tree(file) << " includes \"" << include << "\", which is not of its own folder");
}

}  // namespace

TEST_CASE("the C headers know the C standard's integers and each other, nobody else") {
  const auto files = sources("sdk/include");
  CHECK(files.size() >= 8);
  for (const fs::path& file : files) {
    CHECK_MESSAGE(file.extension() == ".h", in_tree(file) << " is no C header");
    for (const Include& include : includes(file)) {
      const bool standard = !include.quoted && (include.path == "stddef.h" || include.path == "stdint.h");
      const bool own = include.quoted && fs::exists(file.parent_path() / include.path);
      CHECK_MESSAGE((standard || own), in_tree(file) << " includes " << include.path);
    }
  }
}

TEST_CASE("every function of brim.h says in brackets which threads may call it") {
  const std::string text = text_of(kRoot / "sdk/include/brim/brim.h"), begins = "\nBRIM_API ";
  size_t functions = 0;
  for (size_t at = text.find(begins); at != text.npos; at = text.find(begins, at + 1), ++functions) {
    // The comment that ends in the line before, and the one behind the declaration.
    const size_t end = text.find(';', at);
    std::string contract = text.substr(end, text.find('\n', end) - end);
    if (text.compare(at - 2, 2, "*/") == 0) contract += text.substr(text.rfind("/*", at), at - text.rfind("/*", at));
    const bool says = std::ranges::any_of(std::vector{"[any]", "[control]", "[session]", "[queue]"},
                                          [&](const char* role) { return contract.find(role) != std::string::npos; });
    CHECK_MESSAGE(says, text.substr(at + 1, end - at));
  }
  CHECK(functions >= 58);
}

TEST_CASE("the C++ comforts know the C headers and the standard library") {
  for (const fs::path& file : sources("sdk/cpp")) {
    for (const Include& include : includes(file)) {
      const bool standard = !include.quoted && include.path.find_first_of("/.") == std::string::npos;
      const bool sdk = include.path.starts_with("brim/");
      const bool own = include.quoted && fs::exists(file.parent_path() / include.path);
      CHECK_MESSAGE((standard || sdk || own), in_tree(file) << " includes " << include.path);
    }
  }
}

TEST_CASE("arrows between the rooms of runtime/ point to the right") {
  for (const auto& entry : fs::directory_iterator(kRoot / "runtime")) {
    if (!entry.is_directory()) continue;
    const std::string room = entry.path().filename().string();
    CHECK_MESSAGE(is_room(room), "runtime/" << room << " is no room of the house");
    for (const fs::path& file : sources("runtime/" + room)) {
      for (const Include& include : includes(file)) {
        if (include.quoted && !is_room(first_part(include.path))) {
          check_quoted(file, include.path, "runtime/" + room);
        } else if (const std::string other = first_part(include.path); is_room(other)) {
          CHECK_MESSAGE(place(other) >= place(room), in_tree(file) << " includes <" << include.path << ">");
        }
        CHECK_MESSAGE(include.path.find("backends/") == std::string::npos, in_tree(file) << " knows a backend");
        CHECK_MESSAGE(include.path.find("plugins/") == std::string::npos, in_tree(file) << " knows an architecture");
      }
    }
    // The same for what is linked.
    static const std::regex uses(R"(brim_room\(\s*(\w+)[^)]*USES\s+([^)]*)\))");
    const std::string cmake = text_of(entry.path() / "CMakeLists.txt");
    for (std::sregex_iterator i(cmake.begin(), cmake.end(), uses), end; i != end; ++i) {
      CHECK((*i)[1] == room);
      std::istringstream words((*i)[2]);
      for (std::string other; words >> other;) {
        CHECK_MESSAGE((is_room(other) && place(other) > place(room)), "runtime/" << room << " links " << other);
      }
    }
  }
}

TEST_CASE("the runtime names no certain backend and no certain architecture") {
  std::vector<std::string> names;
  for (const char* kind : {"backends", "plugins"}) {
    for (const auto& entry : fs::directory_iterator(kRoot / kind)) {
      if (!entry.is_directory()) continue;
      names.push_back("\"brim." + entry.path().filename().string());
      names.push_back("libbrim-" + entry.path().filename().string());
    }
  }
  CHECK(names.size() >= 4);
  for (const fs::path& file : sources("runtime")) {
    std::istringstream text(text_of(file));
    for (std::string line; std::getline(text, line);) {
      const std::string code = line.substr(0, line.find("//"));
      for (const std::string& name : names) {
        CHECK_MESSAGE(code.find(name) == std::string::npos, in_tree(file) << " names " << name << ": " << line);
      }
    }
  }
}

TEST_CASE("backends, plugins, samples, templates and brim-check know the SDK only") {
  for (const char* kind : {"backends", "plugins", "samples", "sdk/template"}) {
    if (!fs::exists(kRoot / kind)) continue;
    for (const auto& entry : fs::directory_iterator(kRoot / kind)) {
      if (!entry.is_directory()) continue;
      const std::string folder = in_tree(entry.path());
      for (const fs::path& file : sources(folder)) {
        for (const Include& include : includes(file)) {
          const bool own = fs::exists(kRoot / folder / include.path) || fs::exists(file.parent_path() / include.path);
          if (include.quoted && !include.path.starts_with("brim/")) check_quoted(file, include.path, folder);
          CHECK_MESSAGE((!is_room(first_part(include.path)) || own), in_tree(file) << " includes " << include.path);
          CHECK_MESSAGE(include.path.find("runtime/") == std::string::npos, in_tree(file)
                                                                                << " includes " << include.path);
        }
      }
    }
  }
  for (const fs::path& file : sources("sdk/conformance")) {
    for (const Include& include : includes(file)) {
      const bool own = fs::exists(file.parent_path() / include.path);
      CHECK_MESSAGE((!is_room(first_part(include.path)) || own), in_tree(file) << " includes " << include.path);
    }
  }
}

TEST_CASE("no code below the C ABI ends the process, prints, or reads the environment") {
  const std::regex banned(
      R"x((^|[^\w.>:])(std::|::)?(abort|_?exit|quick_exit|terminate|getenv|secure_getenv|setenv|putenv|printf|puts|putchar)\s*\()x"
      R"x(|(^|[^\w.>:])(std::|::)?(signal|sigaction|system|chdir|assert|perror)\s*\()x"
      R"x(|std::(cout|cerr|clog)\b|f(printf|puts)\s*\(\s*(stdout|stderr))x");
  for (const char* line : {"  std::abort();", "exit(1);", "x = ::getenv(name);", "std::cerr << x;",
                           "fprintf(stderr, f);", "  assert(x);", "if (a) printf(f);"}) {
    CHECK_MESSAGE(std::regex_search(line, banned), "lets pass: " << line);
  }
  for (const char* line :
       {"static_assert(x);", "snprintf(b, n, f);", "fence.signal(2);", "queue_signal(q);", "on_exit();"}) {
    CHECK_MESSAGE(!std::regex_search(line, banned), "takes for a sin: " << line);
  }
  for (const char* folder : {"runtime", "backends", "plugins", "sdk/cpp"}) {
    for (const fs::path& file : sources(folder)) {
      std::istringstream code(code_of(file));
      for (std::string line; std::getline(code, line);) {
        CHECK_MESSAGE(!std::regex_search(line, banned), in_tree(file) << ": " << line);
      }
    }
  }
}
