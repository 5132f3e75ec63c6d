// Turns a conversation into the text that a model was tuned on. The file carries the rule as a Jinja template; here the
// templates of the Llama-2, Llama-3, ChatML, Gemma, Mistral and Phi families are recognised by their content and
// rendered as their Jinja would be, trimming, default system messages and complaints about roles included. There is no
// Jinja engine: a template of another family, tools, and documents are errors, never guesses.
#pragma once

#include <span>
#include <string>
#include <string_view>
#include <text/vocabulary.hpp>
#include <variant>

namespace brim::text {

struct Message {
  std::string_view role;  // "system", "user", "assistant"
  std::string_view content;
};

struct ChatmlStyle {
  bool trim = false;
  bool prompt = false;         // add_generation_prompt is listened to
  bool thinks = false;         // Qwen3: earlier answers lose their <think> part, the current one shows it
  bool prompt_thinks = false;  // the generation prompt opens <think>
  bool plain_roles = false;    // roles other than system, user and assistant need a tool format
  std::string default_system;  // empty: none
};

struct Llama2Style {};

struct Llama3Style {
  bool dated = false;  // 3.1 on: a system message with two dates comes first, always
  bool trim = true;
  bool always_prompts = false;
};

struct GemmaStyle {
  bool system_prefix = false;  // Gemma 3 puts the system message before the first user's; Gemma 1 and 2 refuse it
};

struct MistralStyle {
  enum class System { kNone, kFirstUser, kLastUser, kOwn };
  System system = System::kNone;
  std::string system_open, system_close;  // kOwn
  bool needs_system = false;              // the template's own one holds the date of the day
  std::string user_open, user_close;
  std::string_view answer_open, answer_close;  // around the answer; the end-of-sequence token stands between
  bool trim_answer = false;
  bool alternates = false;
};

struct PhiStyle {
  bool any_role = false;
  bool system = false;
  bool newline = false;
  bool prompt_after_user = false;
  bool ends_with_eos = false;
  bool prompt_unless_answered = false;  // no generation prompt after an assistant's message
};

struct Phi4Style {
  bool prompt_after_user = false;
  bool answer_has_head = false;
};

class ChatTemplate {
 public:
  // The file's template, with the spellings of its BOS and EOS tokens. FAILED_PRECONDITION if the file has none,
  // UNSUPPORTED if it is of no known family; the message shows how it begins.
  static ChatTemplate from_metadata(const model::Metadata& metadata, const Vocabulary& vocabulary);
  // The same for a template from elsewhere.
  static ChatTemplate from_source(std::string_view source, std::string_view bos, std::string_view eos);

  // The text to encode with parse_special on and add_special off: the template writes BOS itself where there is one.
  // With add_generation_prompt the text ends where the assistant's answer begins. INVALID_ARGUMENT where the template
  // raises an exception: roles that do not alternate, a system message that it has no place for. Any thread.
  std::string render(std::span<const Message> messages, bool add_generation_prompt = true) const;

  // "Llama-3", for reports.
  std::string_view family() const;

 private:
  using Style = std::variant<ChatmlStyle, Llama2Style, Llama3Style, GemmaStyle, MistralStyle, PhiStyle, Phi4Style>;
  ChatTemplate(Style style, std::string_view bos, std::string_view eos)
      : style_(std::move(style)), bos_(bos), eos_(eos) {}

  Style style_;
  std::string bos_;
  std::string eos_;
};

}  // namespace brim::text
