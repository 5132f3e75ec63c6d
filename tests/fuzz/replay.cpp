// Runs a fuzz target over files: `fuzz_TARGET FILE_OR_FOLDER ...`. This is the target's main program where there is no
// libFuzzer, so that every build runs the corpus and all that fuzzing ever found. No file at all is an error.
#include <filesystem>
#include <iterator>
#include <memory>
#include <set>

#include "fuzz.hpp"

namespace {

void run(const std::filesystem::path& path) {
  std::ifstream file(path, std::ios::binary);
  const std::string bytes{std::istreambuf_iterator<char>(file), {}};
  brim::fuzz::expect(!file.bad(), "the file can be read", path.string());
  std::fprintf(stderr, "%s\n", path.string().c_str());  // the last line names the input that did it
  // A copy of exactly this size, so that sanitizers see a read behind it.
  const auto copy = std::make_unique<uint8_t[]>(bytes.size());
  std::copy(bytes.begin(), bytes.end(), copy.get());
  LLVMFuzzerTestOneInput(copy.get(), bytes.size());
}

}  // namespace

int main(int argc, char** argv) {
  std::set<std::filesystem::path> files;
  for (int i = 1; i < argc; ++i) {
    if (!std::filesystem::is_directory(argv[i])) {
      files.insert(argv[i]);
      continue;
    }
    for (const auto& entry : std::filesystem::directory_iterator(argv[i])) files.insert(entry.path());
  }
  LLVMFuzzerTestOneInput(nullptr, 0);
  for (const auto& path : files) run(path);
  std::printf("%zu files\n", files.size());
  return files.empty();
}
