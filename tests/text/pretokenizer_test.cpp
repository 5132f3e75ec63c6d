#include <doctest/doctest.h>

#include <string>
#include <string_view>
#include <text/pretokenizer.hpp>

using brim::text::PreTokenizer;

namespace {

// The words with bars between them.
std::string cut(PreTokenizer kind, std::string_view text) {
  std::string out;
  size_t begin = 0;
  for (const uint32_t end : brim::text::split_words(kind, text)) {
    if (begin > 0) out += '|';
    out += text.substr(begin, end - begin);
    begin = end;
  }
  CHECK(begin == text.size());
  return out;
}

}  // namespace

// The expectations were made by the vocabularies' own regular expressions, run by another engine.
TEST_CASE("each pre-tokenizer cuts where its regular expressions do") {
  const std::string_view text = "I'VE  it's 12345\t\r\n\n  naïve日本+한=$9/x²!?/ \nHTMLTag don't";
  CHECK(cut(PreTokenizer::kDefault, text) ==
        "I|'|VE| | it|'|s| |123|45|\t\r\n\n | naïve日本|+|한|=$|9|/|x|²|!?/| |\n|HTMLTag| don|'|t");
  CHECK(cut(PreTokenizer::kGpt2, text) ==
        "I|'|VE| | it|'s| 12345|\t\r\n\n | naïve日本|+|한|=$|9|/|x|²|!?/| |\n|HTMLTag| don|'t");
  CHECK(cut(PreTokenizer::kLlama3, text) ==
        "I|'VE| | it|'s| |123|45|\t\r\n\n| | naïve日本|+한|=$|9|/x|²|!?/| \n|HTMLTag| don|'t");
  CHECK(cut(PreTokenizer::kQwen2, text) ==
        "I|'VE| | it|'s| |1|2|3|4|5|\t\r\n\n| | naïve日本|+한|=$|9|/x|²|!?/| \n|HTMLTag| don|'t");
  CHECK(cut(PreTokenizer::kQwen35, text) ==
        "I|'VE| | it|'s| |1|2|3|4|5|\t\r\n\n| | naïve日本|+한|=$|9|/x|²|!?/| \n|HTMLTag| don|'t");
  CHECK(cut(PreTokenizer::kStarcoder, text) ==
        "I|'|VE| | it|'s| |1|2|3|4|5|\t\r\n\n | naïve日本|+|한|=$|9|/|x|²|!?/| |\n|HTMLTag| don|'t");
  CHECK(cut(PreTokenizer::kFalcon, text) ==
        "I|'|VE| | it|'|s| |123|45|\t\r\n\n | naïve日本|+|한|=$|9|/|x|²|!?/| |\n|HTMLTag| don|'|t");
  CHECK(cut(PreTokenizer::kDeepseekLlm, text) ==
        "I|'|VE| | it|'|s| |12345|\t|\r|\n|\n| | na|ï|ve|日本|+|한|=$|9|/|x|²|!?/| |\n|HTMLTag| don|'|t");
  CHECK(cut(PreTokenizer::kDeepseekCoder, text) ==
        "I|'|VE| | it|'|s| |1|2|3|4|5|\t|\r|\n|\n| | naïve|日本|+|한|=$|9|/|x|²|!?/| |\n|HTMLTag| don|'|t");
  CHECK(cut(PreTokenizer::kDeepseekV3, text) ==
        "I|'VE| | it|'s| |123|45|\t\r\n\n| | naïve|日本|+|한|=$|9|/x|²|!?/| \n|HTMLTag| don|'t");
  CHECK(cut(PreTokenizer::kTekken, text) ==
        "I|'VE| | it|'s| |1|2|3|4|5|\t\r\n\n| | naïve日本|+한|=$|9|/x|²|!?/| \n|HTMLTag| don|'t");
  CHECK(cut(PreTokenizer::kGpt4o, text) ==
        "I'VE| | it's| |123|45|\t\r\n\n| | naïve日本|+한|=$|9|/x|²|!?/| \n|HTMLTag| don't");
}

TEST_CASE("Qwen 3.5 keeps marks with their letters, its elders cut before them") {
  const std::string_view text = "हिन्दी e\u0301t\u0301!\u0301 \u0301. 1\u0301a +\u0301\u0301 \u0301";
  CHECK(cut(PreTokenizer::kQwen35, text) ==
        "हिन्दी| e\u0301t\u0301|!\u0301| \u0301|.| |1|\u0301a| +|\u0301\u0301| \u0301");
  CHECK(cut(PreTokenizer::kQwen2, text) ==
        "ह|िन|्द|ी| e|\u0301t|\u0301!\u0301| \u0301.| |1|\u0301a| +\u0301\u0301| \u0301");
}

TEST_CASE("tekken ends a word where lower case turns to upper") {
  CHECK(cut(PreTokenizer::kTekken, "camelCaseHTML日本A") == "camel|Case|HTML日本|A");
  CHECK(cut(PreTokenizer::kLlama3, "camelCaseHTML日本A") == "camelCaseHTML日本A");
}

TEST_CASE("an empty text has no words") { CHECK(brim::text::split_words(PreTokenizer::kFalcon, "").empty()); }
