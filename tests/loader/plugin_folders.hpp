// Plugin folders for tests: those that the build made (tests/plugins/<case>), and temporary ones to be filled by hand.
#pragma once

#include <base/log.hpp>
#include <filesystem>
#include <fstream>
#include <loader/loader.hpp>
#include <mutex>
#include <string>
#include <utility>
#include <vector>

namespace fs = std::filesystem;

inline std::string built(const std::string& which) { return std::string(BRIM_BINARY_DIR) + "/tests/plugins/" + which; }

// The file name of the library that a case's build made.
inline std::string library_of(const std::string& which) {
  for (const auto& entry : fs::directory_iterator(built(which)))
    if (entry.path().stem() == which && entry.path().extension() != ".toml") return entry.path().string();
  return {};
}

// A folder that vanishes with it.
class Folder {
 public:
  Folder() {
    static int counter = 0;
    path_ = fs::temp_directory_path() / ("brim-plugins-" + std::to_string(counter++));
    fs::remove_all(path_);
    fs::create_directories(path_);
  }
  ~Folder() { fs::remove_all(path_); }
  Folder(const Folder&) = delete;
  Folder& operator=(const Folder&) = delete;

  std::string path() const { return path_.string(); }
  std::string file(const std::string& name, const std::string& text) const {
    std::ofstream(path_ / name, std::ios::binary) << text;
    return (path_ / name).string();
  }
  // A copy of a built library under the name.
  void library(const std::string& name, const std::string& which) const {
    fs::copy_file(library_of(which), path_ / name, fs::copy_options::overwrite_existing);
  }

 private:
  fs::path path_;
};

// The manifest of the good plugin, with the library's name and what follows [requires].
inline std::string manifest(const std::string& library, const std::string& requires_ = "",
                            const std::string& id = "test.fake") {
  return "[plugin]\nid = \"" + id + "\"\nkind = \"architecture\"\nlibrary = \"" + library +
         "\"\nversion = \"1.2.3\"\nlicense = \"Apache-2.0\"\n[abi]\nmajor = 0\nminor = 1\nmin_minor = 0\n[requires]\n" +
         requires_;
}

// A sink that keeps everything.
struct Records {
  struct Record {
    uint32_t level;
    std::string source, text;
  };
  std::mutex mutex;
  std::vector<Record> all;

  brim::Log log() {
    return {BRIM_LOG_TRACE, [this](uint32_t level, std::string_view source, std::string_view text) {
              const std::lock_guard lock(mutex);
              all.push_back({level, std::string(source), std::string(text)});
            }};
  }
  // The text of the first record of that level and source; empty if there is none.
  std::string find(uint32_t level, const std::string& source) {
    const std::lock_guard lock(mutex);
    for (const Record& r : all)
      if (r.level == level && r.source == source) return r.text;
    return {};
  }
};

inline brim::loader::Config config_for(std::vector<std::string> folders) {
  brim::loader::Config config;
  config.directories = std::move(folders);
  config.cpu_features = {"avx2", "fma"};
  config.team = std::make_shared<brim::Team>(2);
  return config;
}
