// Runs a program as a user at a shell does, and a tiny model to run it on.
#pragma once

#include <string>

#include "../support/gguf_builder.hpp"

namespace brim::test {

struct Outcome {
  int code = -1;  // exit code; 128 + n after signal n
  std::string out, err;
};

// `line` is a shell command; every argument that comes from outside is quoted by quote().
Outcome shell(const std::string& line);
std::string quote(const std::string& text);
// The brim command and brim-check of this build, followed by arguments.
Outcome brim_command(const std::string& arguments);
Outcome check_command(const std::string& arguments);

// A llama model of one layer: width 32, 2 heads, 260 tokens (<unk>, <s>, </s>, one for each byte, and a space mark).
enum class Head {
  kZero,    // every logit is 0, so each token has probability 1/260 and the perplexity of any text is 260
  kRandom,  // small numbers from a fixed generator
};
inline constexpr int kTinyVocabulary = 260;
GgufBuilder tiny_model(Head head, const std::string& architecture = "llama", const std::string& without_tensor = "");

}  // namespace brim::test
