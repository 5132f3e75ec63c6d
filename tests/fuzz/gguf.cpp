// GGUF headers: any bytes are refused or give a table whose every view lies in the file; every key can be asked for as
// every type; and what the metadata says of a vocabulary or a chat template is refused or makes one that works.
#include <model/gguf.hpp>
#include <model/recognize.hpp>
#include <text/chat_template.hpp>
#include <text/tokenizer.hpp>

#include "fuzz.hpp"

using namespace brim;
using namespace brim::fuzz;

namespace {

void look_at(const model::Metadata& metadata, std::string_view key) {
  const model::Value* value = metadata.find(key);
  accepts([&] { static_cast<void>(metadata.u64(key)); });
  accepts([&] { static_cast<void>(metadata.f64(key)); });
  accepts([&] { static_cast<void>(metadata.boolean(key)); });
  accepts([&] { static_cast<void>(metadata.string(key)); });
  accepts([&] { static_cast<void>(metadata.strings(key)); });
  accepts([&] { static_cast<void>(metadata.f32s(key)); });
  accepts([&] { static_cast<void>(metadata.u64s(key)); });
  expect(!accepts([&] { static_cast<void>(metadata.require_u64(key)); }) || value, "an absent number is refused");
  expect(!accepts([&] { static_cast<void>(metadata.require_string(key)); }) || value, "an absent text is refused");
  expect(!accepts([&] { static_cast<void>(metadata.require_strings(key)); }) || value, "an absent list is refused");
}

// Reads every byte, for the sanitizers to see.
uint64_t touch(std::string_view text) {
  uint64_t sum = 0;
  for (const char c : text) sum += static_cast<unsigned char>(c);
  return sum;
}

void make_text(const model::Metadata& metadata) {
  accepts([&] {
    const auto tokenizer = text::Tokenizer::from_metadata(metadata);
    const auto& vocabulary = tokenizer.vocabulary();
    for (int32_t id = 0; id < vocabulary.size(); ++id) {
      touch(tokenizer.bytes(id));
      static_cast<void>(tokenizer.is_end_of_generation(id));
    }
    accepts([&] {
      const auto ids = tokenizer.encode("the <s> caf\xC3\xA9  </s>\n00 \xFF\xE2\x96\x81x", {.parse_special = true});
      for (const int32_t id : ids) expect(vocabulary.contains(id), "encoding gives ids of the vocabulary");
      expect(is_utf8(tokenizer.decode(ids, {.render_special = true})), "decoding gives UTF-8");
    });
    accepts([&] {
      const text::Message talk[] = {{"system", "be kind"}, {"user", "hello"}, {"assistant", "hi"}, {"user", "bye"}};
      touch(text::ChatTemplate::from_metadata(metadata, vocabulary).render(talk));
    });
  });
}

}  // namespace

int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::span<const std::byte> bytes = std::as_bytes(std::span(data, size));
  touch(model::seems_to_be(bytes));
  accepts([&] {
    const model::Gguf g = model::parse_gguf(bytes, "fuzzed.gguf");
    uint64_t sum = 0;
    for (const std::string_view key : g.metadata.keys()) {
      sum += touch(key);
      look_at(g.metadata, key);
    }
    look_at(g.metadata, "no.such.key");
    for (const auto& entry : g.entries) sum += touch({reinterpret_cast<const char*>(entry.data()), entry.size()});
    expect(g.entries.size() == g.metadata.keys().size(), "every key has its entry");
    for (const model::Tensor& tensor : g.tensors) {
      sum += touch(tensor.name) + touch(model::to_string(tensor.shape)) + tensor.shape.rows();
      if (tensor.bytes == 0) continue;  // of a type that is not known
      expect(tensor.offset <= size && tensor.bytes <= size - tensor.offset, "a tensor lies in the file", tensor.name);
      sum += touch({reinterpret_cast<const char*>(data) + tensor.offset, static_cast<size_t>(tensor.bytes)});
    }
    make_text(g.metadata);
    [[maybe_unused]] volatile uint64_t kept = sum;
  });
  return 0;
}
