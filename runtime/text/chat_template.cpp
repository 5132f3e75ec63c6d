#include <array>
#include <base/error.hpp>
#include <base/utf8.hpp>
#include <optional>
#include <text/chat_template.hpp>
#include <text/template_scan.hpp>
#include <text/unicode.hpp>
#include <utility>

namespace brim::text {
namespace {

constexpr std::string_view kKnown =
    "Llama-2, Llama-3 (3.0 to 3.3), ChatML (Qwen 1.5 to 3, SmolLM2, Hermes, Yi), Gemma (1 to 3), Mistral (v1, v3, v7, "
    "tekken), Phi (3, 3.5, 4)";

bool has(std::string_view text, std::string_view part) { return text.find(part) != std::string_view::npos; }

// ---- recognising; `t` is always a compact template ----

// What stands for a message's text between two other parts, if anything: whether it is trimmed.
std::optional<bool> trims_between(std::string_view t, std::string_view before, std::string_view after) {
  constexpr std::array<std::pair<std::string_view, bool>, 6> kForms = {{{"message['content']", false},
                                                                        {"content", false},
                                                                        {"message['content']|trim", true},
                                                                        {"content|trim", true},
                                                                        {"message['content'].strip()", true},
                                                                        {"content.strip()", true}}};
  for (const auto& [form, trims] : kForms) {
    std::string whole(before);
    whole.append(form).append(after);
    if (has(t, whole)) return trims;
  }
  return std::nullopt;
}

std::optional<ChatmlStyle> chatml_style(std::string_view t) {
  constexpr std::string_view kBegin = "'<|im_start|>'+message['role']+'\n'+";
  std::optional<bool> trims = trims_between(t, kBegin, "+'<|im_end|>'+'\n'");
  if (!trims) trims = trims_between(t, kBegin, "+'<|im_end|>\n'");
  if (!trims) return std::nullopt;
  ChatmlStyle style;
  style.trim = *trims;
  style.prompt = has(t, "'<|im_start|>assistant\n");
  style.prompt_thinks = has(t, "'<|im_start|>assistant\n<think>\n'");
  style.thinks = has(t, "last_query_index") && has(t, "'\n<think>\n'");
  // Other ways of leaving out thoughts are other templates, and so are system messages that are always there.
  if (has(t, "</think>") && !style.thinks) return std::nullopt;
  if (has(t, "'<|im_start|>system\n'}}") && !has(t, "{%iftools%}")) return std::nullopt;
  style.plain_roles = has(t, "tool_response");
  constexpr std::string_view kHead = "<|im_start|>system\n";
  for (const std::string& literal : literals_between(t, "{{", kHead, "}}")) {
    const size_t end = literal.find("<|im_end|>");
    if (end == std::string::npos) continue;
    style.default_system = literal.substr(kHead.size(), end - kHead.size());
  }
  // A system message that stands there whatever the conversation begins with is another template.
  const bool asks = has(t, "messages[0]['role']") || has(t, "messages[0].role");
  if (!style.default_system.empty() && !asks) return std::nullopt;
  return style;
}

std::optional<Llama2Style> llama2_style(std::string_view t) {
  const bool known = has(t, "'<<SYS>>\n'+system_message+'\n<</SYS>>\n\n'+message['content']") &&
                     has(t, "bos_token+'[INST] '+content.strip()+' [/INST]'") &&
                     has(t, "' '+content.strip()+' '+eos_token") &&
                     (has(t, "{%setsystem_message=false%}") && !has(t, "true==true"));
  return known ? std::optional<Llama2Style>(Llama2Style{}) : std::nullopt;
}

std::optional<Llama3Style> llama3_style(std::string_view t) {
  const auto trims =
      trims_between(t, "'<|start_header_id|>'+message['role']+'<|end_header_id|>\n\n'+", "+'<|eot_id|>'");
  const bool dated = has(t, "{{'Cutting Knowledge Date: December 2023\n'}}");
  // A system message of its own that is not the dated one is another template's.
  if (!trims || (!dated && has(t, "'<|start_header_id|>system<|end_header_id|>"))) return std::nullopt;
  return Llama3Style{dated, *trims, !has(t, "add_generation_prompt")};
}

std::optional<GemmaStyle> gemma_style(std::string_view t) {
  const bool refuses = has(t, "raise_exception('System role not supported')");
  const bool prefixes = has(t, "first_user_prefix=messages[0]['content']+'\n\n'");
  const bool known = has(t, "'<start_of_turn>'+role+'\n'") && has(t, "message['content']|trim") &&
                     has(t, "'<start_of_turn>model\n'") && refuses != prefixes;
  return known ? std::optional<GemmaStyle>(GemmaStyle{prefixes}) : std::nullopt;
}

std::optional<MistralStyle> mistral_style(std::string_view t) {
  constexpr std::string_view kContent = "message['content']";
  MistralStyle style;
  const auto user_open = literals_between(t, "{{", "[INST]", "+message['content']+'");
  const auto user_close = literals_between(t, "+message['content']+", "[/INST]", "}}");
  if (user_open.empty() || user_close.empty()) return std::nullopt;
  style.user_open = user_open.front();
  style.user_close = user_close.front();
  // The answer: {{ [' ' +] message['content'] [|trim] + eos_token [+ ' '] }}
  bool found = false;
  for (const std::string_view open : {"", "' '+"}) {
    for (const std::string_view trim : {"", "|trim"}) {
      for (const std::string_view close : {"", "+' '"}) {
        std::string whole = "{{";
        whole.append(open).append(kContent).append(trim).append("+eos_token").append(close).append("}}");
        if (!has(t, whole)) continue;
        found = true;
        style.answer_open = open.empty() ? "" : " ";
        style.answer_close = close.empty() ? "" : " ";
        style.trim_answer = !trim.empty();
      }
    }
  }
  if (!found) return std::nullopt;
  style.alternates = has(t, "must alternate");
  if (has(t, "[SYSTEM_PROMPT]")) {
    style.system = MistralStyle::System::kOwn;
    auto open = literals_between(t, "{{", "[SYSTEM_PROMPT]", "+system_message+'");
    auto close = literals_between(t, "+system_message+", "[/SYSTEM_PROMPT]", "}}");
    if (open.empty()) open = literals_between(t, "{{", "[SYSTEM_PROMPT]", "+message['content']+'");
    if (close.empty()) close = literals_between(t, "+message['content']+", "[/SYSTEM_PROMPT]", "}}");
    if (open.empty() || close.empty()) return std::nullopt;
    style.system_open = open.front();
    style.system_close = close.front();
    style.needs_system = has(t, "default_system_message");
  } else if (has(t, "+system_message+'\n\n'+message['content']+'")) {
    const bool first = has(t, "loop.firstandsystem_messageisdefined");
    const bool last = has(t, "loop.lastandsystem_messageisdefined");
    if (first == last) return std::nullopt;
    style.system = first ? MistralStyle::System::kFirstUser : MistralStyle::System::kLastUser;
  } else if (has(t, "system_message")) {
    return std::nullopt;
  }
  return style;
}

std::optional<PhiStyle> phi_style(std::string_view t) {
  PhiStyle style;
  style.any_role = has(t, "'<|'+message['role']+'|>'") || has(t, "'<|'+message['role']+'|>\n'");
  if (!style.any_role && !has(t, "'<|user|>'+") && !has(t, "'<|user|>\n'+")) return std::nullopt;
  if (!has(t, "+'<|end|>'") && !has(t, "+'<|end|>\n'")) return std::nullopt;
  style.newline = has(t, "|>\n'+message['content']") || has(t, "|>'+'\n'+message['content']");
  style.system = has(t, "message['role']=='system'");
  style.prompt_after_user = !has(t, "add_generation_prompt");
  style.ends_with_eos = has(t, "{%else%}{{eos_token}}");
  style.prompt_unless_answered = has(t, "add_generation_promptandmessages[-1]['role']!='assistant'");
  return style;
}

std::optional<Phi4Style> phi4_style(std::string_view t) {
  if (!has(t, "'<|im_start|>user<|im_sep|>'+message['content']+'<|im_end|>")) return std::nullopt;
  return Phi4Style{has(t, "+'<|im_end|><|im_start|>assistant<|im_sep|>'"),
                   has(t, "'<|im_start|>assistant<|im_sep|>'+message['content']")};
}

// ---- rendering ----

// Python's str.strip().
std::string_view trimmed(std::string_view text) {
  const auto blank = [](char32_t c) { return is_space(c) || (c >= 0x1C && c <= 0x1F); };
  while (!text.empty()) {
    const Decoded first = decode_utf8(text);
    if (!blank(first.code_point)) break;
    text.remove_prefix(first.size);
  }
  while (!text.empty()) {
    size_t last = text.size() - 1;
    while (last > 0 && (static_cast<uint8_t>(text[last]) & 0xC0) == 0x80) --last;
    if (!blank(decode_utf8(text.substr(last)).code_point)) break;
    text = text.substr(0, last);
  }
  return text;
}

std::string_view without_newlines(std::string_view text, bool front, bool back) {
  while (front && text.starts_with('\n')) text.remove_prefix(1);
  while (back && text.ends_with('\n')) text.remove_suffix(1);
  return text;
}

[[noreturn]] void refuse(std::string_view why) {
  fail(BRIM_INVALID_ARGUMENT, "the model's chat template refuses the conversation: {}", why);
}

constexpr std::string_view kMustAlternate = "Conversation roles must alternate user/assistant/user/assistant/...";

struct Rendering {
  std::span<const Message> messages;
  bool prompt;
  std::string_view bos, eos;
  std::string out;

  template <class... Parts>
  void put(const Parts&... parts) {
    (out.append(parts), ...);
  }
  bool begins_with_system() const { return messages.front().role == "system"; }
  // The messages after a system message at the front.
  std::span<const Message> turns() const { return messages.subspan(begins_with_system() ? 1 : 0); }
};

void check_alternation(std::span<const Message> turns) {
  for (size_t i = 0; i < turns.size(); ++i) {
    if ((turns[i].role == "user") != (i % 2 == 0)) refuse(kMustAlternate);
  }
}

// Qwen3: the thoughts and the answer of an assistant's message.
std::pair<std::string_view, std::string_view> split_thoughts(std::string_view content) {
  constexpr std::string_view kOpen = "<think>", kClose = "</think>";
  const size_t first = content.find(kClose);
  if (first == std::string_view::npos) return {{}, content};
  std::string_view thoughts = without_newlines(content.substr(0, first), false, true);
  if (const size_t open = thoughts.rfind(kOpen); open != std::string_view::npos) {
    thoughts.remove_prefix(open + kOpen.size());
  }
  const std::string_view answer = content.substr(content.rfind(kClose) + kClose.size());
  return {without_newlines(thoughts, true, false), without_newlines(answer, true, false)};
}

void render_style(const ChatmlStyle& style, Rendering& r) {
  r.put(r.bos);
  if (!style.default_system.empty() && !r.begins_with_system()) {
    r.put("<|im_start|>system\n", style.default_system, "<|im_end|>\n");
  }
  size_t last_query = r.messages.size() - 1;
  for (size_t i = r.messages.size(); i-- > 0;) {
    const auto& [role, content] = r.messages[i];
    if (role != "user" || (content.starts_with("<tool_response>") && content.ends_with("</tool_response>"))) continue;
    last_query = i;
    break;
  }
  for (size_t i = 0; i < r.messages.size(); ++i) {
    const auto& [role, content] = r.messages[i];
    if (style.plain_roles && role != "system" && role != "user" && role != "assistant") {
      fail(BRIM_UNSUPPORTED,
           "message {} has the role '{}', which this chat template writes in a form for tools; give system, user and "
           "assistant messages",
           i, printable(role));
    }
    r.put("<|im_start|>", role, "\n");
    if (style.thinks && role == "assistant") {
      const auto [thoughts, answer] = split_thoughts(content);
      const bool shows = i > last_query && (i + 1 == r.messages.size() || !thoughts.empty());
      if (shows) r.put("<think>\n", without_newlines(thoughts, true, true), "\n</think>\n\n");
      r.put(shows ? without_newlines(answer, true, false) : answer);
    } else {
      r.put(style.trim ? trimmed(content) : content);
    }
    r.put("<|im_end|>\n");
  }
  if (r.prompt && style.prompt) r.put("<|im_start|>assistant\n", style.prompt_thinks ? "<think>\n" : "");
}

void render_style(const Llama2Style&, Rendering& r) {
  check_alternation(r.turns());
  const std::span<const Message> turns = r.turns();
  for (size_t i = 0; i < turns.size(); ++i) {
    std::string content;
    if (i == 0 && r.begins_with_system()) {
      content.append("<<SYS>>\n").append(r.messages.front().content).append("\n<</SYS>>\n\n");
    }
    content += turns[i].content;
    if (turns[i].role == "user") r.put(r.bos, "[INST] ", trimmed(content), " [/INST]");
    if (turns[i].role == "assistant") r.put(" ", trimmed(content), " ", r.eos);
  }
}

void render_style(const Llama3Style& style, Rendering& r) {
  const auto head = [&](std::string_view role) { r.put("<|start_header_id|>", role, "<|end_header_id|>\n\n"); };
  std::span<const Message> turns = r.messages;
  r.put(r.bos);
  if (style.dated) {
    turns = r.turns();
    head("system");
    // The date is the template's own for hosts that tell it none, so that a text is the same every day.
    r.put("Cutting Knowledge Date: December 2023\nToday Date: 26 Jul 2024\n\n");
    if (r.begins_with_system()) r.put(trimmed(r.messages.front().content));
    r.put("<|eot_id|>");
  }
  for (const auto& [role, content] : turns) {
    head(role);
    r.put(style.trim ? trimmed(content) : content, "<|eot_id|>");
  }
  if (r.prompt || style.always_prompts) head("assistant");
}

void render_style(const GemmaStyle& style, Rendering& r) {
  if (r.begins_with_system() && !style.system_prefix) {
    refuse("System role not supported; put it into the first user message");
  }
  const std::span<const Message> turns = r.turns();
  check_alternation(turns);
  r.put(r.bos);
  for (size_t i = 0; i < turns.size(); ++i) {
    r.put("<start_of_turn>", turns[i].role == "assistant" ? "model" : turns[i].role, "\n");
    if (i == 0 && r.begins_with_system()) r.put(r.messages.front().content, "\n\n");
    r.put(trimmed(turns[i].content), "<end_of_turn>\n");
  }
  if (r.prompt) r.put("<start_of_turn>model\n");
}

void render_style(const MistralStyle& style, Rendering& r) {
  using System = MistralStyle::System;
  if (r.begins_with_system() && style.system == System::kNone) {
    refuse("Only user and assistant roles are supported; put the system message into the first user message");
  }
  if (!r.begins_with_system() && style.needs_system) {
    fail(BRIM_FAILED_PRECONDITION,
         "the model's chat template begins with a system message of its own that holds the date of the day, and the "
         "conversation has none; begin it with a system message");
  }
  r.put(r.bos);
  const std::span<const Message> turns = r.turns();
  if (style.alternates) check_alternation(turns);
  const std::string_view system = r.begins_with_system() ? r.messages.front().content : std::string_view();
  if (r.begins_with_system() && style.system == System::kOwn) r.put(style.system_open, system, style.system_close);
  for (size_t i = 0; i < turns.size(); ++i) {
    const auto& [role, content] = turns[i];
    if (role == "user") {
      const bool carries = r.begins_with_system() && ((style.system == System::kFirstUser && i == 0) ||
                                                      (style.system == System::kLastUser && i + 1 == turns.size()));
      r.put(style.user_open);
      if (carries) r.put(system, "\n\n");
      r.put(content, style.user_close);
    } else if (role == "assistant") {
      r.put(style.answer_open, style.trim_answer ? trimmed(content) : content, r.eos, style.answer_close);
    } else if (role == "system" && style.system == System::kOwn) {
      r.put(style.system_open, content, style.system_close);
    } else {
      refuse("Only user and assistant roles are supported, after an optional system message");
    }
  }
}

void render_style(const PhiStyle& style, Rendering& r) {
  const std::string_view line = style.newline ? "\n" : "";
  r.put(r.bos);
  for (const auto& [role, content] : r.messages) {
    if (!style.any_role) {
      if (role != "system" && role != "user" && role != "assistant") continue;
      if (role == "system" && (!style.system || content.empty())) continue;
    }
    // Where the prompt follows each user message, an answer comes without a head of its own.
    const bool headless = style.prompt_after_user && role == "assistant";
    if (!headless) r.put("<|", role, "|>", line);
    r.put(content, "<|end|>", line);
    if (style.prompt_after_user && role == "user") r.put("<|assistant|>", line);
  }
  if (style.prompt_after_user) return;
  if (r.prompt && !(style.prompt_unless_answered && r.messages.back().role == "assistant")) {
    r.put("<|assistant|>", line);
  } else if (style.ends_with_eos) {
    r.put(r.eos);
  }
}

void render_style(const Phi4Style& style, Rendering& r) {
  for (const auto& [role, content] : r.messages) {
    if (role != "system" && role != "user" && role != "assistant") continue;
    if (role != "assistant" || style.answer_has_head) r.put("<|im_start|>", role, "<|im_sep|>");
    r.put(content, "<|im_end|>");
    if (style.prompt_after_user && role == "user") r.put("<|im_start|>assistant<|im_sep|>");
  }
  if (r.prompt && !style.prompt_after_user) r.put("<|im_start|>assistant<|im_sep|>");
}

}  // namespace

ChatTemplate ChatTemplate::from_metadata(const model::Metadata& metadata, const Vocabulary& vocabulary) {
  const auto source = metadata.string("tokenizer.chat_template");
  if (!source) {
    fail(BRIM_FAILED_PRECONDITION,
         "{}: key 'tokenizer.chat_template' is missing, so it is not known how the model wants a conversation written; "
         "use a file of an instruction-tuned model, or give the prompt as plain text",
         metadata.source);
  }
  const auto spelling = [&](int32_t id) { return id == kNoToken ? std::string_view() : vocabulary.text(id); };
  try {
    return from_source(*source, spelling(vocabulary.special.bos), spelling(vocabulary.special.eos));
  } catch (const Error& error) {
    fail(error.code, "{}: {}", metadata.source, error.what());
  }
}

ChatTemplate ChatTemplate::from_source(std::string_view source, std::string_view bos, std::string_view eos) {
  const std::string compact = compact_template(source);
  // Files differ in whether the template or the tokenizer adds BOS; a template that never names it writes none.
  if (!has(compact, "bos_token")) bos = {};
  if (has(compact, "<|im_sep|>")) {
    if (auto style = phi4_style(compact)) return ChatTemplate(*style, bos, eos);
  } else if (has(compact, "<|im_start|>")) {
    if (auto style = chatml_style(compact)) return ChatTemplate(*style, bos, eos);
  } else if (has(compact, "<|start_header_id|>")) {
    if (auto style = llama3_style(compact)) return ChatTemplate(*style, bos, eos);
  } else if (has(compact, "<start_of_turn>")) {
    if (auto style = gemma_style(compact)) return ChatTemplate(*style, bos, eos);
  } else if (has(compact, "<<SYS>>")) {
    if (auto style = llama2_style(compact)) return ChatTemplate(*style, bos, eos);
  } else if (has(compact, "[INST]")) {
    if (auto style = mistral_style(compact)) return ChatTemplate(*style, bos, eos);
  } else if (has(compact, "<|end|>")) {
    if (auto style = phi_style(compact)) return ChatTemplate(*style, bos, eos);
  }
  fail(BRIM_UNSUPPORTED,
       "the chat template is none that is known; it begins '{}'. Known: {}. Write the conversation as the model wants "
       "it "
       "and give it as plain text",
       printable(source, 80), kKnown);
}

std::string ChatTemplate::render(std::span<const Message> messages, bool add_generation_prompt) const {
  if (messages.empty()) {
    fail(BRIM_INVALID_ARGUMENT, "a conversation without messages is to be rendered; give at least one");
  }
  Rendering rendering{messages, add_generation_prompt, bos_, eos_, {}};
  std::visit([&](const auto& style) { render_style(style, rendering); }, style_);
  return std::move(rendering.out);
}

std::string_view ChatTemplate::family() const {
  constexpr std::array<std::string_view, std::variant_size_v<Style>> kNames = {"ChatML",  "Llama-2", "Llama-3", "Gemma",
                                                                               "Mistral", "Phi-3",   "Phi-4"};
  return kNames[style_.index()];
}

}  // namespace brim::text
