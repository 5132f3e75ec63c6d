// Real vocabularies against the ids that their models' own tokenizers give.
#include <doctest/doctest.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <model/model_file.hpp>
#include <sstream>
#include <string>
#include <text/tokenizer.hpp>
#include <vector>

namespace {

std::string read_file(const std::filesystem::path& path) {
  std::ifstream file(path, std::ios::binary);
  std::ostringstream out;
  out << file.rdbuf();
  return out.str();
}

// The texts lie between lines of their own that read __ggml_vocab_test__; the last one ends with such a line or the
// file.
std::vector<std::string> read_texts(const std::filesystem::path& path) {
  const std::string all = read_file(path);
  const std::string separator = "\n__ggml_vocab_test__\n";
  std::vector<std::string> out;
  size_t begin = 0;
  for (size_t end = all.find(separator); end != std::string::npos; end = all.find(separator, begin)) {
    out.push_back(all.substr(begin, end - begin));
    begin = end + separator.size();
  }
  if (begin < all.size()) out.push_back(all.substr(begin));
  return out;
}

std::vector<std::vector<int32_t>> read_ids(const std::filesystem::path& path) {
  std::istringstream all(read_file(path));
  std::vector<std::vector<int32_t>> out;
  for (std::string line; std::getline(all, line);) {
    std::istringstream numbers(line);
    auto& ids = out.emplace_back();
    for (int32_t id = 0; numbers >> id;) ids.push_back(id);
  }
  return out;
}

}  // namespace

TEST_CASE("every text of every reference vocabulary gets the reference ids and decodes back") {
  const std::filesystem::path folder = std::filesystem::path(BRIM_SHARED_DIR) / "tokenizers";
  if (!std::filesystem::is_directory(folder)) {
    MESSAGE("skipped: no ../shared");
    return;
  }
  int vocabularies = 0;
  for (const auto& entry : std::filesystem::directory_iterator(folder)) {
    if (entry.path().extension() != ".gguf") continue;
    ++vocabularies;
    CAPTURE(entry.path().filename().string());
    const auto file = brim::model::ModelFile::open(entry.path().string());
    const auto tokenizer = brim::text::Tokenizer::from_metadata(file.metadata());
    const auto texts = read_texts(entry.path().string() + ".inp");
    const auto expected = read_ids(entry.path().string() + ".out");
    REQUIRE(!texts.empty());
    REQUIRE(texts.size() == expected.size());
    for (size_t i = 0; i < texts.size(); ++i) {
      CAPTURE(texts[i]);
      const auto ids = tokenizer.encode(texts[i], {.add_special = false});
      CHECK(ids == expected[i]);
      if (tokenizer.vocabulary().model == brim::text::TokenizerModel::kWordPiece) {
        // The normalised text encodes to the same words again, unless one of them was unknown.
        const std::string normal = tokenizer.decode(ids);
        const bool unknown = std::find(ids.begin(), ids.end(), tokenizer.vocabulary().special.unk) != ids.end();
        if (!unknown) CHECK(tokenizer.encode(normal, {.add_special = false}) == ids);
      } else {
        CHECK(tokenizer.decode(ids) == texts[i]);
        const auto framed = tokenizer.encode(texts[i]);
        CHECK(tokenizer.decode(framed) == texts[i]);
      }
    }
  }
  CHECK(vocabularies > 0);
}
