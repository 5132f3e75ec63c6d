#include <doctest/doctest.h>

#include <string>
#include <text/chat_template.hpp>
#include <vector>

#include "../support/failure.hpp"
#include "chat_templates.hpp"
#include "vocabulary_builder.hpp"

using namespace brim;
using brim::text::ChatTemplate;
using brim::text::Message;
namespace templates = brim::test::templates;

namespace {

const std::vector<Message> kTalk = {
    {"system", " Be kind "}, {"user", " Hello "}, {"assistant", " Hi "}, {"user", "Bye"}};
const std::vector<Message> kTalkWithoutSystem = {{"user", " Hello "}, {"assistant", " Hi "}, {"user", "Bye"}};
const std::vector<Message> kHello = {{"user", "Hello"}};

std::string render(std::string_view source, const std::vector<Message>& messages, bool prompt = true) {
  return ChatTemplate::from_source(source, "<s>", "</s>").render(messages, prompt);
}

}  // namespace

// The expectations were made by Jinja.
TEST_CASE("each family's template gives what Jinja gives") {
  CHECK(render(templates::kLlama2, kTalk) ==
        "<s>[INST] <<SYS>>\n Be kind \n<</SYS>>\n\n Hello [/INST] Hi </s><s>[INST] Bye [/INST]");
  CHECK(render(templates::kLlama3, kTalk) ==
        "<s><|start_header_id|>system<|end_header_id|>\n\nBe "
        "kind<|eot_id|><|start_header_id|>user<|end_header_id|>\n\nHello<|eot_id|><|start_header_id|>assistant<|end_"
        "header_id|>\n\nHi<|eot_id|><|start_header_id|>user<|end_header_id|>\n\nBye<|eot_id|><|start_header_id|>"
        "assistant<|end_header_id|>\n\n");
  CHECK(render(templates::kLlama31, kTalk) ==
        "<s><|start_header_id|>system<|end_header_id|>\n\nCutting Knowledge Date: December 2023\nToday Date: 26 Jul "
        "2024\n\nBe "
        "kind<|eot_id|><|start_header_id|>user<|end_header_id|>\n\nHello<|eot_id|><|start_header_id|>assistant<|end_"
        "header_id|>\n\nHi<|eot_id|><|start_header_id|>user<|end_header_id|>\n\nBye<|eot_id|><|start_header_id|>"
        "assistant<|end_header_id|>\n\n");
  CHECK(render(templates::kChatml, kTalk) ==
        "<|im_start|>system\n Be kind <|im_end|>\n<|im_start|>user\n Hello <|im_end|>\n<|im_start|>assistant\n Hi "
        "<|im_end|>\n<|im_start|>user\nBye<|im_end|>\n<|im_start|>assistant\n");
  CHECK(render(templates::kQwen25, kTalk) ==
        "<|im_start|>system\n Be kind <|im_end|>\n<|im_start|>user\n Hello <|im_end|>\n<|im_start|>assistant\n Hi "
        "<|im_end|>\n<|im_start|>user\nBye<|im_end|>\n<|im_start|>assistant\n");
  CHECK(render(templates::kQwen3, kTalk) ==
        "<|im_start|>system\n Be kind <|im_end|>\n<|im_start|>user\n Hello <|im_end|>\n<|im_start|>assistant\n Hi "
        "<|im_end|>\n<|im_start|>user\nBye<|im_end|>\n<|im_start|>assistant\n");
  CHECK(render(templates::kGemma, kTalkWithoutSystem) ==
        "<s><start_of_turn>user\nHello<end_of_turn>\n<start_of_turn>model\nHi<end_of_turn>\n<start_of_turn>user\nBye<"
        "end_of_turn>\n<start_of_turn>model\n");
  CHECK(render(templates::kGemma3, kTalk) ==
        "<s><start_of_turn>user\n Be kind "
        "\n\nHello<end_of_turn>\n<start_of_turn>model\nHi<end_of_turn>\n<start_of_turn>user\nBye<end_of_turn>\n<start_"
        "of_turn>model\n");
  CHECK(render(templates::kMistralOld, kTalkWithoutSystem) == "<s>[INST]  Hello  [/INST] Hi </s> [INST] Bye [/INST]");
  CHECK(render(templates::kMistralV1, kTalk) == "<s> [INST]  Be kind \n\n Hello  [/INST]  Hi </s> [INST] Bye [/INST]");
  CHECK(render(templates::kMistralV3, kTalk) == "<s>[INST]  Hello [/INST] Hi</s>[INST]  Be kind \n\nBye[/INST]");
  CHECK(render(templates::kMistralNemo, kTalk) == "<s>[INST] Hello [/INST] Hi </s>[INST] Be kind \n\nBye[/INST]");
  CHECK(render(templates::kMistralV7, kTalk) ==
        "<s>[SYSTEM_PROMPT]  Be kind [/SYSTEM_PROMPT][INST]  Hello [/INST]  Hi </s>[INST] Bye[/INST]");
  CHECK(render(templates::kMistralSmall, kTalk) ==
        "<s>[SYSTEM_PROMPT] Be kind [/SYSTEM_PROMPT][INST] Hello [/INST] Hi </s>[INST]Bye[/INST]");
  CHECK(render(templates::kPhi3, kTalk) ==
        "<s><|user|>\n Hello <|end|>\n<|assistant|>\n Hi <|end|>\n<|user|>\nBye<|end|>\n<|assistant|>\n");
  CHECK(render(templates::kPhi35, kTalk) ==
        "<|system|>\n Be kind <|end|>\n<|user|>\n Hello <|end|>\n<|assistant|>\n Hi "
        "<|end|>\n<|user|>\nBye<|end|>\n<|assistant|>\n");
  CHECK(render(templates::kPhi4Mini, kTalk) ==
        "<|system|> Be kind <|end|><|user|> Hello <|end|><|assistant|> Hi <|end|><|user|>Bye<|end|><|assistant|>");
  CHECK(render(templates::kPhi4, kTalk) ==
        "<|im_start|>system<|im_sep|> Be kind <|im_end|><|im_start|>user<|im_sep|> Hello "
        "<|im_end|><|im_start|>assistant<|im_sep|> Hi "
        "<|im_end|><|im_start|>user<|im_sep|>Bye<|im_end|><|im_start|>assistant<|im_sep|>");
}

TEST_CASE("a conversation without a system message, and without a generation prompt") {
  CHECK(render(templates::kLlama31, kHello, false) ==
        "<s><|start_header_id|>system<|end_header_id|>\n\nCutting Knowledge Date: December 2023\nToday Date: 26 Jul "
        "2024\n\n<|eot_id|><|start_header_id|>user<|end_header_id|>\n\nHello<|eot_id|>");
  CHECK(render(templates::kQwen25, kHello, false) ==
        "<|im_start|>system\nYou are Qwen, created by Alibaba Cloud. You are a helpful "
        "assistant.<|im_end|>\n<|im_start|>user\nHello<|im_end|>\n");
  CHECK(render(templates::kQwen3, kHello, false) == "<|im_start|>user\nHello<|im_end|>\n");
  CHECK(render(templates::kGemma3, kHello, false) == "<s><start_of_turn>user\nHello<end_of_turn>\n");
  CHECK(render(templates::kPhi35, kHello, false) == "<|user|>\nHello<|end|>\n</s>");
}

TEST_CASE("templates that always prompt do so unasked") {
  CHECK(render(templates::kPhi3, kHello, false) == "<s><|user|>\nHello<|end|>\n<|assistant|>\n");
}

TEST_CASE("Qwen3 forgets the thoughts of earlier answers and shows those of the last") {
  const std::string_view answer = "<think>\nhm\n</think>\n\nans";
  CHECK(render(templates::kQwen3, {{"user", "q"}, {"assistant", answer}, {"user", "r"}}) ==
        "<|im_start|>user\nq<|im_end|>\n<|im_start|>assistant\nans<|im_end|>\n<|im_start|>user\nr<|im_end|>\n<|im_"
        "start|>assistant\n");
  CHECK(render(templates::kQwen3, {{"user", "q"}, {"assistant", answer}}) ==
        "<|im_start|>user\nq<|im_end|>\n<|im_start|>assistant\n<think>\nhm\n</"
        "think>\n\nans<|im_end|>\n<|im_start|>assistant\n");
}

TEST_CASE("white space is trimmed as Python trims it") {
  CHECK(render(templates::kGemma, {{"user", "\u00A0\u2003 a b\x1F\n"}}, false) ==
        "<s><start_of_turn>user\na b<end_of_turn>\n");
}

TEST_CASE("what a template refuses is refused in its words") {
  for (const auto source : {templates::kLlama2, templates::kGemma, templates::kGemma3, templates::kMistralOld,
                            templates::kMistralV1, templates::kMistralV3, templates::kMistralNemo}) {
    CAPTURE(source);
    CHECK_FAILS(BRIM_INVALID_ARGUMENT, "roles must alternate", render(source, {{"user", "a"}, {"user", "b"}}));
    CHECK_FAILS(BRIM_INVALID_ARGUMENT, "roles must alternate", render(source, {{"assistant", "a"}}));
  }
  CHECK_FAILS(BRIM_INVALID_ARGUMENT, "System role not supported", render(templates::kGemma, kTalk));
  CHECK_FAILS(BRIM_INVALID_ARGUMENT, "system message", render(templates::kMistralOld, kTalk));
  CHECK_FAILS(BRIM_UNSUPPORTED, "role 'tool'", render(templates::kQwen25, {{"user", "a"}, {"tool", "b"}}));
  CHECK_FAILS(BRIM_FAILED_PRECONDITION, "begin it with a system message", render(templates::kMistralSmall, kHello));
  CHECK_FAILS(BRIM_INVALID_ARGUMENT, "without messages", render(templates::kChatml, {}));
}

TEST_CASE("families are recognised whatever quotes and spaces the author liked") {
  const auto family = [](std::string_view source) {
    return std::string(ChatTemplate::from_source(source, "<s>", "</s>").family());
  };
  CHECK(family(templates::kLlama2) == "Llama-2");
  CHECK(family(templates::kLlama3) == "Llama-3");
  CHECK(family(templates::kLlama31) == "Llama-3");
  CHECK(family(templates::kChatml) == "ChatML");
  CHECK(family(templates::kQwen25) == "ChatML");
  CHECK(family(templates::kQwen3) == "ChatML");
  CHECK(family(templates::kGemma) == "Gemma");
  CHECK(family(templates::kGemma3) == "Gemma");
  CHECK(family(templates::kMistralOld) == "Mistral");
  CHECK(family(templates::kMistralV1) == "Mistral");
  CHECK(family(templates::kMistralV3) == "Mistral");
  CHECK(family(templates::kMistralNemo) == "Mistral");
  CHECK(family(templates::kMistralV7) == "Mistral");
  CHECK(family(templates::kMistralSmall) == "Mistral");
  CHECK(family(templates::kPhi3) == "Phi-3");
  CHECK(family(templates::kPhi35) == "Phi-3");
  CHECK(family(templates::kPhi4Mini) == "Phi-3");
  CHECK(family(templates::kPhi4) == "Phi-4");
  CHECK(family("{%- for message in messages -%}{{- \"<|im_start|>\"+message.role+\"\\n\" +message['content']+"
               "\"<|im_end|>\\n\" -}}{%- endfor -%}") == "ChatML");
}

TEST_CASE("a template of no known family is an error that shows how it begins") {
  CHECK_FAILS(BRIM_UNSUPPORTED, "it begins '{{ bos_token }}{% for m in",
              render("{{ bos_token }}{% for m in messages %}", kHello));
  CHECK_FAILS(BRIM_UNSUPPORTED, "Known: Llama-2", render("", kHello));
  // The right marks, put together in another way.
  CHECK_FAILS(BRIM_UNSUPPORTED, "none that is known",
              render("{% for m in messages %}<|im_start|>{{ m.role }}: {{ m.content }}<|im_end|>{% endfor %}", kHello));
  for (const char* broken :
       {"{{ '<|im_start|>", "{# [INST]", "{% '[INST]' + \\", "{{ \"[INST]' + message['content'] + '", "{{", "{%-"}) {
    CAPTURE(broken);
    CHECK_FAILS(BRIM_UNSUPPORTED, "none that is known", render(broken, kHello));
  }
}

TEST_CASE("the file's template comes with the file's BOS and EOS") {
  test::VocabularyBuilder builder = test::piece_vocabulary();
  builder.extra = {{"tokenizer.chat_template", templates::kMistralOld}};
  const model::Metadata metadata = builder.metadata();
  const auto chat = ChatTemplate::from_metadata(metadata, text::Vocabulary::from_metadata(metadata));
  CHECK(chat.render(kTalkWithoutSystem) == "<s>[INST]  Hello  [/INST] Hi </s> [INST] Bye [/INST]");

  builder.extra = {{"tokenizer.chat_template", std::string_view("{{ messages }}")}};
  const model::Metadata odd = builder.metadata();
  CHECK_FAILS(BRIM_UNSUPPORTED, "test.gguf: the chat template is none that is known",
              ChatTemplate::from_metadata(odd, text::Vocabulary::from_metadata(odd)));

  builder.extra.clear();
  const model::Metadata bare = builder.metadata();
  CHECK_FAILS(BRIM_FAILED_PRECONDITION, "test.gguf: key 'tokenizer.chat_template' is missing",
              ChatTemplate::from_metadata(bare, text::Vocabulary::from_metadata(bare)));
}
