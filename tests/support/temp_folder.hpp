// A folder of its own for one test, removed with everything in it.
#pragma once

#include <filesystem>
#include <random>
#include <string>

namespace brim::test {

class TempFolder {
 public:
  TempFolder() {
    std::random_device random;
    do {
      path_ = std::filesystem::temp_directory_path() / ("brim-test-" + std::to_string(random()));
    } while (!std::filesystem::create_directory(path_));
  }
  ~TempFolder() {
    std::error_code ignored;
    std::filesystem::remove_all(path_, ignored);
  }
  TempFolder(const TempFolder&) = delete;
  TempFolder& operator=(const TempFolder&) = delete;

  const std::filesystem::path& path() const { return path_; }
  // A path in the folder, UTF-8.
  std::string operator/(const std::string& name) const {
    const std::u8string full = (path_ / std::filesystem::path(std::u8string(name.begin(), name.end()))).u8string();
    return {full.begin(), full.end()};
  }

 private:
  std::filesystem::path path_;
};

}  // namespace brim::test
