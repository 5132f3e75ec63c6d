// The configuration: `key NUL value NUL ...` sets single options where the bytes hold a NUL, else they are a file. A
// refusal leaves everything as it was; what was accepted can be read back and set again without a change.
#include <config/options.hpp>

#include "../support/temp_folder.hpp"
#include "fuzz.hpp"

using brim::config::Options;
using namespace brim::fuzz;

namespace {

void set_and_get(Options& options, std::string_view key, std::string_view value) {
  const std::string before = options.describe();
  if (!accepts([&] { options.set(key, value); })) {
    expect(options.describe() == before, "a refused option changes nothing", key);
  }
}

// Every option that is known says of itself what set() takes.
void read_back(const Options& options) {
  Options again = options;
  const std::string before = options.describe();
  for (const brim::config::Option& option : brim::config::schema()) {
    const std::string value = options.get(option.key);
    expect(accepts([&] { again.set(option.key, value); }), "what get() gives is what set() takes", value);
  }
  for (const char* kind : {"backend", "architecture"}) {
    for (const std::string& id : options.plugins_with_settings(kind)) {
      for (const auto& [key, value] : options.settings(kind, id)) {
        std::string full = kind;
        full += "." + id + "." + key;
        expect(options.get(full) == value, "a plugin's setting is found by its name", full);
      }
    }
  }
  expect(again.describe() == before, "setting an option to its value changes nothing");
}

}  // namespace

int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  static const brim::test::TempFolder folder;
  static const std::string path = folder / "brim.toml";
  std::string_view text = text_of(data, size);
  Options options;
  if (text.find('\0') != text.npos) {
    while (!text.empty()) {
      const std::string_view key = next_part(text, '\0');
      set_and_get(options, key, next_part(text, '\0'));
      static_cast<void>(accepts([&] { static_cast<void>(options.get(key)); }));
    }
  } else {
    write_file(path, text);
    const std::string before = options.describe();
    if (!accepts([&] { options.load(path); })) {
      expect(options.describe() == before, "a refused file changes nothing");
    }
  }
  read_back(options);
  return 0;
}
