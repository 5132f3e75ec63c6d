#include "command.hpp"

#include <sys/wait.h>

#include <array>
#include <cstdio>
#include <fstream>
#include <iterator>
#include <stdexcept>

#include "../support/temp_folder.hpp"

namespace brim::test {

namespace {

std::string content(const std::string& path) {
  std::ifstream stream(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(stream), {}};
}

class Numbers {
 public:
  std::vector<float> some(size_t n, float scale) {
    std::vector<float> out(n);
    for (float& value : out) {
      state_ = state_ * 6364136223846793005u + 1442695040888963407u;
      value = (static_cast<float>(state_ >> 40) / static_cast<float>(1 << 24) - 0.5f) * 2 * scale;
    }
    return out;
  }

 private:
  uint64_t state_ = 7;
};

}  // namespace

std::string quote(const std::string& text) {
  std::string out = "'";
  for (const char c : text) out += c == '\'' ? std::string("'\\''") : std::string(1, c);
  return out + "'";
}

Outcome shell(const std::string& line) {
  const TempFolder folder;
  Outcome result;
  // Settings of the user who runs the tests must not leak in; a stdin that is no terminal and empty unless the line has
  // one.
  const std::string full = "env -u XDG_CONFIG_HOME HOME=" + quote(folder.path().string()) + " sh -c " + quote(line) +
                           " </dev/null >" + quote(folder / "out") + " 2>" + quote(folder / "err");
  const int status = std::system(full.c_str());
  if (status == -1) throw std::runtime_error("cannot run a shell");
  result.code = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
  result.out = content(folder / "out");
  result.err = content(folder / "err");
  return result;
}

Outcome brim_command(const std::string& arguments) {
  return shell(quote(BRIM_BINARY_DIR "/bin/brim") + " " + arguments);
}
Outcome check_command(const std::string& arguments) {
  return shell(quote(BRIM_BINARY_DIR "/bin/brim-check") + " " + arguments);
}

GgufBuilder tiny_model(Head head, const std::string& architecture, const std::string& without_tensor) {
  constexpr uint32_t kWidth = 32, kHidden = 64;
  const std::string a = architecture + ".";
  GgufBuilder out;
  out.set("general.architecture", architecture).set("general.name", "tiny");
  out.set(a + "context_length", uint32_t{4096}).set(a + "embedding_length", kWidth).set(a + "block_count", uint32_t{1});
  out.set(a + "feed_forward_length", kHidden).set(a + "attention.head_count", uint32_t{2});
  out.set(a + "attention.head_count_kv", uint32_t{2}).set(a + "rope.dimension_count", uint32_t{16});
  out.set(a + "attention.layer_norm_rms_epsilon", 1e-5f).set(a + "vocab_size", uint32_t{kTinyVocabulary});

  std::vector<std::string> tokens = {"<unk>", "<s>", "</s>"};
  std::vector<float> scores(kTinyVocabulary, 0.0f);
  std::vector<int32_t> types = {2, 3, 3};
  for (int byte = 0; byte < 256; ++byte) {
    char name[8];
    std::snprintf(name, sizeof name, "<0x%02X>", static_cast<unsigned>(byte));
    tokens.push_back(name);
    types.push_back(6);
  }
  tokens.push_back("\xe2\x96\x81");
  types.push_back(1);
  out.set("tokenizer.ggml.model", "llama").set("tokenizer.ggml.tokens", tokens).set("tokenizer.ggml.scores", scores);
  out.set("tokenizer.ggml.token_type", types).set("tokenizer.ggml.bos_token_id", uint32_t{1});
  out.set("tokenizer.ggml.eos_token_id", uint32_t{2}).set("tokenizer.ggml.unknown_token_id", uint32_t{0});
  out.set("tokenizer.ggml.add_bos_token", true);

  Numbers numbers;
  const auto add = [&](const std::string& name, std::vector<uint64_t> shape, const std::vector<float>& values) {
    if (name != without_tensor) out.f32(name, std::move(shape), values);
  };
  const auto matrix = [&](const std::string& name, uint64_t rows, uint64_t columns) {
    add(name, {rows, columns}, numbers.some(rows * columns, 0.3f));
  };
  const std::vector<float> ones(kWidth, 1.0f);
  matrix("token_embd.weight", kTinyVocabulary, kWidth);
  add("blk.0.attn_norm.weight", {kWidth}, ones);
  for (const char* name : {"attn_q", "attn_k", "attn_v", "attn_output"}) {
    matrix(std::string("blk.0.") + name + ".weight", kWidth, kWidth);
  }
  add("blk.0.ffn_norm.weight", {kWidth}, ones);
  matrix("blk.0.ffn_gate.weight", kHidden, kWidth);
  matrix("blk.0.ffn_up.weight", kHidden, kWidth);
  matrix("blk.0.ffn_down.weight", kWidth, kHidden);
  add("output_norm.weight", {kWidth}, ones);
  add("output.weight", {uint64_t{kTinyVocabulary}, kWidth},
      head == Head::kZero ? std::vector<float>(kTinyVocabulary * kWidth, 0.0f)
                          : numbers.some(kTinyVocabulary * kWidth, 0.3f));
  return out;
}

}  // namespace brim::test
