// The recogniser of chat templates and its renderers: `template NUL role NUL content NUL role ...`. Whatever the
// template and the conversation, there is a text or a refusal, and a user's words are in the text.
#include <text/chat_template.hpp>
#include <text/template_scan.hpp>
#include <vector>

#include "fuzz.hpp"

using namespace brim;
using namespace brim::fuzz;

int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  std::string_view rest = text_of(data, size);
  const std::string_view source = next_part(rest, '\0');
  std::vector<text::Message> messages;
  while (!rest.empty()) {
    const std::string_view role = next_part(rest, '\0');
    messages.push_back({role, next_part(rest, '\0')});
  }
  static_cast<void>(text::compact_template(source));
  accepts([&] {
    const auto found = text::ChatTemplate::from_source(source, "<s>", "</s>");
    expect(!found.family().empty(), "a family has a name");
    for (const bool prompt : {false, true}) {
      accepts([&] {
        const std::string text = found.render(messages, prompt);
        if (!messages.empty() && messages.back().role == "user") {
          const std::string_view content = messages.back().content;
          const size_t from = content.find_first_of("abcdefghijklmnopqrstuvwxyz");
          const size_t to = content.find_first_not_of("abcdefghijklmnopqrstuvwxyz", from);
          if (from != content.npos) {
            expect(text.find(content.substr(from, to - from)) != text.npos, "the user's words are in the text", text);
          }
        }
      });
    }
  });
  return 0;
}
