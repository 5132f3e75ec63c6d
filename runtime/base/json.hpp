// JSON, written piece by piece into a text:
//
//   Json json;
//   json.object([&] {
//     json.member("bytes", 4096);
//     json.key("layers").array([&] { for (const uint32_t l : layers) json.value(l); });
//   });
//   json.text()
//
// Names keep the order in which they are said. Text that is no UTF-8 comes out with U+FFFD in the place of what is
// broken; a number that is infinite or none, as null. Where memory ends, what is thrown finds nothing that would ask
// for more on its way out: nlohmann's trees do, in their destructors.
#pragma once

#include <fmt/format.h>

#include <base/utf8.hpp>
#include <cmath>
#include <concepts>
#include <cstddef>
#include <string>
#include <string_view>
#include <utility>

namespace brim {

class Json {
 public:
  template <class F>
  Json& object(const F& members) {
    return enclosed('{', members, '}');
  }
  template <class F>
  Json& array(const F& values) {
    return enclosed('[', values, ']');
  }
  // The name of the member whose value comes next.
  Json& key(std::string_view name) {
    value(name);
    text_ += ':';
    return *this;
  }
  template <class T>
  Json& member(std::string_view name, const T& v) {
    return key(name).value(v);
  }

  Json& value(std::string_view v) {
    separate();
    text_ += '"';
    while (!v.empty()) {
      const size_t bytes = character_bytes(v);
      if (bytes == 0) {
        text_ += "\xEF\xBF\xBD";
      } else if (v[0] == '"' || v[0] == '\\') {
        (text_ += '\\') += v[0];
      } else if (static_cast<unsigned char>(v[0]) < 0x20) {
        text_ += fmt::format("\\u{:04x}", static_cast<unsigned char>(v[0]));
      } else {
        text_ += v.substr(0, bytes);
      }
      v.remove_prefix(bytes ? bytes : 1);
    }
    text_ += '"';
    return *this;
  }
  Json& value(const std::string& v) { return value(std::string_view(v)); }
  Json& value(const char* v) { return value(std::string_view(v)); }
  Json& value(std::nullptr_t) { return plain("null"); }
  Json& value(bool v) { return plain(v ? "true" : "false"); }
  Json& value(std::integral auto v) { return plain(fmt::format("{}", +v)); }
  Json& value(double v) { return std::isfinite(v) ? plain(fmt::format("{}", v)) : value(nullptr); }

  const std::string& text() const { return text_; }

 private:
  template <class F>
  Json& enclosed(char begin, const F& inside, char end) {
    separate();
    text_ += begin;
    inside();
    text_ += end;
    return *this;
  }
  Json& plain(std::string_view word) {
    separate();
    text_ += word;
    return *this;
  }
  // A comma where a value stands before, in the same list. A text ends with its quote, so what opens something is seen.
  void separate() {
    if (!text_.empty() && std::string_view("{[:").find(text_.back()) == std::string_view::npos) text_ += ',';
  }

  std::string text_;
};

}  // namespace brim
